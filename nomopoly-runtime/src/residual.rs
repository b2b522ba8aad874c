//! Residuals: what is left of a claim when everything that the verifier can predict is taken
//! away, in rounding units. The head judges residuals, never raw tensors.

use candle_core::Tensor;
use nomopoly_manifest::{Check, DEFAULT_ENVELOPE};

use crate::Result;
use crate::generator::Generator;
use crate::operations::linear::Contracted;
use crate::operations::{Operation, linear::EPSILON};

/// Number of features of a claim: largest and root-mean-square residual of the output (sketch or
/// replay), and the same of the proof vector.
pub const FEATURES: usize = 4;

/// `ln(1 + residual)` of each.
pub type FeatureVector = [f32; FEATURES];

/// Added to the mean square before the root, so that its gradient is finite at 0.
pub const MEAN_SQUARE_FLOOR: f64 = 1e-12;

/// The features of a claim without any residual: the least that they can be.
pub fn floor_features() -> FeatureVector {
    let rms = MEAN_SQUARE_FLOOR.sqrt().ln_1p() as f32;
    [0., rms, 0., rms]
}

/// Everything about a batch of inputs that does not depend on what the host claims.
pub struct Prepared {
    /// What the output (or its sketches) should be.
    expected: Tensor,
    /// Rounding unit, broadcastable to `expected`.
    unit: Tensor,
}

impl Prepared {
    /// `contracted` is needed for [`Check::Sketch`].
    ///
    /// # Errors
    /// When a tensor's shape does not fit.
    pub fn new(
        operation: &Operation,
        inputs: &[Tensor],
        contracted: Option<&Contracted>,
    ) -> Result<Self> {
        let (expected, unit) = match (operation.linear(), contracted) {
            (Some(linear), Some(contracted)) => {
                (linear.predicted(&inputs[0], contracted)?, linear.sketch_unit(&inputs[0])?)
            }
            _ => {
                let output = operation.forward(inputs)?;
                let unit = operation.element_unit(inputs, &output)?;
                (output, unit)
            }
        };
        Ok(Self { expected, unit })
    }

    /// Residuals of claimed outputs `[B, ...output]`, in rounding units, `[B, n]`.
    pub fn output_residual(
        &self,
        operation: &Operation,
        contracted: Option<&Contracted>,
        output: &Tensor,
    ) -> Result<Tensor> {
        let observed = match (operation.linear(), contracted) {
            (Some(linear), Some(contracted)) => linear.observed(output, contracted)?,
            _ => output.clone(),
        };
        let residual = (observed - &self.expected)?.abs()?.broadcast_div(&self.unit)?;
        Ok(residual.reshape((output.dim(0)?, ()))?)
    }

    /// Whether every rounding unit is a number: inputs near the end of f32 have none.
    pub(crate) fn has_finite_units(&self) -> Result<bool> {
        Ok(self.unit.max_all()?.to_scalar::<f32>()?.is_finite())
    }

    /// Root of the sum over positions of the squared unit, over the norm of the output, for each
    /// sample: the `spread` of [`crate::certificate`].
    pub fn spread(&self, operation: &Operation, output: &Tensor) -> Result<Vec<f64>> {
        let batch = output.dim(0)?;
        // A sketch's unit is one per position; a replay's one per element.
        let unit = if self.unit.elem_count() == batch * self.positions(operation) {
            self.unit.clone()
        } else {
            self.unit.broadcast_as(self.expected.shape())?
        };
        let wide = candle_core::DType::F64;
        let norm = |tensor: &Tensor| -> Result<Vec<f64>> {
            // On the CPU: not every device has f64.
            let flat = tensor.to_device(&candle_core::Device::Cpu)?.to_dtype(wide)?;
            let flat = flat.reshape((batch, ()))?;
            Ok(flat.sqr()?.sum(1)?.sqrt()?.to_vec1::<f64>()?)
        };
        Ok(norm(&unit)?.into_iter().zip(norm(output)?).map(|(unit, y)| unit / y).collect())
    }

    fn positions(&self, operation: &Operation) -> usize {
        operation.linear().map_or(0, |linear| linear.positions())
    }
}

/// Residuals of claimed proof vectors `[B, proof_dim]` beside the generator's own of the claimed
/// output, in rounding units.
pub fn proof_residual(generator: &Generator, expected: &Tensor, proof: &Tensor) -> Result<Tensor> {
    Ok(((proof - expected)?.abs()? / generator.proof_unit())?)
}

/// Features `[B, FEATURES]` of residuals `[B, n]` and `[B, m]`.
pub fn features(output_residual: &Tensor, proof_residual: &Tensor) -> Result<Tensor> {
    Ok(Tensor::cat(&[half(output_residual)?, half(proof_residual)?], 1)?)
}

/// The half of the features, `[B, FEATURES / 2]`, that comes from one of the residuals `[B, n]`.
pub fn half(residual: &Tensor) -> Result<Tensor> {
    let largest = residual.max_keepdim(1)?;
    let rms = (residual.sqr()?.mean_keepdim(1)? + MEAN_SQUARE_FLOOR)?.sqrt()?;
    Ok((Tensor::cat(&[largest, rms], 1)? + 1.)?.log()?)
}

/// Multiply-accumulates of checking one sample with k sketches (0: replay), without the proof.
pub fn check_cost(operation: &Operation, check: Check, sketches: u32) -> u64 {
    match (operation.linear(), check) {
        (Some(linear), Check::Sketch) => linear.cost(sketches as usize).1,
        _ => operation.recompute_cost(),
    }
}

/// Whether checking by k sketches is cheaper than recomputing, with what it costs to move the revealed
/// output: the host copies it out, it travels, the verifier reads it more than once. An output that
/// stays in a cache is moved for nothing.
pub fn is_worth_a_sketch(operation: &Operation, sketches: u32) -> bool {
    let moved = operation.spec().output_len().saturating_sub(IN_CACHE) as u64 * MOVED_ELEMENT;
    check_cost(operation, Check::Sketch, sketches) + moved < operation.recompute_cost()
}

/// Elements of an output that a cache holds: 256 KiB.
const IN_CACHE: usize = 1 << 16;
/// What moving an element costs, in multiply-accumulates. In ONNX Runtime on one core revealing the
/// first convolution of ResNet-18 took 1.3 ns per element of the host and 2.8 of the verifier, at 82
/// multiply-accumulates per ns: 330. Our own verifier moves less.
const MOVED_ELEMENT: u64 = 192;

/// Tolerance for outputs of nodes without an artefact, which are recomputed: an element may differ
/// by this many units of 2⁻²⁰ of the largest recomputed element.
pub const UNTRAINED_TOLERANCE: f64 = 8. * 16. * EPSILON;

/// How much that tolerance is widened: as the widest envelope that an operation of the model was
/// compiled with, in envelopes of the default.
pub fn tolerance_width(envelopes: impl Iterator<Item = f64>) -> f64 {
    envelopes.fold(DEFAULT_ENVELOPE, f64::max) / DEFAULT_ENVELOPE
}

/// The least tolerance for such outputs of activations between -1 and 1: runtimes approximate them
/// within some roundings of 1, however small the numbers are that come out.
pub const BOUNDED_TOLERANCE: f64 = 8. * EPSILON;

/// ONNX operations whose outputs lie between -1 and 1.
pub fn is_bounded(kind: &str) -> bool {
    matches!(kind, "Erf" | "HardSigmoid" | "Sigmoid" | "Softmax" | "Softsign" | "Tanh")
}
