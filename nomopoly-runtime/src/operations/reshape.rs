//! Reshape with a constant shape. <https://onnx.ai/onnx/operators/onnx__Reshape.html>
//!
//! The shape is an input since opset 5; `allowzero` since 14.

use std::collections::BTreeMap;

use candle_core::Tensor;
use nomopoly_manifest::Attribute;

use super::node::{NodeView, Parsed, Refusal};
use super::{Body, Part, Replayed, copy_unit};
use crate::Result;

/// Copies the elements in order into another shape.
pub(super) struct Copy {
    shape: Vec<usize>,
}

impl Copy {
    pub fn new(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec() }
    }
}

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    if node.is_constant(0) {
        return Err(Refusal("the input is constant".into()));
    }
    if !node.is_constant(1) {
        return Err(Refusal("the shape is not constant".into()));
    }
    let shape = node.output_shape();
    // The shape that the input's 0 and -1 come to: two spellings of one reshape are one entry.
    let ints = shape.iter().map(|&d| d as i64).collect();
    let attributes = BTreeMap::from([("shape".into(), Attribute::Ints(ints))]);
    let body = Body::Replayed(Box::new(Copy::new(shape)));
    Ok(Parsed { attributes, varying: vec![0], constants: vec![], body })
}

impl Replayed for Copy {
    fn forward(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let mut shape = vec![inputs[0].dim(0)?];
        shape.extend(&self.shape);
        Ok(inputs[0].reshape(shape)?)
    }

    fn unit(&self, _inputs: &[Tensor], output: &Tensor) -> Result<Tensor> {
        copy_unit(output)
    }

    fn cost(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64
    }

    fn on_part(&self, output_shape: &[usize]) -> Result<Box<dyn Replayed>> {
        Ok(Box::new(Self::new(output_shape)))
    }

    fn part(&self) -> Part {
        Part::Elements
    }
}
