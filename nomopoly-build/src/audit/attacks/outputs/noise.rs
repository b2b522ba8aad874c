//! Gaussian noise on every element, of relative deviations from 1 to 1e-6. Training sees noise too,
//! of other seeds; here it shows where acceptance begins.

use nomopoly_manifest::{Attacker, Family};

use super::moved;
use crate::audit::attacks::Forgery;

macro_rules! noise {
    ($name:literal, $deviation:literal) => {
        Forgery {
            name: $name,
            family: Family::Outputs,
            attacker: Attacker::Host,
            setting: concat!("Gaussian, relative deviation ", $deviation),
            forge: |scene, random| {
                // A hair more, so that rounding leaves it on its side of the least that counts.
                let deviation = |_: &mut _| $deviation * (1. + 1e-3);
                Ok(Some(moved(scene, random, deviation, |n, _| (0..n).collect())?))
            },
        }
    };
}
pub const AT_1E0: Forgery = noise!("noise-1e0", 1e0);
pub const AT_1E_1: Forgery = noise!("noise-1e-1", 1e-1);
pub const AT_1E_2: Forgery = noise!("noise-1e-2", 1e-2);
pub const AT_1E_3: Forgery = noise!("noise-1e-3", 1e-3);
pub const AT_1E_4: Forgery = noise!("noise-1e-4", 1e-4);
pub const AT_1E_5: Forgery = noise!("noise-1e-5", 1e-5);
pub const AT_1E_6: Forgery = noise!("noise-1e-6", 1e-6);
