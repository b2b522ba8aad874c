//! Where acceptance ends: fixed on a split of its own after training.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use nomopoly_manifest::Case;
use nomopoly_runtime::head::UNITS;
use nomopoly_runtime::residual::{FEATURES, FeatureVector};
use rand_chacha::ChaCha20Rng;

use super::network::{Shown, Trainable};
use crate::error::Result;
use crate::random;

/// Room above the largest honest residual of the threshold split, where that is larger.
const ROOM: f64 = 1.5;

/// Synthetic honest features up to the envelope, `[size, FEATURES]`: a maximum anywhere below it,
/// and a root mean square below the maximum.
pub fn envelope_batch(
    envelope: f64,
    size: usize,
    random: &mut ChaCha20Rng,
    device: &Device,
) -> Result<Tensor> {
    let mut values = Vec::with_capacity(size * FEATURES);
    for _ in 0..size {
        for _ in 0..FEATURES / 2 {
            let largest = envelope * random::uniform(random);
            values.push(largest.ln_1p() as f32);
            values.push((largest * random::uniform(random)).ln_1p() as f32);
        }
    }
    Ok(Tensor::from_vec(values, (size, FEATURES), device)?)
}

/// Largest honest residuals of a split.
#[derive(Debug, Default)]
pub struct HonestResiduals {
    /// Of output and proof: the largest maximum.
    largest: [f64; FEATURES / 2],
    /// And the largest ratio of root mean square to maximum.
    ratio: [f64; FEATURES / 2],
}

impl HonestResiduals {
    pub fn observe(&mut self, shown: &Shown) -> Result<()> {
        let Some(features) = &shown.features else { return Ok(()) };
        for row in features.to_vec2::<f32>()? {
            for which in 0..FEATURES / 2 {
                let largest = f64::from(row[2 * which]).exp_m1();
                let rms = f64::from(row[2 * which + 1]).exp_m1();
                self.largest[which] = self.largest[which].max(largest);
                if largest > 1e-3 {
                    self.ratio[which] = self.ratio[which].max(rms / largest);
                }
            }
        }
        Ok(())
    }

    /// The features that are just accepted.
    pub fn corner(&self, envelope: f64) -> FeatureVector {
        let mut corner = [0.; FEATURES];
        for which in 0..FEATURES / 2 {
            let largest = (ROOM * self.largest[which]).max(envelope);
            // Where nothing but zeros was seen the ratio is unknown: anything up to 1.
            let ratio =
                if self.ratio[which] > 0. { (ROOM * self.ratio[which]).min(1.) } else { 1. };
            corner[2 * which] = largest.ln_1p() as f32;
            corner[2 * which + 1] = (largest * ratio).ln_1p() as f32;
        }
        corner
    }
}

/// Moves every unit's offset so that its boundary goes through the corner of the honest residuals:
/// everything below the corner is accepted, whatever was learned, and nothing is accepted that any
/// unit puts beyond it.
pub fn fix_head(network: &Trainable, honest: &HonestResiduals, envelope: f64) -> Result<()> {
    let (Trainable::Head { offsets, .. }, Some(head)) = (network, network.to_head()?) else {
        return Ok(());
    };
    let projections = head.projections(&honest.corner(envelope));
    let fixed: [f32; UNITS] = projections.map(|projection| {
        // A hair of room for the rounding of the projection itself.
        -(projection as f32) - 1e-4
    });
    offsets.set(&Tensor::from_slice(&fixed, (1, UNITS), offsets.device())?)?;
    Ok(())
}

/// Moves the baseline's last bias to the threshold with the highest balanced accuracy: the honest case
/// counts as much as the four fake ones together, or rejecting everything would be right in four
/// cases of five.
pub fn fix_mlp(network: &Trainable, logits: &BTreeMap<Case, Vec<f64>>) -> Result<()> {
    let Trainable::Mlp { variables, .. } = network else { return Ok(()) };
    let Some(bias) = variables.last() else { return Ok(()) };
    let mut candidates: Vec<f64> =
        logits.values().flatten().copied().filter(|logit| logit.is_finite()).collect();
    candidates.sort_by(f64::total_cmp);
    candidates.dedup();
    let accuracy = |threshold: f64| {
        let right = |case: &Case, logits: &Vec<f64>| {
            let right = logits.iter().filter(|l| (**l >= threshold) == (*case == Case::Honest));
            let weight = if *case == Case::Honest { 4. } else { 1. };
            weight * right.count() as f64 / logits.len().max(1) as f64
        };
        logits.iter().map(|(case, logits)| right(case, logits)).sum::<f64>()
    };
    // A thousand candidates are as fine as the split can tell.
    let stride = candidates.len().div_ceil(1000).max(1);
    let best = candidates
        .into_iter()
        .step_by(stride)
        .map(|threshold| (threshold, accuracy(threshold)))
        .fold((0., f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best });
    bias.set(&(bias.as_tensor() - best.0)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below_the_corner_is_accepted_and_the_threshold_is_near_it() {
        for envelope in [8., 64., 1000.] {
            let mut random = random::stream(0, "threshold", "test");
            let network = Trainable::head(8., &mut random, &Device::Cpu).unwrap();
            fix_head(&network, &HonestResiduals::default(), envelope).unwrap();
            let head = network.to_head().unwrap().unwrap();
            let batch = envelope_batch(envelope, 500, &mut random, &Device::Cpu).unwrap();
            for row in batch.to_vec2::<f32>().unwrap() {
                assert!(head.score(&std::array::from_fn(|i| row[i])) >= 0.5);
            }
            let threshold = head.threshold();
            assert!((envelope..envelope * 1.1).contains(&threshold), "{threshold}");
        }
    }

    #[test]
    fn the_baseline_gets_the_best_threshold() {
        let mut random = random::stream(0, "threshold", "mlp");
        let network = Trainable::mlp(4, 1., 1., &mut random, &Device::Cpu).unwrap();
        let mut logits = BTreeMap::from([(Case::Honest, vec![5., 6., 7.])]);
        for case in &Case::ALL[1..] {
            logits.insert(*case, vec![1., 2., 3.]);
        }
        fix_mlp(&network, &logits).unwrap();
        let bias = network.variables().last().unwrap().as_tensor().to_vec2::<f32>().unwrap()[0][0];
        assert!((-5. ..-3.).contains(&bias), "{bias}");
    }
}
