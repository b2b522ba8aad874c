//! Audits: what each proof of a model is worth, measured on attacks that training never saw.
//!
//! | file | subject |
//! | --- | --- |
//! | `attacks/` | one file per attack, with its source |
//! | `subject.rs`, `verifiers.rs` | what attacks are shown; what they are tried on |
//! | `forged.rs`, `agreement.rs` | cheap attacks by the thousand; measured against certified |
//! | `honest.rs`, `onnxruntime.rs`, `whole.rs` | honest runs from elsewhere; whole models |
//! | `drift.rs`, `substituted.rs` | whole-model attacks |
//! | `ledger.rs`, `parts.rs` | the figures put together; what was measured survives a stop |
//! | `report/` | for people |

mod agreement;
mod attacks;
mod drift;
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

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::Device;
use nomopoly_manifest::{
    AUDIT_SCHEMA, Architecture, AttackFigures, Audit, AuditSettings, CompileOptions, Defence,
    DeviationPoint, DriftPoint, Epoch, Family, Skipped,
};
use nomopoly_runtime::artefact::Artefact;
use nomopoly_runtime::onnx::Digest;
use nomopoly_runtime::{CompiledModel, CompiledOperation, NamedTensor};
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};

pub use attacks::{GROUPS, group, names};
pub use onnxruntime::OnnxRuntime;

use crate::calibration::Calibration;
use crate::error::{Error, Result};
use crate::samples::{self, Samples};
use crate::{random, training};
use attacks::adaptive::{self, Arena, Effort};
use honest::{Field, Honest, Runtime};
use parts::Parts;
use subject::Subject;
use verifiers::{Compiled, Panel};
use whole::Whole;

/// Trials of each cheap attack on each operation, unless another number is asked for.
pub const DEFAULT_SAMPLES: u32 = 20_000;
/// Version of the attacks: what an older suite measured is measured again.
const SUITE: u32 = 1;
/// Most inferences that whole-model attacks are tried on.
const MOST_INFERENCES: usize = 1000;
/// Inferences of a drift attack at each share.
const DRIFT_INFERENCES: usize = 200;
/// Multiply-accumulates that a cheap attack may take for each sample that was asked for: large
/// operations are tried less often, and say so.
const TRIAL_BUDGET: u64 = 1_000_000;
/// Elements that honest runs of one runtime, and drifting ones, may compute: models with large
/// activations are run less often, and the figures say how often.
const RUN_BUDGET: usize = 20_000_000_000;
/// Elements that a gradient attack may move in all its steps: large operations get fewer starts,
/// and say so.
const GRADIENT_BUDGET: usize = 2_000_000_000;
/// Elements that the claims of an oracle attack may hold together.
const QUERY_BUDGET: usize = 10_000_000_000;

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

/// A piece of work: what is measured at once, kept at once, and resumed at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    /// For people, and for the name of its part.
    name: String,
    /// Which operation it is about, if one.
    subject: Option<usize>,
    task: Task,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Perceptron,
    Honest(usize),
    Forged(Vec<&'static str>),
    Agreement,
    Adaptive(&'static str),
    WholeModel(&'static str),
    Drift,
}

/// What a piece of work gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Measured {
    /// A trained perceptron's artefact; `None` where none can be trained, with the reason.
    Perceptron(Result<Vec<u8>, String>),
    Honest(Honest),
    Attacks(Vec<AttackFigures>),
    Agreement(Vec<DeviationPoint>),
    Drift(Vec<DriftPoint>),
}

/// Results in the order of the pieces.
type Results = Vec<(Piece, Measured)>;

/// An audit at work.
struct Work<'a> {
    auditor: &'a Auditor,
    whole: &'a Whole,
    subjects: &'a [Subject],
    runtimes: &'a [Runtime],
    parts: Parts,
    /// A piece failed: the others need not go on.
    stop: AtomicBool,
    device: &'a Device,
}

