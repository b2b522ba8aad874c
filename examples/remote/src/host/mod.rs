//! The host: an HTTP server around a prover and a store.
//!
//! | file | subject |
//! | --- | --- |
//! | `config.rs` | options |
//! | `serve.rs` | connections: how many, how long, and their end |
//! | `layers.rs` | around every request: token, clock, log, counters |
//! | `routes.rs` | the routes, and bodies |
//! | `work.rs` | workers and their queue; what an honest host does |
//! | `cheat.rs` | what other hosts do |
//! | `errors.rs`, `metrics.rs`, `shutdown.rs` | what their names say |
//!
//! What is left to a proxy in front: TLS, limits per client, and clients that never read their answer
//! (an answer of this model fits the kernel's buffers, so that they cost a connection and no thread).

mod cheat;
mod config;
mod errors;
mod layers;
mod metrics;
mod routes;
mod serve;
mod shutdown;
mod work;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nomopoly::receipt::{Challenge, RECEIPT_SCHEMA};
use nomopoly::{Model as _, NamedTensor, typed_dtype};
use nomopoly_host::{Store, StoreError};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use cheat::Cheat;
pub use config::{HostConfig, When};
pub use errors::ApiError;
pub use shutdown::Farewell;
use work::Pool;
pub use work::{Engine, Honest};

use crate::model::{Digits, DigitsInput};
use crate::wire::{InferResponse, ModelInfo, TensorInfo, milliseconds};

/// How often receipts that nobody can open any more are thrown away while no request does it.
const SWEEP: Duration = Duration::from_secs(5);

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    #[error("{0}")]
    Token(String),
    /// Receipts would not survive what the durability says that they do.
    #[error("--durability disk-first needs a --folder")]
    NoFolder,
    #[error("one receipt takes {needed} bytes, and the store may have {limit}")]
    NoRoom { needed: u64, limit: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Model(#[from] nomopoly::Error),
}

/// What every request may need.
struct Shared {
    config: HostConfig,
    engine: Box<dyn Engine>,
    store: Store,
    pool: Pool,
    metrics: metrics::Metrics,
    model: ModelInfo,
    /// Hash of the token that clients must send.
    token: Option<blake3::Hash>,
    /// Bytes that one inference takes in the store: of this model always the same.
    room: u64,
    stopping: AtomicBool,
}

type App = Arc<Shared>;

impl Shared {
    fn new(config: HostConfig, engine: Box<dyn Engine>) -> Result<Self, StartError> {
        let token = config.read_token().map_err(StartError::Token)?;
        if config.durability == When::DiskFirst && config.folder.is_none() {
            return Err(StartError::NoFolder);
        }
        // The first inference is the slowest, and says how much room one takes: none of a client.
        let blank = DigitsInput { image: vec![0.; 64].try_into()? };
        let first = engine.infer(&blank)?;
        let room = (first.size().max(first.to_bytes()?.len())) as u64;
        let store = config.store()?;
        let limit = match &config.folder {
            Some(_) if config.disk_first() => config.disk,
            Some(_) => config.memory.max(config.disk),
            None => config.memory,
        };
        if room > limit {
            return Err(StartError::NoRoom { needed: room, limit });
        }
        Ok(Self {
            token: token.map(|token| blake3::hash(token.as_bytes())),
            pool: Pool::new(config.workers(), config.queue),
            metrics: metrics::Metrics::new(),
            model: model_info()?,
            stopping: AtomicBool::new(false),
            engine,
            store,
            room,
            config,
        })
    }

    /// One inference. Room is reserved before it is run: nothing is computed in vain, and nothing
    /// that was promised is thrown away to make room.
    fn infer(&self, input: &DigitsInput) -> Result<InferResponse, ApiError> {
        let reservation = self.store.reserve(self.room)?;
        let committed = self.engine.infer(input)?;
        self.metrics.inferences.inc();
        let outputs: Vec<NamedTensor> = self.engine.outputs(&committed);
        let receipt = *committed.receipt();
        let kept = reservation.keep(committed)?;
        let (until, survives_restart) = (milliseconds(kept.until), kept.survives_restart);
        Ok(InferResponse { outputs, receipt, until, survives_restart })
    }

    fn open(&self, challenge: &Challenge) -> Result<Vec<u8>, ApiError> {
        self.engine.opening(&self.store.answer(challenge)?)
    }

    fn ready(&self) -> Result<(), ApiError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(ApiError::ShuttingDown);
        }
        if self.pool.is_full() {
            return Err(ApiError::QueueFull);
        }
        // Nobody is sent here while it is full: what expired in the meantime must not count.
        self.store.expire();
        drop(self.store.reserve(self.room)?);
        Ok(())
    }
}

