//! The two graphs of a whole-model proof, as plain rewriting of the protobuf.
//!
//! The prover runs the model with the outputs of its linear operations exposed
//! ([`with_outputs`]); the verifier runs it with those operations taken out and their outputs
//! given ([`cut`]).

use std::collections::HashSet;

use tract_onnx::pb;

use super::builder;
use super::graph::{Graph, TensorInfo, value_info};
use super::names::{dependencies, fresh};
use crate::error::{Error, Result};

/// A graph with more outputs than the model has.
#[derive(Debug, Clone)]
pub struct Exposed {
    pub proto: pb::ModelProto,
    /// Which value of the original graph each output of `proto` is.
    pub outputs: Vec<String>,
}

/// A graph from which the producers of some values were taken out.
#[derive(Debug, Clone)]
pub struct CutGraph {
    pub proto: pb::ModelProto,
    /// Which value of the original graph each input of `proto` is: the original inputs that are
    /// still needed, in the model's order, then the cut values that are needed, in the caller's.
    pub inputs: Vec<String>,
    /// Which value of the original graph each output of `proto` is: as the caller asked.
    pub outputs: Vec<String>,
}

/// The whole graph: the model's outputs, followed by each of `names` that is not yet there.
///
/// # Errors
/// When a name is no value of the graph, or its shape depends on the data.
pub fn with_outputs(graph: &Graph, names: &[&str]) -> Result<Exposed> {
    let mut outputs: Vec<&str> = graph.outputs().iter().map(|info| info.name.as_str()).collect();
    let mut listed: HashSet<&str> = outputs.iter().copied().collect();
    outputs.extend(names.iter().filter(|name| listed.insert(name)));

    let initializers = graph.model().graph()?.initializer.clone();
    let mut rewrite = Rewrite::new(graph, graph.nodes().to_vec());
    let infos = rewrite.outputs(&outputs, &HashSet::new())?;
    let inputs = graph.inputs().iter().map(value_info).collect();
    let proto = graph.assemble(rewrite.nodes, initializers, inputs, infos)?;
    Ok(Exposed { proto, outputs: owned(&outputs) })
}

/// The part of the graph that computes `outputs` when the values `cut` are given: the nodes that
/// produce those are gone, and so is everything that no output depends on any more.
///
/// # Errors
/// When no node produces a value to cut at, when an output is no value of the graph, or when the
/// shape of one of them depends on the data.
pub fn cut(graph: &Graph, cut: &[&str], outputs: &[&str]) -> Result<CutGraph> {
    let cuts: HashSet<&str> = cut.iter().copied().collect();
    for name in cut {
        if !graph.nodes().iter().any(|node| node.output.iter().any(|output| output == name)) {
            let reason = format!("no node produces `{name}`, so the graph cannot be cut there");
            let model = graph.model().name().to_string();
            return Err(Error::InvalidGraph { model, reason });
        }
    }
    // Backwards over sorted nodes: when one is reached, all that read its outputs were seen.
    let mut needed: HashSet<&str> = outputs.iter().copied().collect();
    let mut kept = Vec::new();
    for node in graph.nodes().iter().rev() {
        let wanted =
            |name: &String| needed.contains(name.as_str()) && !cuts.contains(name.as_str());
        if node.output.iter().any(wanted) {
            kept.push(node.clone());
            needed.extend(dependencies(node));
        }
    }
    kept.reverse();

    let mut rewrite = Rewrite::new(graph, kept);
    rewrite.rename_outputs(&cuts);
    let infos = rewrite.outputs(outputs, &cuts)?;
    let original = graph.inputs().iter().filter(|info| needed.contains(info.name.as_str()));
    let mut inputs: Vec<TensorInfo> = original.cloned().collect();
    let mut listed = HashSet::new();
    for name in cut.iter().filter(|name| needed.contains(**name) && listed.insert(**name)) {
        inputs.push(graph.info(name)?);
    }
    let initializers = graph.model().graph()?.initializer.iter();
    let initializers =
        initializers.filter(|tensor| needed.contains(tensor.name.as_str())).cloned().collect();
    let input_infos = inputs.iter().map(value_info).collect();
    let proto = graph.assemble(rewrite.nodes, initializers, input_infos, infos)?;
    let inputs = inputs.into_iter().map(|info| info.name).collect();
    Ok(CutGraph { proto, inputs, outputs: owned(outputs) })
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// Nodes under change, with the names that are in use.
struct Rewrite<'a> {
    graph: &'a Graph,
    nodes: Vec<pb::NodeProto>,
    taken: HashSet<String>,
}

impl<'a> Rewrite<'a> {
    fn new(graph: &'a Graph, nodes: Vec<pb::NodeProto>) -> Self {
        let all = graph.nodes();
        let mut taken: HashSet<String> =
            all.iter().flat_map(|node| &node.output).cloned().collect();
        taken.extend(all.iter().flat_map(dependencies).map(str::to_string));
        taken.extend(graph.inputs().iter().map(|info| info.name.clone()));
        Self { graph, nodes, taken }
    }

    /// Frees the cut names: a node that is kept for another of its outputs must not define what
    /// is an input now.
    fn rename_outputs(&mut self, cuts: &HashSet<&str>) {
        for output in self.nodes.iter_mut().flat_map(|node| &mut node.output) {
            if cuts.contains(output.as_str()) {
                *output = fresh(output, &mut self.taken);
            }
        }
    }

    /// The declarations of graph outputs. tract forgets what it knows of a graph input that is
    /// an output too, so what no node produces here (inputs, initialisers, cut values), and what
    /// is asked for again, is copied to a fresh name.
    fn outputs(
        &mut self,
        names: &[&str],
        given: &HashSet<&str>,
    ) -> Result<Vec<pb::ValueInfoProto>> {
        let produced: HashSet<String> =
            self.nodes.iter().flat_map(|node| &node.output).cloned().collect();
        let mut used = HashSet::new();
        let mut infos = Vec::with_capacity(names.len());
        for &name in names {
            let mut info = self.graph.info(name)?;
            let direct = produced.contains(name) && !given.contains(name);
            if !direct || !used.insert(name) {
                info.name = fresh(&format!("{name}_copy"), &mut self.taken);
                self.nodes.push(builder::node("Identity", &[name], &[&info.name], vec![]));
            }
            infos.push(value_info(&info));
        }
        Ok(infos)
    }
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
