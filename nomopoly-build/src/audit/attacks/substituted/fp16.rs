//! Weights in half precision: eleven bits of significand. The smallest substitution that saves memory.
//! A model whose weights are fp16 numbers to begin with is not changed by it.

use super::rounded;
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "fp16",
    setting: "weights rounded to IEEE half precision",
    weights: |subject, _| rounded(subject, candle_core::DType::F16),
};
