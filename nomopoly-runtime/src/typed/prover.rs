//! The host's side of a typed model.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;

use super::model::{Model, Tensors};
use super::operation::{OperationIndex, ProvedOperation, find};
use super::proven::Proven;
use crate::Result;
use crate::dynamic;
use crate::model::CompiledModel;
use crate::tensor::TensorData;

/// Proves inferences of the model M. One prover serves any number of threads.
pub struct Prover<M> {
    inner: dynamic::Prover,
    device: Device,
    marker: PhantomData<fn() -> M>,
}

impl<M: Model> Prover<M> {
    /// Loads the model and prepares it for proving; `M::prover()` is the same.
    ///
    /// # Errors
    /// As [`Model::load`], and when tract cannot run the model.
    pub fn new() -> Result<Self> {
        let device = M::DEVICE.open()?;
        Self::of(M::load(&device)?, device)
    }

    /// As [`Prover::new`], with the model file at this path.
    ///
    /// # Errors
    /// As [`Model::load_file`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let device = M::DEVICE.open()?;
        Self::of(M::load_file(path.as_ref(), &device)?, device)
    }

    fn of(model: Arc<CompiledModel>, device: Device) -> Result<Self> {
        let inner = dynamic::Prover::new(model)?;
        Ok(Self { inner, device, marker: PhantomData })
    }

    /// A dishonest host, for audits and tests: runs the model with the f32 weights that `alter`
    /// changes in place (given name, shape and values of each), and claims to have run M.
    ///
    /// # Errors
    /// As [`Prover::new`], and when the altered model cannot run.
    pub fn with_altered_weights(alter: impl FnMut(&str, &[usize], &mut [f32])) -> Result<Self> {
        let device = M::DEVICE.open()?;
        let model = M::load(&device)?;
        let graph = model.graph().with_altered_weights(alter)?;
        let inner = dynamic::Prover::running(model, &graph)?;
        Ok(Self { inner, device, marker: PhantomData })
    }

    /// Runs one inference and proves it.
    ///
    /// # Errors
    /// When an input is not finite, has another number of samples than the model was compiled
    /// for (see [`Prover::prove_each`]), or the inference overflows.
    pub fn prove(&self, input: &M::Input) -> Result<Proven<M>> {
        Proven::from_proof(self.inner.prove(&input.to_named())?)
    }

    /// Runs and proves one inference per sample of a model with a batch dimension.
    ///
    /// # Errors
    /// As [`Prover::prove`], and when inputs have different numbers of samples.
    pub fn prove_each(&self, input: &M::Input) -> Result<Vec<Proven<M>>> {
        input.samples()?.iter().map(|sample| self.prove(sample)).collect()
    }

    /// A dishonest host, for audits and tests: `edit` may change every tensor that the proof is
    /// made of (by its name) before it is proved.
    ///
    /// # Errors
    /// As [`Prover::prove`].
    pub fn prove_edited(
        &self,
        input: &M::Input,
        edit: impl FnMut(&str, &mut TensorData),
    ) -> Result<Proven<M>> {
        Proven::from_proof(self.inner.prove_edited(&input.to_named(), edit)?)
    }

    /// One operation, by the name of its output or by its position in [`Model::OPERATIONS`].
    ///
    /// # Errors
    /// [`crate::Error::UnknownOperation`], also for nodes that have no artefact of their own.
    pub fn op<'a>(&self, operation: impl Into<OperationIndex<'a>>) -> Result<ProvedOperation<'_>> {
        let name = M::guarantee(operation)?.operation;
        let operations = self.inner.model().operations();
        let compiled = find::<M, _>(name, operations, |c| c.operation.output())?;
        Ok(ProvedOperation::new(compiled, &self.device))
    }

    /// The untyped prover.
    pub fn inner(&self) -> &dynamic::Prover {
        &self.inner
    }
}

impl<M: Model> fmt::Debug for Prover<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").field("model", &M::NAME).finish_non_exhaustive()
    }
}
