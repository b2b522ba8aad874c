//! The model as a whole: honest runs of several runtimes, step by step, and proofs made of them.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use nomopoly_runtime::dynamic::Prover;
use nomopoly_runtime::onnx::cut::{cut, with_outputs};
use nomopoly_runtime::onnx::{Graph, Plan};
use nomopoly_runtime::{CompiledModel, CompiledOperation, NamedTensor, Proof, TensorData};
use tract_onnx::prelude::Tensor as TractTensor;

use crate::error::{Error, Result};

/// Tensors of one inference by name.
pub type Values = HashMap<String, NamedTensor>;

/// A model and the two graphs of its proofs, for hosts that an audit plays.
pub struct Whole {
    pub model: Arc<CompiledModel>,
    host: Prover,
    /// Runs everything: outputs are the model's, and each operation's inputs and output.
    exposed: Plan,
    exposed_proto: Vec<u8>,
    exposed_names: Vec<String>,
    /// Runs what is between the operations of the transcript.
    between: Plan,
    between_inputs: Vec<String>,
    between_names: Vec<String>,
    device: Device,
}

impl Whole {
    /// # Errors
    /// When tract cannot run one of the graphs.
    pub fn new(model: Arc<CompiledModel>, device: &Device) -> Result<Self> {
        let graph = model.graph();
        let mut names: Vec<&str> = vec![];
        for compiled in model.operations() {
            names.extend(compiled.operation.inputs().iter().map(String::as_str));
            names.push(compiled.operation.output());
        }
        names.sort_unstable();
        names.dedup();
        let exposed = with_outputs(graph, &names)?;
        let at: Vec<&str> = model.transcript().map(|op| op.operation.output()).collect();
        let mut wanted: Vec<&str> =
            graph.outputs().iter().map(|output| output.name.as_str()).collect();
        // Outputs of operations that are not in the transcript are those that follow from it, not
        // those of the run that a host started from.
        for compiled in model.operations() {
            let operation = &compiled.operation;
            let own = (!compiled.in_transcript()).then(|| operation.output());
            for name in operation.inputs().iter().map(String::as_str).chain(own) {
                if !wanted.contains(&name) {
                    wanted.push(name);
                }
            }
        }
        let between = cut(graph, &at, &wanted)?;
        let name = graph.model().name();
        Ok(Self {
            host: Prover::new(model.clone())?,
            exposed: Plan::new(name, &exposed.proto)?,
            exposed_proto: prost::Message::encode_to_vec(&exposed.proto),
            exposed_names: exposed.outputs,
            between: Plan::new(name, &between.proto)?,
            between_inputs: between.inputs,
            between_names: between.outputs,
            device: device.clone(),
            model,
        })
    }

    pub fn graph(&self) -> &Graph {
        self.model.graph()
    }

    /// The graph that exposes every operation's inputs and output, as an ONNX file, and the names
    /// of its outputs: for runtimes outside this process.
    pub fn exposed(&self) -> (&[u8], &[String]) {
        (&self.exposed_proto, &self.exposed_names)
    }

    /// Elements that one inference exposes.
    pub fn elements(&self) -> usize {
        self.exposed.outputs().iter().map(|output| output.shape.iter().product::<usize>()).sum()
    }

    /// Elements that one inference computes where it is run one operation of a proof after the other.
    pub fn step_elements(&self) -> usize {
        self.elements() * (self.model.transcript().count() + 2)
    }

    /// The proof of a host as it is, nothing replaced.
    ///
    /// # Errors
    /// When an input does not fit or a tensor is not finite.
    pub fn prove_plainly(&self, inputs: &[NamedTensor]) -> Result<Proof> {
        Ok(self.host.prove(inputs)?)
    }

    /// What tract computes.
    ///
    /// # Errors
    /// When an input does not fit.
    pub fn tract(&self, inputs: &[NamedTensor]) -> Result<Values> {
        let tensors = inputs.iter().map(NamedTensor::to_tract).collect::<Result<Vec<_>, _>>()?;
        let results = self.exposed.run(tensors)?;
        named(&self.exposed_names, &results)
    }

