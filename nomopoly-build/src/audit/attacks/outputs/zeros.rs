//! An output of zeros.

use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "zeros",
    family: Family::Outputs,
    attacker: Attacker::Host,
    setting: "all elements 0",
    forge: |scene, _| Ok(Some(scene.claim(scene.truth.zeros_like()?)?)),
};
