//! An honest output with its honest proof, of another input: what an outsider has recorded.

use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "replayed",
    family: Family::Proofs,
    attacker: Attacker::Outsider,
    setting: "output and proof of another input",
    forge: |scene, _| {
        let other = scene.other()?;
        Ok(Some(other.claim(other.truth.clone())?))
    },
};
