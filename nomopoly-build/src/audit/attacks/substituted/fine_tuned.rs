//! The weights after one small gradient step towards other targets: a model that was trained on.

use super::trained_on;
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "fine-tuned",
    setting: "one gradient step of 1e-3 of the weights",
    weights: |subject, random| trained_on(subject, 1, 1e-3, random),
};
