//! The network in candle:
//! Embedding 96 to 8 - Conv 1-D of 5 (8 to 24, pad 2) - Relu - MaxPool 4 - Flatten - the layout
//! beside it - Gemm 147 to 32 - Relu - Gemm 32 to 16 (the embedding) - Relu - Gemm 16 to 6.

use candle_core::{D, Device, Tensor, Var};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, Normal};

use crate::Result;
use crate::text::{KINDS, LENGTH};

/// Codes of characters: padding and 95 printable ones.
pub const CODES: usize = 96;
/// Width of a character's vector.
pub const WIDTH: usize = 8;
pub const CHANNELS: usize = 24;
pub const KERNEL: usize = 5;
pub const PAD: usize = 2;
pub const POOL: usize = 4;
pub const LAYOUT: usize = 3;
pub const JOINED: usize = CHANNELS * (LENGTH / POOL) + LAYOUT;
pub const HIDDEN: usize = 32;
pub const EMBEDDING: usize = 16;

/// A weight `[out, in, ...]` and a bias `[out]`, both f32.
struct Layer {
    weight: Var,
    bias: Var,
}

pub struct Network {
    /// f32 `[96, 8]`: a row for every code.
    table: Var,
    conv1: Layer,
    fc1: Layer,
    fc2: Layer,
    fc3: Layer,
}

/// What the network says about a batch.
pub struct Outputs {
    /// Logits, f32 `[batch, 6]`.
    pub kind: Tensor,
    /// f32 `[batch, 16]`: near for fields that look alike.
    pub embedding: Tensor,
}

/// A parameter out of candle: row-major values with their name in the model file.
pub struct Weights {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Drawn here because candle's generator for the CPU takes no seed.
fn normal(shape: &[usize], deviation: f32, rng: &mut ChaCha20Rng) -> Result<Var> {
    let normal = Normal::new(0.0_f32, deviation)?;
    let values = normal.sample_iter(rng).take(shape.iter().product()).collect();
    let tensor = Tensor::from_vec::<_, f32>(values, shape, &Device::Cpu)?;
    Ok(Var::from_tensor(&tensor)?)
}

impl Layer {
    /// He initialisation (<https://arxiv.org/abs/1502.01852>, equation 10): normal with variance
    /// 2 / fan-in, bias zero.
    fn new(shape: &[usize], rng: &mut ChaCha20Rng) -> Result<Self> {
        let fan_in: usize = shape[1..].iter().product();
        let bias = Tensor::from_vec(vec![0.0_f32; shape[0]], shape[0], &Device::Cpu)?;
        Ok(Self {
            weight: normal(shape, (2.0 / fan_in as f32).sqrt(), rng)?,
            bias: Var::from_tensor(&bias)?,
        })
    }

    fn gemm(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

impl Network {
    pub fn new(rng: &mut ChaCha20Rng) -> Result<Self> {
        Ok(Self {
            table: normal(&[CODES, WIDTH], 1.0, rng)?,
            conv1: Layer::new(&[CHANNELS, WIDTH, KERNEL], rng)?,
            fc1: Layer::new(&[HIDDEN, JOINED], rng)?,
            fc2: Layer::new(&[EMBEDDING, HIDDEN], rng)?,
            fc3: Layer::new(&[KINDS.len(), EMBEDDING], rng)?,
        })
    }

    /// From `characters`, i64 `[batch, 24]`, values 0..=95, and `layout`, f32 `[batch, 3]`.
    pub fn forward(&self, characters: &Tensor, layout: &Tensor) -> Result<Outputs> {
        let batch = characters.dim(0)?;
        let rows = self.table.index_select(&characters.flatten_all()?, 0)?;
        let x = rows.reshape((batch, LENGTH, WIDTH))?.transpose(1, 2)?.contiguous()?;
        let bias = self.conv1.bias.reshape((1, CHANNELS, 1))?;
        let x = x.conv1d(&self.conv1.weight, PAD, 1, 1, 1)?.broadcast_add(&bias)?.relu()?;
        // Windows that touch without overlapping: a reshape and a maximum.
        let x = x.reshape((batch, CHANNELS, LENGTH / POOL, POOL))?.max(D::Minus1)?;
        let x = Tensor::cat(&[&x.flatten_from(1)?, layout], 1)?;
        let x = self.fc1.gemm(&x)?.relu()?;
        let embedding = self.fc2.gemm(&x)?;
        let kind = self.fc3.gemm(&embedding.relu()?)?;
        Ok(Outputs { kind, embedding })
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

    fn named(&self) -> [(&'static str, &Var); 9] {
        [
            ("table", &self.table),
            ("conv1.weight", &self.conv1.weight),
            ("conv1.bias", &self.conv1.bias),
            ("fc1.weight", &self.fc1.weight),
            ("fc1.bias", &self.fc1.bias),
            ("fc2.weight", &self.fc2.weight),
            ("fc2.bias", &self.fc2.bias),
            ("fc3.weight", &self.fc3.weight),
            ("fc3.bias", &self.fc3.bias),
        ]
    }
}
