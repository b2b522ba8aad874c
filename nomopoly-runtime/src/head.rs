//! The verifier's head: a small network on residual features that is monotone by construction.

use candle_core::{Device, Tensor};
use nomopoly_manifest::Certificate;

use crate::certificate;
use crate::residual::{FEATURES, FeatureVector, floor_features};
use crate::{Error, Result};

/// Units of the head.
pub const UNITS: usize = 8;

/// `score = sigmoid(-max_j (Σ_i weights_ij feature_i + offset_j))` with non-negative weights: a
/// smaller residual never lowers the score, and a large one cannot be bought back by small ones.
/// What is accepted is an intersection of half-spaces.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// `[FEATURES][UNITS]`, non-negative.
    pub weights: [[f32; UNITS]; FEATURES],
    pub offsets: [f32; UNITS],
}

impl Head {
    /// `Σ_i weights_ij feature_i` of each unit j.
    pub fn projections(&self, features: &FeatureVector) -> [f64; UNITS] {
        std::array::from_fn(|unit| {
            let products = features.iter().zip(&self.weights);
            products.map(|(&f, weights)| f64::from(f) * f64::from(weights[unit])).sum()
        })
    }

    /// The logit of the score; at least 0 means accepted. NaN if a feature is.
    pub fn logit(&self, features: &FeatureVector) -> f64 {
        let mut largest = f64::NEG_INFINITY;
        for (projection, &offset) in self.projections(features).iter().zip(&self.offsets) {
            let value = projection + f64::from(offset);
            // `f64::max` would drop a NaN.
            if value.is_nan() {
                return f64::NAN;
            }
            largest = largest.max(value);
        }
        -largest
    }

