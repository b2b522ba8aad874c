//! The proof generator: a frozen, seeded map from (input, output) to a short vector.
//!
//! It is public. Anyone can run it, also on a wrong output, so a proof vector by itself proves
//! nothing; it ties an output to its input for attackers who have no prover. Soundness against
//! the host comes from the residuals of [`crate::residual`].

mod fold;

pub use fold::{BUCKETS, Fold, NORM_FLOOR};

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::{Error, Result};

/// Width of the hidden layer.
pub const HIDDEN: usize = 64;
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
    seed: [u8; 32],
    plain: Plain,
}

/// The weights as plain numbers, for a host that proves one inference on the CPU.
#[derive(Debug, Clone)]
struct Plain {
    weights_1: Vec<f32>,
    bias_1: Vec<f32>,
    weights_2: Vec<f32>,
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
        let plain = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let plain = Plain {
            weights_1: plain(&weights_1)?,
            bias_1: plain(&bias_1)?,
            weights_2: plain(&weights_2)?,
        };
        Ok(Self { weights_1, bias_1, weights_2, fold_x, fold_y, seed, plain })
    }

    /// The same generator for inputs and outputs of other sizes.
    ///
    /// # Errors
    /// When the device cannot hold the signs.
    pub fn at(&self, x_len: usize, y_len: usize) -> Result<Self> {
        let device = self.weights_1.device().clone();
        let fold_x = Fold::new(x_len, derive(&self.seed, "signs of x"), &device)?;
        let fold_y = Fold::new(y_len, derive(&self.seed, "signs of y"), &device)?;
        Ok(Self { fold_x, fold_y, ..self.clone() })
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

    /// The proof vector of one sample in plain memory: [`Generator::proof`] within rounding, in one
    /// pass over inputs and output.
    ///
    /// # Errors
    /// [`Error::Shape`] when the inputs or the output have another number of elements.
    pub fn proof_of(&self, inputs: &[&[f32]], output: &[f32]) -> Result<Vec<f32>> {
        Ok(self.proof_with_squares(inputs, output)?.0)
    }

    /// As [`Generator::proof_of`], and the sum of the squared elements of the output, which is finite
    /// if and only if each of them is.
    ///
    /// # Errors
    /// As [`Generator::proof_of`].
    pub fn proof_with_squares(&self, inputs: &[&[f32]], output: &[f32]) -> Result<(Vec<f32>, f64)> {
        let inputs = match inputs {
            [input] => Cow::Borrowed(*input),
            several => Cow::Owned(several.concat()),
        };
        let x = self.fold_x.apply_plain(&inputs)?;
        let (y, squares) = self.fold_y.apply_with_squares(output)?;
        let mut hidden = self.plain.bias_1.clone();
        for (value, row) in x.iter().chain(&y).zip(self.plain.weights_1.chunks_exact(HIDDEN)) {
            hidden.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
        }
        let mut proof = vec![0.; self.proof_dim()];
        let rows = self.plain.weights_2.chunks_exact(self.proof_dim().max(1));
        for (value, row) in hidden.iter().zip(rows) {
            let value = value.tanh();
            proof.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
        }
        proof.iter_mut().for_each(|sum| *sum = sum.tanh());
        Ok((proof, squares))
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
    fn plain_memory_and_tensors_give_one_proof() {
        for (x_len, y_len) in [(1, 1), (63, 65), (5000, 70), (4096, 8192), (100_003, 33_333)] {
            let generator = Generator::from_seed([4; 32], x_len, y_len, 32, &Device::Cpu).unwrap();
            let (x, y) = (random(x_len, 5), random(y_len, 6));
            for scale in [1., 1e-38, 1e30, 0.] {
                let (x, y) = ((&x * scale).unwrap(), (&y * scale).unwrap());
                // Tracked tensors take candle's way.
                let tracked = |tensor: &Tensor| candle_core::Var::from_tensor(tensor).unwrap();
                let by_candle = proof(&generator, tracked(&x).as_tensor(), tracked(&y).as_tensor());
                let untracked = proof(&generator, &x, &y);
                let plain = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
                let plain = generator.proof_of(&[&plain(&x)], &plain(&y)).unwrap();
                for ((a, b), c) in by_candle.iter().zip(&untracked).zip(&plain) {
                    let unit = generator.proof_unit() as f32;
                    assert!(
                        (a - b).abs() < unit && (a - c).abs() < unit,
                        "{x_len} {scale} {a} {b} {c}"
                    );
                }
            }
        }
        // A blank image: every square rounds the same way. In f64 nothing is lost.
        let generator = Generator::from_seed([4; 32], 802_816, 1, 16, &Device::Cpu).unwrap();
        let blank = vec![0.1f32; 802_816];
        let folded = generator.fold_x.apply_plain(&blank).unwrap();
        let exact: f64 =
            generator.fold_x.element_signs().iter().step_by(BUCKETS).map(|s| f64::from(*s)).sum();
        let exact =
            exact * generator.fold_x.block_signs().iter().map(|s| f64::from(*s)).sum::<f64>();
        let error = f64::from(folded[0]) - exact / generator.fold_x.norm();
        assert!(error.abs() < 1e-5, "{error}");
        let generator = Generator::from_seed([4; 32], 4, 2, 16, &Device::Cpu).unwrap();
        assert!(generator.proof_of(&[&[0.; 2], &[1.; 2]], &[0.; 2]).is_ok());
        assert!(generator.proof_of(&[&[0.; 3]], &[0.; 2]).is_err());
        assert!(generator.proof_of(&[&[0.; 4]], &[0.; 1]).is_err());
    }

    #[test]
    fn zeros_have_a_finite_proof() {
        let generator = Generator::from_seed([3; 32], 10, 10, 16, &Device::Cpu).unwrap();
        let zero = Tensor::zeros((1, 10), DType::F32, &Device::Cpu).unwrap();
        assert!(proof(&generator, &zero, &zero).iter().all(|v| v.is_finite()));
    }
}
