//! The smallest tenth of the weights is left out.

use super::{altered, prune};
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "pruned-10",
    setting: "the smallest 10 % of the weights are 0",
    weights: |subject, _| altered(subject, |values| prune(values, 0.1)),
};