    /// Logits `[B]` of features `[B, FEATURES]`: [`Head::logit`] on tensors.
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        let device = features.device();
        let weights: Vec<f32> = self.weights.iter().flatten().copied().collect();
        let weights = Tensor::from_vec(weights, (FEATURES, UNITS), device)?;
        let offsets = Tensor::from_slice(&self.offsets, (1, UNITS), device)?;
        Ok(features.matmul(&weights)?.broadcast_add(&offsets)?.max(1)?.neg()?)
    }

    /// The score, 0 to 1; accepted at 0.5 and above. Not a number is never accepted.
    pub fn score(&self, features: &FeatureVector) -> f64 {
        let logit = self.logit(features);
        if logit.is_nan() { 0. } else { 1. / (1. + (-logit).exp()) }
    }

    /// The largest maximum residual, in rounding units, that is accepted when every other feature
    /// is as small as it can be. Bisection, exact because the head is monotone; 0 when nothing is
    /// accepted, infinity when everything is.
    pub fn threshold(&self) -> f64 {
        let accepts = |residual: f64| {
            let mut features = floor_features();
            features[0] = residual.ln_1p() as f32;
            self.logit(&features) >= 0.
        };
        if !accepts(0.) {
            return 0.;
        }
        let (mut low, mut high) = (0f64, 1f64);
        while accepts(high) {
            low = high;
            high *= 2.;
            if high > 1e12 {
                return f64::INFINITY;
            }
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if accepts(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// The certificate of this head for a given number of sketches and spreads.
    pub fn certify(
        &self,
        sketches: u32,
        spread: f64,
        median_spread: f64,
        soundness_bits: f64,
        min_deviation: f64,
    ) -> Certificate {
        let threshold = self.threshold();
        let log2 = certificate::log2_bound(sketches, threshold, spread, min_deviation);
        Certificate {
            sketches,
            threshold,
            spread,
            median_spread,
            bits_at_min_deviation: log2.is_finite().then_some(-log2),
            deviation_at_soundness_bits: certificate::deviation_at(
                sketches,
                threshold,
                spread,
                soundness_bits,
            ),
        }
    }

    /// The weights by name, for the artefact.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let weights: Vec<f32> = self.weights.iter().flatten().copied().collect();
        Ok(vec![
            ("head.weights".into(), Tensor::from_vec(weights, (FEATURES, UNITS), &Device::Cpu)?),
            ("head.offsets".into(), Tensor::from_slice(&self.offsets, UNITS, &Device::Cpu)?),
        ])
    }

    /// A head from stored weights.
    ///
    /// # Errors
    /// When a length is wrong, a value is not finite, or a weight that must not be negative is.
    pub fn from_tensors(get: impl Fn(&str) -> Result<Tensor>) -> Result<Self> {
        let values = |name: &str, len: usize| -> Result<Vec<f32>> {
            let tensor = get(name)?;
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            if values.len() != len {
                return Err(Error::Shape {
                    tensor: name.into(),
                    got: tensor.dims().to_vec(),
                    expected: vec![len],
                });
            }
            if values.iter().any(|v| !v.is_finite()) {
                return Err(Error::NonFinite { tensor: name.into() });
            }
            Ok(values)
        };
        let weights = values("head.weights", FEATURES * UNITS)?;
        if weights.iter().any(|weight| *weight < 0.) {
            return Err(Error::Operation {
                operation: "head.weights".into(),
                reason: "a negative weight would let a larger residual raise the score".into(),
            });
        }
        let offsets = values("head.offsets", UNITS)?;
        Ok(Self {
            weights: std::array::from_fn(|i| std::array::from_fn(|j| weights[i * UNITS + j])),
            offsets: std::array::from_fn(|j| offsets[j]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head that accepts residuals up to `threshold` units in every feature.
    fn step_head(threshold: f64) -> Head {
        let mut head = Head { weights: [[0.; UNITS]; FEATURES], offsets: [-1e3; UNITS] };
        for feature in 0..FEATURES {
            head.weights[feature][feature] = 4.;
            head.offsets[feature] = -4. * threshold.ln_1p() as f32;
        }
        head
    }

    #[test]
    fn the_score_never_rises_with_a_feature() {
        let mut head = step_head(10.);
        for (index, weight) in head.weights.iter_mut().flatten().enumerate() {
            *weight += (index % 5) as f32 * 0.3;
        }
        let base = [0.5, 0.4, 0.3, 0.2];
        for feature in 0..FEATURES {
            let mut last = f64::INFINITY;
            for step in 0..50 {
                let mut features = base;
                features[feature] = step as f32 * 0.2;
                let score = head.score(&features);
                assert!(score <= last);
                last = score;
            }
        }
    }

    #[test]
    fn the_logits_of_a_batch_are_those_of_its_rows() {
        let mut head = step_head(10.);
        head.weights[1][5] = 0.7;
        head.offsets[5] = -0.3;
        let rows = [[0.5, 0.4, 0.3, 0.2], [3., 1., 0., 2.], [0., 0., 0., 0.]];
        let batch = Tensor::from_vec(rows.concat(), (3, FEATURES), &Device::Cpu).unwrap();
        let logits = head.logits(&batch).unwrap().to_vec1::<f32>().unwrap();
        for (row, logit) in rows.iter().zip(logits) {
            assert!((head.logit(row) - f64::from(logit)).abs() < 1e-4);
        }
    }

    #[test]
    fn bisection_finds_the_threshold_and_nan_is_rejected() {
        let head = step_head(10.);
        let threshold = head.threshold();
        assert!((9.99..10.01).contains(&threshold), "{threshold}");
        assert_eq!(head.score(&[f32::NAN, 0., 0., 0.]), 0.);
        assert_eq!(head.score(&[f32::INFINITY, 0., 0., 0.]), 0.);
    }

    #[test]
    fn one_large_residual_cannot_be_bought_back() {
        let head = step_head(10.);
        for feature in 0..FEATURES {
            let mut features = floor_features();
            features[feature] = 11f64.ln_1p() as f32;
            assert!(head.score(&features) < 0.5);
        }
    }

    #[test]
    fn negative_weights_are_refused() {
        let mut head = step_head(10.);
        head.weights[0][3] = -0.1;
        let tensors: std::collections::HashMap<_, _> =
            head.tensors().unwrap().into_iter().collect();
        assert!(Head::from_tensors(|name| Ok(tensors[name].clone())).is_err());
    }
}
