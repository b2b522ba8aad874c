//! What costs processor time: on threads of its own, so many at a time, so many waiting.

use std::sync::Arc;

use nomopoly::receipt::{Committed, Opening};
use nomopoly::{Model as _, NamedTensor, Prover, Tensors as _};
use tokio::sync::Semaphore;

use super::errors::ApiError;
use crate::model::{Digits, DigitsInput};

/// What answers requests. The defaults are what an honest host does; each method is a place where
/// another one can lie (`cheat.rs`).
pub trait Engine: Send + Sync + 'static {
    /// Runs the model and commits to what it computed.
    ///
    /// # Errors
    /// When an input is not finite or the inference overflows.
    fn infer(&self, input: &DigitsInput) -> nomopoly::Result<Committed>;

    /// The outputs that are sent with the receipt.
    fn outputs(&self, committed: &Committed) -> Vec<NamedTensor> {
        committed.outputs().to_vec()
    }

    /// The bytes that are sent for an opening.
    ///
    /// # Errors
    /// [`ApiError::Internal`], never in practice.
    fn opening(&self, opening: &Opening) -> Result<Vec<u8>, ApiError> {
        Ok(opening.to_bytes()?)
    }
}

/// Runs the model that it says.
pub struct Honest(Prover<Digits>);

impl Honest {
    /// Loads the model.
    ///
    /// # Errors
    /// As [`Prover::new`].
    pub fn new() -> nomopoly::Result<Self> {
        Ok(Self(Digits::prover()?))
    }
}

impl Engine for Honest {
    fn infer(&self, input: &DigitsInput) -> nomopoly::Result<Committed> {
        self.0.prove(input)?.commit(input)
    }
}

/// The typed input, from tensors in any order.
///
/// # Errors
/// [`nomopoly::Error`] names the tensor that is missing, unknown, or of another shape or type.
pub fn input(tensors: Vec<NamedTensor>) -> nomopoly::Result<DigitsInput> {
    let [name] = DigitsInput::FIELDS else {
        // The model has one input, and this function is written for it.
        return Err(nomopoly::Error::MissingInput { input: "image".to_owned() });
    };
    let mut image = None;
    for tensor in tensors {
        if tensor.name != *name || image.is_some() {
            let (model, expected) = (Digits::NAME.to_owned(), vec![(*name).to_owned()]);
            return Err(nomopoly::Error::UnknownInput { model, got: tensor.name, expected });
        }
        image = Some(tensor);
    }
    let image = image.ok_or_else(|| nomopoly::Error::MissingInput { input: (*name).to_owned() })?;
    Ok(DigitsInput { image: nomopoly::Tensor::from_named(image)? })
}

/// The workers, and the queue in front of them.
pub struct Pool {
    /// Places for those that work and those that wait.
    places: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    size: (usize, usize),
}

impl Pool {
    /// So many workers, and so many that may wait for one.
    pub fn new(workers: usize, queue: usize) -> Self {
        let places = workers.saturating_add(queue).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            workers: Arc::new(Semaphore::new(workers)),
            size: (places, workers),
        }
    }

    /// Does `work` when it is its turn.
    ///
    /// # Errors
    /// [`ApiError::QueueFull`] at once when too many wait, [`ApiError::Internal`] when it panicked,
    /// and its own.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| ApiError::QueueFull)?;
        // A client that hangs up leaves the queue here: nothing is done for it.
        let worker = self.workers.clone().acquire_owned().await;
        let worker = worker.map_err(|_| ApiError::ShuttingDown)?;
        // What has begun cannot be stopped. It keeps its place until it is done, also when its
        // client is long gone: else there would be more at work than workers.
        let task = move || {
            let _held = (place, worker);
            work()
        };
        tokio::task::spawn_blocking(task)
            .await
            .unwrap_or_else(|error| Err(ApiError::Internal(error.to_string())))
    }

    /// Whether another request would be refused.
    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// Requests that work, and requests that wait.
    pub fn depth(&self) -> (usize, usize) {
        let (places, workers) = self.size;
        let working = workers.saturating_sub(self.workers.available_permits());
        let all = places.saturating_sub(self.places.available_permits());
        (working, all.saturating_sub(working))
    }
}