    /// Runs the model with each operation of a proof computed by `step`, from the inputs that the
    /// results of the earlier steps lead to: what a host does whose arithmetic `step` is.
    ///
    /// # Errors
    /// When an input does not fit, or `step` fails.
    pub fn by_steps(
        &self,
        inputs: &[NamedTensor],
        step: &mut dyn FnMut(&CompiledOperation, &[Tensor]) -> Result<Tensor>,
    ) -> Result<Values> {
        let mut values = self.tract(inputs)?;
        for input in inputs {
            values.insert(input.name.clone(), input.clone());
        }
        let revealed: Vec<&CompiledOperation> = self.model.transcript().collect();
        for compiled in &revealed {
            let before = self.between(&values)?;
            let output = step(compiled, &self.samples(compiled, &before)?)?;
            let output = tensor(compiled.operation.output(), &output)?;
            values.insert(output.name.clone(), output);
        }
        let after = self.between(&values)?;
        values.extend(after);
        // Operations whose claimed output is the model's own.
        for compiled in self.model.proved() {
            if !compiled.in_transcript() {
                let output = step(compiled, &self.samples(compiled, &values)?)?;
                let output = tensor(compiled.operation.output(), &output)?;
                values.insert(output.name.clone(), output);
            }
        }
        Ok(values)
    }

    /// What the cut graph computes from the model's inputs and the transcript.
    fn between(&self, values: &Values) -> Result<Values> {
        let tensors = self
            .between_inputs
            .iter()
            .map(|name| Ok(value(values, name)?.to_tract()?))
            .collect::<Result<Vec<_>>>()?;
        named(&self.between_names, &self.between.run(tensors)?)
    }

    /// The inputs of an operation as one candle sample each.
    ///
    /// # Errors
    /// When a tensor is missing or not f32.
    pub fn samples(&self, compiled: &CompiledOperation, values: &Values) -> Result<Vec<Tensor>> {
        let names = compiled.operation.inputs().iter();
        names.map(|name| self.sample(name, values)).collect()
    }

    /// A tensor as one candle sample, `[1, ...]`.
    ///
    /// # Errors
    /// When it is missing or not f32.
    pub fn sample(&self, name: &str, values: &Values) -> Result<Tensor> {
        let named = value(values, name)?;
        let data = named.as_f32().ok_or_else(|| missing(name, "not f32"))?;
        let shape: Vec<usize> = std::iter::once(1).chain(named.shape.iter().copied()).collect();
        Ok(Tensor::from_slice(data, shape, &self.device)?)
    }

    /// The proof that a host makes of these tensors, whoever computed them.
    ///
    /// # Errors
    /// When an input does not fit or a tensor is not finite.
    pub fn prove(&self, inputs: &[NamedTensor], values: &Values) -> Result<Proof> {
        let replace = |name: &str, data: &mut TensorData| {
            if let Some(value) = values.get(name) {
                *data = value.data.clone();
            }
        };
        Ok(self.host.prove_edited(inputs, replace)?)
    }
}

fn named(names: &[String], results: &[Arc<TractTensor>]) -> Result<Values> {
    names
        .iter()
        .zip(results)
        .map(|(name, result)| Ok((name.clone(), NamedTensor::from_tract(name, result)?)))
        .collect()
}

fn tensor(name: &str, sample: &Tensor) -> Result<NamedTensor> {
    let values = sample.flatten_all()?.to_vec1::<f32>()?;
    Ok(NamedTensor::from_f32(name, sample.dims().get(1..).unwrap_or(&[]), values))
}

fn value<'a>(values: &'a Values, name: &str) -> Result<&'a NamedTensor> {
    values.get(name).ok_or_else(|| missing(name, "not computed"))
}

fn missing(name: &str, what: &str) -> Error {
    let (operation, reason) = (name.to_owned(), format!("the tensor is {what}"));
    nomopoly_runtime::Error::Operation { operation, reason }.into()
}
