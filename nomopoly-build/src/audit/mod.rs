//! Audits: what each proof of a model is worth, measured on attacks that training never saw.
//!
//! | file | subject |
//! | --- | --- |
//! | `attacks/` | one file per attack, with its source |
//! | `subject.rs`, `verifiers.rs` | what attacks are shown; what they are tried on |
//! | `forged.rs`, `agreement.rs` | cheap attacks by the thousand; measured against certified |
//! | `honest.rs`, `onnxruntime.rs`, `whole.rs` | honest runs from elsewhere; whole models |
//! | `drift.rs`, `substituted.rs` | whole-model attacks |
//! | `work.rs`, `parts.rs` | the pieces of an audit, several at once; what was measured survives a stop |
//! | `ledger.rs` | the figures put together |
//! | `report/` | for people |

mod agreement;
mod attacks;
mod drift;
#[cfg(test)]
mod exported_tests;
mod forged;
mod honest;
mod ledger;
mod onnxruntime;
mod parts;
pub mod report;
mod subject;
mod substituted;
mod tally;
#[cfg(test)]
mod tests;
mod verifiers;
mod whole;
mod work;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candle_core::Device;
use nomopoly_manifest::{AUDIT_SCHEMA, Audit, AuditSettings, CompileOptions, Skipped};
use nomopoly_runtime::{CompiledModel, CompiledOperation, NamedTensor};

pub use attacks::{GROUPS, group, names};
pub use onnxruntime::OnnxRuntime;
pub(crate) use subject::key;

use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::random;
use crate::samples::{self, Samples};
use attacks::adaptive::Effort;
use honest::Runtime;
use parts::Parts;
use subject::Subject;
use whole::Whole;
use work::Work;

/// Trials of each cheap attack on each operation, unless another number is asked for.
pub const DEFAULT_SAMPLES: u32 = 20_000;
/// Version of the attacks: what an older suite measured is measured again.
const SUITE: u32 = 1;
/// What happens during an audit, for progress displays.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuditEvent<'a> {
    /// How many pieces of work there are, and how many of them an earlier run has done.
    Planned {
        pieces: usize,
        done: usize,
    },
    /// A piece of work starts, for example `pgd on fc1.out`.
    Started {
        what: &'a str,
    },
    Finished {
        what: &'a str,
        seconds: f64,
    },
}

/// Is told what happens; called from several threads.
pub trait AuditObserver: Send + Sync {
    fn event(&self, event: &AuditEvent);
}

impl AuditObserver for crate::compiler::Silent {
    fn event(&self, _event: &AuditEvent) {}
}

/// Audits compiled models.
///
/// ```no_run
/// use nomopoly_build::{audit::Auditor, load_compiled, registry::Registry};
///
/// let path = std::path::Path::new("models/digits.onnx");
/// let model = load_compiled(&Registry::open("ops"), path)?;
/// let audit = Auditor::new(model, "target/audit").samples(20_000).run()?;
/// let page = nomopoly_build::audit::report::html(&audit)?;
/// # Ok::<(), nomopoly_build::Error>(())
/// ```
pub struct Auditor {
    model: Arc<CompiledModel>,
    folder: PathBuf,
    samples: u32,
    seed: u64,
    attacks: Option<Vec<String>>,
    budget: Option<Duration>,
    data: Option<(String, Calibration)>,
    python: Option<OnnxRuntime>,
    baseline: bool,
    effort: Effort,
    jobs: Option<usize>,
    observer: Arc<dyn AuditObserver>,
    cancel: Arc<AtomicBool>,
}

impl Auditor {
    /// An audit of a model with default settings. What is measured is kept in `folder`, so that an
    /// audit that was stopped goes on from there.
    pub fn new(model: CompiledModel, folder: impl Into<PathBuf>) -> Self {
        Self {
            model: Arc::new(model),
            folder: folder.into(),
            samples: DEFAULT_SAMPLES,
            seed: 0,
            attacks: None,
            budget: None,
            data: None,
            python: None,
            baseline: true,
            effort: Effort::full(DEFAULT_SAMPLES as usize),
            jobs: None,
            observer: Arc::new(crate::compiler::Silent),
            cancel: Arc::default(),
        }
    }

