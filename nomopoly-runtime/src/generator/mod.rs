//! The proof generator: a frozen, seeded map from an operation's output to a short vector.
//!
//! It is public. Anyone can run it, also on a wrong output, so a proof vector by itself proves
//! nothing; it is a fingerprint that those cannot make who have no prover. Soundness against the host
//! comes from the residuals of [`crate::residual`], which tie the output to the input.
//!
//! The input takes no part. What it would add, sketches see anyway, and handing it to the generator
//! means that no runtime can fuse the operation with those before it: on a sentence encoder that was
//! half of what proving costs.

mod fold;

pub use fold::{BUCKETS, Fold, LOOKS, NORM_FACTOR, NORM_FLOOR, lattice, limits};

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::{Error, Result};

/// Width of the hidden layer.
pub const HIDDEN: usize = 64;

/// The generator's weights, drawn once and never trained: `tanh(tanh(fold(y) W1 + b1) W2)`.
#[derive(Debug, Clone)]
pub struct Generator {
    /// `[BUCKETS, HIDDEN]`
    pub weights_1: Tensor,
    /// `[1, HIDDEN]`
    pub bias_1: Tensor,
    /// `[HIDDEN, proof_dim]`
    pub weights_2: Tensor,
    pub fold: Fold,
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
    /// Draws a generator for outputs of a shape.
    ///
    /// # Errors
    /// When the device cannot hold the tensors.
    pub fn from_seed(
        seed: [u8; 32],
        shape: &[usize],
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
        let weights_1 = normal(BUCKETS, HIDDEN)?;
        let bias_1 = normal(1, HIDDEN)?;
        let weights_2 = normal(HIDDEN, proof_dim)?;
        Self::from_weights(seed, shape, weights_1, bias_1, weights_2)
    }

