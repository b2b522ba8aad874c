//! MaxPool. <https://onnx.ai/onnx/operators/onnx__MaxPool.html>
//!
//! `ceil_mode` since opset 10, `dilations` since 10. tract computes the output `Indices` too; a node
//! that has it has no artefact.

use candle_core::Tensor;
use nomopoly_manifest::Attribute;

use super::node::{NodeView, Parsed, Refusal, window_attributes};
use super::window::{Taps, Window};
use super::{Body, Part, Replayed, copy_unit};
use crate::Result;

struct MaxPool {
    window: Window,
    taps: Taps,
    shape: Vec<usize>,
}

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    if node.is_constant(0) {
        return Err(Refusal("the input is constant".into()));
    }
    if node.uses_more_outputs() {
        return Err(Refusal("the output Indices has no artefact".into()));
    }
    let window = node.window(None)?;
    let mut attributes = window_attributes(&window);
    attributes.insert("ceil_mode".into(), Attribute::Int(node.int("ceil_mode", 0)));
    let taps = Taps::new(&window, node.device)?;
    let pool = MaxPool { window, taps, shape: node.output_shape().to_vec() };
    let body = Body::Replayed(Box::new(pool));
    Ok(Parsed { attributes, varying: vec![0], constants: vec![], body })
}

impl Replayed for MaxPool {
    fn forward(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let batch = inputs[0].dim(0)?;
        let images = batch * self.shape[0];
        let x = inputs[0].reshape((images, self.shape[1], self.window.input_len()))?;
        // The smallest finite number and not minus infinity: a window without any input keeps
        // its output finite.
        let y = self.taps.apply(&x, f32::MIN)?.max(2)?;
        let mut shape = vec![batch];
        shape.extend(&self.shape);
        Ok(y.reshape(shape)?)
    }

    fn unit(&self, _inputs: &[Tensor], output: &Tensor) -> Result<Tensor> {
        copy_unit(output)
    }

    fn cost(&self) -> u64 {
        (self.shape[0] * self.shape[1] * self.window.taps() * self.window.positions()) as u64
    }

    fn on_part(&self, output_shape: &[usize]) -> Result<Box<dyn Replayed>> {
        let shape = output_shape.to_vec();
        Ok(Box::new(MaxPool { window: self.window.clone(), taps: self.taps.clone(), shape }))
    }

    fn part(&self) -> Part {
        Part::Channels
    }
}
