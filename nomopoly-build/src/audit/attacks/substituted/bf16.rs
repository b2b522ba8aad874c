//! Weights in bfloat16: eight bits of significand.

use super::rounded;
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "bf16",
    setting: "weights rounded to bfloat16",
    weights: |subject, _| rounded(subject, candle_core::DType::BF16),
};
