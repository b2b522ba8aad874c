//! The checks that a graph passes before anything else looks at it.

use std::collections::HashSet;

use tract_onnx::pb;

use super::names::{node_id, subgraphs};
use super::tensor_data::non_finite;
use super::{MAX_OPSET, MIN_OPSET, attributes};
use crate::error::{Error, Result};

/// The operations whose constant inputs are weights that a sketch contracts: an infinity there
/// would make every residual infinite or NaN. Elsewhere it is a common attention mask.
const WEIGHTED: [&str; 4] = ["BatchNormalization", "Conv", "Gemm", "MatMul"];

/// The version of the default operator set.
///
/// # Errors
/// When the model imports none, or one outside [`MIN_OPSET`] to [`MAX_OPSET`].
pub(crate) fn opset(model: &str, proto: &pb::ModelProto) -> Result<i64> {
    let default = |import: &&pb::OperatorSetIdProto| matches!(&*import.domain, "" | "ai.onnx");
    let got =
        proto.opset_import.iter().find(default).map(|import| import.version).ok_or_else(|| {
            Error::NotOnnx {
                model: model.to_string(),
                reason: "it names no version of the default operator set".to_string(),
            }
        })?;
    if (MIN_OPSET..=MAX_OPSET).contains(&got) {
        Ok(got)
    } else {
        let expected = format!("{MIN_OPSET} to {MAX_OPSET}");
        Err(Error::UnknownOpset { model: model.to_string(), got, expected })
    }
}

/// Checks names (unique, defined before they are used, every output produced) and attributes.
///
/// # Errors
/// [`Error::InvalidGraph`] names the tensor or node.
pub(crate) fn graph(model: &str, graph: &pb::GraphProto) -> Result<()> {
    let error = |reason: String| Error::InvalidGraph { model: model.to_string(), reason };
    scope(graph, None).map_err(error)?;
    attributes::check(graph).map_err(error)?;
    if graph.output.is_empty() {
        return Err(error("it has no output".to_string()));
    }
    let initializers: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    if graph.input.iter().all(|input| initializers.contains(input.name.as_str())) {
        return Err(error("it has no input".to_string()));
    }
    let mut seen = HashSet::new();
    match graph.output.iter().find(|output| !seen.insert(output.name.as_str())) {
        Some(twice) => Err(error(format!("output `{}` is listed twice", twice.name))),
        None => Ok(()),
    }
}

/// The names that are known in a graph, and in those around it.
struct Scope<'a> {
    names: HashSet<&'a str>,
    parent: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn knows(&self, name: &str) -> bool {
        self.names.contains(name) || self.parent.is_some_and(|parent| parent.knows(name))
    }
}

fn scope(graph: &pb::GraphProto, parent: Option<&Scope>) -> Result<(), String> {
    if !graph.sparse_initializer.is_empty() {
        return Err("sparse initialisers are not supported".to_string());
    }
    let mut scope = Scope { names: HashSet::new(), parent };
    for input in &graph.input {
        define(&mut scope, &input.name, "input")?;
    }
    // A graph input may have an initialiser of its own name: its default value.
    let inputs = scope.names.clone();
    let mut initializers = HashSet::new();
    for tensor in &graph.initializer {
        if inputs.contains(tensor.name.as_str()) && initializers.insert(tensor.name.as_str()) {
            continue;
        }
        define(&mut scope, &tensor.name, "initialiser")?;
    }
    let later: HashSet<&str> =
        graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    for (position, node) in graph.node.iter().enumerate() {
        let id = node_id(node);
        if id.is_empty() {
            return Err(format!("node {position} ({}) has no output", node.op_type));
        }
        if let Some(name) = node.input.iter().find(|name| !name.is_empty() && !scope.knows(name)) {
            let why = if later.contains(name.as_str()) {
                "which a later node produces: nodes must be sorted"
            } else {
                "which nothing produces"
            };
            return Err(format!("node `{id}` ({}) reads `{name}`, {why}", node.op_type));
        }
        for inner in subgraphs(node) {
            self::scope(inner, Some(&scope)).map_err(|e| format!("inside node `{id}`: {e}"))?;
        }
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            define(&mut scope, output, "output of a node")?;
        }
    }
    // tract looks every output up among the names of the graph itself, not of those around it.
    match graph.output.iter().find(|output| !scope.names.contains(output.name.as_str())) {
        Some(unknown) => Err(format!("nothing produces output `{}`", unknown.name)),
        None => Ok(()),
    }
}