    /// Trials of each cheap attack on each operation, and honest runs. At least 100.
    #[must_use]
    pub fn samples(mut self, samples: u32) -> Self {
        self.samples = samples.max(100);
        self.effort.trials = self.samples as usize;
        self
    }

    /// Seed of everything random in an audit; default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Only these attacks: names, or groups of [`GROUPS`].
    #[must_use]
    pub fn attacks<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.attacks = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Starts nothing new after this long; what was not run is listed as skipped.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Real inputs instead of generated ones; `name` stands in the report.
    #[must_use]
    pub fn data(mut self, name: impl Into<String>, data: Calibration) -> Self {
        self.data = Some((name.into(), data));
        self
    }

    /// Also measures honest runs of ONNX Runtime.
    #[must_use]
    pub fn onnxruntime(mut self, python: OnnxRuntime) -> Self {
        self.python = Some(python);
        self
    }

    /// Whether to train plain perceptrons to compare with; default yes.
    #[must_use]
    pub fn baseline(mut self, baseline: bool) -> Self {
        self.baseline = baseline;
        self
    }

    /// A small part of what adaptive attacks usually spend: for tests of what is around them.
    #[doc(hidden)]
    #[must_use]
    pub fn light(mut self) -> Self {
        self.effort = Effort {
            trials: self.effort.trials,
            inputs: 2,
            restarts: 2,
            steps: 10,
            keys: 1,
            queries: 500,
            oracles: 2,
            seeds: 1,
            training: 5,
        };
        self
    }

