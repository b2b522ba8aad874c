//! Weights in eight bits, one scale for each output channel: what accurate int8 deployments use
//! (Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018).

use super::{altered_per_channel, quantise};
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "int8-per-channel",
    setting: "symmetric, one scale an output channel",
    weights: |subject, _| altered_per_channel(subject, |values| quantise(values, 127.)),
};