impl Work<'_> {
    fn run(
        &self,
        selection: &[&'static str],
        start: Instant,
        skipped: &mut Vec<Skipped>,
    ) -> Result<(Results, bool)> {
        let deadline = self.auditor.budget.and_then(|budget| start.checked_add(budget));
        let baseline = self.baseline(skipped);
        let first: Vec<Piece> = (0..self.subjects.len())
            .filter(|_| baseline)
            .map(|place| self.piece("perceptron", Some(place), Task::Perceptron))
            .collect();
        let second = self.pieces(selection);
        let pieces = first.len() + second.len();
        let done = |piece: &&Piece| self.parts.get::<Measured>(&self.part(piece)).is_some();
        let done = first.iter().chain(&second).filter(done).count();
        self.auditor.observer.event(&AuditEvent::Planned { pieces, done });

        let trained = self.all(first, &[], deadline, skipped)?;
        let mut panels = vec![];
        for (place, subject) in self.subjects.iter().enumerate() {
            let own = trained.iter().find(|(piece, _)| piece.subject == Some(place));
            let perceptron = match own {
                Some((_, Measured::Perceptron(Ok(bytes)))) => {
                    let name = subject.operation().output();
                    let artefact = Artefact::from_bytes(name, bytes, self.device)?;
                    let operation = subject.compiled.operation.clone();
                    Some(CompiledOperation::new(operation, Arc::new(artefact))?)
                }
                Some((piece, Measured::Perceptron(Err(reason)))) => {
                    let (what, reason) = (piece.name.clone(), reason.clone());
                    skipped.push(Skipped { what, reason });
                    None
                }
                _ => None,
            };
            panels.push(Panel::new(subject, perceptron));
        }
        let asked = second.len();
        let results = self.all(second, &panels, deadline, skipped)?;
        for (_, measured) in &results {
            if let Measured::Honest(honest) = measured {
                skipped.extend(honest.skipped());
            }
        }
        for (piece, measured) in &results {
            let nothing = match measured {
                Measured::Attacks(figures) => figures.is_empty(),
                Measured::Drift(points) => points.is_empty(),
                _ => false,
            };
            // On one operation an attack may have no meaning; on the whole model that is news.
            if nothing && piece.subject.is_none() {
                let reason = "it changes nothing that this model computes".to_owned();
                skipped.push(Skipped { what: piece.name.clone(), reason });
            }
        }
        let in_time = results.len() == asked;
        Ok((results, in_time))
    }

    /// Under which name what a piece measured is kept.
    fn part(&self, piece: &Piece) -> String {
        match piece.task {
            // The runtimes share the runs between them.
            Task::Honest(_) => format!("{}, one of {}", piece.name, self.runtimes.len()),
            _ => piece.name.clone(),
        }
    }

    /// Whether perceptrons are trained to compare with.
    fn baseline(&self, skipped: &mut Vec<Skipped>) -> bool {
        let already = self.auditor.options().architecture == Architecture::Mlp;
        let reason = match (self.auditor.baseline, already) {
            (true, false) => return true,
            (true, true) => "the model was compiled with it",
            (false, _) => "it was not asked for",
        };
        let what = "the comparison with a perceptron".to_owned();
        skipped.push(Skipped { what, reason: reason.to_owned() });
        false
    }

    fn piece(&self, what: &str, subject: Option<usize>, task: Task) -> Piece {
        let name = match subject {
            Some(place) => format!("{what} on {}", self.subjects[place].operation().output()),
            None => what.to_owned(),
        };
        Piece { name, subject, task }
    }

    /// What is to be measured: honest runs first, then attacks from cheap to dear.
    fn pieces(&self, selection: &[&'static str]) -> Vec<Piece> {
        let mut pieces = vec![];
        for (index, runtime) in self.runtimes.iter().enumerate() {
            let what = format!("honest runs of {}", runtime.describe());
            pieces.push(self.piece(&what, None, Task::Honest(index)));
        }
        let adaptive =
            |name: &&'static str| adaptive::ALL.iter().any(|attack| attack.name == *name);
        let whole = |name: &&'static str| {
            attacks::WHOLE_MODEL.contains(name)
                || attacks::substituted::ALL.iter().any(|attack| attack.name == *name)
        };
        let cheap: Vec<&'static str> = selection
            .iter()
            .copied()
            .filter(|name| !adaptive(name) && !attacks::WHOLE_MODEL.contains(name))
            .collect();
        let places = 0..self.subjects.len();
        for place in places.clone().filter(|_| !cheap.is_empty()) {
            // The names are part of the piece's: other ones are other figures.
            let what = match cheap.len() {
                0..=3 => cheap.join(", "),
                n => format!("{n} cheap attacks ({})", hash_of(&cheap)),
            };
            pieces.push(self.piece(&what, Some(place), Task::Forged(cheap.clone())));
        }
        for place in places.clone() {
            if self.subjects[place].compiled.artefact.header.sketches > 0 {
                pieces.push(self.piece("agreement", Some(place), Task::Agreement));
            }
        }
        for name in selection.iter().copied().filter(whole) {
            let task = if name == "drift" { Task::Drift } else { Task::WholeModel(name) };
            pieces.push(self.piece(&format!("{name} on the whole model"), None, task));
        }
        for name in selection.iter().copied().filter(adaptive) {
            for place in places.clone() {
                pieces.push(self.piece(name, Some(place), Task::Adaptive(name)));
            }
        }
        pieces
    }

    /// Does every piece that no earlier run has done, several at once.
    fn all(
        &self,
        pieces: Vec<Piece>,
        panels: &[Panel],
        deadline: Option<Instant>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Results> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = self.auditor.jobs.unwrap_or(cores).min(pieces.len()).max(1);
        let queue = Mutex::new(pieces.into_iter().enumerate().collect::<VecDeque<_>>());
        let results = Mutex::new(vec![]);
        let late = Mutex::new(vec![]);
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let locked = |queue: &Mutex<VecDeque<(usize, Piece)>>| {
            queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
        };
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let threads = (cores / workers).max(1);
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                    while let Some((index, piece)) = locked(&queue) {
                        let known = self.parts.get::<Measured>(&self.part(&piece));
                        let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                        if known.is_none() && over {
                            let mut late = late.lock().unwrap_or_else(PoisonError::into_inner);
                            late.push((index, piece));
                            continue;
                        }
                        let work = || self.measure(&piece, panels);
                        let measured = match (known, &pool) {
                            (Some(measured), _) => Ok(measured),
                            (None, Ok(pool)) => pool.install(work),
                            (None, Err(_)) => work(),
                        };
                        match measured {
                            Ok(measured) => {
                                let mut results =
                                    results.lock().unwrap_or_else(PoisonError::into_inner);
                                results.push((index, (piece, measured)));
                            }
                            Err(error) => {
                                // The first error is the cause; others are its consequence.
                                failure
                                    .lock()
                                    .unwrap_or_else(PoisonError::into_inner)
                                    .get_or_insert(error);
                                self.stop.store(true, Ordering::Relaxed);
                                return;
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut late = late.into_inner().unwrap_or_else(PoisonError::into_inner);
        late.sort_by_key(|(index, _)| *index);
        skipped.extend(late.into_iter().map(|(_, piece)| Skipped {
            what: piece.name,
            reason: "the budget was spent; run the audit again to go on".into(),
        }));
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    fn check_stop(&self) -> Result<()> {
        self.auditor.check_cancel()?;
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Measures a piece and keeps what was found.
    fn measure(&self, piece: &Piece, panels: &[Panel]) -> Result<Measured> {
        self.check_stop()?;
        let start = Instant::now();
        let what = piece.name.as_str();
        self.auditor.observer.event(&AuditEvent::Started { what });
        let measured = self.work(piece, panels)?;
        self.parts.put(&self.part(piece), &measured)?;
        let seconds = start.elapsed().as_secs_f64();
        self.auditor.observer.event(&AuditEvent::Finished { what, seconds });
        Ok(measured)
    }

    fn work(&self, piece: &Piece, panels: &[Panel]) -> Result<Measured> {
        let seed = self.auditor.seed;
        let all = self.auditor.samples as usize;
        let check_stop = || self.check_stop();
        let inputs = |number: usize| self.auditor.input(number);
        let digest = self.whole.graph().model().digest().to_string();
        let mut random = random::stream(seed, &digest, &format!("audit {}", piece.name));
        let subject = piece.subject.map(|place| &self.subjects[place]);
        match (&piece.task, subject, piece.subject.and_then(|place| panels.get(place))) {
            (Task::Perceptron, Some(subject), _) => self.perceptron(subject),
            (Task::Honest(index), _, _) => {
                let field = Field {
                    whole: self.whole,
                    subjects: self.subjects,
                    panels,
                    inputs: &inputs,
                    check_stop: &check_stop,
                };
                let runtime = &self.runtimes[*index];
                // candle computes one operation of a proof after the other.
                let stepwise = matches!(runtime, Runtime::Candle);
                let each =
                    if stepwise { self.whole.step_elements() } else { self.whole.elements() };
                let affordable = (RUN_BUDGET / each.max(1)).max(LEAST_RUNS);
                let count = all.div_ceil(self.runtimes.len()).min(affordable);
                Ok(Measured::Honest(field.measure(runtime, count, index * all, &mut random)?))
            }
            (Task::Forged(names), Some(subject), Some(panel)) => {
                let trials = trials(subject, all);
                let figures = forged::run(subject, panel, names, trials, seed, &check_stop)?;
                Ok(Measured::Attacks(figures))
            }
            (Task::Agreement, Some(subject), _) => {
                let trials = trials(subject, all);
                let points = agreement::agreement(subject, trials, seed, &check_stop)?;
                Ok(Measured::Agreement(points))
            }
            (Task::Adaptive(name), Some(subject), Some(panel)) => {
                self.adaptive(name, subject, panel, &mut random)
            }
            (Task::WholeModel(name), _, _) => {
                let scene = substituted::Scene {
                    whole: self.whole,
                    subjects: self.subjects,
                    inputs: &inputs,
                    device: self.device,
                    seed,
                    count: all.min(MOST_INFERENCES),
                    min_deviation: self.auditor.options().min_deviation,
                    check_stop: &check_stop,
                };
                Ok(Measured::Attacks(scene.attack(name)?.into_iter().collect()))
            }
            (Task::Drift, _, _) => {
                let each = drift::RUNS * self.whole.step_elements();
                let affordable = (RUN_BUDGET / each.max(1)).max(LEAST_DRIFTS);
                let count = all.min(DRIFT_INFERENCES).min(affordable);
                let points = drift::drift(
                    self.whole,
                    self.device,
                    &inputs,
                    count,
                    &mut random,
                    &check_stop,
                )?;
                Ok(Measured::Drift(points))
            }
            // Pieces about an operation have it, and those that need a panel come after panels.
            _ => Ok(Measured::Attacks(vec![])),
        }
    }

    fn adaptive(
        &self,
        name: &str,
        subject: &Subject,
        panel: &Panel,
        random: &mut ChaCha20Rng,
    ) -> Result<Measured> {
        let Some(attack) = adaptive::ALL.iter().find(|attack| attack.name == name) else {
            return Ok(Measured::Attacks(vec![]));
        };
        let effort = affordable(&self.auditor.effort, subject);
        let check_stop = || self.check_stop();
        let mut figures = vec![];
        let learned = Compiled { operation: subject.compiled.clone(), device: self.device.clone() };
        let perceptron = panel.perceptron().map(|operation| Compiled {
            operation: operation.clone(),
            device: self.device.clone(),
        });
        let verifiers = [(Defence::Learned, Some(learned)), (Defence::Perceptron, perceptron)];
        for (defence, verifier) in verifiers {
            let Some(verifier) = verifier else { continue };
            let arena = Arena {
                subject,
                verifier: &verifier,
                defence,
                judges: panel,
                effort: &effort,
                deviation: subject.min_deviation(),
                check_stop: &check_stop,
            };
            for outcome in (attack.run)(&arena, random)? {
                if outcome.tally.is_empty() {
                    continue;
                }
                let (accepted, deviations) = outcome.tally.finish();
                figures.push(AttackFigures {
                    attack: name.to_owned(),
                    family: Family::Adaptive,
                    attacker: outcome.attacker,
                    setting: outcome.setting,
                    accepted,
                    deviations,
                });
            }
        }
        Ok(Measured::Attacks(figures))
    }

    /// A plain perceptron for the same operation, trained as the compiler does it.
    fn perceptron(&self, subject: &Subject) -> Result<Measured> {
        let options = CompileOptions {
            architecture: Architecture::Mlp,
            test_samples: 100,
            ..subject.compiled.artefact.header.options.clone()
        };
        let spec = subject.operation().spec();
        let width = spec.inputs_len() + spec.output_len() + options.proof_dim as usize;
        if width > WIDEST_PERCEPTRON {
            let reason = format!("it would have {width} inputs, {WIDEST_PERCEPTRON} are the most");
            return Ok(Measured::Perceptron(Err(reason)));
        }
        let operation = &subject.compiled.operation;
        let calibration = self.auditor.data.as_ref().map(|(_, data)| data);
        let check_stop = || self.check_stop();
        let splits = samples::collect(
            self.whole.graph(),
            std::slice::from_ref(operation),
            calibration,
            &options,
            self.device,
            &check_stop,
        )?;
        let Some(splits) = splits.first() else {
            return Ok(Measured::Perceptron(Err("there are no samples of it".into())));
        };
        let entry = &subject.compiled.artefact.header.entry;
        let go_on = &mut |_: &Epoch| self.check_stop().is_ok();
        // It judges the proofs that the compiled verifier judges: those of the same generator.
        let seed = &subject.compiled.artefact.header.generator_seed;
        let seed = Digest::from_hex(seed).map_err(|error| Error::Operation {
            operation: operation.output().to_owned(),
            entry: entry.clone(),
            reason: format!("the seed of its generator: {error}"),
        })?;
        let seed = *seed.as_bytes();
        let trained =
            training::train_with(seed, operation, entry, &options, splits, self.device, go_on)?;
        Ok(Measured::Perceptron(Ok(trained.compiled.artefact.to_bytes()?)))
    }
}

/// Honest runs of one runtime, and drifting inferences, that are made of the largest models too.
const LEAST_RUNS: usize = 100;
const LEAST_DRIFTS: usize = 5;
/// Largest perceptron that an audit trains for the comparison, in inputs.
const WIDEST_PERCEPTRON: usize = 1 << 15;

/// A short name for a list of attacks.
fn hash_of(names: &[&str]) -> String {
    blake3::hash(names.join(" ").as_bytes()).to_hex()[..8].to_owned()
}

/// Trials of a cheap attack on an operation.
fn trials(subject: &Subject, asked: usize) -> usize {
    let cost = subject.operation().recompute_cost().max(1);
    let affordable = (TRIAL_BUDGET * asked as u64 / cost) as usize;
    affordable.clamp(asked.min(100), asked)
}

/// What adaptive attacks may spend on an operation.
fn affordable(effort: &Effort, subject: &Subject) -> Effort {
    let elements = training::elements(subject.operation()).max(1);
    let starts = (GRADIENT_BUDGET / effort.steps.max(1) / elements).max(1);
    let inputs = effort.inputs.min((starts / effort.restarts.max(1)).max(1));
    let queries = QUERY_BUDGET / effort.oracles.max(1) / elements;
    Effort {
        queries: effort.queries.min(queries.max(500)),
        trials: trials(subject, effort.trials),
        inputs,
        restarts: effort.restarts.min((starts / inputs).max(1)),
        ..effort.clone()
    }
}