    /// Pieces of work at once; by default as many as there are cores. Figures do not depend on it.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = Some(jobs.max(1));
        self
    }

    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn AuditObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// A flag that stops the audit soon after it becomes true; what was measured is kept.
    #[must_use]
    pub fn cancel(mut self, cancel: Arc<AtomicBool>) -> Self {
        self.cancel = cancel;
        self
    }

    /// Runs the audit.
    ///
    /// # Errors
    /// [`Error::Build`] for an unknown attack, [`Error::Calibration`] for data that does not fit,
    /// [`Error::Interrupted`] when stopped, and when the folder cannot be written.
    pub fn run(&self) -> Result<Audit> {
        let start = Instant::now();
        let selection = self.selection()?;
        let device = Device::Cpu;
        let whole = Whole::new(self.model.clone(), &device)?;
        let (subjects, distinct) = self.subjects(&device)?;
        // Large operations keep fewer inputs than there are.
        let distinct = subjects.iter().map(|s| s.samples.len()).min().unwrap_or(distinct);
        let runtimes = self.runtimes();
        let work = Work {
            auditor: self,
            whole: &whole,
            subjects: &subjects,
            runtimes: &runtimes,
            parts: Parts::open(&self.folder, &self.context()?)?,
            stop: AtomicBool::new(false),
            device: &device,
        };
        let mut skipped = vec![];
        let (results, in_time) = work.run(&selection, start, &mut skipped)?;
        if self.python.is_none() {
            skipped.push(Skipped {
                what: "honest runs of ONNX Runtime".into(),
                reason: "no Python that has it was named".into(),
            });
        }
        let options = self.options();
        let inputs = |number: usize| self.input(number);
        Ok(Audit {
            schema: AUDIT_SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.model.graph().model().name().to_owned(),
            digest: self.model.graph().model().digest().to_string(),
            settings: AuditSettings {
                samples: self.samples,
                seed: self.seed,
                attacks: selection.iter().map(|name| (*name).to_owned()).collect(),
                data: self.data.as_ref().map_or("generated", |(name, _)| name).to_owned(),
                distinct_inputs: distinct as u32,
                runtimes: runtimes.iter().map(Runtime::describe).collect(),
                min_deviation: options.min_deviation,
                soundness_bits: options.soundness_bits,
            },
            is_whole: in_time && selection == names(),
            operations: ledger::operations(&self.model, &subjects, &results, &selection),
            whole: ledger::whole(&self.model, &whole, &results, &inputs)?,
            skipped,
        })
    }

    /// The names of the attacks that were asked for, in the order of the suite.
    fn selection(&self) -> Result<Vec<&'static str>> {
        let Some(asked) = &self.attacks else { return Ok(names()) };
        let mut chosen = BTreeSet::new();
        for name in asked {
            let group = group(name).ok_or_else(|| {
                Error::Build(format!(
                    "there is no attack `{name}`; there are the groups {} and the attacks {}",
                    GROUPS.join(", "),
                    names().join(", ")
                ))
            })?;
            chosen.extend(group);
        }
        Ok(names().into_iter().filter(|name| chosen.contains(name)).collect())
    }

    /// The compile options, which all operations share that were compiled together.
    fn options(&self) -> CompileOptions {
        let first = self.model.operations().first();
        first.map_or_else(CompileOptions::default, |compiled| {
            compiled.artefact.header.options.clone()
        })
    }

    /// Everything that figures depend on beside the name of what is measured.
    fn context(&self) -> Result<String> {
        let ids: Vec<String> =
            self.model.operations().iter().map(|op| op.artefact.id.to_string()).collect();
        // Equal ids may hide other training: calibration data is not part of them.
        let mut artefacts = blake3::Hasher::new();
        for compiled in self.model.operations() {
            artefacts.update(&compiled.artefact.to_bytes()?);
        }
        let data = self.data.as_ref().map(|(name, data)| (name, data.digest()));
        Ok(format!(
            "{AUDIT_SCHEMA} {SUITE} {} {} {:?} {ids:?} {} {} {} {:?} {data:?} {}",
            env!("CARGO_PKG_VERSION"),
            self.model.graph().model().digest(),
            self.model.graph().inputs(),
            artefacts.finalize(),
            self.samples,
            self.seed,
            self.effort,
            self.baseline,
        ))
    }

    /// Input `number` of the model, round and round through real data.
    fn input(&self, number: usize) -> Result<Vec<NamedTensor>> {
        let graph = self.model.graph();
        match &self.data {
            Some((_, data)) => data.sample(graph, number),
            None => {
                let id = format!("{} {number}", graph.model().digest());
                Ok(samples::generated(graph, &mut random::stream(self.seed, &id, "audit input")))
            }
        }
    }

    fn runtimes(&self) -> Vec<Runtime> {
        let python = self.python.clone().map(Runtime::OnnxRuntime);
        [Runtime::Tract, Runtime::Candle].into_iter().chain(python).collect()
    }

    /// The operations with what they receive; and the number of distinct inputs.
    fn subjects(&self, device: &Device) -> Result<(Vec<Subject>, usize)> {
        let operations: Vec<_> =
            self.model.operations().iter().map(|compiled| compiled.operation.clone()).collect();
        let all = self.samples as usize;
        let distinct = self.data.as_ref().map_or(all, |(_, data)| data.len().clamp(1, all));
        let mut source = |number: usize| self.input(number);
        let check_stop = || self.check_cancel();
        let gathered = if operations.is_empty() {
            vec![]
        } else {
            let graph = self.model.graph();
            samples::gather(graph, &operations, distinct, &mut source, device, &check_stop)?
        };
        let subject = |(compiled, samples): (&CompiledOperation, Samples)| Subject {
            compiled: compiled.clone(),
            samples,
            device: device.clone(),
        };
        Ok((self.model.operations().iter().zip(gathered).map(subject).collect(), distinct))
    }

    fn check_cancel(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
