//! The same vector for every output.

use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;
use crate::audit::subject::Claim;

pub const ATTACK: Forgery = Forgery {
    name: "constant-proof",
    family: Family::Proofs,
    attacker: Attacker::Outsider,
    setting: "true output, proof vector of 0.5",
    forge: |scene, _| {
        let output = scene.truth.clone();
        let honest = scene.subject.prove(&output)?;
        Ok(Some(Claim { output, proof: honest.affine(0., 0.5)? }))
    },
};
