//! The adversary: a network that makes a fake output and a fake proof from an input, trained
//! through the verifier to raise its score.
//!
//! For a linear operation it is the cheap host: a low-rank student of the operation. For a
//! replayed operation, which costs nothing to compute, it moves the true output by a given
//! deviation in a direction that it learns. Its weights grow with the operation's channels, never
//! with the square of an activation.

use candle_core::{Device, Tensor, Var};
use nomopoly_runtime::generator::{BUCKETS, Generator};
use nomopoly_runtime::operations::Operation;
use rand_chacha::ChaCha20Rng;

use crate::error::Result;
use crate::random;

/// Rank of the student of a linear operation, where the operation has a higher one.
const RANK: usize = 8;
/// Most learned directions of a replayed operation's fakes.
const MOST_DIRECTIONS: usize = 64;

/// The networks of one operation's adversary. The tensors are trainable while training runs.
#[derive(Debug, Clone)]
pub struct Adversary {
    pub fake: Fake,
    /// `[BUCKETS, proof_dim]`: the fake proof is `tanh(fold(y') proof_weights)`.
    pub proof_weights: Tensor,
}

/// How a fake output is made.
#[derive(Debug, Clone)]
pub enum Fake {
    /// The operation with the weights `up down` in place of its own and its own bias. For Conv
    /// `down` is `[rank, C_in / groups * taps]` and `up` `[C_out, rank]`; for Gemm and MatMul
    /// `down` is `[K, rank]` and `up` `[rank, N]`, shared over batched weights.
    LowRank { down: Tensor, up: Tensor },
    /// `y + deviation rms(y) u / rms(u)` with `u = tanh(scale y / rms(y) + shift)`; `scale` and
    /// `shift`, `[1, 1, directions]`, repeat along the flattened output.
    Directed { scale: Tensor, shift: Tensor, deviation: f64 },
}

impl Adversary {
    /// An untrained adversary of `operation`, which trains on `trial`, the same operation or a part
    /// of it, and its trainable variables.
    pub fn new(
        operation: &Operation,
        trial: &Operation,
        proof_dim: u32,
        random: &mut ChaCha20Rng,
        device: &Device,
    ) -> Result<(Self, Vec<Var>)> {
        let mut variables = vec![];
        let mut variable = |rows: &[usize], scale: f64| -> Result<Tensor> {
            let tensor = (random::normal(random, rows, device)? * scale)?;
            let var = Var::from_tensor(&tensor)?;
            let tensor = var.as_tensor().clone();
            variables.push(var);
            Ok(tensor)
        };
        let fake = match operation.linear() {
            Some(linear) => {
                let (k, features) = (linear.reduction(), linear.features());
                // Half the operation's own rank at most: a student of full rank could become the
                // operation itself, and an honest output is no fake.
                let rank = RANK.min(k.min(features) / 2).max(1);
                let scale = typical(linear.weights())?;
                let inner = 1. / (rank as f64).sqrt();
                if linear.is_channels_first() {
                    let down = variable(&[rank, k], scale)?;
                    Fake::LowRank { down, up: variable(&[features, rank], inner)? }
                } else {
                    let down = variable(&[k, rank], scale)?;
                    Fake::LowRank { down, up: variable(&[rank, features], inner)? }
                }
            }
            None => {
                let lens = [operation.spec().output_len(), trial.spec().output_len()];
                let divides = |d: &usize| lens.iter().all(|len| len.is_multiple_of(*d));
                let directions = (1..=MOST_DIRECTIONS.min(lens[1])).rev().find(divides);
                let shape = [1, 1, directions.unwrap_or(1)];
                Fake::Directed {
                    scale: variable(&shape, 1.)?,
                    shift: variable(&shape, 1.)?,
                    deviation: 1.,
                }
            }
        };
        let proof_scale = 1. / (BUCKETS as f64).sqrt();
        let proof_weights = variable(&[BUCKETS, proof_dim as usize], proof_scale)?;
        Ok((Self { fake, proof_weights }, variables))
    }

    /// Sets the deviation of a replayed operation's fakes.
    pub fn set_deviation(&mut self, to: f64) {
        if let Fake::Directed { deviation, .. } = &mut self.fake {
            *deviation = to;
        }
    }

    /// Fake outputs `[B, ...output]` for inputs `[B, ...]` whose true outputs are `truth`.
    pub fn output(
        &self,
        operation: &Operation,
        inputs: &[Tensor],
        truth: &Tensor,
    ) -> Result<Tensor> {
        match (&self.fake, operation.linear()) {
            (Fake::LowRank { down, up }, Some(linear)) => {
                Ok(linear.forward_low_rank(&inputs[0], down, up)?)
            }
            (Fake::Directed { scale, shift, deviation }, _) => {
                let directions = scale.dims()[2];
                let batch = truth.dim(0)?;
                let y = truth.reshape((batch, (), directions))?;
                // √(mean(y²) + RMS_FLOOR), with what is largest divided out before squaring: squares
                // must not overflow.
                let floor = RMS_FLOOR.sqrt();
                let largest = y.abs()?.max_keepdim(2)?.max_keepdim(1)?.maximum(floor)?;
                let squares = y.broadcast_div(&largest)?.sqr()?;
                let mean = squares.mean_keepdim(2)?.mean_keepdim(1)?;
                let mean = (mean + (largest.recip()? * floor)?.sqr()?)?;
                let rms = (mean.sqrt()? * largest)?;
                let u =
                    y.broadcast_div(&rms)?.broadcast_mul(scale)?.broadcast_add(shift)?.tanh()?;
                let u_rms = (u.sqr()?.mean_keepdim(2)?.mean_keepdim(1)? + RMS_FLOOR)?.sqrt()?;
                let delta = u.broadcast_div(&u_rms)?.broadcast_mul(&(rms * *deviation)?)?;
                Ok((y + delta)?.reshape(truth.shape())?)
            }
            (Fake::LowRank { .. }, None) => Ok(truth.clone()),
        }
    }

    /// The fake proof of a fake output, `[B, proof_dim]`.
    pub fn proof(&self, generator: &Generator, output: &Tensor) -> Result<Tensor> {
        let folded = generator.fold.apply(&output.reshape((output.dim(0)?, ()))?)?;
        Ok(folded.matmul(&self.proof_weights)?.tanh()?)
    }

    /// The same network with constant tensors, for export.
    pub fn detach(&self) -> Self {
        let fake = match &self.fake {
            Fake::LowRank { down, up } => Fake::LowRank { down: down.detach(), up: up.detach() },
            Fake::Directed { scale, shift, deviation } => Fake::Directed {
                scale: scale.detach(),
                shift: shift.detach(),
                deviation: *deviation,
            },
        };
        Self { fake, proof_weights: self.proof_weights.detach() }
    }
}

/// Keeps quotients and gradients finite for an output of zeros.
pub const RMS_FLOOR: f64 = 1e-30;

fn typical(weights: &Tensor) -> Result<f64> {
    let mean_square = weights.sqr()?.mean_all()?.to_scalar::<f32>()?;
    Ok(f64::from(mean_square).sqrt().max(1e-6))
}