fn define<'a>(scope: &mut Scope<'a>, name: &'a str, what: &str) -> Result<(), String> {
    if name.is_empty() {
        Err(format!("an {what} has no name"))
    } else if scope.names.insert(name) {
        Ok(())
    } else {
        Err(format!("the name `{name}` is defined twice"))
    }
}

/// Checks that no constant is NaN, and that no weight is infinite.
///
/// # Errors
/// [`Error::NonFiniteWeights`] names the tensor.
pub(crate) fn finite(model: &str, graph: &pb::GraphProto) -> Result<()> {
    let error = |tensor: &str, what: &'static str| Error::NonFiniteWeights {
        model: model.to_string(),
        tensor: tensor.to_string(),
        what,
    };
    let mut infinite: HashSet<&str> = HashSet::new();
    let mut see = |name, tensor: &pb::TensorProto| {
        let found = non_finite(tensor);
        if found.infinite {
            infinite.insert(name);
        }
        if found.nan { Err(error(name, "NaN")) } else { Ok(()) }
    };
    for tensor in &graph.initializer {
        see(&tensor.name, tensor)?;
    }
    for node in &graph.node {
        for attribute in &node.attribute {
            for tensor in attribute.t.iter().chain(&attribute.tensors) {
                see(node_id(node), tensor)?;
            }
            let constant = node.op_type == "Constant" && attribute.name.starts_with("value_float");
            if constant && (attribute.f.is_nan() || attribute.floats.iter().any(|v| v.is_nan())) {
                return Err(error(node_id(node), "NaN"));
            }
        }
        for inner in subgraphs(node) {
            finite(model, inner)?;
        }
    }
    let weighted = graph.node.iter().filter(|node| WEIGHTED.contains(&&*node.op_type));
    match weighted.flat_map(|node| &node.input).find(|name| infinite.contains(name.as_str())) {
        Some(name) => Err(error(name, "an infinity")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::Model;
    use crate::onnx::builder::{graph_attribute, node, tensor_attribute, tensor_f32, value_info};
    use crate::onnx::test_models::{chain, small_net};

    fn load(proto: &pb::ModelProto) -> Result<Model> {
        Model::from_bytes("test.onnx", &proto.encode_to_vec())
    }

    /// The message of the error that a change to the small network gives.
    fn refused(change: impl FnOnce(&mut pb::ModelProto, &mut pb::GraphProto)) -> String {
        let mut proto = small_net();
        let mut graph = proto.graph.take().unwrap();
        change(&mut proto, &mut graph);
        proto.graph = Some(graph);
        load(&proto).unwrap_err().to_string()
    }

    fn assert_says(message: &str, words: &str) {
        assert!(message.contains(words), "`{message}` does not say `{words}`");
    }

    #[test]
    fn a_good_model_is_read() {
        let model = load(&small_net()).unwrap();
        assert_eq!((model.name(), model.opset()), ("test.onnx", 13));
        assert_eq!(model.digest(), load(&small_net()).unwrap().digest());
    }

    #[test]
    fn what_is_not_a_model_is_said_to_be_none() {
        for bytes in [&b""[..], b"\x00", b"not a model at all", b"<!DOCTYPE html>"] {
            let error = Model::from_bytes("m", bytes).unwrap_err();
            assert!(matches!(error, Error::NotOnnx { .. }), "{error}");
        }
        let no_graph = pb::ModelProto { graph: None, ..small_net() };
        assert_says(&load(&no_graph).unwrap_err().to_string(), "no graph");
        let error = Model::load("/nonexistent/model.onnx").unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }

    #[test]
    fn operator_sets_out_of_range_are_refused() {
        for version in [99, 26, 6, -1] {
            let message = refused(|m, _| m.opset_import[0].version = version);
            assert_says(&message, &format!("operator set {version}; 7 to 25"));
        }
        assert_says(&refused(|m, _| m.opset_import.clear()), "names no version");
    }

    #[test]
    fn every_name_must_be_known_and_unique() {
        let message = refused(|_, g| g.output[0].name = "nowhere".into());
        assert_says(&message, "nothing produces output `nowhere`");
        assert_says(&refused(|_, g| g.node.swap(0, 1)), "nodes must be sorted");
        let message = refused(|_, g| g.node[1].input[0] = "ghost".into());
        assert_says(&message, "node `relu` (Relu) reads `ghost`, which nothing produces");
        assert_says(&refused(|_, g| g.node[1].output[0] = "conv".into()), "defined twice");
        assert_says(&refused(|_, g| g.node[1].output.clear()), "has no output");
        assert_says(&refused(|_, g| g.output.clear()), "no output");
        assert_says(&refused(|_, g| g.input[0].name = "w".into()), "reads `x`");
        assert_says(&refused(|_, g| g.initializer[0].name = "x".into()), "reads `w`");
        assert_says(&refused(|_, g| g.output.push(g.output[0].clone())), "listed twice");
        let message = refused(|_, g| {
            let w = g.initializer[0].clone();
            g.initializer.push(w);
        });
        assert_says(&message, "`w` is defined twice");
    }

    #[test]
    fn a_graph_with_only_constant_inputs_has_no_input() {
        let mut proto = chain(vec![node("Relu", &["x"], &["y"], vec![])], "y");
        let graph = proto.graph.as_mut().unwrap();
        graph.initializer.push(tensor_f32("x", &[2, 3], &[0.0; 6]));
        assert_says(&load(&proto).unwrap_err().to_string(), "no input");
    }

    #[test]
    fn names_inside_branches_are_checked_too() {
        let branch = |read: &str| pb::GraphProto {
            node: vec![node("Relu", &[read], &["inner"], vec![])],
            output: vec![value_info("inner", tract_onnx::prelude::DatumType::F32, &[2, 3])],
            ..Default::default()
        };
        let model = |read: &str| {
            let attributes = vec![graph_attribute("then_branch", branch(read))];
            chain(vec![node("If", &["x"], &["y"], attributes)], "y")
        };
        assert!(load(&model("x")).is_ok());
        let message = load(&model("ghost")).unwrap_err().to_string();
        assert_says(&message, "inside node `y`: node `inner` (Relu) reads `ghost`");
    }

    #[test]
    fn weights_must_be_finite_and_masks_may_be_infinite() {
        let message = refused(|_, g| g.initializer[3] = tensor_f32("b1", &[5], &[f32::NAN; 5]));
        assert_says(&message, "tensor `b1` holds NaN");
        let message = refused(|_, g| {
            g.initializer[5] = tensor_f32("b2", &[4], &[f32::INFINITY; 4]);
        });
        assert_says(&message, "tensor `b2` holds an infinity");

        let constant = |value: f32| {
            let tensor = tensor_attribute("value", tensor_f32("", &[1], &[value]));
            node("Constant", &[], &["c"], vec![tensor])
        };
        let with = |value: f32, op: &str| {
            chain(vec![constant(value), node(op, &["x", "c"], &["y"], vec![])], "y")
        };
        assert!(load(&with(f32::NEG_INFINITY, "Add")).is_ok());
        assert!(load(&with(f32::NEG_INFINITY, "MatMul")).is_err());
        assert!(load(&with(f32::NAN, "Add")).is_err());
    }

    #[test]
    fn tensors_must_fit_their_shapes() {
        assert_says(&refused(|_, g| g.initializer[0].dims[0] = -3), "dimension -3");
        let message = refused(|_, g| g.initializer[1].dims = vec![1 << 62, 1 << 62]);
        assert_says(&message, "tensor `b`");
        let message = refused(|_, g| {
            g.initializer[1].raw_data.pop();
        });
        assert_says(&message, "need 12 bytes, got 11");
        assert_says(&refused(|_, g| g.initializer[1].data_type = 1234), "unknown element type");
    }
}
