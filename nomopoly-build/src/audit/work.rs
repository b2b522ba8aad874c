//! An audit at work: the pieces that it is cut into, several of them done at once, each kept when it
//! is done.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use candle_core::Device;
use nomopoly_manifest::{
    Architecture, AttackFigures, CompileOptions, Defence, DeviationPoint, DriftPoint, Epoch,
    Family, Skipped,
};
use nomopoly_runtime::CompiledOperation;
use nomopoly_runtime::artefact::Artefact;
use nomopoly_runtime::onnx::Digest;
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};

use super::attacks::adaptive::{self, Arena, Effort};
use super::honest::{Field, Honest, Runtime};
use super::parts::Parts;
use super::subject::Subject;
use super::verifiers::{Compiled, Panel};
use super::whole::Whole;
use super::{AuditEvent, Auditor, agreement, attacks, drift, forged, substituted};
use crate::error::{Error, Result};
use crate::{random, samples, training};

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

/// A piece of work: what is measured at once, kept at once, and resumed at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// For people, and for the name of its part.
    name: String,
    /// Which operation it is about, if one.
    pub subject: Option<usize>,
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
pub enum Measured {
    /// A trained perceptron's artefact; `None` where none can be trained, with the reason.
    Perceptron(Result<Vec<u8>, String>),
    Honest(Honest),
    Attacks(Vec<AttackFigures>),
    Agreement(Vec<DeviationPoint>),
    Drift(Vec<DriftPoint>),
}

/// Results in the order of the pieces.
pub type Results = Vec<(Piece, Measured)>;

/// An audit at work.
pub struct Work<'a> {
    pub auditor: &'a Auditor,
    pub whole: &'a Whole,
    pub subjects: &'a [Subject],
    pub runtimes: &'a [Runtime],
    pub parts: Parts,
    /// A piece failed: the others need not go on.
    pub stop: AtomicBool,
    pub device: &'a Device,
}

impl Work<'_> {
    /// Measures everything that was asked for; whether the budget was enough.
    pub fn run(
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
                    witness: &|_, _, _, _| Ok(()),
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
                    &|_, _, _, _| Ok(()),
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
