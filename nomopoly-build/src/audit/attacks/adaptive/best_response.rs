//! A best response: an adversary trained from scratch against the finished verifier, which no
//! longer moves. It is larger than the one in training (a perceptron over all features of a position
//! and their mean, four times as wide as there are features and up to 256, where training has a student of rank 8),
//! sees the true output, and chooses the direction of an error of the wanted size. Fresh surrogate
//! keys at each step; several seeds, since each search may fail for its own reasons (Carlini et al.,
//! On evaluating adversarial robustness, 2019).

use candle_core::{Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use nomopoly_manifest::Attacker;
use rand_chacha::ChaCha20Rng;

use super::{Adaptive, Outcome, scaled};
use crate::audit::subject::{Claim, Scene, key};
use crate::audit::tally::{Tally, deviations};
use crate::error::Result;
use crate::random as seeded;

/// Most hidden units.
const WIDEST: usize = 256;
/// Learning rate of the first step.
const FASTEST: f64 = 1e-2;
/// Inputs of one training step.
const BATCH: usize = 16;

pub const ATTACK: Adaptive = Adaptive {
    name: "best-response",
    run: |arena, random| {
        let effort = arena.effort;
        let least = arena.subject.min_deviation();
        let mut tally = Tally::default();
        for _ in 0..effort.seeds {
            let first = arena.subject.scene(0, 1)?;
            let network = Network::new(&first, random)?;
            let parameters = ParamsAdamW { lr: FASTEST, weight_decay: 0., ..Default::default() };
            let mut optimiser = AdamW::new(network.variables.clone(), parameters)?;
            let batch = BATCH.min(arena.subject.chunk_size());
            // Verdicts without a key do not differ from one round to the next.
            let trials = if arena.verifier.is_keyed() {
                effort.trials.div_ceil(effort.seeds)
            } else {
                effort.trials.div_ceil(effort.seeds).min(arena.subject.samples.len() / 2)
            };
            // The first half of the samples trains, the second is attacked.
            let half = (arena.subject.samples.len() / 2).max(1);
            for step in 0..effort.training {
                (arena.check_stop)()?;
                let numbers = (0..batch).map(|index| (step * batch + index) % half).collect();
                let scene = arena.subject.scene_of(numbers)?;
                let output = network.output(&scene, arena.target())?;
                let proof = arena.subject.prove(&output)?;
                let round = arena.round(&key(random), &scene)?;
                let claim = Claim { output, proof };
                // All positions at first, and what decides at the end. What is accepted is a narrow
                // slit: the steps become ever shorter.
                let loss = if 3 * step < 2 * effort.training {
                    round.evidence(&claim)?
                } else {
                    round.logits(&claim)?.neg()?
                };
                let left = (effort.training - step) as f64 / effort.training as f64;
                optimiser.set_learning_rate(FASTEST * left * left);
                let gradients = loss.mean_all()?.backward()?;
                let finite = |var: &Var| -> Result<bool> {
                    Ok(match gradients.get(var) {
                        Some(gradient) => {
                            gradient.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite()
                        }
                        None => true,
                    })
                };
                let sound = network.variables.iter().map(finite).collect::<Result<Vec<_>>>()?;
                if !sound.contains(&false) {
                    optimiser.step(&gradients)?;
                }
            }
            let mut tried = 0;
            while tried < trials {
                (arena.check_stop)()?;
                let size = arena.subject.chunk_size().min(trials - tried);
                let rest = (arena.subject.samples.len() - half).max(1);
                let numbers = (0..size).map(|index| half + (tried + index) % rest).collect();
                let scene = arena.subject.scene_of(numbers)?;
                tried += size;
                let claim = scene.claim(network.output(&scene, arena.target())?.detach())?;
                let jury = arena.judges.jury(&key(random), &scene.inputs)?;
                let sizes = deviations(&claim.output, &scene.truth)?;
                for (defence, accepted) in jury.verdicts(&claim)? {
                    tally.count(defence, &accepted, &sizes, least, false);
                }
                tally.note(&sizes);
            }
        }
        tally.only_related(arena.defence);
        let setting = format!(
            "retrained from {} seeds, {} steps each, deviation {:.0e}",
            effort.seeds, effort.training, arena.deviation
        );
        Ok(vec![Outcome { attacker: Attacker::Host, setting, tally }])
    },
};

/// Directions of errors from true outputs.
struct Network {
    variables: Vec<Var>,
    features: usize,
    inner: usize,
}

impl Network {
    fn new(scene: &Scene, random: &mut ChaCha20Rng) -> Result<Self> {
        let dims = scene.truth.dims();
        let axis = scene.feature_axis().max(1);
        let features = dims.get(axis).copied().unwrap_or(1);
        let inner = dims.iter().skip(axis + 1).product();
        let hidden = (4 * features).min(WIDEST);
        let device = scene.truth.device();
        let mut variable = |rows: usize, columns: usize| -> Result<Var> {
            let scale = 1. / (rows as f64).sqrt();
            Ok(Var::from_tensor(&(seeded::normal(random, &[rows, columns], device)? * scale)?)?)
        };
        let variables = vec![
            variable(2 * features, hidden)?,
            variable(1, hidden)?,
            variable(hidden, features)?,
        ];
        Ok(Self { variables, features, inner })
    }

    /// Outputs that are wrong by the deviation.
    fn output(&self, scene: &Scene, deviation: f64) -> Result<Tensor> {
        let batch = scene.len();
        let y = scene.truth.reshape((batch, (), self.features, self.inner))?;
        let outer = y.dim(1)?;
        let y = y.transpose(2, 3)?.contiguous()?.reshape((batch, (), self.features))?;
        let rms = (y.sqr()?.mean_keepdim(2)?.mean_keepdim(1)? + 1e-30)?.sqrt()?;
        let y = y.broadcast_div(&rms)?;
        let mean = y.mean_keepdim(1)?.broadcast_as(y.shape())?;
        let positions = batch * outer * self.inner;
        let seen = Tensor::cat(&[&y, &mean], 2)?.reshape((positions, 2 * self.features))?;
        let hidden = seen.matmul(&self.variables[0])?.broadcast_add(&self.variables[1])?.tanh()?;
        let error = hidden.matmul(&self.variables[2])?;
        let error = error.reshape((batch * outer, self.inner, self.features))?;
        let error = error.transpose(1, 2)?.contiguous()?.reshape(scene.truth.shape())?;
        let error = scaled(&error, &scene.truth, deviation)?;
        Ok((&scene.truth + error.reshape(scene.truth.shape())?)?)
    }
}
