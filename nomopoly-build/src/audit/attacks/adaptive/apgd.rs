//! Auto-PGD (Croce, Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse
//! parameter-free attacks, ICML 2020): momentum, and a step that is halved where it no longer helps,
//! from the best point so far. On the sphere of errors of one size. Without the key it looks at a
//! few fixed surrogates, so that progress can be told from luck.

use candle_core::{D, Tensor};

use super::gradient::{Keys, gradient, run};
use super::{Adaptive, scaled};
use crate::audit::subject::key;
use crate::error::Result;

/// Surrogate keys.
const SURROGATES: usize = 4;
/// Weight of the new step against the last one.
const MOMENTUM: f64 = 0.75;
/// Share of steps that must help for the step size to stay.
const RHO: f64 = 0.75;

pub const ATTACK: Adaptive = Adaptive {
    name: "apgd",
    run: |arena, random| {
        run(arena, random, "APGD", |arena, scene, keys, loss, start, random| {
            let fixed;
            let rounds = match keys {
                Keys::Known(round) => std::slice::from_ref(round),
                Keys::Surrogate => {
                    let draw = |_| arena.round(&key(random), scene);
                    fixed = (0..SURROGATES).map(draw).collect::<Result<Vec<_>>>()?;
                    &fixed[..]
                }
            };
            let project = |error: &Tensor| scaled(error, &scene.truth, arena.target());
            let (mut error, mut last) = (start.clone(), start.clone());
            let (mut losses, mut direction) = gradient(scene, rounds, loss, &error)?;
            let rows = losses.len();
            let mut best = losses.clone();
            let mut best_error = error.clone();
            let mut progress = Progress::new(rows, &best);
            let checkpoints = checkpoints(arena.effort.steps);
            for step in 0..arena.effort.steps {
                (arena.check_stop)()?;
                let sizes = Tensor::from_slice(&progress.sizes, (rows, 1), error.device())?;
                let move_by = scaled(&direction, &scene.truth, arena.target())?;
                let next = project(&(&error - move_by.broadcast_mul(&sizes)?)?)?;
                let next = if step == 0 {
                    next
                } else {
                    let ahead = ((next - &error)? * MOMENTUM)?;
                    let inertia = ((&error - &last)? * (1. - MOMENTUM))?;
                    project(&((&error + ahead)? + inertia)?)?
                };
                last = std::mem::replace(&mut error, next);
                let before = std::mem::take(&mut losses);
                (losses, direction) = gradient(scene, rounds, loss, &error)?;
                let better: Vec<bool> =
                    losses.iter().zip(&best).map(|(now, best)| now < best).collect();
                best_error = choose(&better, &error, &best_error)?;
                for row in 0..rows {
                    best[row] = best[row].min(losses[row]);
                    progress.helped[row] += usize::from(losses[row] < before[row]);
                }
                if let Some(span) = checkpoints.iter().find(|(at, _)| *at == step + 1) {
                    // Where the step was halved, the search goes on from the best point.
                    let halved = progress.checkpoint(&best, span.1);
                    error = choose(&halved, &best_error, &error)?;
                    if halved.contains(&true) {
                        last = choose(&halved, &error, &last)?;
                        (losses, direction) = gradient(scene, rounds, loss, &error)?;
                    }
                }
            }
            Ok(best_error)
        })
    },
};

/// Step sizes in radii, one a row, and what decides whether they stay.
struct Progress {
    sizes: Vec<f32>,
    /// Steps since the last checkpoint that made the loss smaller.
    helped: Vec<usize>,
    /// Best loss and step size at the last checkpoint.
    checked: Vec<(f32, f32)>,
}

impl Progress {
    fn new(rows: usize, best: &[f32]) -> Self {
        let start = 0.5;
        let checked = best.iter().map(|best| (*best, start)).collect();
        Self { sizes: vec![start; rows], helped: vec![0; rows], checked }
    }

    /// Halves the steps that no longer help, by the two conditions of the paper; which ones.
    fn checkpoint(&mut self, best: &[f32], span: usize) -> Vec<bool> {
        let mut halved = vec![];
        for (row, best) in best.iter().enumerate() {
            let seldom = (self.helped[row] as f64) < RHO * span as f64;
            let stuck = self.checked[row] == (*best, self.sizes[row]);
            self.checked[row] = (*best, self.sizes[row]);
            if seldom || stuck {
                self.sizes[row] /= 2.;
            }
            self.helped[row] = 0;
            halved.push(seldom || stuck);
        }
        halved
    }
}

/// Steps at which progress is looked at, with the steps since the one before: p₀ = 0, p₁ = 0.22,
/// pⱼ₊₁ = pⱼ + max(pⱼ - pⱼ₋₁ - 0.03, 0.06), as shares of all steps.
fn checkpoints(steps: usize) -> Vec<(usize, usize)> {
    let (mut before, mut at) = (0f64, 0.22f64);
    let mut points = vec![];
    let mut last = 0;
    while at <= 1. {
        let step = (at * steps as f64).ceil() as usize;
        if step > last {
            points.push((step, step - last));
            last = step;
        }
        (before, at) = (at, at + (at - before - 0.03).max(0.06));
    }
    points
}

/// Rows of `a` where `choose`, of `b` elsewhere.
fn choose(choose: &[bool], a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mask: Vec<u8> = choose.iter().map(|&c| u8::from(c)).collect();
    let mask = Tensor::from_vec(mask, (choose.len(), 1), a.device())?;
    let mask = mask.broadcast_as((choose.len(), a.dim(D::Minus1)?))?;
    Ok(mask.where_cond(a, b)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_come_ever_faster_and_cover_the_steps() {
        let points = checkpoints(500);
        assert_eq!(points[0], (110, 110));
        assert_eq!(points.iter().map(|(_, span)| span).sum::<usize>(), points.last().unwrap().0);
        assert!(points.windows(2).all(|pair| pair[1].1 <= pair[0].1 + 1));
        assert!(points.last().unwrap().0 > 450);
        assert!(checkpoints(3).iter().all(|(at, span)| *at >= 1 && *span >= 1));
    }
}
