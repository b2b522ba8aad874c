//! The true output of another input, proved anew: a host that answers from a cache.

use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "other-input",
    family: Family::Outputs,
    attacker: Attacker::Host,
    setting: "true output of another input",
    forge: |scene, _| Ok(Some(scene.claim(scene.other()?.truth)?)),
};
