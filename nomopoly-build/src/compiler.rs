//! From a model to registered artefacts: scan, train what the registry lacks, export, register.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use candle_core::Device;
use nomopoly_manifest::{Architecture, CompileOptions, Epoch, LockedFigures, Metrics};
use nomopoly_runtime::artefact::Artefact;
use nomopoly_runtime::onnx::{Digest, Graph, Model};
use nomopoly_runtime::{CompiledModel, CompiledOperation, DeviceChoice};

use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::export;
use crate::plan::{ModelPlan, PlannedNode};
use crate::plots;
use crate::random;
use crate::registry::{self, EntryStatus, NewEntry, Registry};
use crate::rehearsal::{self, Rehearsal};
use crate::samples::{self, Splits};
use crate::training::{self, Trained};

/// Inferences of a rehearsal.
const REHEARSED: usize = 8;

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
    also: Vec<Registry>,
    record_as: Option<String>,
    deadline: Option<Instant>,
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
    /// How honest inferences fared against the whole check; absent where nothing was trained.
    pub rehearsal: Option<Rehearsal>,
    pub seconds: f64,
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
            also: vec![],
            record_as: None,
            deadline: None,
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

    /// Entries that this registry has are not trained; nothing is written to it.
    #[must_use]
    pub fn also_in(mut self, registry: Registry) -> Self {
        self.also.push(registry);
        self
    }

    /// Records the model under another name than its file's: in a registry that many crates
    /// share, file names are not unique.
    #[must_use]
    pub fn record_as(mut self, name: impl Into<String>) -> Self {
        self.record_as = Some(name.into());
        self
    }

    /// Stops with [`Error::OutOfTime`] at the next epoch after this. What was finished before
    /// stays in the registry, so that the next compilation goes on from there.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
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
        let plan = ModelPlan::new(graph, &self.options, &device)?;
        let entries = plan.entries();
        let mut missing: Vec<&PlannedNode> = vec![];
        for job in entries.values().copied() {
            if self.force || self.find(job)?.is_none() {
                missing.push(job);
            }
        }
        let (entries, trained) = (entries.len(), missing.len());
        self.observer.event(&Event::Planned { entries, missing: trained });
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
                &|| self.check_stop(),
            )?;
            self.train_all(missing.into_iter().zip(splits).collect(), &device)?;
        }
        let name = self.record_as.as_deref().unwrap_or(graph.model().name());
        self.registry.record_model(name, plan.locked(graph))?;
        let rehearsal = match self.options.architecture {
            // The baseline is there to be compared with, not to be relied on.
            Architecture::Mlp => None,
            _ if trained.is_empty() => None,
            Architecture::Residual => Some(self.rehearse(graph, &plan)?),
        };
        if let Some(advice) = rehearsal.as_ref().and_then(Rehearsal::advice) {
            self.observer.event(&Event::Note(&advice));
        }

        let mut operations = vec![];
        // Looked at once for each registry: a model has hundreds of nodes.
        let mut statuses: BTreeMap<&Path, BTreeMap<String, EntryStatus>> = BTreeMap::new();
        for job in plan.nodes {
            let registry = self.find(&job)?.unwrap_or(&self.registry);
            let known = match statuses.entry(registry.root()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let all = registry.entries()?;
                    place.insert(all.into_iter().map(|entry| (entry.name.clone(), entry)).collect())
                }
            };
            let status = match known.get(&job.entry) {
                Some(status) => status,
                // It came while this ran.
                None => &registry.entry(&job.entry)?,
            };
            operations.push(CompiledNode {
                node: job.node,
                cached: !trained.contains(&job.entry),
                metrics: registry.metrics(&job.entry)?,
                seconds: status.seconds,
                bytes: status.bytes,
                entry: job.entry,
            });
        }
        Ok(Compilation {
            model: graph.model().name().to_owned(),
            digest: graph.model().digest(),
            operations,
            replayed: plan.replayed,
            notes: graph.notes().to_vec(),
            rehearsal,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// Proves and checks a few honest inferences with what was compiled.
    fn rehearse(&self, graph: &Graph, plan: &ModelPlan) -> Result<Rehearsal> {
        let mut operations = vec![];
        for job in &plan.nodes {
            let registry = self.find(job)?.unwrap_or(&self.registry);
            let bytes = registry.read_verified(&job.entry, registry::ARTEFACT)?;
            let artefact = Artefact::from_bytes(&job.entry, &bytes, &Device::Cpu)?;
            operations.push(CompiledOperation::new(job.operation.clone(), Arc::new(artefact))?);
        }
        let model = Arc::new(CompiledModel::new(Arc::new(graph.clone()), operations)?);
        let digest = graph.model().digest().to_string();
        let mut random = random::stream(self.options.seed, &digest, "rehearsal inputs");
        let mut source = |sample| match &self.calibration {
            Some(calibration) => calibration.sample(graph, sample),
            None => Ok(samples::generated(graph, &mut random)),
        };
        rehearsal::rehearse(&model, &mut source, self.options.seed, REHEARSED)
    }

    /// The registry that has an intact entry for a node.
    fn find(&self, node: &PlannedNode) -> Result<Option<&Registry>> {
        for registry in std::iter::once(&self.registry).chain(&self.also) {
            if registry.is_compiled(&node.entry, &node.id.to_string())?.is_some() {
                return Ok(Some(registry));
            }
        }
        Ok(None)
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when asked to stop, [`Error::OutOfTime`] when the deadline is over.
    fn check_stop(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Error::OutOfTime),
            _ => Ok(()),
        }
    }

    fn train_all(&self, jobs: Vec<(&PlannedNode, Splits)>, device: &Device) -> Result<()> {
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
                        if let Err(error) = self.check_stop() {
                            stop.store(true, Ordering::Relaxed);
                            let mut failure =
                                failure.lock().unwrap_or_else(PoisonError::into_inner);
                            failure.get_or_insert(error);
                            return;
                        }
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
        job: &PlannedNode,
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
                self.check_stop().is_ok() && !stop.load(Ordering::Relaxed)
            },
        )
        // Training knows only that it was stopped; why is known here.
        .map_err(|error| match (error, self.check_stop()) {
            (Error::Interrupted, Err(reason)) => reason,
            (error, _) => error,
        })?;
        log.push_str(&format!("{:8.3} s  trained and measured\n", start.elapsed().as_secs_f64()));
        self.write(job, &trained, log, start)?;
        let seconds = start.elapsed().as_secs_f64();
        let metrics = &trained.metrics;
        self.observer.event(&Event::Finished { entry: &job.entry, metrics, seconds });
        Ok(())
    }

    fn write(
        &self,
        job: &PlannedNode,
        trained: &Trained,
        mut log: String,
        start: Instant,
    ) -> Result<()> {
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
}
