//! Relu. <https://onnx.ai/onnx/operators/onnx__Relu.html>

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::node::{NodeView, Parsed, Refusal};
use super::{Body, Part, Replayed, copy_unit};
use crate::Result;

struct Relu {
    elements: u64,
}

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    if node.is_constant(0) {
        return Err(Refusal("the input is constant".into()));
    }
    let elements = node.output_shape().iter().product::<usize>() as u64;
    let body = Body::Replayed(Box::new(Relu { elements }));
    Ok(Parsed { attributes: BTreeMap::new(), varying: vec![0], constants: vec![], body })
}

impl Replayed for Relu {
    fn forward(&self, inputs: &[Tensor]) -> Result<Tensor> {
        Ok(inputs[0].relu()?)
    }

    fn unit(&self, inputs: &[Tensor], _output: &Tensor) -> Result<Tensor> {
        copy_unit(&inputs[0])
    }

    fn cost(&self) -> u64 {
        self.elements
    }

    fn on_part(&self, output_shape: &[usize]) -> Result<Box<dyn Replayed>> {
        Ok(Box::new(Self { elements: output_shape.iter().product::<usize>() as u64 }))
    }

    fn part(&self) -> Part {
        Part::Elements
    }
}
