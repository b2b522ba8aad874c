//! Conv, any number of spatial axes. <https://onnx.ai/onnx/operators/onnx__Conv.html>
//!
//! Opsets 1, 11 and 22 differ in defaults and element types only.

use nomopoly_manifest::Attribute;

use super::Body;
use super::linear::Convolution;
use super::node::{NodeView, Parsed, Refusal, window_attributes};

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    let weights = node.weights(1, "the weight tensor")?;
    let bias = node.optional_weights(2, "the bias")?;
    let (x, w) = (node.shape(0), weights.dims());
    let groups = usize::try_from(node.int("group", 1)).unwrap_or(0);
    if w.len() < 3 || x.len() != w.len() || groups == 0 {
        return Err(Refusal(format!("input {x:?}, weights {w:?} and {groups} groups do not fit")));
    }
    if w[1].checked_mul(groups) != Some(x[1]) || !w[0].is_multiple_of(groups) {
        return Err(Refusal(format!("input {x:?}, weights {w:?} and {groups} groups do not fit")));
    }
    if bias.as_ref().is_some_and(|bias| bias.dims() != [w[0]]) {
        return Err(Refusal("the bias does not have one value per output channel".into()));
    }
    let window = node.window(Some(w[2..].to_vec()))?;
    let mut attributes = window_attributes(&window);
    attributes.insert("group".into(), Attribute::Int(groups as i64));
    let constants = std::iter::once(weights.clone()).chain(bias.clone()).collect();
    let convolution = Convolution::new(weights, bias, groups, window, x[0])?;
    Ok(Parsed {
        attributes,
        varying: vec![0],
        constants,
        body: Body::Linear(Box::new(convolution)),
    })
}
