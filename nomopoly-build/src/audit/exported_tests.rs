//! The exported verifier gives the verdicts of the runtime's own: on honest runs and on the claims of
//! every attack of the audit.
//!
//! Here tract runs it. With `NOMOPOLY_EXPORT_DUMP=folder`, the exported files and some of the claims with
//! the runtime's scores are written there, for `tests/conformance/check_model_exports.py` and ONNX
//! Runtime.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor};
use nomopoly_manifest::Defence;
use nomopoly_runtime::dynamic::Verifier;
use nomopoly_runtime::exchange::tensors;
use nomopoly_runtime::onnx::{Model, Plan};
use nomopoly_runtime::{CompiledModel, NamedTensor, Proof, Report, TensorData, VerifierKey};
use serde_json::json;

use super::attacks::adaptive::{self, Arena, Effort};
use super::attacks::{WHOLE_MODEL, names};
use super::subject::{self, Claim, Subject};
use super::verifiers::{self, Compiled, Judges, Jury};
use super::whole::{Values, Whole};
use super::{Auditor, drift, forged, substituted, tests};
use crate::arrays::npz_bytes;
use crate::error::Result;
use crate::export::model::{self, Exported, key_tensors};
use crate::random;

/// Inferences that attacks are made on.
const INFERENCES: usize = 20;
/// Claims of one attack on one operation that are looked at, and that are written to disk.
const LOOKED_AT: usize = 12;
const WRITTEN: usize = 2;
/// Two runtimes round otherwise: residuals differ by a unit or so, and scores by this at most. So near to
/// the threshold they may fall on either side.
const ROUNDING: f64 = 0.15;

/// The exported files of a model, at work.
struct Foreign {
    model: Arc<CompiledModel>,
    exported: Exported,
    verifier: Plan,
    outputs: Vec<String>,
    dump: Option<PathBuf>,
    dumped: Mutex<Vec<serde_json::Value>>,
    seen: Mutex<BTreeMap<String, [usize; 3]>>,
}

fn verifier_of(exported: &Exported) -> Model {
    let file = |wanted: &str| exported.files().find(|(name, _)| *name == wanted);
    let beside: Vec<(&str, &[u8])> = file("verifier.onnx.data").into_iter().collect();
    let (name, bytes) = file("verifier.onnx").unwrap();
    Model::from_parts(name, bytes, &beside).unwrap()
}

