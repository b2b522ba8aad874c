//! Linear algebra with the key: an error that is orthogonal to every secret vector at every position
//! leaves no trace in any sketch. It exists whenever there are more features than vectors, which is
//! why a sketch convinces only whoever keeps its key secret (Freivalds, Probabilistic machines can use
//! less running time, IFIP Congress 1977, draws the vector after the claim).

use candle_core::Tensor;
use nomopoly_manifest::Attacker;

use super::{Adaptive, Outcome, scaled};
use crate::audit::subject::key;
use crate::audit::tally::Tally;
use crate::error::Result;
use crate::random as seeded;

/// Deviations that are tried: the least that counts, and an output that has nothing of the true one.
const UNLIMITED: f64 = 1.;

pub const ATTACK: Adaptive = Adaptive {
    name: "null-space",
    run: |arena, random| {
        let mut outcomes = vec![];
        for deviation in [arena.target(), UNLIMITED] {
            let mut tally = Tally::default();
            let mut known = 0;
            for turn in 0..arena.effort.keys * arena.effort.inputs {
                (arena.check_stop)()?;
                let scene = arena.subject.scene(turn * 10, 10)?;
                let round = arena.round(&key(random), &scene)?;
                let Some(vectors) = round.vectors() else { return Ok(vec![]) };
                if vectors.dim(0)? <= vectors.dim(1)? {
                    // As many vectors as features leave no such error.
                    return Ok(vec![]);
                }
                known += 1;
                let noise = seeded::normal(random, scene.truth.dims(), scene.truth.device())?;
                let error = projected(&noise, scene.feature_axis(), &vectors)?;
                let error = scaled(&error, &scene.truth, deviation)?;
                let claim = scene.claim((&scene.truth + error.reshape(scene.truth.shape())?)?)?;
                let accepted = round.accepts(&claim)?;
                arena.count_best(&mut tally, arena.defence, &scene, &claim, &accepted, 1)?;
            }
            let setting = format!(
                "error orthogonal to the secret vectors, {known} keys known, deviation {:.0e}",
                deviation
            );
            outcomes.push(Outcome { attacker: Attacker::WhiteBox, setting, tally });
        }
        Ok(outcomes)
    },
};

/// Errors `[B, ...output]` without their components along the vectors, at every position; `axis` is
/// that of the features.
pub fn projected(error: &Tensor, axis: usize, vectors: &Tensor) -> Result<Tensor> {
    let vectors = vectors.t()?.to_dtype(candle_core::DType::F64)?.to_vec2::<f64>()?;
    let basis = orthonormal(vectors);
    let dims = error.dims();
    let (features, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
    let mut values = error.flatten_all()?.to_vec1::<f32>()?;
    for block in values.chunks_mut(features * inner) {
        for position in 0..inner {
            for vector in &basis {
                let along: f64 = vector
                    .iter()
                    .enumerate()
                    .map(|(c, v)| v * f64::from(block[c * inner + position]))
                    .sum();
                for (c, v) in vector.iter().enumerate() {
                    block[c * inner + position] -= (along * v) as f32;
                }
            }
        }
    }
    Ok(Tensor::from_vec(values, dims, error.device())?)
}

/// An orthonormal basis of the vectors' span (modified Gram-Schmidt, twice is enough).
pub fn orthonormal(vectors: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = vec![];
    for mut vector in vectors {
        let before = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        for _ in 0..2 {
            for other in &basis {
                let along: f64 = vector.iter().zip(other).map(|(a, b)| a * b).sum();
                vector.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
        // What is left of a vector in the span of the others is rounding.
        if length > 1e-9 * before {
            basis.push(vector.into_iter().map(|v| v / length).collect());
        }
    }
    basis
}
