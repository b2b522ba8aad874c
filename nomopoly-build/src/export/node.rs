//! The operation itself, as the one ONNX node that it is: canonical attributes, constant inputs
//! as the model has them.

use nomopoly_manifest::{Attribute, OperationKind, OperationSpec};
use nomopoly_runtime::onnx::{builder, pb};
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::{Error, Result};

use super::graph::{GraphBuilder, Value};
use super::pool;

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
    // ONNX's MatMul has no bias.
    let bias = (spec.kind == OperationKind::MatMul).then(|| all.drain(2..).next()).flatten();
    let output = same_kind(graph, spec, &all.iter().collect::<Vec<_>>())?;
    Ok(match &bias {
        Some(bias) => graph.op("Add", &[&output, bias]),
        None => output,
    })
}

/// A node of the operation's kind and attributes with other inputs.
///
/// # Errors
/// When the attributes cannot be written for [`super::graph`]'s operator set.
pub(super) fn same_kind(
    graph: &mut GraphBuilder,
    spec: &OperationSpec,
    inputs: &[&Value],
) -> Result<Value> {
    let attributes = match spec.kind {
        OperationKind::AveragePool | OperationKind::MaxPool => pool::attributes(spec)?,
        _ => spec.attributes.clone(),
    };
    let attributes = attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    Ok(graph.op_with(spec.kind.op_type(), inputs, attributes))
}

/// Reshape reads its target from an input, not from an attribute.
fn reshape(graph: &mut GraphBuilder, spec: &OperationSpec, input: &Value) -> Result<Value> {
    let target = ints(spec, "shape")?;
    // Without `allowzero`, 0 means "as in the input".
    let attributes =
        if target.contains(&0) { vec![builder::int_attribute("allowzero", 1)] } else { vec![] };
    let target = graph.ints(&target);
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
    Ok(ints(spec, "kernel_shape")?.into_iter().map(|d| d as usize).collect())
}

/// A list of integers that canonical form always has.
///
/// # Errors
/// When it is missing.
pub(super) fn ints(spec: &OperationSpec, name: &str) -> Result<Vec<i64>> {
    match spec.attributes.get(name) {
        Some(Attribute::Ints(values)) => Ok(values.clone()),
        _ => Err(missing(spec, name)),
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
