//! A model whose operations are compiled: the graph, and the artefacts of its operations.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::onnx::Graph;
use crate::operation_check::CompiledOperation;
use crate::outline::Outline;
use crate::{Error, Result};

/// A bound graph with the compiled operations that take part in its proofs.
#[derive(Debug, Clone)]
pub struct CompiledModel {
    graph: Arc<Graph>,
    operations: Vec<CompiledOperation>,
    outline: Outline,
}

impl CompiledModel {
    /// Joins a graph and its compiled operations, in any order.
    ///
    /// # Errors
    /// [`Error::Operation`] when an operation is not a node of the graph, or comes twice.
    pub fn new(graph: Arc<Graph>, operations: Vec<CompiledOperation>) -> Result<Self> {
        let mut ordered: Vec<Option<CompiledOperation>> = vec![None; graph.nodes().len()];
        for compiled in operations {
            let name = compiled.operation.output().to_owned();
            let position = graph
                .nodes()
                .iter()
                .position(|node| node.output.first() == Some(&name))
                .ok_or_else(|| Error::Operation {
                    operation: name.clone(),
                    reason: format!("{} has no such node", graph.model().name()),
                })?;
            if ordered[position].replace(compiled).is_some() {
                return Err(Error::Operation {
                    operation: name,
                    reason: "it was given twice".into(),
                });
            }
        }
        let operations: Vec<CompiledOperation> = ordered.into_iter().flatten().collect();
        let revealed = operations.iter().filter(|compiled| compiled.in_transcript());
        let transcript = revealed.map(|compiled| {
            let operation = &compiled.operation;
            (operation.output().to_owned(), operation.spec().output_shape.clone())
        });
        let outline = Outline::new(&graph, transcript.collect());
        Ok(Self { graph, operations, outline })
    }

    /// The same model for inputs of these shapes, with the same artefacts: sketches contract channels
    /// and features, whatever the number of samples, the length of a sequence or the size of an
    /// image. Inputs that `shapes` does not name keep theirs.
    ///
    /// # Errors
    /// When the model does not take such inputs, tract cannot run it, or an operation was compiled
    /// with the baseline perceptron.
    pub fn at(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Self> {
        let mut all: BTreeMap<String, Vec<usize>> =
            self.graph.inputs().iter().map(|i| (i.name.clone(), i.shape.clone())).collect();
        all.extend(shapes.iter().map(|(name, shape)| (name.clone(), shape.clone())));
        let graph = Arc::new(Graph::bind(self.graph.model().clone(), &all)?);
        let operations = self.operations.iter().map(|compiled| compiled.at(&graph));
        Self::new(graph.clone(), operations.collect::<Result<_>>()?)
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph, shared.
    pub fn shared_graph(&self) -> Arc<Graph> {
        self.graph.clone()
    }

    /// Names, shapes and kinds, without weights.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The compiled operations in the graph's order.
    pub fn operations(&self) -> &[CompiledOperation] {
        &self.operations
    }

    /// Operations whose outputs the host reveals.
    pub fn transcript(&self) -> impl Iterator<Item = &CompiledOperation> {
        self.operations.iter().filter(|compiled| compiled.in_transcript())
    }

    /// Operations that a proof has a vector for: those of the transcript, and those that produce
    /// an output of the model.
    pub fn proved(&self) -> impl Iterator<Item = &CompiledOperation> {
        let outputs: HashSet<&str> =
            self.graph.outputs().iter().map(|output| output.name.as_str()).collect();
        self.operations.iter().filter(move |compiled| {
            compiled.in_transcript() || outputs.contains(compiled.operation.output())
        })
    }
}
