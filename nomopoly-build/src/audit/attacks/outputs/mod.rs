//! Wrong outputs, each with the public generator's proof of it: what a host can do without thinking
//! of the verifier.

mod label_flip;
mod noise;
mod other_input;
mod random;
mod single_channel;
mod single_element;
mod skipped;
mod sparse;
mod zeros;

use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Forgery;
use crate::audit::subject::{Claim, Scene};
use crate::error::Result;
use crate::random as seeded;

/// In the order of reports.
pub const ALL: [&Forgery; 15] = [
    &random::ATTACK,
    &other_input::ATTACK,
    &zeros::ATTACK,
    &single_element::ATTACK,
    &single_channel::ATTACK,
    &sparse::ATTACK,
    &label_flip::ATTACK,
    &skipped::ATTACK,
    &noise::AT_1E0,
    &noise::AT_1E_1,
    &noise::AT_1E_2,
    &noise::AT_1E_3,
    &noise::AT_1E_4,
    &noise::AT_1E_5,
    &noise::AT_1E_6,
];

/// A claim of the true outputs moved by Gaussian errors at the elements that `keep` chooses, each
/// row by the relative deviation that `deviation` draws.
fn moved(
    scene: &Scene,
    random: &mut ChaCha20Rng,
    deviation: impl Fn(&mut ChaCha20Rng) -> f64,
    mut keep: impl FnMut(usize, &mut ChaCha20Rng) -> Vec<usize>,
) -> Result<Claim> {
    let mut rows = scene.rows()?;
    for row in &mut rows {
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let places = keep(row.len(), random);
        let noise: Vec<f64> = places.iter().map(|_| StandardNormal.sample(random)).collect();
        let length = noise.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-30);
        // An output of zeros has no relative size: it is moved by something.
        let size = deviation(random) * if norm > 0. { norm } else { 1. };
        for (place, noise) in places.into_iter().zip(noise) {
            row[place] += (noise * size / length) as f32;
        }
    }
    scene.claim(scene.outputs(rows)?)
}

/// A deviation between the least that counts as wrong and 1, log-uniform.
fn some_deviation(scene: &Scene) -> impl Fn(&mut ChaCha20Rng) -> f64 + use<> {
    let least = scene.subject.min_deviation();
    move |random| seeded::log_uniform(random, least, 1.)
}

/// A random number below `n`.
fn below(n: usize, random: &mut ChaCha20Rng) -> usize {
    ((seeded::uniform(random) * n as f64) as usize).min(n.saturating_sub(1))
}
