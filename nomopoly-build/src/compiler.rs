//! From a model to registered artefacts: scan, train what the registry lacks, export, register.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use candle_core::Device;
use nomopoly_manifest::{CompileOptions, Epoch, LockedFigures, LockedModel, Metrics};
use nomopoly_runtime::artefact::Artefact;
use nomopoly_runtime::onnx::{Digest, Graph, Model, node_id};
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::{CompiledModel, CompiledOperation};

use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::export;
use crate::plots;
use crate::registry::{self, NewEntry, Registry};
use crate::samples::{self, Splits};
use crate::training::{self, Trained};

/// What happens during a compilation, for progress displays.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Something the user should know, for example a dimension that was bound by default.
    Note(&'a str),
    /// How many entries there are, and how many of them must be trained.
    Planned { entries: usize, missing: usize },
    /// Inputs of the operations are being collected.
    Sampling { operations: usize },
    /// An entry starts training.
    Started { entry: &'a str },
    /// An epoch of an entry has ended.
    Epoch { entry: &'a str, epoch: &'a Epoch, options: &'a CompileOptions },
    /// An entry is in the registry.
    Finished { entry: &'a str, metrics: &'a Metrics, seconds: f64 },
}

/// Is told what happens; called from several threads.
pub trait Observer: Send + Sync {
    fn event(&self, event: &Event);
}

/// An observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: &Event) {}
}

/// Where tensors are computed in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// CUDA or Metal where the crate was built with it and a device answers, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda,
    Metal,
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::Device`] when it was asked for by name and is not there.
    pub fn open(self) -> Result<Device> {
        let failed = |device: &str, error: candle_core::Error| Error::Device {
            device: device.to_owned(),
            reason: format!(
                "{error}; build with the feature `{device}` on a machine that has one, or use `cpu`"
            ),
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => Device::new_cuda(0).map_err(|error| failed("cuda", error)),
            Self::Metal => Device::new_metal(0).map_err(|error| failed("metal", error)),
            Self::Auto if cfg!(feature = "cuda") => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
            Self::Auto if cfg!(feature = "metal") => {
                Ok(Device::new_metal(0).unwrap_or(Device::Cpu))
            }
            Self::Auto => Ok(Device::Cpu),
        }
    }
}

/// Compiles models into a registry.
///
/// ```no_run
/// use nomopoly_build::{Compiler, registry::Registry};
///
/// let compilation = Compiler::new(Registry::open("ops")).compile("models/digits.onnx")?;
/// for operation in &compilation.operations {
///     println!("{} is {}", operation.node, operation.entry);
/// }
/// # Ok::<(), nomopoly_build::Error>(())
/// ```
pub struct Compiler {
    registry: Registry,
    options: CompileOptions,
    inputs: BTreeMap<String, Vec<usize>>,
    calibration: Option<Calibration>,
    device: DeviceChoice,
    force: bool,
    jobs: Option<usize>,
    observer: Arc<dyn Observer>,
    cancel: Arc<AtomicBool>,
}

/// One compiled node.
#[derive(Debug, Clone)]
pub struct CompiledNode {
    /// Name of the node's output.
    pub node: String,
    /// Name of its registry entry.
    pub entry: String,
    /// Whether the registry had it already.
    pub cached: bool,
    pub metrics: Metrics,
    /// Seconds that compiling took, if the log still says.
    pub seconds: Option<f64>,
    /// Size of all files of the entry.
    pub bytes: u64,
}

/// The outcome of a compilation.
#[derive(Debug, Clone)]
pub struct Compilation {
    /// File name of the model.
    pub model: String,
    pub digest: Digest,
    /// Nodes with an artefact, in the model's order.
    pub operations: Vec<CompiledNode>,
    /// Nodes that are replayed in whole-model proofs without an artefact: name, kind, reason.
    pub replayed: Vec<(String, String, String)>,
    /// What was decided for the user.
    pub notes: Vec<String>,
    pub seconds: f64,
}

/// An operation to train.
struct Job {
    entry: String,
    id: Digest,
    operation: Arc<Operation>,
}

impl Compiler {
    /// A compiler with default options that writes to `registry`.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            options: CompileOptions::default(),
            inputs: BTreeMap::new(),
            calibration: None,
            device: DeviceChoice::Auto,
            force: false,
            jobs: None,
            observer: Arc::new(Silent),
            cancel: Arc::default(),
        }
    }

    #[must_use]
    pub fn options(mut self, options: CompileOptions) -> Self {
        self.options = options;
        self
    }

    /// Binds the shape of a model input that has symbolic dimensions.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        self.inputs.insert(name.into(), shape.into());
        self
    }

    /// Trains and measures on real inputs instead of generated ones.
    #[must_use]
    pub fn calibration(mut self, calibration: Calibration) -> Self {
        self.calibration = Some(calibration);
        self
    }

    #[must_use]
    pub fn device(mut self, device: DeviceChoice) -> Self {
        self.device = device;
        self
    }

    /// Trains everything, also what the registry has.
    #[must_use]
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Operations trained at once; by default as many as there are cores. The artefacts do not
    /// depend on it.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = Some(jobs.max(1));
        self
    }

    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// A flag that stops the compilation at the next epoch when it becomes true.
    #[must_use]
    pub fn cancel(mut self, cancel: Arc<AtomicBool>) -> Self {
        self.cancel = cancel;
        self
    }

    /// Compiles every operation of the model that the registry lacks.
    ///
    /// # Errors
    /// Everything in [`Error`]; the registry then holds what was finished before.
    pub fn compile(&self, model: impl AsRef<Path>) -> Result<Compilation> {
        let model = Arc::new(Model::load(model)?);
        self.compile_graph(&Graph::bind(model, &self.inputs)?)
    }

    /// Compiles a graph that is loaded already.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn compile_graph(&self, graph: &Graph) -> Result<Compilation> {
        let start = Instant::now();
        self.options.validate()?;
        let device = self.device.open()?;
        for note in graph.notes() {
            self.observer.event(&Event::Note(note));
        }
        if self.force
            && let Some(old) = self.registry.discard_unusable_lock()?
        {
            self.observer
                .event(&Event::Note(&format!("unreadable lock moved to {}", old.display())));
        }
        let (nodes, replayed) = self.operations(graph, &device)?;

        // Equal operations share one entry.
        let mut jobs: BTreeMap<&str, &Job> = BTreeMap::new();
        for (_, job) in &nodes {
            jobs.entry(&job.entry).or_insert(job);
        }
        let entries = jobs.len();
        let mut missing = vec![];
        for job in jobs.into_values() {
            let present = !self.force
                && self.registry.is_compiled(&job.entry, &job.id.to_string())?.is_some();
            if !present {
                missing.push(job);
            }
        }
        self.observer.event(&Event::Planned { entries, missing: missing.len() });
        // The dearest first, so that no thread is left with it at the end.
        missing.sort_by_key(|job| std::cmp::Reverse(job.operation.recompute_cost()));
        let trained: Vec<String> = missing.iter().map(|job| job.entry.clone()).collect();
        if !missing.is_empty() {
            self.observer.event(&Event::Sampling { operations: missing.len() });
            let operations: Vec<_> = missing.iter().map(|job| job.operation.clone()).collect();
            let splits = samples::collect(
                graph,
                &operations,
                self.calibration.as_ref(),
                &self.options,
                &device,
            )?;
            self.train_all(missing.into_iter().zip(splits).collect(), &device)?;
        }
        self.record(graph, &nodes)?;

        let mut operations = vec![];
        for (node, job) in nodes {
            let status = self.registry.entry(&job.entry)?;
            operations.push(CompiledNode {
                node,
                cached: !trained.contains(&job.entry),
                metrics: self.registry.metrics(&job.entry)?,
                seconds: status.seconds,
                bytes: status.bytes,
                entry: job.entry,
            });
        }
        Ok(Compilation {
            model: graph.model().name().to_owned(),
            digest: graph.model().digest(),
            operations,
            replayed,
            notes: graph.notes().to_vec(),
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// The nodes with artefacts, and the others with the reason.
    #[allow(clippy::type_complexity, reason = "two plain lists for one caller")]
    fn operations(
        &self,
        graph: &Graph,
        device: &Device,
    ) -> Result<(Vec<(String, Job)>, Vec<(String, String, String)>)> {
        let (mut nodes, mut replayed) = (vec![], vec![]);
        for node in graph.nodes() {
            if node.op_type == "Constant" {
                continue;
            }
            match Operation::from_node(graph, node, device)? {
                Ok(operation) => {
                    let id = Digest::from_bytes(operation.id(&self.options)?);
                    let entry = entry_name(&operation, &id);
                    let name = operation.output().to_owned();
                    nodes.push((name, Job { entry, id, operation: Arc::new(operation) }));
                }
                Err(reason) => {
                    replayed.push((node_id(node).to_owned(), node.op_type.clone(), reason.0));
                }
            }
        }
        Ok((nodes, replayed))
    }

    fn train_all(&self, jobs: Vec<(&Job, Splits)>, device: &Device) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = self.jobs.unwrap_or(cores).min(jobs.len()).max(1);
        let queue = Mutex::new(VecDeque::from(jobs));
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    // Each worker has its share of the cores for tensor arithmetic.
                    let threads = (cores / workers).max(1);
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                    while !stop.load(Ordering::Relaxed) {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some((job, splits)) = next else { return };
                        let work = || self.compile_one(job, &splits, device, &stop);
                        let result = match &pool {
                            Ok(pool) => pool.install(work),
                            Err(_) => work(),
                        };
                        if let Err(error) = result {
                            stop.store(true, Ordering::Relaxed);
                            let mut failure =
                                failure.lock().unwrap_or_else(PoisonError::into_inner);
                            // The first error is the cause; others are its consequence.
                            failure.get_or_insert(error);
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn compile_one(
        &self,
        job: &Job,
        splits: &Splits,
        device: &Device,
        stop: &AtomicBool,
    ) -> Result<()> {
        let start = Instant::now();
        self.observer.event(&Event::Started { entry: &job.entry });
        let mut log = format!("{} compiles as {}\n", job.operation.output(), job.entry);
        let trained = training::train(
            &job.operation,
            &job.entry,
            &self.options,
            splits,
            device,
            &mut |epoch| {
                log.push_str(&format!(
                    "{:8.3} s  epoch {}: accuracy {:.4}, deviation {:.1e}, losses {:.4} and {:.4}\n",
                    start.elapsed().as_secs_f64(),
                    epoch.epoch,
                    epoch.mean_accuracy,
                    epoch.deviation,
                    epoch.verifier_loss,
                    epoch.adversary_loss,
                ));
                let options = &self.options;
                self.observer.event(&Event::Epoch { entry: &job.entry, epoch, options });
                !self.cancel.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed)
            },
        )?;
        log.push_str(&format!("{:8.3} s  trained and measured\n", start.elapsed().as_secs_f64()));
        self.write(job, &trained, log, start)?;
        let seconds = start.elapsed().as_secs_f64();
        let metrics = &trained.metrics;
        self.observer.event(&Event::Finished { entry: &job.entry, metrics, seconds });
        Ok(())
    }

    fn write(&self, job: &Job, trained: &Trained, mut log: String, start: Instant) -> Result<()> {
        let metrics = &trained.metrics;
        let exported = export::export(&trained.compiled, &trained.adversary)?;
        let json = serde_json::to_vec_pretty(metrics).map_err(|error| Error::Operation {
            operation: job.operation.output().to_owned(),
            entry: job.entry.clone(),
            reason: error.to_string(),
        })?;
        let transaction = self.registry.begin(&job.entry)?;
        let folder = transaction.path().to_owned();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|source| {
                // The temporary folder means nothing to a user; the registry does.
                let path = self.registry.root().join(&job.entry).join(name);
                Error::Io { action: "write", path, source }
            })
        };
        let [prover, verifier, adversary, artefact, figures, log_file, history, summary] =
            registry::expected_files(registry::stem_of(&job.entry));
        write(&prover, &exported.prover)?;
        write(&verifier, &exported.verifier)?;
        write(&adversary, &exported.adversary)?;
        write(&artefact, &trained.compiled.artefact.to_bytes()?)?;
        write(&figures, &json)?;
        write(&history, plots::training_metrics(metrics)?.as_bytes())?;
        write(&summary, plots::training_summary(metrics)?.as_bytes())?;
        for name in [&prover, &verifier, &adversary] {
            export::check_file(folder.join(name)).map_err(|reason| Error::Operation {
                operation: job.operation.output().to_owned(),
                entry: job.entry.clone(),
                reason: format!("the exported {name} is not valid: {reason}"),
            })?;
        }
        log.push_str(&format!("compiled in {:.3} s\n", start.elapsed().as_secs_f64()));
        write(&log_file, log.as_bytes())?;
        let certificate = metrics.figures.certificate.as_ref();
        let new = NewEntry {
            id: job.id.to_string(),
            seed: self.options.seed,
            figures: LockedFigures {
                check: metrics.check,
                accuracy: metrics.figures.accuracy,
                completeness_error_upper_95: metrics.figures.completeness_error.upper_95,
                soundness_error_upper_95: metrics.figures.soundness_error.upper_95,
                certified_bits: certificate.and_then(|c| c.bits_at_min_deviation),
                certified_deviation: certificate
                    .map(|c| c.deviation_at_soundness_bits)
                    .filter(|deviation| deviation.is_finite()),
            },
        };
        if self.force {
            transaction.commit_replacing(new)?;
        } else {
            transaction.commit(new)?;
        }
        Ok(())
    }

    fn record(&self, graph: &Graph, nodes: &[(String, Job)]) -> Result<()> {
        let locked = LockedModel {
            digest: graph.model().digest().to_string(),
            inputs: graph
                .inputs()
                .iter()
                .map(|info| (info.name.clone(), info.shape.clone()))
                .collect(),
            nodes: nodes.iter().map(|(node, job)| (node.clone(), job.entry.clone())).collect(),
        };
        Ok(self.registry.record_model(graph.model().name(), locked)?)
    }
}

