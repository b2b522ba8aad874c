//! Attacks on one verifier: searches for an output that is wrong by the least deviation that counts
//! and is accepted all the same. The proof vector is the public generator's of whatever is
//! claimed, so that it never gives a host away.

mod apgd;
mod best_response;
mod decision;
mod gradient;
mod null_space;
mod pgd;
mod square;

pub use null_space::projected;

use candle_core::Tensor;
use nomopoly_manifest::{Attacker, Defence};
use nomopoly_runtime::VerifierKey;
use rand_chacha::ChaCha20Rng;

use crate::audit::subject::{Claim, Scene, Subject, key};
use crate::audit::tally::{Tally, deviations};
use crate::audit::verifiers::{Judges, Verifier};
use crate::error::Result;

/// An attack that searches.
pub struct Adaptive {
    pub name: &'static str,
    /// Runs the attack for every attacker that it is of use to.
    pub run: fn(&Arena, &mut ChaCha20Rng) -> Result<Vec<Outcome>>,
}

/// In the order of reports.
pub const ALL: [&Adaptive; 6] = [
    &pgd::ATTACK,
    &apgd::ATTACK,
    &null_space::ATTACK,
    &square::ATTACK,
    &decision::ATTACK,
    &best_response::ATTACK,
];

/// What an attack may spend.
#[derive(Debug, Clone, PartialEq)]
pub struct Effort {
    /// Verdicts under fresh keys in which a found output is tried.
    pub trials: usize,
    /// Inputs that gradient attacks work on.
    pub inputs: usize,
    /// Starts of a gradient attack on each input.
    pub restarts: usize,
    /// Gradient steps of each start.
    pub steps: usize,
    /// Keys that the white box is given.
    pub keys: usize,
    /// Queries of an oracle attack on each input.
    pub queries: usize,
    /// Inputs that oracle attacks work on, each under a key of its own.
    pub oracles: usize,
    /// Best-response adversaries that are trained from scratch.
    pub seeds: usize,
    /// Training steps of each.
    pub training: usize,
}

impl Effort {
    /// What audits spend, with so many trials.
    pub fn full(trials: usize) -> Self {
        Self {
            trials,
            inputs: 4,
            restarts: 20,
            steps: 500,
            keys: 2,
            queries: 50_000,
            oracles: 10,
            seeds: 5,
            training: 300,
        }
    }
}

/// A verifier under attack.
pub struct Arena<'a> {
    pub subject: &'a Subject,
    /// What is attacked, and what it counts as.
    pub verifier: &'a dyn Verifier,
    pub defence: Defence,
    /// Every verifier that what was found without a key is tried on.
    pub judges: &'a dyn Judges,
    pub effort: &'a Effort,
    /// Relative deviation that the attacker wants to get away with.
    pub deviation: f64,
    /// Whether to go on.
    pub check_stop: &'a dyn Fn() -> Result<()>,
}

/// What one attacker reached.
pub struct Outcome {
    pub attacker: Attacker,
    pub setting: String,
    pub tally: Tally,
}

impl Arena<'_> {
    /// A deviation that is not rounded below the least that counts.
    fn target(&self) -> f64 {
        self.deviation * (1. + 1e-2)
    }

    /// Tries outputs on the inputs of a scene under fresh keys, round after round.
    fn try_out(&self, scene: &Scene, output: &Tensor, random: &mut ChaCha20Rng) -> Result<Tally> {
        let mut tally = Tally::default();
        let sizes = deviations(output, &scene.truth)?;
        let claim = scene.claim(output.clone())?;
        let rounds = self.effort.trials.div_ceil(scene.len().max(1)).max(1);
        for _ in 0..rounds {
            (self.check_stop)()?;
            let jury = self.judges.jury(&key(random), &scene.inputs)?;
            for (defence, accepted) in jury.verdicts(&claim)? {
                tally.count(defence, &accepted, &sizes, self.subject.min_deviation(), false);
            }
        }
        tally.note(&sizes);
        Ok(tally)
    }

    /// Counts one attack on each of `count` inputs, where any of several outputs (`[count * starts]`,
    /// those of one input after another) may be the accepted one.
    fn count_best(
        &self,
        tally: &mut Tally,
        defence: Defence,
        scene: &Scene,
        claim: &Claim,
        accepted: &[bool],
        starts: usize,
    ) -> Result<()> {
        let sizes = deviations(&claim.output, &scene.truth)?;
        for (accepted, sizes) in accepted.chunks(starts).zip(sizes.chunks(starts)) {
            // The largest accepted one, else any.
            let best = accepted.iter().zip(sizes).filter(|(accepted, _)| **accepted);
            let best = best.map(|(_, size)| *size).fold(f64::NAN, f64::max);
            let (hit, size) = if best.is_nan() { (false, sizes[0]) } else { (true, best) };
            let least = self.subject.min_deviation();
            tally.count(defence, &[hit], &[size], least, false);
            tally.note(&[size]);
        }
        Ok(())
    }

    fn round(
        &self,
        key: &VerifierKey,
        scene: &Scene,
    ) -> Result<Box<dyn crate::audit::verifiers::Round>> {
        self.verifier.round(key, &scene.inputs)
    }
}

/// Directions `[B, n]` scaled so that each moves its output by the relative deviation.
fn scaled(direction: &Tensor, truth: &Tensor, deviation: f64) -> Result<Tensor> {
    scaled_each(direction, truth, &vec![deviation; truth.dim(0)?])
}

/// The same with a deviation for each sample.
pub fn scaled_each(direction: &Tensor, truth: &Tensor, deviations: &[f64]) -> Result<Tensor> {
    let batch = truth.dim(0)?;
    let norm = |tensor: &Tensor| -> Result<Tensor> {
        let flat = tensor.reshape((batch, ()))?;
        // What is largest is divided out: squares must not overflow.
        let most = (flat.abs()?.max_keepdim(1)? + f64::from(f32::MIN_POSITIVE))?;
        let norm = flat.broadcast_div(&most)?.sqr()?.sum_keepdim(1)?.sqrt()?;
        Ok(norm.broadcast_mul(&most)?)
    };
    let deviations: Vec<f32> = deviations.iter().map(|deviation| *deviation as f32).collect();
    let deviations = Tensor::from_vec(deviations, (batch, 1), truth.device())?;
    // An output of zeros is moved by something.
    let wanted = (norm(truth)? * deviations)?.maximum(1e-20)?;
    let factor = (wanted / (norm(direction)? + 1e-30)?)?;
    Ok(direction.reshape((batch, ()))?.broadcast_mul(&factor)?)
}
