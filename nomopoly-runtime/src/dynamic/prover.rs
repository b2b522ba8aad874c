//! The host's side: run the model once, reveal the transcript, attach the proof vectors.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::prelude::Tensor as TractTensor;

use crate::model::CompiledModel;
use crate::onnx::{Graph, Plan, cut::with_outputs};
use crate::proof::{OperationProof, Proof};
use crate::tensor::{NamedTensor, TensorData, f32_values};
use crate::{Error, Result};

/// Proves inferences of one model.
pub struct Prover {
    model: Arc<CompiledModel>,
    plan: Plan,
    /// Names of the plan's outputs: the model's own first.
    exposed: Vec<String>,
}

impl Prover {
    /// Prepares the model's graph with the transcript exposed.
    ///
    /// # Errors
    /// When tract cannot run the graph.
    pub fn new(model: Arc<CompiledModel>) -> Result<Self> {
        let graph = model.shared_graph();
        Self::running(model, &graph)
    }

    /// A dishonest host: runs `graph`, a graph of the same form with other weights say, and claims
    /// to have run `model`, with the generator's proofs of what it computed. For audits and tests.
    ///
    /// # Errors
    /// When tract cannot run the graph or it lacks a tensor of the model.
    pub fn running(model: Arc<CompiledModel>, graph: &Graph) -> Result<Self> {
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

    pub fn model(&self) -> &CompiledModel {
        &self.model
    }

    /// Runs one inference and proves it.
    ///
    /// # Errors
    /// When an input is unknown, missing, of wrong shape or type, or not finite, and when the
    /// inference overflows.
    pub fn prove(&self, inputs: &[NamedTensor]) -> Result<Proof> {
        let ordered = self.model.outline().order_inputs(inputs)?;
        self.assemble(&ordered, &self.run(&ordered)?)
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
        let ordered = self.model.outline().order_inputs(inputs)?;
        let mut results = self.run(&ordered)?;
        for (name, result) in self.exposed.iter().zip(&mut results) {
            let mut tensor = NamedTensor::from_tract(name, result)?;
            edit(name, &mut tensor.data);
            *result = Arc::new(tensor.to_tract()?);
        }
        self.assemble(&ordered, &results)
    }

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
        let named = |name: &str| -> Result<NamedTensor> {
            let tensor = NamedTensor::from_tract(name, value(name)?)?;
            if tensor.is_finite() {
                Ok(tensor)
            } else {
                Err(Error::NonFinite { tensor: name.to_owned() })
            }
        };
        let outputs = self.model.graph().outputs().iter().map(|output| named(&output.name));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let transcript = self.model.transcript().map(|compiled| named(compiled.operation.output()));
        let transcript = transcript.collect::<Result<Vec<_>>>()?;
        let mut operations = vec![];
        for compiled in self.model.proved() {
            let operation = &compiled.operation;
            let values = |name: &str| f32_values(name, value(name)?);
            let x =
                operation.inputs().iter().map(|name| values(name)).collect::<Result<Vec<_>>>()?;
            let x: Vec<&[f32]> = x.iter().map(AsRef::as_ref).collect();
            let y = values(operation.output())?;
            operations.push(OperationProof {
                operation: operation.output().to_owned(),
                artefact: compiled.artefact.id,
                vector: compiled.prove_one(&x, &y)?,
            });
        }
        Ok(Proof {
            model: self.model.graph().model().digest(),
            inputs: inputs.iter().map(|input| (input.name.clone(), input.shape.clone())).collect(),
            outputs,
            transcript,
            operations,
        })
    }
}
