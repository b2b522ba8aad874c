//! Weights in four bits, one scale for each output channel (as in Dettmers and Zettlemoyer, The case for
//! 4-bit precision, ICML 2023, with plain rounding).

use super::{altered_per_channel, quantise};
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "int4-per-channel",
    setting: "symmetric, one scale an output channel",
    weights: |subject, _| altered_per_channel(subject, |values| quantise(values, 7.)),
};
