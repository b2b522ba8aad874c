//! Weights in four bits, one scale for the tensor.

use super::{altered, quantise};
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "int4",
    setting: "symmetric, one scale a tensor",
    weights: |subject, _| altered(subject, |values| quantise(values, 7.)),
};
