//! The host's side: run the model once, reveal the transcript, attach the proof vectors.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use tract_onnx::prelude::Tensor as TractTensor;

use super::shapes::{PerShape, shapes_of};
use super::stream::{self, Streamed};
use crate::kernels::sum_of_squares;
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
    proved: Vec<CompiledOperation>,
    /// The plan's output that each of them gives, by its place.
    places: Vec<usize>,
}

impl Bound {
    /// Runs `graph`, in the place of the model's own.
    fn new(model: Arc<CompiledModel>, graph: &Graph) -> Result<Self> {
        let names: Vec<&str> = model.proved().map(|compiled| compiled.operation.output()).collect();
        let exposed = with_outputs(graph, &names)?;
        let plan = Plan::new(graph.model().name(), &exposed.proto)?;
        let exposed = exposed.outputs;
        let place = |name: &str| {
            exposed.iter().position(|output| output == name).ok_or_else(|| Error::Operation {
                operation: name.to_owned(),
                reason: "the plan does not compute it".into(),
            })
        };
        let proved: Vec<CompiledOperation> = model.proved().cloned().collect();
        let places = proved.iter().map(|compiled| place(compiled.operation.output()));
        let places = places.collect::<Result<Vec<usize>>>()?;
        Ok(Self { plan, exposed, proved, places, model })
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
        self.with(inputs, Bound::prove)
    }

    /// Proves an inference that another runtime has run: `computed` holds the tensors of
    /// [`Prover::needed`], in any order.
    ///
    /// # Errors
    /// As [`Prover::prove`]; [`Error::MissingInput`] when a tensor is not there, and [`Error::Shape`]
    /// or [`Error::DType`] when it is another one than the model computes.
    pub fn prove_computed(
        &self,
        inputs: &[NamedTensor],
        computed: &[NamedTensor],
    ) -> Result<Proof> {
        let computed: HashMap<&str, &NamedTensor> =
            computed.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        self.with(inputs, |bound, ordered| {
            let results = bound.exposed.iter().zip(bound.plan.outputs()).map(|(name, info)| {
                let tensor = computed
                    .get(name.as_str())
                    .ok_or_else(|| Error::MissingInput { input: name.clone() })?;
                tensor.check(info.dtype, &info.shape)?;
                tensor.to_tract()
            });
            bound.prove_values(ordered, &results.collect::<Result<Vec<_>>>()?)
        })
    }

    /// Names of the tensors that a proof is made of: the model's outputs, and those of the
    /// operations that a proof has a vector for. A model that gives all of them comes from
    /// [`crate::onnx::cut::with_outputs`].
    pub fn needed(&self) -> &[String] {
        &self.at_compiled.exposed
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
                *result = tensor.to_tract()?;
            }
            bound.prove_values(ordered, &results)
        })
    }
}

impl Bound {
    fn run(&self, inputs: &[&NamedTensor]) -> Result<Vec<Arc<TractTensor>>> {
        let tensors = inputs.iter().map(|input| input.to_tract()).collect::<Result<Vec<_>>>()?;
        self.plan.run(tensors)
    }

    /// Operations are proved while those after them are still computed.
    fn prove(&self, inputs: &[&NamedTensor]) -> Result<Proof> {
        let tensors = inputs.iter().map(|input| input.to_tract()).collect::<Result<Vec<_>>>()?;
        let needs: Vec<Vec<usize>> = self.places.iter().map(|place| vec![*place]).collect();
        let Streamed { values, results } =
            stream::run(&self.plan, tensors, &needs, |number, value| {
                self.prove_one(number, value(self.places[number]))
            })?;
        self.assemble(inputs, &values, results)
    }

    /// The proof of whatever was computed.
    fn prove_values(&self, inputs: &[&NamedTensor], values: &[Arc<TractTensor>]) -> Result<Proof> {
        let numbers = (0..self.places.len()).into_par_iter();
        let proved =
            numbers.map(|number| self.prove_one(number, values.get(self.places[number]).cloned()));
        self.assemble(inputs, values, proved.collect::<Result<_>>()?)
    }

    /// The proof vector of one operation, and its output where that is revealed.
    fn prove_one(
        &self,
        number: usize,
        value: Option<Arc<TractTensor>>,
    ) -> Result<(OperationProof, Option<NamedTensor>)> {
        let compiled = &self.proved[number];
        let name = compiled.operation.output();
        let tensor = value.ok_or_else(|| Error::MissingInput { input: name.to_owned() })?;
        let values = f32_values(name, &tensor)?;
        if !sum_of_squares(&values).is_finite() {
            return Err(Error::NonFinite { tensor: name.to_owned() });
        }
        let vector = compiled.artefact.generator.proof_of(&values)?;
        let revealed = compiled.in_transcript().then(|| NamedTensor::from_tract(name, &tensor));
        let revealed = revealed.transpose()?;
        let artefact = compiled.artefact.id;
        Ok((OperationProof { operation: name.to_owned(), artefact, vector }, revealed))
    }

    fn assemble(
        &self,
        inputs: &[&NamedTensor],
        values: &[Arc<TractTensor>],
        proved: Vec<(OperationProof, Option<NamedTensor>)>,
    ) -> Result<Proof> {
        // The model's own outputs are the plan's first.
        let outputs = self.model.graph().outputs().iter().zip(values).map(|(output, value)| {
            let tensor = NamedTensor::from_tract(&output.name, value)?;
            if tensor.is_finite() {
                Ok(tensor)
            } else {
                Err(Error::NonFinite { tensor: tensor.name })
            }
        });
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
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
