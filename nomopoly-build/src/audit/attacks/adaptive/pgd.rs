//! Projected gradient descent with restarts (Madry, Makelov, Schmidt, Tsipras, Vladu, Towards deep
//! learning models resistant to adversarial attacks, ICLR 2018), on the sphere of errors of one size.
//! The steps become shorter, and without the key each looks at a fresh surrogate.

use super::gradient::{Keys, gradient, run};
use super::{Adaptive, scaled};
use crate::audit::subject::key;

/// Length of the whole path in radii of the sphere.
const PATH: f64 = 2.5;

pub const ATTACK: Adaptive = Adaptive {
    name: "pgd",
    run: |arena, random| {
        run(arena, random, "PGD", |arena, scene, keys, loss, start, random| {
            let mut error = start;
            let steps = arena.effort.steps;
            for step in 0..steps {
                (arena.check_stop)()?;
                let fresh;
                let rounds = match keys {
                    Keys::Known(round) => std::slice::from_ref(round),
                    Keys::Surrogate => {
                        fresh = [arena.round(&key(random), scene)?];
                        &fresh[..]
                    }
                };
                let (_, direction) = gradient(scene, rounds, loss, &error)?;
                // Shorter and shorter steps: what is accepted is a narrow slit.
                let left = (steps - step) as f64 / steps as f64;
                let length = 2. * PATH / steps as f64 * left;
                let step = scaled(&direction, &scene.truth, arena.target() * length)?;
                error = scaled(&(error - step)?, &scene.truth, arena.target())?;
            }
            Ok(error)
        })
    },
};
