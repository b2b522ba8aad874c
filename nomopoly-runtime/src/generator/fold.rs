//! The fold of a tensor: a seeded signed-bucket sketch of fixed size.

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::kernels::{LANES, Lanes, signed_sums};
use crate::operations::linear::sample_scale;
use crate::{Error, Result};

/// Buckets of the signed sketch of the input, and of the output.
pub const BUCKETS: usize = LANES;
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
    pub(super) fn new(len: usize, seed: [u8; 32], device: &Device) -> Result<Self> {
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
        if let Some(folded) = self.apply_untracked(x)? {
            return Ok(folded);
        }
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

    /// The same where no gradient is asked for and the samples are in the CPU's memory: in one pass
    /// and not in a dozen. `None` elsewhere.
    fn apply_untracked(&self, x: &Tensor) -> Result<Option<Tensor>> {
        if x.track_op() || !x.device().is_cpu() || x.dtype() != DType::F32 {
            return Ok(None);
        }
        let (batch, len) = x.dims2()?;
        let (storage, layout) = x.storage_and_layout();
        let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
            (&*storage, layout.contiguous_offsets())
        else {
            return Ok(None);
        };
        let mut folded = Vec::with_capacity(batch * BUCKETS);
        for sample in values[start..end].chunks_exact(len.max(1)) {
            folded.extend(self.apply_plain(sample)?);
        }
        Ok(Some(Tensor::from_vec(folded, (batch, BUCKETS), x.device())?))
    }

    /// The fold of one sample in plain memory.
    ///
    /// # Errors
    /// [`Error::Shape`] when it has another number of elements.
    pub fn apply_plain(&self, x: &[f32]) -> Result<[f32; BUCKETS]> {
        Ok(self.apply_with_squares(x)?.0)
    }

    /// The fold of one sample, and the sum of its squares: finite if and only if every element is.
    ///
    /// # Errors
    /// As [`Fold::apply_plain`].
    pub fn apply_with_squares(&self, x: &[f32]) -> Result<([f32; BUCKETS], f64)> {
        if x.len() != self.len {
            return Err(Error::Shape {
                tensor: "input or output of a proof generator".into(),
                got: vec![x.len()],
                expected: vec![self.len],
            });
        }
        // Squares of f32 overflow and vanish where the numbers themselves do not. That is rare, and
        // looking for the largest element first costs as much as all the rest.
        let (mut sums, mut squares) = self.sums(x, 1.);
        let mut scale = 1.;
        if !(1e-20..1e30).contains(&squares) {
            scale = 1. / (largest(x) + f32::MIN_POSITIVE);
            (sums, squares) = self.sums(x, scale);
        }
        let mean = squares / self.len.max(1) as f64;
        let norm = (mean.sqrt() * self.norm() + NORM_FLOOR) as f32;
        Ok((sums.map(|sum| sum / norm), squares / f64::from(scale).powi(2)))
    }

    /// The sum of each bucket and (in f64: a lane of many equal elements would round one way) the sum
    /// of all squares, of the elements times `scale`.
    fn sums(&self, x: &[f32], scale: f32) -> (Lanes, f64) {
        let (mut sums, mut total) = ([0f32; BUCKETS], 0f64);
        for (block, sign) in x.chunks(self.period).zip(&self.block_signs) {
            let (block_sums, squares) = signed_sums(block, &self.element_signs, scale);
            sums.iter_mut().zip(block_sums).for_each(|(sum, block)| *sum += sign * block);
            total += squares.iter().map(|square| f64::from(*square)).sum::<f64>();
        }
        (sums, total)
    }

    /// Root of the number of elements per bucket.
    pub fn norm(&self) -> f64 {
        (self.len as f64 / BUCKETS as f64).max(1.).sqrt()
    }
}

/// Keeps the quotient of [`Fold::apply`] finite for a tensor of zeros.
pub const NORM_FLOOR: f64 = 1e-20;

/// The largest absolute value.
fn largest(x: &[f32]) -> f32 {
    let mut lanes = [0f32; BUCKETS];
    for row in x.chunks(BUCKETS) {
        for (largest, value) in lanes.iter_mut().zip(row) {
            *largest = if value.abs() > *largest { value.abs() } else { *largest };
        }
    }
    lanes.iter().fold(0f32, |a, b| a.max(*b))
}