impl Foreign {
    fn new(model: &CompiledModel, name: &str, options: &model::Options) -> Self {
        let exported = model::export(model, options).unwrap();
        let file = verifier_of(&exported);
        let verifier = Plan::new("verifier.onnx", file.proto()).unwrap();
        let graph = file.proto().graph.as_ref().unwrap();
        let outputs = graph.output.iter().map(|output| output.name.clone()).collect();
        let dump =
            std::env::var_os("NOMOPOLY_EXPORT_DUMP").map(|root| PathBuf::from(root).join(name));
        if let Some(folder) = &dump {
            exported.write(folder).unwrap();
        }
        Self {
            model: Arc::new(model.clone()),
            exported,
            verifier,
            outputs,
            dump,
            dumped: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Everything that the exported verifier takes.
    fn claim(
        &self,
        key: &[NamedTensor],
        inputs: &[NamedTensor],
        proof: &Proof,
    ) -> Vec<NamedTensor> {
        let mut all: Vec<NamedTensor> = inputs.to_vec();
        all.extend(tensors(proof, self.model.proved()));
        all.extend(key.iter().cloned());
        all
    }

    /// The verdict and the scores by operation.
    fn judge(&self, claim: &[NamedTensor]) -> (bool, BTreeMap<String, f64>) {
        let given: HashMap<&str, &NamedTensor> =
            claim.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let inputs = self.verifier.inputs().iter();
        let inputs = inputs.map(|info| given[info.name.as_str()].to_tract().unwrap());
        let results = self.verifier.run(inputs.collect::<Vec<_>>()).unwrap();
        let result = |wanted: &str| {
            let place = self.outputs.iter().position(|name| name == wanted).unwrap();
            NamedTensor::from_tract(wanted, &results[place]).unwrap()
        };
        let TensorData::Bool(verdict) = result(model::VERDICT).data else { panic!("no bool") };
        let scores = result(model::SCORES);
        let operations = self.exported.interface.operations.iter();
        let scores = operations.zip(scores.as_f32().unwrap());
        let scores = scores.map(|(operation, score)| (operation.name.clone(), f64::from(*score)));
        (verdict[0], scores.collect())
    }

    /// Compares the two verifiers on one claim.
    fn compare(
        &self,
        attack: &str,
        key: &[NamedTensor],
        inputs: &[NamedTensor],
        proof: &Proof,
        report: &Report,
    ) {
        let claim = self.claim(key, inputs, proof);
        let (verdict, scores) = self.judge(&claim);
        let expected: BTreeMap<String, f64> = report
            .operations
            .iter()
            .filter(|operation| scores.contains_key(&operation.operation))
            .map(|operation| {
                let compared = f64::from(u8::from(operation.accepted));
                (operation.operation.clone(), operation.score.unwrap_or(compared))
            })
            .collect();
        assert_eq!(expected.len(), scores.len(), "{attack}");
        let mut undecided = false;
        for (name, score) in &scores {
            let expected = expected[name];
            undecided |= (expected - 0.5).abs() < ROUNDING;
            assert!(
                (score - expected).abs() < ROUNDING,
                "{attack}: `{name}` scores {score}, expected {expected}"
            );
        }
        if !undecided {
            assert_eq!(verdict, report.accepted(), "{attack}: {scores:?}, {expected:?}");
        }
        let mut seen = self.seen.lock().unwrap();
        let [count, accepted, open] = seen.entry(attack.to_owned()).or_default();
        *count += 1;
        *accepted += usize::from(verdict);
        *open += usize::from(undecided);
        if let (Some(folder), true) = (&self.dump, *count <= WRITTEN && !undecided) {
            let mut dumped = self.dumped.lock().unwrap();
            let file = format!("claim_{:04}.npz", dumped.len());
            std::fs::write(folder.join(&file), npz_bytes(&claim).unwrap()).unwrap();
            dumped.push(json!({
                "file": file, "attack": attack, "accepted": report.accepted(), "scores": expected,
            }));
        }
    }

    fn finish(&self) -> BTreeMap<String, [usize; 3]> {
        if let Some(folder) = &self.dump {
            let dumped = self.dumped.lock().unwrap();
            std::fs::write(folder.join("claims.json"), serde_json::to_vec(&*dumped).unwrap())
                .unwrap();
        }
        let seen = self.seen.lock().unwrap().clone();
        for (attack, [count, accepted, undecided]) in &seen {
            println!("{attack}: {accepted} of {count} accepted by both, {undecided} undecided");
        }
        seen
    }
}

/// What an attack claims of one operation, within inferences that are honest otherwise.
struct Recorder {
    attack: &'static str,
    foreign: Arc<Foreign>,
    whole: Arc<Whole>,
    subject: Subject,
    /// Inputs and tensors of the inferences.
    runs: Arc<Vec<(Vec<NamedTensor>, Values)>>,
    left: Mutex<usize>,
}

/// One verifier that is attacked or judges.
#[derive(Clone)]
struct Recorded(Arc<Recorder>);

/// With one key and one batch of inputs.
struct Round {
    recorder: Arc<Recorder>,
    compiled: Box<dyn verifiers::Round>,
    key: VerifierKey,
    inputs: Vec<Tensor>,
}

impl verifiers::Verifier for Recorded {
    fn round(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Box<dyn verifiers::Round>> {
        Ok(Box::new(self.own_round(key, inputs)?))
    }
}

impl Judges for Recorded {
    fn jury(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Box<dyn Jury>> {
        Ok(Box::new(self.own_round(key, inputs)?))
    }
}

impl Recorded {
    fn own_round(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Round> {
        let Subject { compiled, device, .. } = self.0.subject.clone();
        let compiled = Compiled { operation: compiled, device };
        let compiled = verifiers::Verifier::round(&compiled, key, inputs)?;
        let recorder = self.0.clone();
        Ok(Round { recorder, compiled, key: key.clone(), inputs: inputs.to_vec() })
    }
}

impl verifiers::Round for Round {
    fn logits(&self, claim: &Claim) -> Result<Tensor> {
        self.compiled.logits(claim)
    }

    fn evidence(&self, claim: &Claim) -> Result<Tensor> {
        self.compiled.evidence(claim)
    }

    fn accepts(&self, claim: &Claim) -> Result<Vec<bool>> {
        let accepted = self.compiled.accepts(claim)?;
        self.recorder.look(&self.key, &self.inputs, claim)?;
        Ok(accepted)
    }

    fn vectors(&self) -> Option<Tensor> {
        self.compiled.vectors()
    }
}

impl Jury for Round {
    fn verdicts(&self, claim: &Claim) -> Result<BTreeMap<Defence, Vec<bool>>> {
        let accepted = verifiers::Round::accepts(self, claim)?;
        Ok(BTreeMap::from([(Defence::Learned, accepted)]))
    }
}

impl Recorder {
    fn look(&self, key: &VerifierKey, inputs: &[Tensor], claim: &Claim) -> Result<()> {
        let row = |tensor: &Tensor, row: usize| -> Result<Vec<f32>> {
            Ok(tensor.get(row)?.flatten_all()?.to_vec1::<f32>()?)
        };
        let mut left = self.left.lock().unwrap();
        let rows = claim.output.dim(0)?.min(2).min(*left);
        *left -= rows;
        let name = self.subject.operation().output();
        let input = &self.subject.operation().inputs()[0];
        for number in 0..rows {
            let x = row(&inputs[0], number)?;
            let of_this = |(_, values): &&(Vec<NamedTensor>, Values)| {
                values[input].as_f32().is_some_and(|values| values == x)
            };
            let (inputs, values) = self.runs.iter().find(of_this).expect("an inference has it");
            let mut values = values.clone();
            let tensor = values.get_mut(name).unwrap();
            tensor.data = TensorData::F32(row(&claim.output, number)?.into());
            let tensor = tensor.clone();
            // A claim that is not finite is an error to the one and a rejection to the other.
            let Ok(mut proof) = self.whole.prove(inputs, &values) else { continue };
            for own in proof.operations.iter_mut().filter(|own| own.operation == name) {
                own.vector = row(&claim.proof, number)?;
            }
            assert!(proof.transcript.iter().chain(&proof.outputs).any(|t| *t == tensor));
            self.foreign.judge_both(self.attack, key, inputs, &proof)?;
        }
        Ok(())
    }
}

impl Foreign {
    fn judge_both(
        &self,
        attack: &str,
        key: &VerifierKey,
        inputs: &[NamedTensor],
        proof: &Proof,
    ) -> Result<()> {
        let verifier = Verifier::new(&self.model, key, &Device::Cpu)?;
        let report = verifier.inspect(inputs, proof)?;
        let key = key_tensors(&self.model, key)?;
        self.compare(attack, &key, inputs, proof, &report);
        Ok(())
    }
}

#[test]
fn the_exported_verifier_judges_every_attack_as_the_runtime_does() {
    let folder = tempfile::tempdir().unwrap();
    let model = tests::MODEL.clone();
    let auditor = Auditor::new(model.clone(), folder.path()).samples(100).light();
    let foreign = Arc::new(Foreign::new(&model, "demo", &model::Options::default()));
    let whole = Arc::new(Whole::new(Arc::new(model.clone()), &Device::Cpu).unwrap());
    let (subjects, distinct) = auditor.subjects(&Device::Cpu).unwrap();
    let run = |number: usize| -> Result<(Vec<NamedTensor>, Values)> {
        let inputs = auditor.input(number)?;
        let mut values = whole.tract(&inputs)?;
        values.extend(inputs.iter().map(|input| (input.name.clone(), input.clone())));
        Ok((inputs, values))
    };
    let runs: Vec<_> = (0..distinct).map(|number| run(number).unwrap()).collect();
    let runs = Arc::new(runs);

    let mut random = random::stream(5, "exported", "keys");
    for (inputs, values) in runs.iter().take(INFERENCES) {
        let proof = whole.prove(inputs, values).unwrap();
        foreign.judge_both("honest", &subject::key(&mut random), inputs, &proof).unwrap();
    }

    let effort = Effort { trials: 4, ..auditor.effort.clone() };
    for subject in &subjects {
        let proved = model.proved().any(|c| c.operation.output() == subject.operation().output());
        if !proved {
            continue;
        }
        for attack in names() {
            let recorder = Recorded(Arc::new(Recorder {
                attack,
                foreign: foreign.clone(),
                whole: whole.clone(),
                subject: subject.clone(),
                runs: runs.clone(),
                left: Mutex::new(LOOKED_AT),
            }));
            forged::run(subject, &recorder, &[attack], 4, 3, &|| Ok(())).unwrap();
            for adaptive in adaptive::ALL.iter().filter(|adaptive| adaptive.name == attack) {
                let arena = Arena {
                    subject,
                    verifier: &recorder,
                    defence: Defence::Learned,
                    judges: &recorder,
                    effort: &effort,
                    deviation: subject.min_deviation(),
                    check_stop: &|| Ok(()),
                };
                (adaptive.run)(&arena, &mut random).unwrap();
            }
        }
    }

    let inputs = |number: usize| auditor.input(number);
    for attack in names() {
        let witness = |key: &VerifierKey, inputs: &[NamedTensor], proof: &Proof, _: &Report| {
            foreign.judge_both(&format!("whole model: {attack}"), key, inputs, proof)
        };
        let scene = substituted::Scene {
            whole: &whole,
            subjects: &subjects,
            inputs: &inputs,
            device: &Device::Cpu,
            seed: 3,
            count: 4,
            min_deviation: auditor.options().min_deviation,
            check_stop: &|| Ok(()),
            witness: &witness,
        };
        if attack == "drift" {
            drift::drift(&whole, &Device::Cpu, &inputs, 3, &mut random, &|| Ok(()), &witness)
                .unwrap();
        } else {
            scene.attack(attack).unwrap();
        }
    }

    let seen = foreign.finish();
    let count = |attack: &str| seen.get(attack).copied().unwrap_or_default();
    assert_eq!(count("honest"), [INFERENCES, INFERENCES, 0]);
    for attack in names() {
        let of_operations = count(attack)[0] + count(&format!("whole model: {attack}"))[0];
        assert!(of_operations > 0, "{attack} was not tried");
    }
    for attack in WHOLE_MODEL {
        assert!(count(&format!("whole model: {attack}"))[0] > 0, "{attack} was not tried");
    }
    // These walk along the threshold, or try errors of every size.
    let near =
        |attack: &str| ["decision", "drift", "noise"].iter().any(|name| attack.contains(name));
    for (attack, [_, _, undecided]) in &seen {
        assert!(*undecided == 0 || near(attack), "{attack}: {undecided} undecided");
    }
}

#[test]
fn weights_beside_a_file_are_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let model = tests::MODEL.clone();
    let auditor = Auditor::new(model.clone(), folder.path()).samples(100).light();
    let options = model::Options { inline_limit: 0, ..model::Options::default() };
    let foreign = Foreign::new(&model, "demo-external", &options);
    let names: Vec<&str> = foreign.exported.files().map(|(name, _)| name).collect();
    assert!(names.contains(&"prover.onnx.data"), "{names:?}");
    let whole = Whole::new(Arc::new(model.clone()), &Device::Cpu).unwrap();
    let mut random = random::stream(6, "external", "keys");
    for number in 0..3 {
        let inputs = auditor.input(number).unwrap();
        let proof = whole.prove_plainly(&inputs).unwrap();
        let key = subject::key(&mut random);
        foreign.judge_both("honest", &key, &inputs, &proof).unwrap();
        let mut wrong = proof.clone();
        let Some(TensorData::F32(values)) = wrong.transcript.first_mut().map(|t| &mut t.data)
        else {
            panic!("the transcript is of floats");
        };
        values[0] += 1.;
        foreign.judge_both("edited", &key, &inputs, &wrong).unwrap();
    }
    let seen = foreign.finish();
    assert_eq!((seen["honest"], seen["edited"]), ([3, 3, 0], [3, 0, 0]));
    foreign.exported.write(folder.path()).unwrap();
    model::check_folder(folder.path()).unwrap();
    // Whoever loads the prover reads both files.
    Model::load(folder.path().join("prover.onnx")).unwrap();
    std::fs::write(folder.path().join("prover.onnx.data"), b"short").unwrap();
    let damage = model::check_folder(folder.path()).unwrap_err().to_string();
    assert!(damage.contains("prover.onnx.data"), "{damage}");
    assert!(Model::load(folder.path().join("prover.onnx")).is_err());
}
