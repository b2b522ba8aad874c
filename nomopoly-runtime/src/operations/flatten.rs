//! Flatten. <https://onnx.ai/onnx/operators/onnx__Flatten.html>
//!
//! Negative axes since opset 11.

use std::collections::BTreeMap;

use nomopoly_manifest::Attribute;

use super::Body;
use super::node::{NodeView, Parsed, Refusal};
use super::reshape::Copy;

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    if node.is_constant(0) {
        return Err(Refusal("the input is constant".into()));
    }
    let rank = node.shape(0).len() as i64;
    let axis = node.int("axis", 1);
    let axis = if axis < 0 { axis + rank } else { axis };
    if !(0..=rank).contains(&axis) {
        return Err(Refusal(format!("axis {axis} is outside 0 to {rank}")));
    }
    let attributes = BTreeMap::from([("axis".into(), Attribute::Int(axis))]);
    let body = Body::Replayed(Box::new(Copy::new(node.output_shape())));
    Ok(Parsed { attributes, varying: vec![0], constants: vec![], body })
}
