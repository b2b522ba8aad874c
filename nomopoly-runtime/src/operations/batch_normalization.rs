//! BatchNormalization in inference mode.
//! <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>
//!
//! Opset 7 (`spatial` gone since 9), 9, 14 (`training_mode`) and 15.

use std::collections::BTreeMap;

use candle_core::Tensor;
use nomopoly_manifest::Attribute;

use super::linear::EPSILON;
use super::node::{NodeView, Parsed, Refusal};
use super::{Body, Part, Replayed};
use crate::Result;

/// y = scale (x - mean) + bias by channel, scale = weight / sqrt(variance + epsilon).
struct BatchNormalization {
    /// `[1, 1, C, 1]`, as the other two.
    scale: Tensor,
    mean: Tensor,
    bias: Tensor,
    shape: Vec<usize>,
}

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    if node.int("training_mode", 0) != 0 || node.uses_more_outputs() {
        return Err(Refusal("training mode is not inference".into()));
    }
    if node.int("spatial", 1) == 0 {
        return Err(Refusal("statistics per element (spatial = 0) have no artefact".into()));
    }
    if node.is_constant(0) {
        return Err(Refusal("the input is constant".into()));
    }
    let shape = node.output_shape().to_vec();
    let channels = *shape.get(1).ok_or_else(|| Refusal("the input has no channels".into()))?;
    let mut constants = vec![];
    for (index, what) in [(1, "the scale"), (2, "the bias"), (3, "the mean"), (4, "the variance")] {
        let tensor = node.weights(index, what)?;
        if tensor.dims() != [channels] {
            return Err(Refusal(format!("{what} does not have one value per channel")));
        }
        constants.push(tensor);
    }
    let epsilon = node.float("epsilon", 1e-5);
    let column = |tensor: &Tensor| tensor.reshape((1, 1, channels, 1));
    let deviation = (&constants[3] + f64::from(epsilon))?.sqrt()?;
    let body = Body::Replayed(Box::new(BatchNormalization {
        scale: column(&constants[0].div(&deviation)?)?,
        mean: column(&constants[2])?,
        bias: column(&constants[1])?,
        shape,
    }));
    let attributes = BTreeMap::from([("epsilon".into(), Attribute::Float(epsilon))]);
    Ok(Parsed { attributes, varying: vec![0], constants, body })
}

impl BatchNormalization {
    /// `[B, N, C, ...]` to `[B, N, C, S]`.
    fn flat(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.reshape((x.dim(0)?, self.shape[0], self.shape[1], ()))?)
    }

    fn finish(&self, y: &Tensor) -> Result<Tensor> {
        let mut shape = vec![y.dim(0)?];
        shape.extend(&self.shape);
        Ok(y.reshape(shape)?)
    }
}

impl Replayed for BatchNormalization {
    fn forward(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let centred = self.flat(&inputs[0])?.broadcast_sub(&self.mean)?;
        self.finish(&centred.broadcast_mul(&self.scale)?.broadcast_add(&self.bias)?)
    }

    fn unit(&self, inputs: &[Tensor], _output: &Tensor) -> Result<Tensor> {
        // Runtimes fold the constants in different ways: every term may be rounded twice.
        let terms = self.flat(&inputs[0])?.abs()?.broadcast_add(&self.mean.abs()?)?;
        let terms = terms.broadcast_mul(&self.scale.abs()?)?;
        let terms = terms.broadcast_add(&self.bias.abs()?)?;
        self.finish(&terms.affine(2. * EPSILON, f64::from(f32::MIN_POSITIVE))?)
    }

    fn cost(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64
    }

    fn on_part(&self, output_shape: &[usize]) -> Result<Box<dyn Replayed>> {
        let [scale, mean, bias] = [&self.scale, &self.mean, &self.bias].map(Clone::clone);
        Ok(Box::new(Self { scale, mean, bias, shape: output_shape.to_vec() }))
    }

    fn part(&self) -> Part {
        Part::Positions
    }
}
