//! A wrong output with the public generator's proof of it: the attack that a plain learned verifier
//! falls to. The other output attacks use it as well; this one has errors of every size that counts.

use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;
use crate::random as seeded;
use crate::training::deviate;

pub const ATTACK: Forgery = Forgery {
    name: "generated-proof",
    family: Family::Proofs,
    attacker: Attacker::Host,
    setting: "dense and sparse errors, deviation log-uniform from the least that counts to 1, \
              generator's proof",
    forge: |scene, random| {
        let least = scene.subject.min_deviation() * (1. + 1e-3);
        let asked: Vec<f64> =
            (0..scene.len()).map(|_| seeded::log_uniform(random, least, 1.)).collect();
        Ok(Some(scene.claim(deviate(&scene.truth, &asked, random)?)?))
    },
};