fn model_info() -> nomopoly::Result<ModelInfo> {
    let model = Digits::load(&nomopoly::candle_core::Device::Cpu)?;
    let described = |tensors: &[nomopoly::onnx::TensorInfo]| {
        let describe = |tensor: &nomopoly::onnx::TensorInfo| TensorInfo {
            name: tensor.name.clone(),
            dtype: typed_dtype(tensor.dtype).unwrap_or("unknown").to_owned(),
            shape: tensor.shape.clone(),
        };
        tensors.iter().map(describe).collect()
    };
    Ok(ModelInfo {
        name: Digits::NAME.to_owned(),
        digest: Digits::DIGEST,
        receipt_schema: RECEIPT_SCHEMA,
        inputs: described(model.graph().inputs()),
        outputs: described(model.graph().outputs()),
    })
}

/// A host that is running, on threads of its own. Dropped, it stops without waiting for anyone.
pub struct Host {
    handle: Handle,
    /// There until it stops.
    runtime: Option<Runtime>,
    shared: App,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<bool>,
}

impl Host {
    /// Loads the model, opens the store and listens: requests are answered from here on.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub fn start(config: HostConfig) -> Result<Self, StartError> {
        match config.cheat {
            None => Self::with_engine(config, Box::new(Honest::new()?)),
            Some(cheat) => Self::with_engine(config, Box::new(cheat::Cheating::new(cheat)?)),
        }
    }

    /// As [`Host::start`], with something else that answers.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub fn with_engine(config: HostConfig, engine: Box<dyn Engine>) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(config, engine)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("remote-host")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let address = shared.config.listen;
        let listen = |source| StartError::Listen { address, source };
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (stop, stopped) = watch::channel(false);
        let router = routes::router(shared.clone());
        let serving = runtime.spawn(serve::serve(listener, router, shared.clone(), stopped));
        runtime.spawn(sweep(shared.clone()));
        tracing::info!(%address, model = %shared.model.digest, "listening");
        let handle = runtime.handle().clone();
        Ok(Self { handle, runtime: Some(runtime), shared, address, stop, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and the address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for SIGINT, SIGTERM or, where it was asked for, the end of standard input. From
    /// `ready` on none of them is missed.
    ///
    /// # Errors
    /// When the system does not let it wait for signals.
    pub fn wait_for_signal(&self, ready: impl FnOnce()) -> std::io::Result<()> {
        self.handle.block_on(shutdown::asked_for(self.shared.config.with_parent, ready))
    }

    /// Is not ready any more, goes on for [`HostConfig::drain`], then takes no new connections,
    /// finishes running requests within [`HostConfig::grace`], and says what becomes of receipts.
    pub fn stop(mut self) -> Farewell {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let finished = self.handle.block_on(async {
            tokio::time::sleep(self.shared.config.drain).await;
            self.stop.send_replace(true);
            (&mut self.serving).await.unwrap_or(false)
        });
        // What is on disk now is what a next process finds.
        let lost = self.shared.store.flush();
        let kept = self.shared.store.usage().disk.count;
        if let Some(runtime) = self.runtime.take() {
            // With the tasks goes the store, and its lock on the folder.
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
        Farewell { finished, kept, lost }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Work that has begun cannot be stopped; nobody waits for it any more.
            runtime.shutdown_background();
        }
    }
}

/// Throws expired receipts away also while no request comes.
async fn sweep(app: App) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let app = app.clone();
        // It reads folders and deletes files; what fails is tried again.
        let _ = tokio::task::spawn_blocking(move || app.store.expire()).await;
    }
}
