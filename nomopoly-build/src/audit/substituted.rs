//! Substituted models and edited answers against the check of a whole model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use candle_core::{Device, Tensor};
use nomopoly_manifest::{AttackFigures, Attacker, Attribute, Defence, Family, OperationKind};
use nomopoly_runtime::dynamic::{Prover, Verifier};
use nomopoly_runtime::{NamedTensor, Proof, TensorData};
use rand_chacha::ChaCha20Rng;

use super::attacks::substituted;
use super::forged;
use super::subject::{Subject, key};
use super::tally::Tally;
use super::verifiers::Witness;
use super::whole::Whole;
use crate::error::Result;
use crate::random;

/// Inferences under one key.
const PER_KEY: usize = 50;

/// What whole-model attacks work with.
pub struct Scene<'a> {
    pub whole: &'a Whole,
    pub subjects: &'a [Subject],
    pub inputs: &'a dyn Fn(usize) -> Result<Vec<NamedTensor>>,
    pub device: &'a Device,
    pub seed: u64,
    /// Inferences.
    pub count: usize,
    pub min_deviation: f64,
    pub check_stop: &'a dyn Fn() -> Result<()>,
    pub witness: Witness<'a>,
}

impl Scene<'_> {
    /// Runs a whole-model attack; `None` where it changes nothing.
    ///
    /// # Errors
    /// When a model cannot be run.
    pub fn attack(&self, name: &str) -> Result<Option<AttackFigures>> {
        let digest = self.whole.graph().model().digest().to_string();
        let mut random = random::stream(self.seed, &digest, &format!("audit whole {name}"));
        let all = substituted::ALL.iter().find(|attack| attack.name == name);
        match (name, all) {
            (_, Some(attack)) => {
                let mut others = BTreeMap::new();
                for subject in self.subjects {
                    if let Some(weights) = forged::weights(subject, attack, self.seed)? {
                        others.insert(subject.operation().output().to_owned(), weights);
                    }
                }
                let (host, changed) = self.host(&others)?;
                if changed == 0 {
                    return Ok(None);
                }
                let all = self.subjects.iter().filter(|s| s.linear().is_some()).count();
                let which = if changed == all {
                    "every linear operation".to_owned()
                } else {
                    format!("{changed} of {all} linear operations")
                };
                let setting = format!("{which}: {}", attack.setting);
                self.run(name, Family::Substituted, setting, &host, Edit::None, &mut random)
            }
            ("one-layer", None) => self.one_layer(&mut random),
            ("edited-output", None) => {
                let setting = "the model's answer is another one, by the least change".to_owned();
                let host = self.honest()?;
                self.run(name, Family::Outputs, setting, &host, Edit::Answer, &mut random)
            }
            ("replayed-inference", None) => {
                let setting = "the honest proof of another input".to_owned();
                let host = self.honest()?;
                self.run(name, Family::Proofs, setting, &host, Edit::Replay, &mut random)
            }
            _ => Ok(None),
        }
    }

    fn honest(&self) -> Result<Prover> {
        Ok(Prover::new(self.whole.model.clone())?)
    }

    /// Each linear operation in turn with weights of another seed, all the others true.
    fn one_layer(&self, random: &mut ChaCha20Rng) -> Result<Option<AttackFigures>> {
        let Some(attack) = substituted::ALL.iter().find(|attack| attack.name == "other-seed")
        else {
            return Ok(None);
        };
        let linear: Vec<&Subject> =
            self.subjects.iter().filter(|subject| subject.linear().is_some()).collect();
        let each = self.count.div_ceil(linear.len().max(1));
        let mut tally = Tally::default();
        for (turn, subject) in linear.iter().enumerate() {
            let Some(weights) = forged::weights(subject, attack, self.seed)? else { continue };
            let name = subject.operation().output().to_owned();
            // One such model at a time: each is as large as the whole.
            let (host, changed) = self.host(&BTreeMap::from([(name, weights)]))?;
            if changed > 0 {
                let numbers = turn * each..(turn + 1) * each;
                self.try_host(&mut tally, &host, numbers, Edit::None, random)?;
            }
        }
        let setting = "one linear operation by turns has weights of another seed".to_owned();
        Ok(figures("one-layer", Family::Substituted, Attacker::Host, setting, tally))
    }

    /// A host that runs the model with other weights of these operations, and how many of them
    /// have others now.
    fn host(&self, weights: &BTreeMap<String, Tensor>) -> Result<(Prover, usize)> {
        let graph = self.whole.graph();
        let mut altered: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for subject in self.subjects {
            if let Some(weights) = weights.get(subject.operation().output())
                && let Some((name, values)) = initialiser(subject, weights)?
            {
                altered.insert(name, values);
            }
        }
        let mut changed = BTreeSet::new();
        let graph = graph.with_altered_weights(|name, _, values| {
            if let Some(other) = altered.get(name)
                && other.len() == values.len()
            {
                if values != other.as_slice() {
                    changed.insert(name.to_owned());
                }
                values.copy_from_slice(other);
            }
        })?;
        Ok((Prover::running(self.whole.model.clone(), &graph)?, changed.len()))
    }

    fn run(
        &self,
        name: &str,
        family: Family,
        setting: String,
        host: &Prover,
        edit: Edit,
        random: &mut ChaCha20Rng,
    ) -> Result<Option<AttackFigures>> {
        let attacker = if edit == Edit::Replay { Attacker::Outsider } else { Attacker::Host };
        let mut tally = Tally::default();
        self.try_host(&mut tally, host, 0..self.count, edit, random)?;
        Ok(figures(name, family, attacker, setting, tally))
    }

    /// Checks what a host claims of these inferences.
    fn try_host(
        &self,
        tally: &mut Tally,
        host: &Prover,
        numbers: Range<usize>,
        edit: Edit,
        random: &mut ChaCha20Rng,
    ) -> Result<()> {
        let mut secret = key(random);
        let mut verifier = Verifier::new(&self.whole.model, &secret, self.device)?;
        let honest = self.honest()?;
        for number in numbers {
            (self.check_stop)()?;
            if number % PER_KEY == 0 {
                secret = key(random);
                verifier.rotate(&secret)?;
            }
            let inputs = (self.inputs)(number)?;
            let truth = honest.prove(&inputs)?;
            let answer = truth.outputs.first().map(|output| output.name.clone());
            let claimed = match edit {
                Edit::None => host.prove(&inputs)?,
                Edit::Answer => host.prove_edited(&inputs, |name, data| {
                    if Some(name) == answer.as_deref() {
                        change_answer(data);
                    }
                })?,
                Edit::Replay => {
                    let other = (self.inputs)(number + 1)?;
                    Proof { inputs: truth.inputs.clone(), ..host.prove(&other)? }
                }
            };
            let report = verifier.inspect(&inputs, &Proof::from_bytes(&claimed.to_bytes()?)?)?;
            (self.witness)(&secret, &inputs, &claimed, &report)?;
            let size = moved(&truth, &claimed);
            let verdicts = BTreeMap::from([(Defence::Learned, vec![report.accepted()])]);
            tally.claims(&verdicts, &[size], self.min_deviation, false);
        }
        Ok(())
    }
}

