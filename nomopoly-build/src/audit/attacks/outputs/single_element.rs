//! One element is wrong: the sparsest error there is.

use nomopoly_manifest::{Attacker, Family};

use super::{below, moved, some_deviation};
use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "single-element",
    family: Family::Outputs,
    attacker: Attacker::Host,
    setting: "one element, deviation log-uniform from the least that counts to 1",
    forge: |scene, random| {
        let places = |n, random: &mut _| vec![below(n, random)];
        Ok(Some(moved(scene, random, some_deviation(scene), places)?))
    },
};
