//! Linear operations: what the sketch check needs of them.
//!
//! Every linear operation maps an input to output *features* (channels) at *positions* (pixels,
//! rows). Contracting the features with a random vector r gives a much smaller operation f·r
//! with (f·r)(x) = f(x)·r: Freivalds' check, in floats.

mod convolution;
mod matrix;
mod parts;
mod plain;
mod slices;

pub use convolution::Convolution;
pub use matrix::Matrix;
pub use parts::{Array, Weightless};
pub(crate) use plain::PlainSketch;
pub(crate) use slices::Slices;

use candle_core::Tensor;

use crate::Result;

/// Half a unit in the last place of an f32, relative: the rounding of one operation.
pub const EPSILON: f64 = 5.960_464_477_539_063e-8;

/// A linear operation, contracted with secret vectors: what a verifier keeps of the weights.
#[derive(Debug, Clone)]
pub struct Contracted {
    /// `[features, k]`, the secret Gaussian vectors.
    pub vectors: Tensor,
    /// The operation's weights contracted over the features; the layout is the operation's.
    pub weights: Tensor,
}

/// A linear operation on a part of its positions, and where their inputs are.
pub struct LinearPart {
    pub linear: Box<dyn Linear>,
    pub input_shape: Vec<usize>,
    pub output_shape: Vec<usize>,
    pub cut: Cut,
}

/// How parts of one sample's input are cut out for a [`LinearPart`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// So many of the rows, each of so many elements.
    Rows { rows: usize, of: usize, each: usize },
    /// A box of an image, of which there are several, that windows slide over: with the zeros of the
    /// padding where it reaches beyond.
    Box {
        images: usize,
        channels: usize,
        /// Extents of the whole image.
        image: Vec<usize>,
        /// Extents of the box.
        extents: Vec<usize>,
        /// How many places it has along each axis, a stride apart.
        places: Vec<usize>,
        strides: Vec<usize>,
        pads: Vec<usize>,
    },
}

/// Rounding units and contraction of a linear operation. Batched tensors have a leading
/// dimension B of samples before the operation's own shape.
pub trait Linear: Send + Sync {
    /// Number of output features (channels, columns).
    fn features(&self) -> usize;
    /// Length K of the reduction behind one output element.
    fn reduction(&self) -> usize;
    /// Number of positions of one sample.
    fn positions(&self) -> usize;
    /// Whether features come before positions (Conv) or after them (Gemm, MatMul).
    fn is_channels_first(&self) -> bool;
    /// The weights: `[C_out, C_in / groups, taps]` for Conv, `[.., K, N]` for Gemm and MatMul,
    /// with Gemm's transB and alpha applied. Empty where they were left out ([`Weightless`]).
    fn weights(&self) -> &Tensor;
    /// Everything but the weights, as plain data.
    ///
    /// # Errors
    /// When a tensor cannot be read from its device.
    fn weightless(&self) -> Result<Weightless>;
    /// The same operation with other weights of the same shape: a substituted model.
    ///
    /// # Errors
    /// When the shape differs.
    fn with_weights(&self, weights: Tensor) -> Result<Box<dyn Linear>>;
    /// `[B, ...input]` to `[B, ...output]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
    /// The operation with the weights `up down` in place of its own, which are never made: for Conv
    /// `down` is `[rank, C_in / groups * taps]` and `up` `[C_out, rank]`; for Gemm and MatMul `down`
    /// is `[K, rank]` and `up` `[rank, N]`, for every batch index.
    fn forward_low_rank(&self, x: &Tensor, down: &Tensor, up: &Tensor) -> Result<Tensor>;
    /// The same sum in another order, as another runtime would have computed it.
    fn forward_reordered(&self, x: &Tensor) -> Result<Tensor>;
    /// The same in f64, rounded at the end: the most exact runtime.
    fn forward_f64(&self, x: &Tensor) -> Result<Tensor>;
    /// f·r for vectors r `[features, k]`.
    fn contract(&self, vectors: &Tensor) -> Result<Contracted>;
    /// (f·r)(x) without its bias: `[B, .., k, positions]` or `[B, .., positions, k]`, as
    /// [`Linear::observed`].
    fn predicted(&self, x: &Tensor, contracted: &Contracted) -> Result<Tensor>;
    /// (y - b)·r, in the same shape as [`Linear::predicted`]. The bias b is taken away before the
    /// contraction, where that costs nothing: y - b loses nothing where they are close. Beside a small
    /// W x a bias would fill the sketch's f32 with its own rounding, for which units have room.
    fn observed(&self, y: &Tensor, contracted: &Contracted) -> Result<Tensor>;
    /// Rounding unit of one sketch at each position, broadcastable to [`Linear::predicted`]:
    /// σ = 2⁻²⁴ (‖W‖_F ‖x_patch‖ K^¼ + √features (max|b| + ‖b‖₂ / √6)). It depends on the input and
    /// the weights, never on what the host claims.
    fn sketch_unit(&self, x: &Tensor) -> Result<Tensor>;
    /// Rounding unit of each output element: 2⁻²⁴ (‖w_c‖ ‖x_patch‖ K^¼ + |b_c|), broadcastable to
    /// the output.
    fn element_unit(&self, x: &Tensor) -> Result<Tensor>;
    /// The same operation on a part of its positions, for training.
    ///
    /// # Errors
    /// When tensor arithmetic fails.
    fn on_part(&self, positions: usize) -> Result<Option<LinearPart>>;
    /// The sketch of one sample in the CPU's memory; `None` for forms that only tensors compute.
    ///
    /// # Errors
    /// When a tensor cannot be read from its device.
    #[doc(hidden)]
    fn plain(&self, contracted: &Contracted) -> Result<Option<Box<dyn PlainSketch>>>;
    /// Multiply-accumulates of one sample: (recomputing, checking with k sketches).
    fn cost(&self, sketches: usize) -> (u64, u64);
}

/// Largest absolute value of each sample, `[B, 1, 1, ...]`, never zero: squares of what is
/// divided by it cannot overflow.
pub(crate) fn sample_scale(x: &Tensor) -> Result<Tensor> {
    let batch = x.dim(0)?;
    let mut shape = vec![1; x.rank()];
    shape[0] = batch;
    let scale = x.abs()?.reshape((batch, ()))?.max(1)?;
    Ok((scale.reshape(shape)? + f64::from(f32::MIN_POSITIVE))?)
}

/// What a bias adds to the unit of a sketch, over 2⁻²⁴: √features (max|b| + ‖b‖₂ / √6), of the largest
/// row where it has several; 0 without one.
///
/// The first is the rounding of the output's elements. The second is that of adding up their products
/// with a vector one by one, for whoever does not take the bias away first: a partial sum of j of them
/// has the deviation ‖b‖ √(j / features) and is rounded with a deviation of 2⁻²⁴/√3 of itself.
pub fn bias_unit(bias: Option<&Tensor>, features: usize) -> Result<f64> {
    let Some(bias) = bias else { return Ok(0.) };
    let scalar =
        |tensor: Tensor| -> Result<f64> { Ok(f64::from(tensor.max_all()?.to_scalar::<f32>()?)) };
    let largest = scalar(bias.abs()?)?;
    if largest == 0. {
        return Ok(0.);
    }
    // Elements of a row that the bias has one number for.
    let last = bias.dims().last().copied().unwrap_or(1).max(1);
    let rows = (bias.flatten_all()? / largest)?.reshape(((), last))?.sqr()?.sum(1)?;
    let norm = largest * (scalar(rows)? * features as f64 / last as f64).sqrt();
    Ok((features as f64).sqrt() * (largest + norm / 6f64.sqrt()))
}
