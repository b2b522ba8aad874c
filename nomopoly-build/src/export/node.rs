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

/// How a window slides over an image.
#[derive(Debug, Clone, Default)]
pub(super) struct Slide {
    pub kernel: Vec<usize>,
    attributes: Vec<pb::AttributeProto>,
    /// All attributes of a pooling node.
    pub pooling: Vec<pb::AttributeProto>,
}

impl Slide {
    /// As an operation does at the shapes that it was compiled at; without axes where it has no window.
    pub fn of(spec: &OperationSpec) -> Self {
        let window = spec.attributes.iter().filter(|(name, _)| WINDOW.contains(&name.as_str()));
        Self {
            kernel: kernel(spec).unwrap_or_default(),
            attributes: window.map(|(name, value)| attribute(name, value)).collect(),
            pooling: pool::attributes(spec)
                .map(|all| all.iter().map(|(name, value)| attribute(name, value)).collect())
                .unwrap_or_default(),
        }
    }

    /// As a node says, at whatever shapes.
    pub fn of_node(spec: &OperationSpec, node: &pb::NodeProto) -> Self {
        let window = node.attribute.iter().filter(|attribute| {
            attribute.name == "auto_pad" || WINDOW.contains(&attribute.name.as_str())
        });
        Self {
            attributes: window.cloned().collect(),
            pooling: node.attribute.clone(),
            ..Self::of(spec)
        }
    }

    /// Whether every position sees one pixel, its own.
    fn is_pointwise(&self) -> bool {
        let all = |name: &str, value: i64| {
            let found = self.attributes.iter().find(|attribute| attribute.name == name);
            found.is_none_or(|attribute| attribute.ints.iter().all(|v| *v == value))
        };
        self.kernel.iter().all(|extent| *extent == 1) && all("strides", 1) && all("pads", 0)
    }

    /// Padding at the begin of each axis and at the end, where that does not depend on sizes.
    fn pads(&self) -> Option<(Vec<i64>, Vec<i64>)> {
        let axes = self.kernel.len();
        let find = |name: &str| self.attributes.iter().find(|attribute| attribute.name == name);
        let auto = find("auto_pad").map_or(&b"NOTSET"[..], |attribute| &attribute.s);
        let spans = self.spans();
        Some(match auto {
            b"NOTSET" | b"" => match find("pads") {
                Some(pads) if pads.ints.len() == 2 * axes => {
                    let (begin, end) = pads.ints.split_at(axes);
                    (begin.to_vec(), end.to_vec())
                }
                Some(_) => return None,
                None => (vec![0; axes], vec![0; axes]),
            },
            b"VALID" => (vec![0; axes], vec![0; axes]),
            // With strides of 1 the output is as large as the input.
            b"SAME_UPPER" | b"SAME_LOWER" => {
                let less = spans.iter().map(|span| span / 2).collect();
                let more = spans.iter().map(|span| span - span / 2).collect();
                if auto == b"SAME_UPPER" { (less, more) } else { (more, less) }
            }
            _ => return None,
        })
    }

    /// Pixels that the window reaches beyond its first one, along each axis.
    fn spans(&self) -> Vec<i64> {
        let dilations = self.attributes.iter().find(|attribute| attribute.name == "dilations");
        let dilation = |axis: usize| {
            dilations.and_then(|attribute| attribute.ints.get(axis)).copied().unwrap_or(1)
        };
        let kernel = self.kernel.iter().enumerate();
        kernel.map(|(axis, extent)| (*extent as i64 - 1) * dilation(axis)).collect()
    }

    /// Attributes of the transposed convolution that computes the same with the kernel turned round;
    /// `None` where there is none, or where it would gain nothing.
    ///
    /// Few kernels over many channels cost little arithmetic, and a convolution then spends its time
    /// on gathering what each position sees: `channels * taps` numbers. The transposed one multiplies
    /// first, and gathers `kernels * taps`.
    pub fn transposed(&self) -> Option<Vec<pb::AttributeProto>> {
        let axes = self.kernel.len();
        let find = |name: &str| self.attributes.iter().find(|attribute| attribute.name == name);
        let strided = find("strides").is_some_and(|strides| strides.ints.iter().any(|s| *s != 1));
        if !(1..=2).contains(&axes) || strided || self.kernel.iter().all(|extent| *extent == 1) {
            return None;
        }
        let (begin, end) = self.pads()?;
        let turned = |pads: &[i64]| -> Vec<i64> {
            pads.iter().zip(self.spans()).map(|(pad, span)| span - pad).collect()
        };
        let pads = [turned(&begin), turned(&end)].concat();
        if pads.iter().any(|pad| *pad < 0) {
            return None;
        }
        let dilations = find("dilations").cloned();
        Some([builder::ints_attribute("pads", &pads)].into_iter().chain(dilations).collect())
    }

    /// What a window over each channel adds up, over [`Slide::sums_are_over`].
    pub fn sums(&self, graph: &mut GraphBuilder, x: &Value, channels: usize) -> Value {
        if self.is_pointwise() {
            return x.clone();
        }
        if let Some(attributes) = self.mean() {
            return graph.op_with("AveragePool", &[x], attributes);
        }
        let shape: Vec<usize> = [channels, 1].iter().chain(&self.kernel).copied().collect();
        let ones = graph.floats("window", &shape, &vec![1.; shape.iter().product()]);
        self.conv(graph, &[x, &ones], channels)
    }

    /// The elements of a window where sums are means, else 1.
    pub fn sums_are_over(&self) -> f64 {
        let is_mean = !self.is_pointwise() && self.mean().is_some();
        if is_mean { self.kernel.iter().product::<usize>() as f64 } else { 1. }
    }

    /// The mean over a window, padding included, as attributes of AveragePool: the faster sum, of one
    /// channel in particular. `None` where ONNX Runtime has none of this form.
    fn mean(&self) -> Option<Vec<pb::AttributeProto>> {
        let kernel: Vec<i64> = self.kernel.iter().map(|extent| *extent as i64).collect();
        let find = |name: &str| self.attributes.iter().find(|attribute| attribute.name == name);
        let dilated = find("dilations").is_some_and(|by| by.ints.iter().any(|by| *by != 1));
        let explicit = find("auto_pad").is_none_or(|auto| auto.s == b"NOTSET");
        let (begin, end) = self.pads()?;
        let less = |pads: Vec<i64>| pads.iter().zip(&kernel).all(|(pad, extent)| pad < extent);
        if kernel.len() > 2 || dilated || !explicit || !less(begin) || !less(end) {
            return None;
        }
        let mut attributes = vec![
            builder::ints_attribute("kernel_shape", &kernel),
            builder::int_attribute("count_include_pad", 1),
        ];
        attributes.extend(["strides", "pads"].into_iter().filter_map(find).cloned());
        Some(attributes)
    }

    /// A convolution that slides like this, with weights `[C_out, C_in / groups, ...kernel]`.
    pub fn conv(&self, graph: &mut GraphBuilder, inputs: &[&Value], groups: usize) -> Value {
        let mut attributes = self.attributes.clone();
        attributes.push(group(groups));
        graph.op_with("Conv", inputs, attributes)
    }
}

pub(super) fn group(groups: usize) -> pb::AttributeProto {
    builder::int_attribute("group", groups as i64)
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
