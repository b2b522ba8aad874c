//! Checking receipts of a typed model.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use candle_core::Device;

use super::model::{Model, Tensors};
use crate::Result;
use crate::key::VerifierKey;
use crate::model::CompiledModel;
use crate::receipt::{self, Challenge, Detection, Opening, Receipt, Strategy};
use crate::report::Report;

/// Checks receipts of the model M with one key, by having some operations opened. One serves any
/// number of threads.
pub struct ReceiptVerifier<M> {
    inner: receipt::ReceiptVerifier,
    marker: PhantomData<fn() -> M>,
}

impl<M: Model> ReceiptVerifier<M> {
    /// Loads the model, expands the key and contracts the weights; `M::receipt_verifier(key)` is the
    /// same.
    ///
    /// # Errors
    /// As [`Model::load`], and when tract cannot run a part of the model.
    pub fn new(key: VerifierKey) -> Result<Self> {
        let device = M::DEVICE.open()?;
        Self::of(&*M::load(&device)?, &key, &device)
    }

    /// As [`ReceiptVerifier::new`], with the model file at this path.
    ///
    /// # Errors
    /// As [`Model::load_file`].
    pub fn from_file(path: impl AsRef<Path>, key: VerifierKey) -> Result<Self> {
        let device = M::DEVICE.open()?;
        Self::of(&*M::load_file(path.as_ref(), &device)?, &key, &device)
    }

    fn of(model: &CompiledModel, key: &VerifierKey, device: &Device) -> Result<Self> {
        let inner = receipt::ReceiptVerifier::new(model, key, device)?;
        Ok(Self { inner, marker: PhantomData })
    }

    /// Goes on with another key, as [`crate::Verifier::rotate`].
    ///
    /// # Errors
    /// When an artefact does not fit its operation.
    pub fn rotate(&mut self, key: VerifierKey) -> Result<()> {
        self.inner.rotate(&key)
    }

    /// Draws what a host is to open of the inference that it gave this receipt for.
    ///
    /// # Errors
    /// As [`receipt::ReceiptVerifier::challenge`].
    pub fn challenge(&self, receipt: &Receipt, strategy: Strategy) -> Result<Challenge> {
        self.inner.challenge(receipt, strategy)
    }

    /// Checks what was opened, with the input that the host was given and the output that came with
    /// the receipt.
    ///
    /// # Errors
    /// As [`receipt::ReceiptVerifier::verify`].
    pub fn verify(
        &self,
        input: &M::Input,
        output: &M::Output,
        receipt: &Receipt,
        challenge: &Challenge,
        opening: &Opening,
    ) -> Result<Report> {
        let (input, output) = (input.to_named(), output.to_named());
        self.inner.verify(&input, &output, receipt, challenge, opening)
    }

    /// Like [`ReceiptVerifier::verify`], but a failed check is a report too.
    ///
    /// # Errors
    /// As [`receipt::ReceiptVerifier::inspect`].
    pub fn inspect(
        &self,
        input: &M::Input,
        output: &M::Output,
        receipt: &Receipt,
        challenge: &Challenge,
        opening: &Opening,
    ) -> Result<Report> {
        let (input, output) = (input.to_named(), output.to_named());
        self.inner.inspect(&input, &output, receipt, challenge, opening)
    }

    /// How likely challenges of a strategy catch a host that cheats.
    pub fn detection(&self, strategy: Strategy) -> Detection {
        self.inner.detection(strategy)
    }

    /// The untyped verifier.
    pub fn inner(&self) -> &receipt::ReceiptVerifier {
        &self.inner
    }
}

impl<M: Model> fmt::Debug for ReceiptVerifier<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptVerifier").field("model", &M::NAME).finish_non_exhaustive()
    }
}
