//! Another checkpoint of the same model: the weights some steps of training away.

use super::trained_on;
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "stale",
    setting: "20 gradient steps of 1e-2 of the weights in all",
    weights: |subject, random| trained_on(subject, 20, 1e-2, random),
};
