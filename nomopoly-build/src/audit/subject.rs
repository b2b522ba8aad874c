//! One operation under audit, and what attacks are shown of it.

use candle_core::{Device, Tensor};
use nomopoly_runtime::generator::Generator;
use nomopoly_runtime::operations::{Linear, Operation};
use nomopoly_runtime::{CompiledOperation, VerifierKey};
use rand::Rng;
use rand_chacha::ChaCha20Rng;

use crate::error::Result;
use crate::samples::Samples;
use crate::training::elements;

/// Elements of a batch in memory.
const BATCH_ELEMENTS: usize = 2 << 20;
/// Most samples under one key.
const PER_KEY: usize = 50;

/// A compiled operation with inputs that it receives within its model.
#[derive(Debug, Clone)]
pub struct Subject {
    pub compiled: CompiledOperation,
    /// At least one; trials go round and round.
    pub samples: Samples,
    pub device: Device,
}

impl Subject {
    pub fn operation(&self) -> &Operation {
        &self.compiled.operation
    }

    pub fn generator(&self) -> &Generator {
        &self.compiled.artefact.generator
    }

    /// The linear form, of operations that have weights to substitute.
    pub fn linear(&self) -> Option<&dyn Linear> {
        self.operation().linear()
    }

    /// Smallest relative deviation that counts as a wrong output.
    pub fn min_deviation(&self) -> f64 {
        self.compiled.artefact.header.options.min_deviation
    }

    /// Samples under one key: few of a large operation.
    pub fn chunk_size(&self) -> usize {
        (BATCH_ELEMENTS / elements(self.operation()).max(1)).clamp(1, PER_KEY)
    }

    /// Inputs `[len, ...]` from sample `start` on, round and round.
    pub fn inputs(&self, start: usize, len: usize) -> Result<Vec<Tensor>> {
        self.select(&(start..start + len).collect::<Vec<_>>())
    }

    /// The samples of these numbers, round and round.
    fn select(&self, numbers: &[usize]) -> Result<Vec<Tensor>> {
        let n = self.samples.len().max(1);
        let numbers: Vec<usize> = numbers.iter().map(|number| number % n).collect();
        self.samples.inputs.iter().map(|input| select(input, &numbers)).collect()
    }

    /// Inputs from sample `start` on, with all that does not depend on a verifier.
    pub fn scene(&self, start: usize, len: usize) -> Result<Scene<'_>> {
        self.scene_of((start..start + len).collect())
    }

    /// The same of the samples of these numbers, which may repeat.
    pub fn scene_of(&self, numbers: Vec<usize>) -> Result<Scene<'_>> {
        let inputs = self.select(&numbers)?;
        let truth = self.operation().forward(&inputs)?;
        Ok(Scene { subject: self, numbers, inputs, truth })
    }

    /// The generator's proof vectors of outputs, whatever they are.
    pub fn prove(&self, output: &Tensor) -> Result<Tensor> {
        Ok(self.generator().proof(output)?)
    }

    /// Axis of the output's features (channels or columns) in a batch `[B, ...output]`.
    pub fn feature_axis(&self) -> usize {
        let rank = self.operation().spec().output_shape.len();
        match self.linear() {
            Some(linear) if !linear.is_channels_first() => rank,
            // `[1, C, ...]`: the axis after the model's own batch.
            _ if rank >= 3 => 2,
            _ => rank,
        }
    }
}

/// A batch of inputs, as an attacker sees them.
pub struct Scene<'a> {
    pub subject: &'a Subject,
    /// Numbers of the samples.
    numbers: Vec<usize>,
    pub inputs: Vec<Tensor>,
    /// The true outputs, `[B, ...]`.
    pub truth: Tensor,
}

impl Scene<'_> {
    /// Axis of the features in outputs of this batch.
    pub fn feature_axis(&self) -> usize {
        self.subject.feature_axis().min(self.truth.rank().saturating_sub(1))
    }

    /// Number of samples B.
    pub fn len(&self) -> usize {
        self.truth.dims().first().copied().unwrap_or(0)
    }

    /// The scene of some of the samples.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        Ok(Self {
            subject: self.subject,
            numbers: rows.iter().map(|row| self.numbers[*row]).collect(),
            inputs: self.inputs.iter().map(|input| select(input, rows)).collect::<Result<_>>()?,
            truth: select(&self.truth, rows)?,
        })
    }

    /// A scene of one sample, that sample over and over.
    pub fn repeated(&self, count: usize) -> Result<Self> {
        let repeat = |tensor: &Tensor| -> Result<Tensor> {
            let mut shape = tensor.dims().to_vec();
            shape[0] = count;
            Ok(tensor.broadcast_as(shape)?.contiguous()?)
        };
        Ok(Self {
            subject: self.subject,
            numbers: self.numbers.iter().copied().cycle().take(count).collect(),
            inputs: self.inputs.iter().map(repeat).collect::<Result<_>>()?,
            truth: repeat(&self.truth)?,
        })
    }

    /// The claim of a host: this output, with the public generator's proof of it.
    pub fn claim(&self, output: Tensor) -> Result<Claim> {
        let proof = self.subject.prove(&output)?;
        Ok(Claim { output, proof })
    }

    /// As many other inputs: another scene of the same operation.
    pub fn other(&self) -> Result<Scene<'_>> {
        // Far away in the samples, so that the whole batch differs.
        let n = self.subject.samples.len();
        let step = if n > 1 { (n / 2).max(1) } else { 0 };
        self.subject.scene_of(self.numbers.iter().map(|number| number + step).collect())
    }

    /// The true outputs as rows `[B][n]`.
    pub fn rows(&self) -> Result<Vec<Vec<f32>>> {
        Ok(self.truth.reshape((self.len(), ()))?.to_vec2::<f32>()?)
    }

    /// Outputs from rows.
    pub fn outputs(&self, rows: Vec<Vec<f32>>) -> Result<Tensor> {
        let values: Vec<f32> = rows.into_iter().flatten().collect();
        Ok(Tensor::from_vec(values, self.truth.dims(), self.truth.device())?)
    }
}

/// Rows of a batch.
pub fn select(batch: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let indices: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
    let indices = Tensor::from_vec(indices, rows.len(), batch.device())?;
    Ok(batch.index_select(&indices, 0)?)
}

/// What a host claims of a batch: outputs `[B, ...]` and proof vectors `[B, proof_dim]`.
pub struct Claim {
    pub output: Tensor,
    pub proof: Tensor,
}

/// A secret key of an audit, which must be repeatable.
pub fn key(random: &mut ChaCha20Rng) -> VerifierKey {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    VerifierKey::from_bytes(bytes)
}
