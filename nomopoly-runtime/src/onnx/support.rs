//! Which nodes cannot run, all of them at once.

use tract_onnx::model::{Onnx, ParsingContext};
use tract_onnx::pb;

use super::deviations::{self, Place};
use super::infer::guarded;
use super::model::Model;
use super::names::{node_id, subgraphs};
use crate::error::{Error, Result};

/// Operations that give another answer on every run.
const RANDOM: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// tract's ONNX front end. It trusts no shape or type that the file claims for anything but the
/// inputs: exporters leave stale ones behind, and a false one would decide what is checked.
pub(crate) fn front_end() -> Onnx {
    tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_output_types(true)
        .with_ignore_value_info(true)
}

/// Checks that tract knows every operation, in the form that it has, those inside subgraphs
/// included.
///
/// # Errors
/// [`Error::UnsupportedNodes`] lists every node that it does not know or understand.
pub(crate) fn check(model: &Model, onnx: &Onnx) -> Result<()> {
    let mut nodes = Vec::new();
    unsupported(model, model.graph()?, onnx, &mut nodes);
    if nodes.is_empty() {
        Ok(())
    } else {
        Err(Error::UnsupportedNodes { model: model.name().to_string(), nodes })
    }
}

fn unsupported(model: &Model, graph: &pb::GraphProto, onnx: &Onnx, found: &mut Vec<String>) {
    let place = Place { opset: model.opset(), graph };
    for node in &graph.node {
        if let Some(reason) = reason(model.proto(), node, &place, onnx) {
            found.push(describe(node, &reason));
        }
        for inner in subgraphs(node) {
            unsupported(model, inner, onnx, found);
        }
    }
}

fn reason(
    proto: &pb::ModelProto,
    node: &pb::NodeProto,
    place: &Place,
    onnx: &Onnx,
) -> Option<String> {
    let (domain, op) = (node.domain.as_str(), node.op_type.as_str());
    // tract looks operations up by type alone, so it would run another domain's `Conv` as its own.
    let is_function = proto
        .functions
        .iter()
        .any(|f| f.name() == op && (f.domain() == domain || f.domain.is_none()));
    if is_function {
        return Some("a function of the model itself; inline functions when exporting".to_string());
    }
    if !matches!(domain, "" | "ai.onnx" | "ai.onnx.ml" | "com.microsoft") {
        return Some(format!("the operator domain `{domain}` is not known"));
    }
    if domain == "com.microsoft" && op == "Attention" {
        return Some("this domain's `Attention` is another operation than ONNX's".to_string());
    }
    if RANDOM.contains(&op) {
        return Some("it draws random numbers, so no verifier can replay it".to_string());
    }
    if !onnx.op_register.0.contains_key(op) {
        return Some("tract does not know this operation".to_string());
    }
    deviations::reason(node, place).map(str::to_string)
}

/// After tract refused a graph: which nodes it refuses, each with its own reason. Empty when
/// every node is fine by itself.
pub(crate) fn refused(model: &Model, proto: &pb::ModelProto, onnx: &Onnx) -> Vec<String> {
    let Some(graph) = &proto.graph else { return Vec::new() };
    let context = ParsingContext {
        onnx_operator_set_version: model.opset(),
        framework: onnx,
        model: proto,
        parent_graphs: vec![graph],
        model_dir: None,
        template: Default::default(),
    };
    let mut found = Vec::new();
    for node in &graph.node {
        let Some(builder) = onnx.op_register.0.get(&node.op_type) else { continue };
        if let Err(error) = guarded(model.name(), || builder(&context, node).map(drop)) {
            let reason = match error {
                Error::Execution { reason, .. } => reason,
                other => other.to_string(),
            };
            found.push(describe(node, &reason));
        }
    }
    found
}

/// How a node that cannot run is written in an error.
pub(crate) fn describe(node: &pb::NodeProto, reason: &str) -> String {
    format!("`{}` ({}): {reason}", node_id(node), node.op_type)
}