fn figures(
    name: &str,
    family: Family,
    attacker: Attacker,
    setting: String,
    tally: Tally,
) -> Option<AttackFigures> {
    if tally.is_empty() {
        return None;
    }
    let (accepted, deviations) = tally.finish();
    let attack = name.to_owned();
    Some(AttackFigures { attack, family, attacker, setting, accepted, deviations })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    None,
    Answer,
    Replay,
}

/// Largest and second largest element meet in the middle and a step beyond.
fn change_answer(data: &mut TensorData) {
    let TensorData::F32(values) = data else { return };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    if let [first, second, ..] = order[..] {
        let middle = values[first] + (values[second] - values[first]) / 2.;
        (values[first], values[second]) = (middle.next_down(), middle.next_up());
    }
}

/// Relative deviation of the first output, and of everything else that is claimed if that is the
/// same.
fn moved(truth: &Proof, claimed: &Proof) -> f64 {
    let pairs = truth
        .outputs
        .iter()
        .chain(&truth.transcript)
        .zip(claimed.outputs.iter().chain(&claimed.transcript));
    for (truth, claimed) in pairs {
        let (Some(truth), Some(claimed)) = (truth.as_f32(), claimed.as_f32()) else { continue };
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        let error =
            norm(&mut truth.iter().zip(claimed).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        if error > 0. {
            return error / norm(&mut truth.iter().map(|v| f64::from(*v)));
        }
    }
    0.
}

/// The constant that holds an operation's weights, and what these weights are in its layout.
fn initialiser(subject: &Subject, weights: &Tensor) -> Result<Option<(String, Vec<f32>)>> {
    let operation = subject.operation();
    let Some(name) = operation.weights_name() else { return Ok(None) };
    let attributes = &operation.spec().attributes;
    let weights = match operation.spec().kind {
        OperationKind::Gemm => {
            let alpha = match attributes.get("alpha") {
                Some(Attribute::Float(alpha)) => f64::from(*alpha),
                _ => 1.,
            };
            let transposed = matches!(attributes.get("transB"), Some(Attribute::Int(1)));
            let weights = (weights / alpha)?;
            if transposed { weights.t()?.contiguous()? } else { weights }
        }
        _ => weights.clone(),
    };
    Ok(Some((name.to_owned(), weights.flatten_all()?.to_vec1::<f32>()?)))
}
