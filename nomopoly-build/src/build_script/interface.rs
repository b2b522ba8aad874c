//! What a program sees of a model: names, types, shapes, and what each proof is worth.

use std::collections::{BTreeMap, HashSet};

use nomopoly_manifest::{
    Architecture, ArtefactInterface, Check, Metrics, ModelInterface, OperationInterface,
    TensorInterface,
};
use nomopoly_runtime::onnx::pb::tensor_shape_proto::dimension;
use nomopoly_runtime::onnx::pb::{self, type_proto};
use nomopoly_runtime::onnx::{Graph, TensorInfo, node_id};
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::typed_dtype;

/// The interface of a bound model. `metrics` are those of the compiled operations, by the name of
/// the operation's output.
///
/// # Errors
/// In words: an input or output has an element type that typed tensors do not have, or too many
/// dimensions.
pub fn interface(
    graph: &Graph,
    metrics: &BTreeMap<&str, Metrics>,
) -> Result<ModelInterface, String> {
    let proto = graph.model().proto().graph.as_ref();
    let declared = |list: fn(&pb::GraphProto) -> &[pb::ValueInfoProto], name: &str| {
        let infos = proto.map(list).unwrap_or_default();
        infos.iter().find(|info| info.name == name).map(open_dimensions).unwrap_or_default()
    };
    // An open first dimension counts samples if an input has it.
    let symbols: HashSet<String> = graph
        .inputs()
        .iter()
        .filter_map(|info| declared(|graph| &graph.input, &info.name).remove(&0))
        .collect();
    let tensor = |info: &TensorInfo, mut open: BTreeMap<usize, String>, what: &str| {
        let dtype = typed_dtype(info.dtype).ok_or_else(|| {
            format!(
                "{what} `{}` has element type {:?}, which typed tensors do not have",
                info.name, info.dtype
            )
        })?;
        if info.shape.len() > MOST_DIMENSIONS {
            return Err(format!(
                "{what} `{}` has {} dimensions, typed tensors have at most {MOST_DIMENSIONS}",
                info.name,
                info.shape.len()
            ));
        }
        // A file may declare another rank for an output than it has.
        open.retain(|axis, _| *axis < info.shape.len());
        let batch = open.get(&0).is_some_and(|symbol| symbols.contains(symbol));
        if batch {
            open.remove(&0);
        }
        Ok(TensorInterface {
            name: info.name.clone(),
            dtype: dtype.to_owned(),
            shape: info.shape.clone(),
            batch,
            open: open.into_keys().collect(),
        })
    };
    let inputs = graph.inputs().iter();
    let inputs = inputs.map(|i| tensor(i, declared(|graph| &graph.input, &i.name), "input"));
    let inputs = inputs.collect::<Result<_, _>>()?;
    let outputs = graph.outputs().iter();
    let outputs = outputs.map(|o| tensor(o, declared(|graph| &graph.output, &o.name), "output"));
    let outputs = outputs.collect::<Result<_, _>>()?;

    let named_outputs: HashSet<&str> =
        graph.outputs().iter().map(|output| output.name.as_str()).collect();
    let nodes = graph
        .nodes()
        .iter()
        .filter(|node| node.op_type != "Constant" && Operation::absorbed_by(graph, node).is_none());
    let operations = nodes.map(|node| {
        let name = node_id(node);
        OperationInterface {
            name: name.to_owned(),
            kind: Operation::kind_of(graph, node).to_owned(),
            output_shape: graph.value(name).map(|value| value.shape.clone()).unwrap_or_default(),
            artefact: metrics.get(name).map(|m| artefact(m, named_outputs.contains(name))),
        }
    });
    Ok(ModelInterface {
        name: graph.model().name().to_owned(),
        digest: graph.model().digest().to_string(),
        inputs,
        outputs,
        operations: operations.collect(),
    })
}

/// `nomopoly_runtime::Shape` is implemented for as many.
const MOST_DIMENSIONS: usize = 8;

fn artefact(metrics: &Metrics, is_output: bool) -> ArtefactInterface {
    let baseline = metrics.options.architecture == Architecture::Mlp;
    let revealed = baseline || metrics.check == Check::Sketch;
    let certificate = metrics.figures.certificate.as_ref();
    ArtefactInterface {
        entry: metrics.entry.clone(),
        check: metrics.check,
        baseline,
        proof_dim: (revealed || is_output).then_some(metrics.options.proof_dim as usize),
        sketches: certificate.map_or(0, |c| c.sketches),
        certified_bits: certificate.and_then(|c| c.bits_at_min_deviation),
        certified_deviation: certificate
            .map(|c| c.deviation_at_soundness_bits)
            .filter(|deviation| deviation.is_finite()),
        completeness_error: metrics.figures.completeness_error,
        soundness_error: metrics.figures.soundness_error,
    }
}

/// The dimensions that a declaration leaves open, with their symbols; of an unnamed one, nothing.
fn open_dimensions(info: &pb::ValueInfoProto) -> BTreeMap<usize, String> {
    let value = info.r#type.as_ref().and_then(|declared| declared.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = value else { return BTreeMap::new() };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim).enumerate();
    dims.filter_map(|(axis, dim)| match &dim.value {
        Some(dimension::Value::DimParam(symbol)) if !symbol.is_empty() => {
            Some((axis, symbol.clone()))
        }
        Some(dimension::Value::DimValue(value)) if *value > 0 => None,
        _ => Some((axis, String::new())),
    })
    .collect()
}
