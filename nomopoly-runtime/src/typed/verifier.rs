//! The verifier's side of a typed model.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;

use super::model::{Model, Tensors};
use super::operation::{OperationIndex, VerifiedOperation, find};
use super::proven::Proven;
use crate::dynamic::{self, ExpandedKey};
use crate::key::VerifierKey;
use crate::model::CompiledModel;
use crate::operation_check::OperationVerifier;
use crate::report::Report;
use crate::{Error, Result};

/// Checks proofs of the model M with one key. One verifier serves any number of threads.
pub struct Verifier<M> {
    inner: dynamic::Verifier,
    /// For verifiers of operations that whole-model proofs do not need; absent without weights.
    secret: Option<(Arc<CompiledModel>, VerifierKey)>,
    device: Device,
    marker: PhantomData<fn() -> M>,
}

impl<M: Model> Verifier<M> {
    /// Loads the model, expands the key and contracts the weights; `M::verifier(key)` is the same.
    ///
    /// # Errors
    /// As [`Model::load`], and when tract cannot run the cut model.
    pub fn new(key: VerifierKey) -> Result<Self> {
        let device = M::DEVICE.open()?;
        Self::of(M::load(&device)?, key, device)
    }

    /// As [`Verifier::new`], with the model file at this path.
    ///
    /// # Errors
    /// As [`Model::load_file`].
    pub fn from_file(path: impl AsRef<Path>, key: VerifierKey) -> Result<Self> {
        let device = M::DEVICE.open()?;
        Self::of(M::load_file(path.as_ref(), &device)?, key, device)
    }

    /// A verifier without the model's weights, from a key that a trusted party expanded with
    /// [`Verifier::expand`].
    ///
    /// # Errors
    /// [`Error::ModelChanged`] when it was expanded for another model.
    pub fn from_expanded(key: &ExpandedKey) -> Result<Self> {
        let device = M::DEVICE.open()?;
        let inner = dynamic::Verifier::from_expanded(key, &device)?;
        let got = inner.outline().digest;
        if got != M::DIGEST {
            return Err(Error::ModelChanged {
                model: M::NAME.to_owned(),
                got: got.to_string(),
                expected: M::DIGEST.to_string(),
            });
        }
        Ok(Self { inner, secret: None, device, marker: PhantomData })
    }

    /// Expands a key for verifiers that must not or cannot hold the weights. Needs them itself.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn expand(key: &VerifierKey) -> Result<ExpandedKey> {
        ExpandedKey::new(&*M::load(&Device::Cpu)?, key)
    }

    /// As [`Verifier::expand`], with the model file at this path.
    ///
    /// # Errors
    /// As [`Model::load_file`].
    pub fn expand_file(path: impl AsRef<Path>, key: &VerifierKey) -> Result<ExpandedKey> {
        ExpandedKey::new(&*M::load_file(path.as_ref(), &Device::Cpu)?, key)
    }

    fn of(model: Arc<CompiledModel>, key: VerifierKey, device: Device) -> Result<Self> {
        let inner = dynamic::Verifier::new(&model, &key, &device)?;
        Ok(Self { inner, secret: Some((model, key)), device, marker: PhantomData })
    }

    /// Goes on with another key. Honest hosts are never rejected, so a rejection means an attack or
    /// a broken host, and answers to attacks tell something of the key: rotate after each.
    ///
    /// # Errors
    /// [`Error::CannotRotate`] for a verifier that was made from an expanded key.
    pub fn rotate(&mut self, key: VerifierKey) -> Result<()> {
        self.inner.rotate(&key)?;
        if let Some((_, secret)) = &mut self.secret {
            *secret = key;
        }
        Ok(())
    }

    /// Checks a proof against the input that the verifier gave the host.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the report when the check fails, and the errors of
    /// [`Verifier::inspect`].
    pub fn verify(&self, input: &M::Input, proven: &Proven<M>) -> Result<Report> {
        self.inner.verify(&input.to_named(), proven.proof())
    }

    /// Like [`Verifier::verify`], but a failed check is a report too.
    ///
    /// # Errors
    /// When the input is not finite, or the proof was made with other artefacts.
    pub fn inspect(&self, input: &M::Input, proven: &Proven<M>) -> Result<Report> {
        self.inner.inspect(&input.to_named(), proven.proof())
    }

    /// Checks one proof per sample of a model with a batch dimension.
    ///
    /// # Errors
    /// As [`Verifier::verify`] for the first sample that fails, and [`Error::Shape`] unless there
    /// is one proof per sample.
    pub fn verify_each(&self, input: &M::Input, proven: &[Proven<M>]) -> Result<Vec<Report>> {
        let samples = input.samples()?;
        if samples.len() != proven.len() {
            return Err(Error::Shape {
                tensor: "proofs".into(),
                got: vec![proven.len()],
                expected: vec![samples.len()],
            });
        }
        samples.iter().zip(proven).map(|(sample, proven)| self.verify(sample, proven)).collect()
    }

    /// One operation, by the name of its output or by its position in [`Model::OPERATIONS`].
    ///
    /// # Errors
    /// [`Error::UnknownOperation`], also for nodes without an artefact, and, of a verifier without
    /// the weights, for operations that it recomputes.
    pub fn op<'a>(
        &self,
        operation: impl Into<OperationIndex<'a>>,
    ) -> Result<VerifiedOperation<'_>> {
        let name = M::guarantee(operation)?.operation;
        let operations = self.inner.operations();
        let known = find::<M, _>(name, operations, |v| v.compiled().operation.output());
        match (known, &self.secret) {
            (Ok(verifier), _) => Ok(VerifiedOperation::new(verifier.clone(), &self.device)),
            (Err(_), Some((model, key))) => {
                let compiled = find::<M, _>(name, model.operations(), |c| c.operation.output())?;
                let verifier = OperationVerifier::new(compiled.clone(), key, &self.device)?;
                Ok(VerifiedOperation::new(verifier, &self.device))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The untyped verifier.
    pub fn inner(&self) -> &dynamic::Verifier {
        &self.inner
    }
}

impl<M: Model> fmt::Debug for Verifier<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("model", &M::NAME).finish_non_exhaustive()
    }
}
