//! Weights in eight bits, one scale for the tensor (Jacob et al., Quantization and training of neural
//! networks for efficient integer-arithmetic-only inference, CVPR 2018).

use nomopoly_runtime::onnx::round_to_int8;

use super::altered;
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "int8",
    setting: "symmetric, one scale a tensor",
    weights: |subject, _| altered(subject, round_to_int8),
};
