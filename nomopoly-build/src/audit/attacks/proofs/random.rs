//! A random vector within the generator's range.

use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;
use crate::audit::subject::Claim;
use crate::random as seeded;

pub const ATTACK: Forgery = Forgery {
    name: "random-proof",
    family: Family::Proofs,
    attacker: Attacker::Outsider,
    setting: "true output, random proof vector",
    forge: |scene, random| {
        let shape = [scene.len(), scene.subject.generator().proof_dim()];
        let proof = seeded::normal(random, &shape, scene.truth.device())?.tanh()?;
        Ok(Some(Claim { output: scene.truth.clone(), proof }))
    },
};