    /// A generator from stored weights; the signs come from the seed.
    ///
    /// # Errors
    /// When the weights do not fit each other.
    pub fn from_weights(
        seed: [u8; 32],
        shape: &[usize],
        weights_1: Tensor,
        bias_1: Tensor,
        weights_2: Tensor,
    ) -> Result<Self> {
        let proof_dim = weights_2.dims().get(1).copied().unwrap_or(0);
        for (name, tensor, expected) in [
            ("generator.weights_1", &weights_1, [BUCKETS, HIDDEN]),
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
        let fold = Fold::new(shape, derive(&seed, "signs"), &device)?;
        let plain = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let plain = Plain {
            weights_1: plain(&weights_1)?,
            bias_1: plain(&bias_1)?,
            weights_2: plain(&weights_2)?,
        };
        Ok(Self { weights_1, bias_1, weights_2, fold, seed, plain })
    }

    /// The same generator for outputs of another shape.
    ///
    /// # Errors
    /// When the device cannot hold the signs.
    pub fn at(&self, shape: &[usize]) -> Result<Self> {
        let device = self.weights_1.device().clone();
        let fold = Fold::new(shape, derive(&self.seed, "signs"), &device)?;
        Ok(Self { fold, ..self.clone() })
    }

    /// Length of a proof vector.
    pub fn proof_dim(&self) -> usize {
        self.weights_2.dims()[1]
    }

    /// The proof vectors `[B, proof_dim]` of outputs `[B, ...]`.
    pub fn proof(&self, output: &Tensor) -> Result<Tensor> {
        let folded = self.fold.apply(&output.reshape((output.dim(0)?, ()))?)?;
        let hidden = folded.matmul(&self.weights_1)?.broadcast_add(&self.bias_1)?.tanh()?;
        Ok(hidden.matmul(&self.weights_2)?.tanh()?)
    }

    /// The proof vector of one sample in plain memory: [`Generator::proof`] within rounding.
    ///
    /// # Errors
    /// [`Error::Shape`] when the output has another number of elements.
    pub fn proof_of(&self, output: &[f32]) -> Result<Vec<f32>> {
        let folded = self.fold.apply_plain(output)?;
        let mut hidden = self.plain.bias_1.clone();
        for (value, row) in folded.iter().zip(self.plain.weights_1.chunks_exact(HIDDEN)) {
            hidden.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
        }
        let mut proof = vec![0.; self.proof_dim()];
        let rows = self.plain.weights_2.chunks_exact(self.proof_dim().max(1));
        for (value, row) in hidden.iter().zip(rows) {
            let value = value.tanh();
            proof.iter_mut().zip(row).for_each(|(sum, weight)| *sum += value * weight);
        }
        proof.iter_mut().for_each(|sum| *sum = sum.tanh());
        Ok(proof)
    }

    /// Rounding unit of a proof element. Two runtimes that fold the same tensors differ by
    /// roundings of sums of `looks / BUCKETS` terms; a constant, so that no claim can widen it.
    pub fn proof_unit(&self) -> f64 {
        let terms = self.fold.looks() as f64 / BUCKETS as f64;
        2f64.powi(-20) * (1. + terms.max(1.).powf(0.25))
    }

    /// Multiply-accumulates of one proof vector.
    pub fn cost(&self) -> u64 {
        (2 * self.fold.looks() + (BUCKETS + self.proof_dim()) * HIDDEN) as u64
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

    fn proof(generator: &Generator, y: &Tensor) -> Vec<f32> {
        generator.proof(y).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn proofs_are_bounded_scale_free_and_depend_on_every_element_that_is_looked_at() {
        let generator = Generator::from_seed([3; 32], &[5000], 32, &Device::Cpu).unwrap();
        assert_eq!((generator.fold.indices()[1], generator.fold.looks()), (39, 128));
        let y = random(5000, 1);
        let base = proof(&generator, &y);
        assert_eq!(base.len(), 32);
        assert!(base.iter().all(|v| v.abs() <= 1.));
        for scale in [1e-30, 1e30] {
            for (a, b) in base.iter().zip(&proof(&generator, &(&y * scale).unwrap())) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
        for (element, looked_at) in [(0, true), (39, true), (1, false)] {
            let mut values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values[element] += 1.;
            let moved = Tensor::from_vec(values, (1, 5000), &Device::Cpu).unwrap();
            assert_eq!(base != proof(&generator, &moved), looked_at, "{element}");
        }
    }

    #[test]
    fn plain_memory_and_tensors_give_one_proof() {
        let shapes: [&[usize]; 9] = [
            &[1],
            &[63],
            &[1025],
            &[100_003],
            &[],
            &[65, 3],
            &[128, 384],
            &[2, 64, 56, 7],
            &[3, 1, 2, 5, 1, 4, 3],
        ];
        for shape in shapes {
            let len = shape.iter().product();
            let generator = Generator::from_seed([4; 32], shape, 32, &Device::Cpu).unwrap();
            assert!((1..=LOOKS).contains(&generator.fold.looks()));
            for scale in [1., 1e-38, 1e30, 0.] {
                let y = (&random(len, 5) * scale).unwrap();
                let plain = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let plain = generator.proof_of(&plain).unwrap();
                for (a, b) in proof(&generator, &y).iter().zip(&plain) {
                    let unit = generator.proof_unit() as f32;
                    assert!((a - b).abs() < unit, "{shape:?} {scale} {a} {b}");
                }
            }
        }
        let generator = Generator::from_seed([4; 32], &[4], 16, &Device::Cpu).unwrap();
        assert!(generator.proof_of(&[0.; 4]).is_ok());
        assert!(generator.proof_of(&[0.; 3]).is_err());
    }

    #[test]
    fn zeros_have_a_finite_proof() {
        let generator = Generator::from_seed([3; 32], &[10], 16, &Device::Cpu).unwrap();
        let zero = Tensor::zeros((1, 10), DType::F32, &Device::Cpu).unwrap();
        assert!(proof(&generator, &zero).iter().all(|v| v.is_finite()));
    }
}
