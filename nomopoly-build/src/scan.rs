//! What a model consists of and how each node will be checked, without training anything.

use candle_core::Device;
use nomopoly_manifest::{Attribute, Check, CompileOptions};
use nomopoly_runtime::artefact::MAX_SKETCHES;
use nomopoly_runtime::certificate;
use nomopoly_runtime::onnx::{Graph, node_id, pb};
use nomopoly_runtime::operations::{Operation, linear::EPSILON};
use nomopoly_runtime::residual::is_worth_a_sketch;

use crate::error::Result;

/// One node of a model.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ScannedNode {
    /// Name of the node's first output.
    pub name: String,
    /// ONNX `op_type`.
    pub kind: String,
    /// Attributes as `name=value`.
    pub attributes: Vec<String>,
    /// Shapes of the inputs that vary from run to run, by name.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// Shapes of the outputs, by name.
    pub outputs: Vec<(String, Vec<usize>)>,
    /// Elements of the constant inputs.
    pub parameters: u64,
    /// Multiply-accumulates of one call; absent for kinds without an artefact.
    pub multiply_accumulates: Option<u64>,
    pub check: Check,
    /// About how many sketches will be needed; training decides on real inputs.
    pub sketches: Option<u32>,
    /// Whether the node gets an artefact of its own.
    pub compiled: bool,
    /// Why it gets none.
    pub note: Option<String>,
}

/// Lists every node of a bound graph.
///
/// # Errors
/// When tensor arithmetic fails; nodes without an artefact are no error.
pub fn scan(graph: &Graph, options: &CompileOptions) -> Result<Vec<ScannedNode>> {
    let mut nodes = vec![];
    for node in graph.nodes() {
        if node.op_type == "Constant" {
            continue;
        }
        let shaped = |name: &&String| {
            let value = graph.value(name)?;
            Some(((*name).clone(), value.shape.clone()))
        };
        let constant = |name: &&String| graph.value(name).is_some_and(|v| v.constant.is_some());
        let (mut inputs, mut parameters) = (vec![], 0);
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            match graph.value(name) {
                Some(value) if constant(&name) => {
                    parameters += value.shape.iter().product::<usize>() as u64;
                }
                _ => inputs.extend(shaped(&name)),
            }
        }
        let outputs = node.output.iter().filter(|name| !name.is_empty());
        let operation = Operation::from_node(graph, node, &Device::Cpu)?;
        let (check, sketches) = match &operation {
            Ok(operation) => expected_check(operation, options),
            Err(_) => (Check::Replay, None),
        };
        nodes.push(ScannedNode {
            name: node_id(node).to_owned(),
            kind: node.op_type.clone(),
            attributes: match &operation {
                Ok(operation) => canonical(operation),
                Err(_) => node.attribute.iter().map(written).collect(),
            },
            inputs,
            outputs: outputs.filter_map(|name| shaped(&name)).collect(),
            parameters,
            multiply_accumulates: operation.as_ref().ok().map(Operation::recompute_cost),
            check,
            sketches,
            compiled: operation.is_ok(),
            note: operation.err().map(|reason| reason.0),
        });
    }
    Ok(nodes)
}

/// Sketch or replay, from the spread that inputs without structure would have: an output of K
/// random products is about ‖w‖ ‖x‖ / √K.
fn expected_check(operation: &Operation, options: &CompileOptions) -> (Check, Option<u32>) {
    let Some(linear) = operation.linear() else { return (Check::Replay, None) };
    let spread = 4. * EPSILON * (linear.reduction() as f64).powf(0.75);
    let sketches = certificate::sketches_for(
        options.envelope,
        spread,
        options.min_deviation,
        f64::from(options.soundness_bits),
        MAX_SKETCHES,
    );
    match sketches {
        Some(k) if is_worth_a_sketch(operation, k) => (Check::Sketch, Some(k)),
        _ => (Check::Replay, None),
    }
}

fn canonical(operation: &Operation) -> Vec<String> {
    let value = |attribute: &Attribute| match attribute {
        Attribute::Int(v) => v.to_string(),
        Attribute::Ints(v) => format!("{v:?}").replace(' ', ""),
        Attribute::Float(v) => v.to_string(),
        Attribute::Text(v) => v.clone(),
    };
    operation.spec().attributes.iter().map(|(name, a)| format!("{name}={}", value(a))).collect()
}

fn written(attribute: &pb::AttributeProto) -> String {
    let name = &attribute.name;
    use pb::attribute_proto::AttributeType as Type;
    match Type::try_from(attribute.r#type) {
        Ok(Type::Int) => format!("{name}={}", attribute.i),
        Ok(Type::Float) => format!("{name}={}", attribute.f),
        Ok(Type::String) => format!("{name}={}", String::from_utf8_lossy(&attribute.s)),
        Ok(Type::Ints) => format!("{name}={:?}", attribute.ints).replace(' ', ""),
        Ok(Type::Floats) => format!("{name}={:?}", attribute.floats).replace(' ', ""),
        _ => format!("{name}=..."),
    }
}
