//! The host's side: run the model once, reveal the transcript, attach the proof vectors.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use tract_onnx::prelude::Tensor as TractTensor;

use super::shapes::{PerShape, shapes_of};
use crate::model::CompiledModel;
use crate::onnx::{Graph, Model, Plan, cut::with_outputs};
use crate::operation_check::CompiledOperation;
use crate::proof::{OperationProof, Proof};
use crate::tensor::{NamedTensor, TensorData, f32_values};
use crate::{Error, Result};

/// Proves inferences of one model, for inputs of every shape that the model takes.
///
/// The first inference of another shape than the model was compiled at prepares a plan for it, which
/// takes as long as loading the model; the plans of the last few shapes are kept.
pub struct Prover {
    at_compiled: Bound,
    others: PerShape<Bound>,
    /// The model that is run, where it is not the one that is proved.
    instead: Option<Arc<Model>>,
}

/// A model for inputs of one set of shapes.
struct Bound {
    model: Arc<CompiledModel>,
    plan: Plan,
    /// Names of the plan's outputs: the model's own first.
    exposed: Vec<String>,
}

impl Bound {
    /// Runs `graph`, in the place of the model's own.
    fn new(model: Arc<CompiledModel>, graph: &Graph) -> Result<Self> {
        let mut names: Vec<&str> = vec![];
        for compiled in model.proved() {
            names.push(compiled.operation.output());
            names.extend(compiled.operation.inputs().iter().map(String::as_str));
        }
        names.sort_unstable();
        names.dedup();
        let exposed = with_outputs(graph, &names)?;
        let plan = Plan::new(graph.model().name(), &exposed.proto)?;
        Ok(Self { plan, exposed: exposed.outputs, model })
    }
}

impl Prover {
    /// Prepares the model's graph with the transcript exposed.
    ///
    /// # Errors
    /// When tract cannot run the graph.
    pub fn new(model: Arc<CompiledModel>) -> Result<Self> {
        let graph = model.shared_graph();
        let at_compiled = Bound::new(model, &graph)?;
        Ok(Self { at_compiled, others: PerShape::new(), instead: None })
    }

    /// A dishonest host: runs `graph`, a graph of the same form with other weights say, and claims
    /// to have run `model`, with the generator's proofs of what it computed. For audits and tests.
    ///
    /// # Errors
    /// When tract cannot run the graph or it lacks a tensor of the model.
    pub fn running(model: Arc<CompiledModel>, graph: &Graph) -> Result<Self> {
        let at_compiled = Bound::new(model, graph)?;
        let instead = Some(graph.model().clone());
        Ok(Self { at_compiled, others: PerShape::new(), instead })
    }

    /// The model, at the shapes that it was compiled at.
    pub fn model(&self) -> &CompiledModel {
        &self.at_compiled.model
    }

    /// Calls `f` with the model at the inputs' shapes, and the inputs in the model's order.
    fn with<T>(
        &self,
        inputs: &[NamedTensor],
        f: impl FnOnce(&Bound, &[&NamedTensor]) -> Result<T>,
    ) -> Result<T> {
        let compiled = &self.at_compiled;
        let outline = compiled.model.outline();
        let ordered = outline.order_inputs(inputs)?;
        if outline.has_shapes_of(&ordered) {
            return f(compiled, &ordered);
        }
        let shapes = shapes_of(&ordered);
        let bound = self.others.get(&shapes, || {
            let model = Arc::new(compiled.model.at(&shapes)?);
            let graph = match &self.instead {
                Some(instead) => Arc::new(Graph::bind(instead.clone(), &shapes)?),
                None => model.shared_graph(),
            };
            Bound::new(model, &graph)
        })?;
        f(&bound, &ordered)
    }

    /// Runs one inference and proves it.
    ///
    /// # Errors
    /// When an input is unknown, missing, of a shape or type that the model does not take, or not
    /// finite, and when the inference overflows.
    pub fn prove(&self, inputs: &[NamedTensor]) -> Result<Proof> {
        self.with(inputs, |bound, ordered| bound.assemble(ordered, &bound.run(ordered)?))
    }

    /// A dishonest host: `edit` may change every tensor that the proof is made of (by its name)
    /// before the generators prove it. For audits and tests.
    ///
    /// # Errors
    /// As [`Prover::prove`].
    pub fn prove_edited(
        &self,
        inputs: &[NamedTensor],
        mut edit: impl FnMut(&str, &mut TensorData),
    ) -> Result<Proof> {
        self.with(inputs, |bound, ordered| {
            let mut results = bound.run(ordered)?;
            for (name, result) in bound.exposed.iter().zip(&mut results) {
                let mut tensor = NamedTensor::from_tract(name, result)?;
                edit(name, &mut tensor.data);
                *result = Arc::new(tensor.to_tract()?);
            }
            bound.assemble(ordered, &results)
        })
    }
}

impl Bound {
    fn run(&self, inputs: &[&NamedTensor]) -> Result<Vec<Arc<TractTensor>>> {
        let tensors = inputs.iter().map(|input| input.to_tract()).collect::<Result<Vec<_>>>()?;
        self.plan.run(tensors)
    }

    /// The proof of whatever was computed.
    fn assemble(&self, inputs: &[&NamedTensor], results: &[Arc<TractTensor>]) -> Result<Proof> {
        let by_name: HashMap<&str, _> =
            self.exposed.iter().map(String::as_str).zip(results.iter()).collect();
        let value = |name: &str| {
            by_name.get(name).copied().ok_or_else(|| Error::Operation {
                operation: name.to_owned(),
                reason: "the plan did not compute it".into(),
            })
        };
        let named = |name: &str| NamedTensor::from_tract(name, value(name)?);
        let outputs = self.model.graph().outputs().iter().map(|output| {
            let tensor = named(&output.name)?;
            if tensor.is_finite() { Ok(tensor) } else { Err(Error::NonFinite { tensor: tensor.name }) }
        });
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let prove = |compiled: &CompiledOperation| {
            let operation = &compiled.operation;
            let name = operation.output();
            let values = |name: &str| f32_values(name, value(name)?);
            let x =
                operation.inputs().iter().map(|name| values(name)).collect::<Result<Vec<_>>>()?;
            let x: Vec<&[f32]> = x.iter().map(AsRef::as_ref).collect();
            let (vector, squares) =
                compiled.artefact.generator.proof_with_squares(&x, &values(name)?)?;
            if !squares.is_finite() {
                return Err(Error::NonFinite { tensor: name.to_owned() });
            }
            let revealed = compiled.in_transcript().then(|| named(name)).transpose()?;
            let artefact = compiled.artefact.id;
            Ok((OperationProof { operation: name.to_owned(), artefact, vector }, revealed))
        };
        let proved: Vec<&CompiledOperation> = self.model.proved().collect();
        let proved = proved.into_par_iter().map(prove).collect::<Result<Vec<_>>>()?;
        let (operations, transcript): (Vec<_>, Vec<_>) = proved.into_iter().unzip();
        let transcript = transcript.into_iter().flatten().collect();
        Ok(Proof {
            model: self.model.graph().model().digest(),
            inputs: inputs.iter().map(|input| (input.name.clone(), input.shape.clone())).collect(),
            outputs,
            transcript,
            operations,
        })
    }
}
