//! Substituted models and edited answers against the check of a whole model.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use nomopoly_manifest::{AttackFigures, Attacker, Attribute, Defence, Family, OperationKind};
use nomopoly_runtime::dynamic::{Prover, Verifier};
use nomopoly_runtime::onnx::Graph;
use nomopoly_runtime::{NamedTensor, Proof, TensorData};
use rand_chacha::ChaCha20Rng;

use super::attacks::substituted;
use super::forged;
use super::subject::{Subject, key};
use super::tally::Tally;
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
                if others.is_empty() {
                    return Ok(None);
                }
                let host = self.host(&others)?;
                let setting = format!("every linear operation: {}", attack.setting);
                let hosts = [host];
                self.run(name, Family::Substituted, setting, &hosts, Edit::None, &mut random)
            }
            ("one-layer", None) => {
                let other_seed = substituted::ALL.iter().find(|attack| attack.name == "other-seed");
                let mut hosts = vec![];
                for subject in self.subjects {
                    let Some(attack) = other_seed else { continue };
                    if let Some(weights) = forged::weights(subject, attack, self.seed)? {
                        let name = subject.operation().output().to_owned();
                        hosts.push(self.host(&BTreeMap::from([(name, weights)]))?);
                    }
                }
                let setting =
                    "one linear operation by turns has weights of another seed".to_owned();
                self.run(name, Family::Substituted, setting, &hosts, Edit::None, &mut random)
            }
            ("edited-output", None) => {
                let setting = "the model's answer is another one, by the least change".to_owned();
                let hosts = [self.honest()?];
                self.run(name, Family::Outputs, setting, &hosts, Edit::Answer, &mut random)
            }
            ("replayed-inference", None) => {
                let setting = "the honest proof of another input".to_owned();
                let hosts = [self.honest()?];
                self.run(name, Family::Proofs, setting, &hosts, Edit::Replay, &mut random)
            }
            _ => Ok(None),
        }
    }

    fn honest(&self) -> Result<Prover> {
        Ok(Prover::new(self.whole.model.clone(), self.device)?)
    }

    /// A host that runs the model with other weights of these operations.
    fn host(&self, weights: &BTreeMap<String, Tensor>) -> Result<Prover> {
        let graph = self.whole.graph();
        let mut altered: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for subject in self.subjects {
            if let Some(weights) = weights.get(subject.operation().output())
                && let Some((name, values)) = initialiser(graph, subject, weights)?
            {
                altered.insert(name, values);
            }
        }
        let graph = graph.with_altered_weights(|name, _, values| {
            if let Some(other) = altered.get(name)
                && other.len() == values.len()
            {
                values.copy_from_slice(other);
            }
        })?;
        Ok(Prover::running(self.whole.model.clone(), &graph, self.device)?)
    }

    fn run(
        &self,
        name: &str,
        family: Family,
        setting: String,
        hosts: &[Prover],
        edit: Edit,
        random: &mut ChaCha20Rng,
    ) -> Result<Option<AttackFigures>> {
        if hosts.is_empty() {
            return Ok(None);
        }
        let attacker = if edit == Edit::Replay { Attacker::Outsider } else { Attacker::Host };
        let mut tally = Tally::default();
        let mut verifier = Verifier::new(&self.whole.model, &key(random), self.device)?;
        let honest = self.honest()?;
        for number in 0..self.count {
            (self.check_stop)()?;
            if number % PER_KEY == 0 {
                verifier.rotate(&key(random))?;
            }
            let inputs = (self.inputs)(number)?;
            let host = &hosts[number % hosts.len()];
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
            let size = moved(&truth, &claimed);
            let verdicts = BTreeMap::from([(Defence::Learned, vec![report.accepted()])]);
            tally.claims(&verdicts, &[size], self.min_deviation, family == Family::Proofs);
        }
        if tally.is_empty() {
            return Ok(None);
        }
        let (accepted, deviations) = tally.finish();
        let attack = name.to_owned();
        Ok(Some(AttackFigures { attack, family, attacker, setting, accepted, deviations }))
    }
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

/// The initialiser that holds an operation's weights, and what these weights are in its layout.
fn initialiser(
    graph: &Graph,
    subject: &Subject,
    weights: &Tensor,
) -> Result<Option<(String, Vec<f32>)>> {
    let operation = subject.operation();
    let output = operation.output();
    let node = graph.nodes().iter().find(|node| node.output.first().is_some_and(|o| o == output));
    let Some(name) = node.and_then(|node| node.input.get(1)) else { return Ok(None) };
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
    Ok(Some((name.clone(), weights.flatten_all()?.to_vec1::<f32>()?)))
}
