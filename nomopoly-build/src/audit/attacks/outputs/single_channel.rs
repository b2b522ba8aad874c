//! One channel (feature) is wrong at every position: invisible to a verifier that does not look at
//! that channel.

use nomopoly_manifest::{Attacker, Family};

use super::{below, moved, some_deviation};
use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "single-channel",
    family: Family::Outputs,
    attacker: Attacker::Host,
    setting: "one channel, deviation log-uniform from the least that counts to 1",
    forge: |scene, random| {
        let dims = scene.truth.dims();
        let axis = scene.feature_axis();
        if axis == 0 {
            return Ok(None);
        }
        let (channels, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
        let places = |n: usize, random: &mut _| {
            let channel = below(channels, random);
            (0..n).filter(|index| (index / inner) % channels == channel).collect()
        };
        Ok(Some(moved(scene, random, some_deviation(scene), places)?))
    },
};
