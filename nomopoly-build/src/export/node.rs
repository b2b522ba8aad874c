//! The operation itself, as the one ONNX node that it is: canonical attributes, constant inputs
//! as the model has them.

use nomopoly_manifest::{Attribute, OperationKind, OperationSpec};
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::onnx::{builder, pb};
use nomopoly_runtime::{Error, Result};

use super::graph::{GraphBuilder, Value};

/// Attributes of a sliding window.
const WINDOW: [&str; 4] = ["dilations", "kernel_shape", "pads", "strides"];

/// The operation applied to its varying inputs.
///
/// # Errors
/// When a constant cannot be read from its device.
pub(super) fn apply(
    graph: &mut GraphBuilder,
    operation: &Operation,
    inputs: &[Value],
) -> Result<Value> {
    let spec = operation.spec();
    if spec.kind == OperationKind::Reshape {
        return reshape(graph, spec, &inputs[0]);
    }
    let mut all = inputs.to_vec();
    for constant in operation.constants() {
        all.push(graph.tensor("constant", constant)?);
    }
    Ok(same_kind(graph, spec, &all.iter().collect::<Vec<_>>()))
}

/// A node of the operation's kind and attributes with other inputs.
pub(super) fn same_kind(graph: &mut GraphBuilder, spec: &OperationSpec, inputs: &[&Value]) -> Value {
    let attributes = spec.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    graph.op_with(spec.kind.op_type(), inputs, attributes)
}

/// Reshape reads its target from an input, not from an attribute.
fn reshape(graph: &mut GraphBuilder, spec: &OperationSpec, input: &Value) -> Result<Value> {
    let Some(Attribute::Ints(target)) = spec.attributes.get("shape") else {
        return Err(missing(spec, "shape"));
    };
    // Without `allowzero`, 0 means "as in the input".
    let attributes =
        if target.contains(&0) { vec![builder::int_attribute("allowzero", 1)] } else { vec![] };
    let target = graph.ints(target);
    Ok(graph.op_with("Reshape", &[input, &target], attributes))
}

/// A convolution that slides as the operation does, with other weights
/// (`[C_out, C_in / group, ...kernel]`) and other groups.
pub(super) fn sliding_conv(
    graph: &mut GraphBuilder,
    spec: &OperationSpec,
    inputs: &[&Value],
    group: usize,
) -> Value {
    let window = spec.attributes.iter().filter(|(name, _)| WINDOW.contains(&name.as_str()));
    let mut attributes: Vec<_> = window.map(|(name, value)| attribute(name, value)).collect();
    attributes.push(builder::int_attribute("group", group as i64));
    graph.op_with("Conv", inputs, attributes)
}

/// The window's extent along each spatial axis.
///
/// # Errors
/// When the operation has no window.
pub(super) fn kernel(spec: &OperationSpec) -> Result<Vec<usize>> {
    match spec.attributes.get("kernel_shape") {
        Some(Attribute::Ints(kernel)) => Ok(kernel.iter().map(|&d| d as usize).collect()),
        _ => Err(missing(spec, "kernel_shape")),
    }
}

/// An integer attribute that canonical form always has.
///
/// # Errors
/// When it is missing.
pub(super) fn int(spec: &OperationSpec, name: &str) -> Result<i64> {
    match spec.attributes.get(name) {
        Some(Attribute::Int(value)) => Ok(*value),
        _ => Err(missing(spec, name)),
    }
}

/// A float attribute that canonical form always has.
///
/// # Errors
/// When it is missing.
pub(super) fn float(spec: &OperationSpec, name: &str) -> Result<f64> {
    match spec.attributes.get(name) {
        Some(Attribute::Float(value)) => Ok(f64::from(*value)),
        _ => Err(missing(spec, name)),
    }
}

fn missing(spec: &OperationSpec, name: &str) -> Error {
    super::cannot(spec, format!("attribute {name} is missing or of another type"))
}

fn attribute(name: &str, value: &Attribute) -> pb::AttributeProto {
    match value {
        Attribute::Int(value) => builder::int_attribute(name, *value),
        Attribute::Ints(values) => builder::ints_attribute(name, values),
        Attribute::Float(value) => builder::float_attribute(name, *value),
        Attribute::Text(value) => builder::string_attribute(name, value),
    }
}
