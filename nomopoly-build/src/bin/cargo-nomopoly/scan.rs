//! `scan`: the nodes of a model and how each will be checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use nomopoly_build::ScannedNode;
use nomopoly_build::manifest::{Check, CompileOptions};
use nomopoly_build::runtime::onnx::{Graph, Model, TensorInfo};
use serde_json::json;

use crate::arguments::ScanArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::{count, counted, shape, shortened};
use crate::table::{Align, Table};

pub fn run(arguments: &ScanArguments, context: &Context) -> Result<(), Failure> {
    let model = Arc::new(Model::load(&arguments.model)?);
    let shapes: BTreeMap<String, Vec<usize>> = arguments.shapes.input.iter().cloned().collect();
    let graph = Graph::bind(model, &shapes)?;
    for note in graph.notes() {
        context.note(note);
    }
    let nodes = nomopoly_build::scan(&graph, &CompileOptions::default())?;
    context.result(
        || {
            json!({
                "model": graph.model().name(),
                "digest": graph.model().digest(),
                "operator_set": graph.model().opset(),
                "inputs": tensors(graph.inputs()),
                "outputs": tensors(graph.outputs()),
                "notes": graph.notes(),
                "nodes": &nodes,
                "parameters": nodes.iter().map(|node| node.parameters).sum::<u64>(),
                "multiply_accumulates": total_cost(&nodes),
            })
        },
        || text(&graph, &nodes),
    )
}

fn tensors(infos: &[TensorInfo]) -> serde_json::Value {
    infos
        .iter()
        .map(|info| {
            let dtype = format!("{:?}", info.dtype).to_lowercase();
            json!({ "name": info.name, "dtype": dtype, "shape": info.shape })
        })
        .collect()
}

fn total_cost(nodes: &[ScannedNode]) -> u64 {
    nodes.iter().filter_map(|node| node.multiply_accumulates).sum()
}

fn text(graph: &Graph, nodes: &[ScannedNode]) -> String {
    let mut table = Table::new(&[
        ("node", Align::Left),
        ("kind", Align::Left),
        ("inputs", Align::Left),
        ("outputs", Align::Left),
        ("parameters", Align::Right),
        ("MACs", Align::Right),
        ("check", Align::Left),
        ("attributes or why there is no artefact", Align::Left),
    ]);
    for node in nodes {
        table.row([
            shortened(&node.name, 32),
            shortened(&node.kind, 20),
            shapes(&node.inputs),
            shapes(&node.outputs),
            if node.parameters == 0 { "-".into() } else { count(node.parameters) },
            node.multiply_accumulates.map_or_else(|| "-".into(), count),
            check(node),
            shortened(&last_column(node), 90),
        ]);
    }
    let compiled = nodes.iter().filter(|node| node.compiled).count();
    let sketched = nodes.iter().filter(|node| node.check == Check::Sketch).count();
    let describe = |infos: &[TensorInfo]| {
        let each = infos
            .iter()
            .map(|info| format!("{} {}", shortened(&info.name, 32), shape(&info.shape)));
        each.collect::<Vec<_>>().join(", ")
    };
    format!(
        "{}: operator set {}, {} -> {}\n\n{table}\n\
         {} ({compiled} with an artefact, {sketched} checked by sketch, {} by replay), \
         {} parameters, {} multiply-accumulates in nodes with an artefact\n\
         sketch ~k: the number of sketches is an estimate, training decides on real inputs\n",
        shortened(graph.model().name(), 60),
        graph.model().opset(),
        describe(graph.inputs()),
        describe(graph.outputs()),
        counted(nodes.len(), "node", "nodes"),
        nodes.len() - sketched,
        count(nodes.iter().map(|node| node.parameters).sum()),
        count(total_cost(nodes)),
    )
}

fn shapes(tensors: &[(String, Vec<usize>)]) -> String {
    if tensors.is_empty() {
        return "-".into();
    }
    shortened(&tensors.iter().map(|(_, s)| shape(s)).collect::<Vec<_>>().join(", "), 40)
}

fn check(node: &ScannedNode) -> String {
    match (node.check, node.sketches) {
        (Check::Sketch, Some(k)) => format!("sketch ~{k}"),
        (check, _) => check.to_string(),
    }
}

fn last_column(node: &ScannedNode) -> String {
    match &node.note {
        Some(note) => format!("no artefact: {note}"),
        None => node.attributes.join(" "),
    }
}
