//! The proof generator: a frozen, seeded map from (input, output) to a short vector.
//!
//! It is public. Anyone can run it, also on a wrong output, so a proof vector by itself proves
//! nothing; it ties an output to its input for attackers who have no prover. Soundness against
//! the host comes from the residuals of [`crate::residual`].

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::operations::linear::sample_scale;
use crate::{Error, Result};

/// Buckets of the signed sketch of the input, and of the output.
pub const BUCKETS: usize = 64;
/// Width of the hidden layer.
pub const HIDDEN: usize = 64;
/// Signs repeat after this many elements, times the sign of the block.
const PERIOD: usize = 4096;

/// Seeded signed-bucket sketch: element i of a flattened tensor goes to bucket `i % BUCKETS` with
/// the sign `element[i % period] * block[i / period]`. Linear in the size of the tensor.
#[derive(Debug, Clone)]
pub struct Fold {
    len: usize,
    period: usize,
    blocks: usize,
    /// `[period]`, each 1 or -1.
    element_signs: Vec<f32>,
    /// `[blocks]`, each 1 or -1.
    block_signs: Vec<f32>,
    element: Tensor,
    block: Tensor,
}

impl Fold {
    fn new(len: usize, seed: [u8; 32], device: &Device) -> Result<Self> {
        let period = len.div_ceil(BUCKETS).max(1).saturating_mul(BUCKETS).min(PERIOD);
        let blocks = len.div_ceil(period).max(1);
        let mut random = ChaCha20Rng::from_seed(seed);
        let mut signs = |count: usize| -> Vec<f32> {
            (0..count).map(|_| if random.next_u32() >> 31 == 0 { 1. } else { -1. }).collect()
        };
        let (element_signs, block_signs) = (signs(period), signs(blocks));
        let element = Tensor::from_slice(&element_signs, (1, period), device)?;
        let block = Tensor::from_slice(&block_signs, (1, blocks, 1), device)?;
        Ok(Self { len, period, blocks, element_signs, block_signs, element, block })
    }

    /// Number of elements of the tensor.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to fold.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn element_signs(&self) -> &[f32] {
        &self.element_signs
    }

    pub fn block_signs(&self) -> &[f32] {
        &self.block_signs
    }

    /// `[B, len]` to `[B, BUCKETS]`, divided by the root mean square of the tensor and by the
    /// root of the number of elements per bucket: independent of scale and size.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        // Normalisers are detached: the root has no finite gradient at a tensor of zeros.
        let x = x.broadcast_div(&sample_scale(x)?.detach())?;
        let rms = x.sqr()?.mean_keepdim(1)?.sqrt()?.detach();
        let padding = self.blocks * self.period - self.len;
        let x = if padding > 0 { x.pad_with_zeros(1, 0, padding)? } else { x };
        let x = x.reshape((batch, self.blocks, self.period))?;
        let x = x.broadcast_mul(&self.block)?.sum(1)?.broadcast_mul(&self.element)?;
        let x = x.reshape((batch, self.period / BUCKETS, BUCKETS))?.sum(1)?;
        Ok(x.broadcast_div(&rms.affine(self.norm(), NORM_FLOOR)?)?)
    }

    /// Root of the number of elements per bucket.
    pub fn norm(&self) -> f64 {
        (self.len as f64 / BUCKETS as f64).max(1.).sqrt()
    }
}

/// Keeps the quotient of [`Fold::apply`] finite for a tensor of zeros.
pub const NORM_FLOOR: f64 = 1e-20;

/// The generator's weights, drawn once and never trained: `tanh(tanh([fold(x), fold(y)] W1 + b1) W2)`.
#[derive(Debug, Clone)]
pub struct Generator {
    /// `[2 * BUCKETS, HIDDEN]`
    pub weights_1: Tensor,
    /// `[1, HIDDEN]`
    pub bias_1: Tensor,
    /// `[HIDDEN, proof_dim]`
    pub weights_2: Tensor,
    pub fold_x: Fold,
    pub fold_y: Fold,
}

impl Generator {
    /// Draws a generator for inputs of `x_len` elements in all and outputs of `y_len`.
    ///
    /// # Errors
    /// When the device cannot hold the tensors.
    pub fn from_seed(
        seed: [u8; 32],
        x_len: usize,
        y_len: usize,
        proof_dim: usize,
        device: &Device,
    ) -> Result<Self> {
        let mut random = ChaCha20Rng::from_seed(derive(&seed, "weights"));
        let mut normal = |rows: usize, columns: usize| -> Result<Tensor> {
            let scale = 1. / (rows as f32).sqrt();
            let values: Vec<f32> = (0..rows * columns)
                .map(|_| {
                    let value: f32 = StandardNormal.sample(&mut random);
                    value * scale
                })
                .collect();
            Ok(Tensor::from_vec(values, (rows, columns), device)?)
        };
        let weights_1 = normal(2 * BUCKETS, HIDDEN)?;
        let bias_1 = normal(1, HIDDEN)?;
        let weights_2 = normal(HIDDEN, proof_dim)?;
        Self::from_weights(seed, x_len, y_len, weights_1, bias_1, weights_2)
    }

