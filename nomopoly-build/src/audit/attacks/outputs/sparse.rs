//! One element in a hundred is wrong, at random places.

use nomopoly_manifest::{Attacker, Family};

use super::{below, moved, some_deviation};
use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "sparse",
    family: Family::Outputs,
    attacker: Attacker::Host,
    setting: "1 % of the elements, deviation log-uniform from the least that counts to 1",
    forge: |scene, random| {
        let places = |n: usize, random: &mut _| {
            let mut places: Vec<usize> = (0..n.div_ceil(100)).map(|_| below(n, random)).collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        Ok(Some(moved(scene, random, some_deviation(scene), places)?))
    },
};
