//! The network in candle:
//! Conv 3x3 (1 to 16, pad 1) - Relu - MaxPool 2x2 - Flatten - Gemm 256 to 64 - Relu - Gemm 64 to 10.

use candle_core::{Device, Tensor, Var};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, Normal};

use crate::Result;
use crate::data::{CLASSES, SIDE};

pub const CHANNELS: usize = 16;
pub const KERNEL: usize = 3;
pub const PAD: usize = 1;
pub const POOL: usize = 2;
pub const FLAT: usize = CHANNELS * (SIDE / POOL) * (SIDE / POOL);
pub const HIDDEN: usize = 64;

/// A weight `[out, in, ...]` and a bias `[out]`, both f32.
struct Layer {
    weight: Var,
    bias: Var,
}

pub struct Network {
    conv1: Layer,
    fc1: Layer,
    fc2: Layer,
}

/// A parameter out of candle: row-major values with their name in the model file.
pub struct Weights {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Layer {
    /// He initialisation (<https://arxiv.org/abs/1502.01852>, equation 10): normal with variance
    /// 2 / fan-in, bias zero. Drawn here because candle's generator for the CPU takes no seed.
    fn new(shape: &[usize], rng: &mut ChaCha20Rng) -> Result<Self> {
        let fan_in: usize = shape[1..].iter().product();
        let normal = Normal::new(0.0_f32, (2.0 / fan_in as f32).sqrt())?;
        let values = normal.sample_iter(rng).take(shape.iter().product()).collect();
        let weight = Tensor::from_vec::<_, f32>(values, shape, &Device::Cpu)?;
        let bias = Tensor::from_vec(vec![0.0_f32; shape[0]], shape[0], &Device::Cpu)?;
        Ok(Self { weight: Var::from_tensor(&weight)?, bias: Var::from_tensor(&bias)? })
    }

    fn gemm(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

impl Network {
    pub fn new(rng: &mut ChaCha20Rng) -> Result<Self> {
        Ok(Self {
            conv1: Layer::new(&[CHANNELS, 1, KERNEL, KERNEL], rng)?,
            fc1: Layer::new(&[HIDDEN, FLAT], rng)?,
            fc2: Layer::new(&[CLASSES, HIDDEN], rng)?,
        })
    }

    /// From images `[batch, 1, 8, 8]`, values 0..=1, to logits `[batch, 10]`.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let bias = self.conv1.bias.reshape((1, CHANNELS, 1, 1))?;
        let x = images.conv2d(&self.conv1.weight, PAD, 1, 1, 1)?.broadcast_add(&bias)?;
        let x = x.relu()?.max_pool2d(POOL)?.flatten_from(1)?;
        let x = self.fc1.gemm(&x)?.relu()?;
        Ok(self.fc2.gemm(&x)?)
    }

    /// The parameters for an optimiser, always in the same order.
    pub fn vars(&self) -> Vec<Var> {
        self.named().into_iter().map(|(_, var)| var.clone()).collect()
    }

    /// The parameters for the model file, in the order of `vars`.
    pub fn weights(&self) -> Result<Vec<Weights>> {
        let weights = |(name, var): (&'static str, &Var)| {
            let values = var.flatten_all()?.to_vec1()?;
            Ok(Weights { name, shape: var.dims().to_vec(), values })
        };
        self.named().into_iter().map(weights).collect()
    }

    fn named(&self) -> [(&'static str, &Var); 6] {
        [
            ("conv1.weight", &self.conv1.weight),
            ("conv1.bias", &self.conv1.bias),
            ("fc1.weight", &self.fc1.weight),
            ("fc1.bias", &self.fc1.bias),
            ("fc2.weight", &self.fc2.weight),
            ("fc2.bias", &self.fc2.bias),
        ]
    }
}
