//! One operation of a model, for those who want its proof or its score alone.

use std::fmt;

use candle_core::{Device, Tensor};

use super::model::Model;
use crate::operation_check::{CompiledOperation, OperationVerifier, Verdict};
use crate::{Error, Result};

/// An operation by the name of its output or by its position in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationIndex<'a> {
    Name(&'a str),
    Position(usize),
}

impl<'a> From<&'a str> for OperationIndex<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl From<usize> for OperationIndex<'_> {
    fn from(position: usize) -> Self {
        Self::Position(position)
    }
}

impl OperationIndex<'_> {
    pub(super) fn position<N: Iterator<Item = &'static str>>(
        self,
        model: &str,
        names: impl Fn() -> N,
    ) -> Result<usize> {
        let (found, got) = match self {
            Self::Name(name) => (names().position(|other| other == name), format!("`{name}`")),
            Self::Position(position) => {
                let count = names().count();
                ((position < count).then_some(position), format!("number {position}"))
            }
        };
        found.ok_or_else(|| unknown(model, got, &names().collect::<Vec<_>>()))
    }
}

fn unknown(model: &str, got: String, expected: &[&str]) -> Error {
    Error::UnknownOperation { model: model.to_owned(), got, expected: expected.join(", ") }
}

/// The operation of this name among those that have what is asked for.
pub(super) fn find<'a, M: Model, T>(
    name: &str,
    operations: &'a [T],
    output: impl Fn(&T) -> &str,
) -> Result<&'a T> {
    operations.iter().find(|operation| output(operation) == name).ok_or_else(|| {
        let names: Vec<&str> = operations.iter().map(&output).collect();
        unknown(M::NAME, format!("`{name}` with a proof of its own"), &names)
    })
}

/// The prover of one operation.
#[derive(Debug, Clone, Copy)]
pub struct ProvedOperation<'a> {
    compiled: &'a CompiledOperation,
    device: &'a Device,
}

impl<'a> ProvedOperation<'a> {
    pub(super) fn new(compiled: &'a CompiledOperation, device: &'a Device) -> Self {
        Self { compiled, device }
    }

    /// The compiled operation, which computes on batches of candle tensors.
    pub fn compiled(&self) -> &'a CompiledOperation {
        self.compiled
    }

    /// Runs the operation on one sample of each varying input (row-major), and proves the output:
    /// output and proof vector.
    ///
    /// # Errors
    /// [`Error::Shape`] when a sample does not have as many elements as the input.
    pub fn prove(&self, inputs: &[&[f32]]) -> Result<(Vec<f32>, Vec<f32>)> {
        let x = samples(self.compiled, inputs, self.device)?;
        let y = self.compiled.operation.forward(&x)?;
        let proof = self.compiled.prove(&y)?;
        Ok((y.flatten_all()?.to_vec1()?, proof.flatten_all()?.to_vec1()?))
    }
}

/// The verifier of one operation.
#[derive(Clone)]
pub struct VerifiedOperation<'a> {
    verifier: OperationVerifier,
    device: &'a Device,
}

impl<'a> VerifiedOperation<'a> {
    pub(super) fn new(verifier: OperationVerifier, device: &'a Device) -> Self {
        Self { verifier, device }
    }

    /// The operation's verifier, which judges batches of candle tensors.
    pub fn verifier(&self) -> &OperationVerifier {
        &self.verifier
    }

    /// Judges one claim: inputs, claimed output and proof vector, each row-major.
    ///
    /// # Errors
    /// [`Error::Shape`] when something does not have as many elements as it should.
    pub fn verify(&self, inputs: &[&[f32]], output: &[f32], proof: &[f32]) -> Result<Verdict> {
        let compiled = self.verifier.compiled();
        let x = samples(compiled, inputs, self.device)?;
        let spec = compiled.operation.spec();
        let y = sample(compiled.operation.output(), output, &spec.output_shape, self.device)?;
        let dim = compiled.artefact.generator.proof_dim();
        let p = sample("proof vector", proof, &[dim], self.device)?;
        // One sample gives one verdict.
        self.verifier.verify(&x, &y, &p)?.pop().ok_or_else(|| Error::Operation {
            operation: compiled.operation.output().to_owned(),
            reason: "it was not judged".into(),
        })
    }
}

impl fmt::Debug for VerifiedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The sketches are secret.
        let operation = self.verifier.compiled().operation.output();
        f.debug_struct("VerifiedOperation").field("operation", &operation).finish_non_exhaustive()
    }
}

fn samples(
    compiled: &CompiledOperation,
    inputs: &[&[f32]],
    device: &Device,
) -> Result<Vec<Tensor>> {
    let operation = &compiled.operation;
    let shapes = &operation.spec().input_shapes;
    if inputs.len() != shapes.len() {
        return Err(Error::Shape {
            tensor: format!("inputs of {}", operation.output()),
            got: vec![inputs.len()],
            expected: vec![shapes.len()],
        });
    }
    let named = operation.inputs().iter().zip(inputs).zip(shapes);
    named.map(|((name, values), shape)| sample(name, values, shape, device)).collect()
}

fn sample(name: &str, values: &[f32], shape: &[usize], device: &Device) -> Result<Tensor> {
    if values.len() != shape.iter().product::<usize>() {
        return Err(Error::Shape {
            tensor: name.to_owned(),
            got: vec![values.len()],
            expected: shape.to_vec(),
        });
    }
    let shape: Vec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
    Ok(Tensor::from_slice(values, shape, device)?)
}