    /// A generator from stored weights; the signs come from the seed.
    ///
    /// # Errors
    /// When the weights do not fit each other.
    pub fn from_weights(
        seed: [u8; 32],
        x_len: usize,
        y_len: usize,
        weights_1: Tensor,
        bias_1: Tensor,
        weights_2: Tensor,
    ) -> Result<Self> {
        let proof_dim = weights_2.dims().get(1).copied().unwrap_or(0);
        for (name, tensor, expected) in [
            ("generator.weights_1", &weights_1, [2 * BUCKETS, HIDDEN]),
            ("generator.bias_1", &bias_1, [1, HIDDEN]),
            ("generator.weights_2", &weights_2, [HIDDEN, proof_dim]),
        ] {
            if tensor.dims() != expected {
                return Err(Error::Shape {
                    tensor: name.into(),
                    got: tensor.dims().to_vec(),
                    expected: expected.to_vec(),
                });
            }
        }
        let device = weights_1.device().clone();
        let fold_x = Fold::new(x_len, derive(&seed, "signs of x"), &device)?;
        let fold_y = Fold::new(y_len, derive(&seed, "signs of y"), &device)?;
        Ok(Self { weights_1, bias_1, weights_2, fold_x, fold_y })
    }

    /// Length of a proof vector.
    pub fn proof_dim(&self) -> usize {
        self.weights_2.dims()[1]
    }

    /// The folded inputs, `[B, BUCKETS]`: what of the inputs the proof depends on.
    pub fn fold_inputs(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let flat = inputs
            .iter()
            .map(|input| Ok(input.reshape((input.dim(0)?, ()))?))
            .collect::<Result<Vec<_>>>()?;
        let x = if flat.len() == 1 { flat[0].clone() } else { Tensor::cat(&flat, 1)? };
        self.fold_x.apply(&x)
    }

    /// The proof vectors `[B, proof_dim]` of folded inputs and an output `[B, ...]`.
    pub fn proof(&self, folded_inputs: &Tensor, output: &Tensor) -> Result<Tensor> {
        let y = self.fold_y.apply(&output.reshape((output.dim(0)?, ()))?)?;
        let folded = Tensor::cat(&[folded_inputs, &y], 1)?;
        let hidden = folded.matmul(&self.weights_1)?.broadcast_add(&self.bias_1)?.tanh()?;
        Ok(hidden.matmul(&self.weights_2)?.tanh()?)
    }

    /// Rounding unit of a proof element. Two runtimes that fold the same tensors differ by
    /// roundings of sums of `len / BUCKETS` terms; a constant, so that no claim can widen it.
    pub fn proof_unit(&self) -> f64 {
        let terms = self.fold_x.len().max(self.fold_y.len()) as f64 / BUCKETS as f64;
        2f64.powi(-20) * (1. + terms.max(1.).powf(0.25))
    }

    /// Multiply-accumulates of one proof vector.
    pub fn cost(&self) -> u64 {
        let folds = self.fold_x.len() + self.fold_y.len();
        (2 * folds + (2 * BUCKETS + self.proof_dim()) * HIDDEN) as u64
    }

    /// The weights by name, for the artefact.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let cpu = |tensor: &Tensor| -> Result<Tensor> {
            Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?)
        };
        Ok(vec![
            ("generator.weights_1".into(), cpu(&self.weights_1)?),
            ("generator.bias_1".into(), cpu(&self.bias_1)?),
            ("generator.weights_2".into(), cpu(&self.weights_2)?),
        ])
    }
}

fn derive(seed: &[u8; 32], purpose: &str) -> [u8; 32] {
    *blake3::keyed_hash(seed, purpose.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(len: usize, seed: u8) -> Tensor {
        let mut stream = ChaCha20Rng::from_seed([seed; 32]);
        let values: Vec<f32> = (0..len).map(|_| StandardNormal.sample(&mut stream)).collect();
        Tensor::from_vec(values, (1, len), &Device::Cpu).unwrap()
    }

    fn proof(generator: &Generator, x: &Tensor, y: &Tensor) -> Vec<f32> {
        let folded = generator.fold_inputs(std::slice::from_ref(x)).unwrap();
        generator.proof(&folded, y).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn proofs_are_bounded_scale_free_and_depend_on_every_element() {
        let generator = Generator::from_seed([3; 32], 5000, 70, 32, &Device::Cpu).unwrap();
        let (x, y) = (random(5000, 1), random(70, 2));
        let base = proof(&generator, &x, &y);
        assert_eq!(base.len(), 32);
        assert!(base.iter().all(|v| v.abs() <= 1.));
        for scale in [1e-30, 1e30] {
            let scaled = proof(&generator, &(&x * scale).unwrap(), &(&y * scale).unwrap());
            for (a, b) in base.iter().zip(&scaled) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
        for element in [0, 69] {
            let mut values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values[element] += 1.;
            let moved = Tensor::from_vec(values, (1, 70), &Device::Cpu).unwrap();
            assert_ne!(base, proof(&generator, &x, &moved));
        }
    }

    #[test]
    fn zeros_have_a_finite_proof() {
        let generator = Generator::from_seed([3; 32], 10, 10, 16, &Device::Cpu).unwrap();
        let zero = Tensor::zeros((1, 10), DType::F32, &Device::Cpu).unwrap();
        assert!(proof(&generator, &zero, &zero).iter().all(|v| v.is_finite()));
    }
}
