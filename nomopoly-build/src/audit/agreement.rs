//! Measured acceptance beside the certified bound, for the errors that the bound is tight for: the
//! same direction at every position, as large there as the position's rounding unit.

use candle_core::Tensor;
use nomopoly_manifest::DeviationPoint;
use nomopoly_runtime::artefact::Network;
use nomopoly_runtime::certificate::{deviation_at, log2_bound};

use super::subject::{Scene, Subject, key};
use super::verifiers::{Compiled, Verifier};
use crate::error::Result;
use crate::random::{self as seeded, stream};
use crate::statistics::rate;
use crate::training::norms;

/// Bits of the bound at which acceptance is measured: beyond, a measurement sees nothing.
const BITS: [f64; 8] = [0.1, 0.5, 1., 2., 4., 6., 8., 10.];

/// Claims under one key. Their errors have directions of their own, so that their verdicts depend on
/// each other little.
const PER_KEY: usize = 5;

/// Measures `trials` claims at each of several bounds.
///
/// # Errors
/// When tensor arithmetic fails or `check_stop` says so.
pub fn agreement(
    subject: &Subject,
    trials: usize,
    seed: u64,
    check_stop: &dyn Fn() -> Result<()>,
) -> Result<Vec<DeviationPoint>> {
    let artefact = &subject.compiled.artefact;
    let (Network::Residual(head), Some(linear)) = (&artefact.network, subject.linear()) else {
        return Ok(vec![]);
    };
    let sketches = artefact.header.sketches;
    if sketches == 0 {
        return Ok(vec![]);
    }
    let threshold = head.threshold();
    let verifier = Compiled { operation: subject.compiled.clone(), device: subject.device.clone() };
    let mut points = vec![];
    for bits in BITS {
        let mut random = stream(seed, &artefact.id.to_string(), &format!("audit agreement {bits}"));
        let (mut accepted, mut tried) = (0, 0);
        let (mut bound, mut deviation) = (0., 0.);
        let size = subject.chunk_size().min(PER_KEY);
        for turn in 0..trials.div_ceil(size) {
            check_stop()?;
            let scene = subject.scene(turn * size, size)?;
            let unit = linear.sketch_unit(&scene.inputs[0])?;
            let (error, spreads) = tight(&scene, &unit, &mut random)?;
            // Each sample is moved as far as its own bound is of these bits.
            let moves: Vec<f64> = spreads
                .iter()
                .map(|spread| deviation_at(sketches, threshold, *spread, bits))
                .collect();
            if moves.iter().any(|size| !size.is_finite()) {
                // The error of an output of zeros has no relative size.
                continue;
            }
            let error = super::attacks::adaptive::scaled_each(&error, &scene.truth, &moves)?;
            let claim = scene.claim((&scene.truth + error.reshape(scene.truth.shape())?)?)?;
            let round = verifier.round(&key(&mut random), &scene.inputs)?;
            accepted += round.accepts(&claim)?.iter().filter(|accepted| **accepted).count() as u64;
            for (spread, size) in spreads.iter().zip(&moves) {
                bound += log2_bound(sketches, threshold, *spread, *size).exp2();
                deviation += size;
            }
            tried += size;
        }
        if tried == 0 {
            continue;
        }
        let n = tried as f64;
        points.push(DeviationPoint {
            deviation: deviation / n,
            certified_log2: Some((bound / n).log2()),
            measured: rate(accepted, tried as u64),
        });
    }
    points.sort_by(|a, b| b.deviation.total_cmp(&a.deviation));
    Ok(points)
}

/// Errors `[B, ...output]` with one random direction over the features for each sample, each position's
/// as large as its rounding unit; and the spread of each sample.
fn tight(
    scene: &Scene,
    unit: &Tensor,
    random: &mut rand_chacha::ChaCha20Rng,
) -> Result<(Tensor, Vec<f64>)> {
    let dims = scene.truth.dims().to_vec();
    let axis = scene.feature_axis();
    let mut shape = dims.clone();
    shape[axis] = 1;
    // One unit for each position.
    let unit = unit.reshape(shape.as_slice())?;
    let mut along = vec![1; dims.len()];
    (along[0], along[axis]) = (dims[0], dims[axis]);
    let direction = seeded::normal(random, &along, scene.truth.device())?;
    let error = unit.broadcast_mul(&direction)?;
    let flat = |tensor: &Tensor| tensor.reshape((dims[0], ()));
    let (units, sizes) = (norms(&flat(&unit)?)?, norms(&flat(&scene.truth)?)?);
    let spreads = units.into_iter().zip(sizes).map(|(unit, y)| unit / y).collect();
    Ok((error, spreads))
}
