//! The trainable forms of the verifier's networks.

use candle_core::{Device, Tensor, Var};
use nomopoly_runtime::head::{Head, UNITS};
use nomopoly_runtime::mlp::{MLP_HIDDEN, Mlp};
use nomopoly_runtime::residual::FEATURES;
use rand_chacha::ChaCha20Rng;

use crate::error::Result;
use crate::random;

/// A new head's weight of the feature that a unit judges.
const OWN_WEIGHT: f64 = 4.;

/// What the verifier is shown of a batch.
pub struct Shown<'a> {
    /// `[B, FEATURES]`; unused by the perceptron.
    pub features: Option<Tensor>,
    pub inputs: &'a [Tensor],
    pub output: &'a Tensor,
    pub proof: &'a Tensor,
}

/// A verifier in training.
pub enum Trainable {
    Head { weights: Var, offsets: Var },
    Mlp { network: Mlp, variables: Vec<Var> },
}

impl Trainable {
    /// A head whose first units each judge one feature and whose others mix. It starts near where
    /// heads end: over 116 operations of three networks, weights of 3.1 to 4.1 and offsets of -6.5 to
    /// -9 at an envelope of 8 units.
    pub fn head(envelope: f64, random: &mut ChaCha20Rng, device: &Device) -> Result<Self> {
        let mut weights = [[0f32; UNITS]; FEATURES];
        let mut offsets = [0f32; UNITS];
        for unit in 0..UNITS {
            for (feature, row) in weights.iter_mut().enumerate() {
                let weight = match (unit < FEATURES, unit == feature) {
                    (true, true) => OWN_WEIGHT,
                    (true, false) => 1e-3,
                    (false, _) => 0.5 + random::uniform(random),
                };
                row[unit] = inverse_softplus(weight) as f32;
            }
            // Starts by accepting residuals half as large again as it has to.
            offsets[unit] = (-OWN_WEIGHT * (1.5 * envelope).ln_1p()) as f32;
        }
        let weights: Vec<f32> = weights.into_iter().flatten().collect();
        Ok(Self::Head {
            weights: Var::from_vec(weights, (FEATURES, UNITS), device)?,
            offsets: Var::from_slice(&offsets, (1, UNITS), device)?,
        })
    }

    /// The baseline perceptron for `inputs` concatenated elements.
    pub fn mlp(
        inputs: usize,
        x_scale: f64,
        y_scale: f64,
        random: &mut ChaCha20Rng,
        device: &Device,
    ) -> Result<Self> {
        let widths = [inputs, MLP_HIDDEN[0], MLP_HIDDEN[1], 1];
        let (mut layers, mut variables) = (vec![], vec![]);
        for pair in widths.windows(2) {
            let scale = (2. / pair[0] as f64).sqrt();
            let weights = Var::from_tensor(&(random::normal(random, pair, device)? * scale)?)?;
            let bias = Var::zeros((1, pair[1]), candle_core::DType::F32, device)?;
            layers.push((weights.as_tensor().clone(), bias.as_tensor().clone()));
            variables.extend([weights, bias]);
        }
        Ok(Self::Mlp { network: Mlp { layers, x_scale, y_scale }, variables })
    }

    pub fn variables(&self) -> Vec<Var> {
        match self {
            Self::Head { weights, offsets } => vec![weights.clone(), offsets.clone()],
            Self::Mlp { variables, .. } => variables.clone(),
        }
    }

    pub fn is_head(&self) -> bool {
        matches!(self, Self::Head { .. })
    }

    /// Logits `[B, 1]`: the same formulas as the runtime's networks, on trainable tensors.
    pub fn logits(&self, shown: &Shown) -> Result<Tensor> {
        match self {
            Self::Head { weights, offsets } => {
                let features = shown.features.as_ref().ok_or_else(|| {
                    candle_core::Error::Msg("the head judges features".to_owned())
                })?;
                let weights = softplus(weights.as_tensor())?;
                let values = features.matmul(&weights)?.broadcast_add(offsets.as_tensor())?;
                Ok(values.max_keepdim(1)?.neg()?)
            }
            Self::Mlp { network, .. } => {
                Ok(network.logits(shown.inputs, shown.output, shown.proof)?)
            }
        }
    }

    /// The head as it is now.
    pub fn to_head(&self) -> Result<Option<Head>> {
        let Self::Head { weights, offsets } = self else { return Ok(None) };
        let weights = softplus(weights.as_tensor())?.flatten_all()?.to_vec1::<f32>()?;
        let offsets = offsets.as_tensor().flatten_all()?.to_vec1::<f32>()?;
        Ok(Some(Head {
            weights: std::array::from_fn(|i| std::array::from_fn(|j| weights[i * UNITS + j])),
            offsets: std::array::from_fn(|j| offsets[j]),
        }))
    }

    /// The perceptron as it is now, with constant tensors.
    pub fn to_mlp(&self) -> Result<Option<Mlp>> {
        let Self::Mlp { network, .. } = self else { return Ok(None) };
        let layers =
            network.layers.iter().map(|(w, b)| Ok((w.detach().copy()?, b.detach().copy()?)));
        Ok(Some(Mlp { layers: layers.collect::<Result<_>>()?, ..network.clone() }))
    }
}

fn softplus(x: &Tensor) -> Result<Tensor> {
    // ln(1 + e^x) = relu(x) + ln(1 + e^-|x|), finite for every x.
    Ok((x.relu()? + (x.abs()?.neg()?.exp()? + 1.)?.log()?)?)
}

fn inverse_softplus(y: f64) -> f64 {
    // ln(e^y - 1), written for small y.
    y + (-(-y).exp_m1()).ln()
}

/// Mean binary cross-entropy in nats of logits `[B, 1]` that should all be accepted or all be
/// rejected.
pub fn cross_entropy(logits: &Tensor, accept: bool) -> Result<Tensor> {
    let wrong = if accept { logits.neg()? } else { logits.clone() };
    Ok(softplus(&wrong)?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trainable_head_and_the_runtime_head_agree() {
        let mut random = random::stream(0, "head", "test");
        let trainable = Trainable::head(8., &mut random, &Device::Cpu).unwrap();
        let features = random::normal(&mut random, &[50, FEATURES], &Device::Cpu).unwrap();
        let features = (features.abs().unwrap() * 4.).unwrap();
        let empty = Tensor::zeros((50, 0), candle_core::DType::F32, &Device::Cpu).unwrap();
        let shown =
            Shown { features: Some(features.clone()), inputs: &[], output: &empty, proof: &empty };
        let logits = trainable.logits(&shown).unwrap().flatten_all().unwrap();
        let head = trainable.to_head().unwrap().unwrap();
        for (row, logit) in
            features.to_vec2::<f32>().unwrap().iter().zip(logits.to_vec1::<f32>().unwrap())
        {
            let features = std::array::from_fn(|i| row[i]);
            assert!((head.logit(&features) - f64::from(logit)).abs() < 1e-3);
        }
    }

    #[test]
    fn softplus_has_its_inverse() {
        for y in [1e-3, 0.5, 4.] {
            let x = Tensor::new(&[inverse_softplus(y)], &Device::Cpu).unwrap();
            let back = softplus(&x).unwrap().to_vec1::<f64>().unwrap()[0];
            assert!((back - y).abs() < 1e-9, "{y} {back}");
        }
    }
}
