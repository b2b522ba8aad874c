//! A model with concrete input shapes, and what is known of each of its tensors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tract_onnx::pb;
use tract_onnx::prelude::{DatumType, Tensor};

use super::model::Model;
use super::names::{dependencies, node_id};
use super::{binding, builder, infer, support};
use crate::error::{Error, Result};

/// A tensor that goes into or comes out of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    pub name: String,
    pub dtype: DatumType,
    pub shape: Vec<usize>,
}

/// What is known of a tensor before anything runs.
#[derive(Debug, Clone)]
pub struct Value {
    pub dtype: DatumType,
    pub shape: Vec<usize>,
    /// The tensor itself when it does not depend on the inputs: an initialiser, the output of a
    /// `Constant`, or what tract could compute from those alone.
    pub constant: Option<Arc<Tensor>>,
}

/// A [`Model`] bound to concrete input shapes.
#[derive(Debug, Clone)]
pub struct Graph {
    model: Arc<Model>,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    nodes: Vec<pb::NodeProto>,
    values: HashMap<String, Value>,
    notes: Vec<String>,
}

impl Graph {
    /// Gives every input a shape and works out the shape of every other tensor.
    ///
    /// An input that `shapes` does not name has the shape that the model declares. A symbol has
    /// one value everywhere, and a first dimension that nothing binds is 1, with a note.
    ///
    /// # Errors
    /// When the shapes do not fit the model or leave a dimension open; when operations cannot run
    /// (all of them are listed); when the shape of an output depends on the data.
    pub fn bind(model: Arc<Model>, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Self> {
        let (inputs, notes) = binding::bind(&model, shapes)?;
        support::check(&model, &support::front_end())?;
        let nodes = without_unread_outputs(model.graph()?);
        let mut graph =
            Self { model, inputs, outputs: Vec::new(), nodes, values: HashMap::new(), notes };
        graph.values = infer::values(&graph.model, &graph.with_every_value_as_output()?)?;
        for input in &graph.inputs {
            let value = Value { dtype: input.dtype, shape: input.shape.clone(), constant: None };
            graph.values.insert(input.name.clone(), value);
        }
        graph.outputs = graph
            .model
            .graph()?
            .output
            .iter()
            .map(|output| graph.info(&output.name))
            .collect::<Result<_>>()?;
        Ok(graph)
    }

    /// The model that was bound.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The inputs that a caller gives, in the model's order.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// The model's outputs, in its order.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// The nodes, each after what it depends on. Optional outputs that nothing reads (a mask of
    /// `Dropout`, statistics of `BatchNormalization`) are gone.
    pub fn nodes(&self) -> &[pb::NodeProto] {
        &self.nodes
    }

    /// What is known of the tensor of this name: an input, an initialiser, or an output of a
    /// node that is its first one, that another node reads, or that is an output of the model.
    /// `None` for other names and for tensors whose shape depends on the data.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Choices that binding made for the caller, in words for people.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The tensor of this name as a graph input or output.
    ///
    /// # Errors
    /// [`Error::UnsupportedNodes`] when its shape depends on the data, [`Error::InvalidGraph`]
    /// when there is none.
    pub fn info(&self, name: &str) -> Result<TensorInfo> {
        if let Some(value) = self.values.get(name) {
            let (dtype, shape) = (value.dtype, value.shape.clone());
            return Ok(TensorInfo { name: name.to_string(), dtype, shape });
        }
        let model = self.model.name().to_string();
        match self.nodes.iter().find(|node| node.output.iter().any(|output| output == name)) {
            Some(node) => {
                let reason = format!("the shape of `{name}` depends on the data");
                Err(Error::UnsupportedNodes {
                    model,
                    nodes: vec![support::describe(node, &reason)],
                })
            }
            None => {
                Err(Error::InvalidGraph { model, reason: format!("there is no tensor `{name}`") })
            }
        }
    }

    /// A model of some of this graph's parts. Nodes are named by their ids, which are unique
    /// where names need not be and which errors of tract then mention.
    ///
    /// # Errors
    /// Never in practice: a checked model has a graph.
    pub(crate) fn assemble(
        &self,
        mut nodes: Vec<pb::NodeProto>,
        initializers: Vec<pb::TensorProto>,
        inputs: Vec<pb::ValueInfoProto>,
        outputs: Vec<pb::ValueInfoProto>,
    ) -> Result<pb::ModelProto> {
        for node in &mut nodes {
            node.name = node_id(node).to_string();
        }
        let proto = self.model.proto();
        let name = &self.model.graph()?.name;
        Ok(pb::ModelProto {
            ir_version: proto.ir_version,
            producer_name: "nomopoly".to_string(),
            opset_import: proto.opset_import.clone(),
            graph: Some(builder::graph(name, nodes, initializers, inputs, outputs)),
            ..Default::default()
        })
    }

    fn with_every_value_as_output(&self) -> Result<pb::ModelProto> {
        let graph = self.model.graph()?;
        let read = &read_names(graph, &self.nodes);
        let untyped =
            |name: &str| pb::ValueInfoProto { name: name.to_string(), ..Default::default() };
        let outputs = self.nodes.iter().flat_map(|node| {
            let id = node_id(node);
            let names = node.output.iter().map(String::as_str);
            names.filter(move |name| *name == id || (!name.is_empty() && read.contains(name)))
        });
        let outputs = outputs.map(untyped).collect();
        let inputs = self.inputs.iter().map(value_info).collect();
        self.assemble(self.nodes.clone(), graph.initializer.clone(), inputs, outputs)
    }
}

pub(crate) fn value_info(info: &TensorInfo) -> pb::ValueInfoProto {
    builder::value_info(&info.name, info.dtype, &info.shape)
}

/// Every name that a node reads or that is an output of the graph.
fn read_names<'a>(graph: &'a pb::GraphProto, nodes: &'a [pb::NodeProto]) -> HashSet<&'a str> {
    let outputs = graph.output.iter().map(|output| output.name.as_str());
    nodes.iter().flat_map(dependencies).chain(outputs).collect()
}

/// The nodes without optional last outputs that nothing reads. tract cannot compute some of
/// them, and computing the others would be for nothing. Only operations where the number of
/// outputs means nothing else: for `Split` it says how many parts there are.
fn without_unread_outputs(graph: &pb::GraphProto) -> Vec<pb::NodeProto> {
    const OPTIONAL: [&str; 6] = [
        "BatchNormalization",
        "Dropout",
        "LayerNormalization",
        "MaxPool",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    ];
    let mut nodes = graph.node.clone();
    let read: HashSet<String> =
        read_names(graph, &graph.node).into_iter().map(str::to_string).collect();
    for node in nodes.iter_mut().filter(|node| OPTIONAL.contains(&node.op_type.as_str())) {
        while node.output.len() > 1 && node.output.last().is_some_and(|name| !read.contains(name)) {
            node.output.pop();
        }
    }
    nodes
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
