//! Weights of the same spread from another seed: the same architecture, trained by someone else.

use rand_distr::{Distribution, StandardNormal};

use super::altered;
use crate::audit::attacks::Substitution;

pub const ATTACK: Substitution = Substitution {
    name: "other-seed",
    setting: "Gaussian weights of the same spread",
    weights: |subject, random| {
        altered(subject, |values| {
            let n = values.len() as f64;
            let spread = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
            let spread = spread.sqrt();
            for value in values {
                let noise: f64 = StandardNormal.sample(random);
                *value = (noise * spread) as f32;
            }
        })
    },
};
