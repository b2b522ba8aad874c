//! Projected gradient descent with restarts (Madry, Makelov, Schmidt, Tsipras, Vladu, Towards deep
//! learning models resistant to adversarial attacks, ICLR 2018), on the sphere of errors of one size.
//! Without the key, each step looks at a fresh surrogate.

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
            // A step of this share of the radius.
            let step = PATH / arena.effort.steps.max(1) as f64;
            for _ in 0..arena.effort.steps {
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
                let step = scaled(&direction, &scene.truth, arena.target() * step)?;
                error = scaled(&(error - step)?, &scene.truth, arena.target())?;
            }
            Ok(error)
        })
    },
};
