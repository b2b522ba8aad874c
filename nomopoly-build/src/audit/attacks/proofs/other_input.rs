//! The true output with the honest proof of another inference.

use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;
use crate::audit::subject::Claim;

pub const ATTACK: Forgery = Forgery {
    name: "proof-of-other-input",
    family: Family::Proofs,
    attacker: Attacker::Outsider,
    setting: "true output, proof of another inference",
    forge: |scene, _| {
        let other = scene.other()?;
        let proof = scene.subject.prove(&other.truth)?;
        Ok(Some(Claim { output: scene.truth.clone(), proof }))
    },
};