/// Entry name: kind, first input shape and the first 12 digits of the content id.
fn entry_name(operation: &Operation, id: &Digest) -> String {
    let hex = id.to_string();
    format!("{}-{}", operation.spec().stem(), &hex[..registry::ID_DIGITS])
}

/// Loads a compiled model: the graph bound as it was compiled, with every operation's artefact,
/// hashes checked against the lock.
///
/// # Errors
/// [`Error::NotCompiled`] when the registry does not know this model as it is now, and the
/// registry's and the runtime's errors for damaged entries.
pub fn load_compiled(registry: &Registry, model: impl AsRef<Path>) -> Result<CompiledModel> {
    let model = Arc::new(Model::load(model)?);
    let lock = registry.read_lock()?;
    let locked = lock.models.get(model.name()).filter(|locked| {
        // The same name with other contents is another model.
        locked.digest == model.digest().to_string()
    });
    let Some(locked) = locked else {
        let missing = match lock.models.get(model.name()) {
            Some(_) => vec!["all (the model has changed since it was compiled)".to_owned()],
            None => vec!["all".to_owned()],
        };
        return Err(Error::NotCompiled { model: model.name().to_owned(), missing });
    };
    let graph = Arc::new(Graph::bind(model, &locked.inputs)?);
    let (mut operations, mut missing) = (vec![], vec![]);
    for node in graph.nodes() {
        let Ok(operation) = Operation::from_node(&graph, node, &Device::Cpu)? else { continue };
        let name = operation.output().to_owned();
        let entry = locked.nodes.get(&name);
        let Some(entry) = entry.filter(|entry| lock.entries.contains_key(*entry)) else {
            missing.push(name);
            continue;
        };
        let bytes = registry.read_verified(entry, registry::ARTEFACT)?;
        let artefact = Artefact::from_bytes(entry, &bytes, &Device::Cpu)?;
        operations.push(CompiledOperation::new(Arc::new(operation), Arc::new(artefact))?);
    }
    if !missing.is_empty() {
        return Err(Error::NotCompiled { model: graph.model().name().to_owned(), missing });
    }
    Ok(CompiledModel::new(graph, operations)?)
}
