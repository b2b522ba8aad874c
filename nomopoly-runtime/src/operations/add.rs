//! Add with broadcasting, of two inputs or of one and a constant.
//! <https://onnx.ai/onnx/operators/onnx__Add.html>

use std::collections::BTreeMap;

use candle_core::Tensor;

use super::linear::EPSILON;
use super::node::{NodeView, Parsed, Refusal};
use super::{Body, Part, Replayed};
use crate::Result;

struct Add {
    /// The constant operand in the output's rank, with a leading 1 for the samples.
    constant: Option<Tensor>,
    /// Input shapes in the output's rank.
    shapes: Vec<Vec<usize>>,
    elements: u64,
}

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    let rank = node.output_shape().len();
    let pad = |shape: &[usize]| {
        let mut out = vec![1; rank - shape.len()];
        out.extend(shape);
        out
    };
    let varying: Vec<usize> = (0..2).filter(|&i| !node.is_constant(i)).collect();
    if varying.is_empty() {
        return Err(Refusal("both operands are constant".into()));
    }
    let mut constants = vec![];
    let mut constant = None;
    for index in (0..2).filter(|index| !varying.contains(index)) {
        let tensor = node.weights(index, "the constant operand")?;
        let mut shape = vec![1];
        shape.extend(pad(tensor.dims()));
        constant = Some(tensor.reshape(shape)?);
        constants.push(tensor);
    }
    let shapes = varying.iter().map(|&i| pad(node.shape(i))).collect();
    let elements = node.output_shape().iter().product::<usize>() as u64;
    let body = Body::Replayed(Box::new(Add { constant, shapes, elements }));
    Ok(Parsed { attributes: BTreeMap::new(), varying, constants, body })
}

impl Add {
    fn sum(&self, inputs: &[Tensor], map: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let aligned = |index: usize| -> Result<Tensor> {
            let mut shape = vec![inputs[index].dim(0)?];
            shape.extend(&self.shapes[index]);
            map(&inputs[index].reshape(shape)?)
        };
        let other = match &self.constant {
            Some(constant) => map(constant)?,
            None => aligned(1)?,
        };
        Ok(aligned(0)?.broadcast_add(&other)?)
    }
}

impl Replayed for Add {
    fn forward(&self, inputs: &[Tensor]) -> Result<Tensor> {
        self.sum(inputs, |x| Ok(x.clone()))
    }

    fn unit(&self, inputs: &[Tensor], _output: &Tensor) -> Result<Tensor> {
        let sum = self.sum(inputs, |x| Ok(x.abs()?))?;
        Ok(sum.affine(EPSILON, f64::from(f32::MIN_POSITIVE))?)
    }

    fn cost(&self) -> u64 {
        self.elements
    }

    fn on_part(&self, output_shape: &[usize]) -> Result<Box<dyn Replayed>> {
        let elements = output_shape.iter().product::<usize>() as u64;
        Ok(Box::new(Self { constant: None, shapes: vec![output_shape.to_vec(); 2], elements }))
    }

    fn part(&self) -> Part {
        Part::Elements
    }
}
