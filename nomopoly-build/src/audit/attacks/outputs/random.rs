//! A random output with the mean and spread of the true one: a host that computes nothing.

use nomopoly_manifest::{Attacker, Family};
use rand_distr::{Distribution, StandardNormal};

use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "random",
    family: Family::Outputs,
    attacker: Attacker::Host,
    setting: "Gaussian of the true mean and spread",
    forge: |scene, random| {
        let mut rows = scene.rows()?;
        for row in &mut rows {
            let n = row.len() as f64;
            let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let square = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
            // An output of equal elements would be its own fake.
            let spread = square.sqrt().max(mean.abs()).max(1e-3);
            for value in row.iter_mut() {
                let noise: f64 = StandardNormal.sample(random);
                *value = (mean + spread * noise) as f32;
            }
        }
        Ok(Some(scene.claim(scene.outputs(rows)?)?))
    },
};
