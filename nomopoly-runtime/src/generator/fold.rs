//! The fold of a tensor: a seeded signed-bucket sketch of fixed size.

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::operations::linear::sample_scale;
use crate::{Error, Result};

/// Buckets of the signed sketch.
pub const BUCKETS: usize = 64;
/// Most elements of a tensor that a fold looks at.
///
/// A proof vector by itself proves nothing, so it must not cost anything either: folding whole
/// activations took 0.15 to 0.3 of an inference in ONNX Runtime, this a hundredth.
pub const LOOKS: usize = 128;

/// Seeded signed-bucket sketch of some elements, a lattice over the whole tensor: along an axis of
/// extent e with the limit l those at `floor(i e / l)` for i from 0 to l - 1, whatever e is. In
/// row-major order, the i-th goes to bucket `i % BUCKETS` with the i-th sign.
#[derive(Debug, Clone)]
pub struct Fold {
    len: usize,
    shape: Vec<usize>,
    /// Where the elements are in the flattened tensor.
    places: Vec<usize>,
    /// `[LOOKS]`, each 1 or -1; they do not depend on the size of the tensor.
    signs: Vec<f32>,
    places_on_device: Tensor,
    /// `[1, looks]`
    signs_on_device: Tensor,
}

/// How many elements are looked at along each axis of a tensor of this rank: in all [`LOOKS`] at the
/// most, two along the first axis, which counts samples, and as many along each of the others.
pub fn limits(rank: usize) -> Vec<usize> {
    let (samples, rest) = if rank > 2 { (vec![2], rank - 1) } else { (vec![], rank) };
    let room = if rank > 2 { LOOKS / 2 } else { LOOKS };
    let fits = |n: &usize| n.checked_pow(rest as u32).is_some_and(|power| power <= room);
    let each = (1..=room).take_while(fits).last().unwrap_or(1);
    [samples, vec![each; rest]].concat()
}

/// Indices along each axis for extents of 1 over the limits: `i` for each of the elements that are
/// looked at, one element after the other.
pub fn lattice(rank: usize) -> Vec<usize> {
    let limits = limits(rank);
    let looks: usize = limits.iter().product();
    let mut indices = Vec::with_capacity(looks * rank);
    for look in 0..looks {
        let (mut rest, start) = (look, indices.len());
        for limit in limits.iter().rev() {
            indices.push(rest % limit);
            rest /= limit;
        }
        indices[start..].reverse();
    }
    indices
}

/// [`Fold::indices`] of a shape.
fn indices(shape: &[usize]) -> Vec<usize> {
    let (rank, limits) = (shape.len(), limits(shape.len()));
    let at = |(n, i): (usize, usize)| i * shape[n % rank] / limits[n % rank];
    lattice(rank).into_iter().enumerate().map(at).collect()
}

impl Fold {
    pub(super) fn new(shape: &[usize], seed: [u8; 32], device: &Device) -> Result<Self> {
        let flat = |place: &[usize]| place.iter().zip(shape).fold(0, |flat, (i, e)| flat * e + i);
        let places: Vec<usize> = match shape.len() {
            0 => vec![0],
            rank => indices(shape).chunks_exact(rank).map(flat).collect(),
        };
        let mut random = ChaCha20Rng::from_seed(seed);
        let sign = |_| if random.next_u32() >> 31 == 0 { 1. } else { -1. };
        let signs: Vec<f32> = (0..LOOKS).map(sign).collect();
        let looks = places.len();
        let signs_on_device = Tensor::from_slice(&signs[..looks], (1, looks), device)?;
        let on_device: Vec<u32> = places.iter().map(|place| *place as u32).collect();
        let places_on_device = Tensor::from_vec(on_device, looks, device)?;
        let (len, shape) = (shape.iter().product(), shape.to_vec());
        Ok(Self { len, shape, places, signs, places_on_device, signs_on_device })
    }

    /// Number of axes of the tensor.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Indices along each axis of the elements that are looked at, one element after the other.
    pub fn indices(&self) -> Vec<usize> {
        indices(&self.shape)
    }

    /// Signs of the elements that are looked at, [`LOOKS`] of them.
    pub fn signs(&self) -> &[f32] {
        &self.signs
    }

    /// How many elements are looked at; it depends on the rank alone.
    pub fn looks(&self) -> usize {
        self.places.len()
    }

    /// `[B, len]` to `[B, BUCKETS]`, divided by the norm of what is looked at and times the root of
    /// the number of buckets: independent of scale and size.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let x = x.index_select(&self.places_on_device, 1)?.to_dtype(DType::F32)?;
        // Normalisers are detached: the root has no finite gradient at a tensor of zeros.
        let x = x.broadcast_div(&sample_scale(&x)?.detach())?;
        let norm = x.sqr()?.sum_keepdim(1)?.sqrt()?.detach();
        let x = x.broadcast_mul(&self.signs_on_device)?;
        let looks = self.looks();
        let x = x.pad_with_zeros(1, 0, looks.next_multiple_of(BUCKETS) - looks)?;
        let x = x.reshape((batch, (), BUCKETS))?.sum(1)?;
        Ok(x.broadcast_div(&norm.affine(NORM_FACTOR, NORM_FLOOR)?)?)
    }

    /// The fold of one sample in plain memory.
    ///
    /// # Errors
    /// [`Error::Shape`] when it has another number of elements.
    pub fn apply_plain(&self, x: &[f32]) -> Result<[f32; BUCKETS]> {
        if x.len() != self.len {
            return Err(Error::Shape {
                tensor: "output of a proof generator".into(),
                got: vec![x.len()],
                expected: vec![self.len],
            });
        }
        let mut looked: Vec<f32> = self.places.iter().map(|place| x[*place]).collect();
        let largest = looked.iter().fold(0f32, |a, b| a.max(b.abs())) + f32::MIN_POSITIVE;
        let (mut sums, mut squares) = ([0f32; BUCKETS], 0f64);
        looked.iter_mut().for_each(|value| *value /= largest);
        for (row, signs) in looked.chunks(BUCKETS).zip(self.signs.chunks(BUCKETS)) {
            for ((sum, value), sign) in sums.iter_mut().zip(row).zip(signs) {
                *sum += value * sign;
                squares += f64::from(value * value);
            }
        }
        let norm = (squares.sqrt() * NORM_FACTOR + NORM_FLOOR) as f32;
        Ok(sums.map(|sum| sum / norm))
    }
}

/// One over the root of [`BUCKETS`].
pub const NORM_FACTOR: f64 = 0.125;
/// Keeps the quotient of [`Fold::apply`] finite for a tensor of zeros.
pub const NORM_FLOOR: f64 = 1e-20;
