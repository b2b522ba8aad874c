//! The verifier's side: draws challenges, checks openings.

use std::collections::{BTreeSet, HashMap};

use candle_core::{Device, Tensor as CandleTensor};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use tract_onnx::prelude::DatumType;

use super::challenge::{Challenge, Detection, Strategy, draw};
use super::commit::{OpenedOperation, OpenedVector, Opening, Receipt, digest_of};
use crate::dynamic::judging::{checked_by, compare, judged};
use crate::key::VerifierKey;
use crate::model::CompiledModel;
use crate::onnx::{Plan, cut::cut};
use crate::operation_check::OperationVerifier;
use crate::outline::Outline;
use crate::report::{CheckedBy, OperationReport, Report};
use crate::residual::check_cost;
use crate::tensor::{NamedTensor, to_sample};
use crate::{Error, Result};

/// Checks receipts of one model with one key, by opening some of their operations.
pub struct ReceiptVerifier {
    outline: Outline,
    operations: Vec<OperationVerifier>,
    /// Multiply-accumulates of running each.
    costs: Vec<u64>,
    /// What leads to each operation's inputs, and to the model's outputs.
    segments: Vec<Segment>,
    outputs: Segment,
    device: Device,
}

/// A part of the model between operations of the transcript.
struct Segment {
    plan: Plan,
    /// Names of the plan's inputs: of the model, or outputs of operations.
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// The operations among the inputs, by their places.
    producers: Vec<u32>,
}

impl ReceiptVerifier {
    /// Cuts the graph at every operation, expands the key and contracts the weights.
    ///
    /// # Errors
    /// When tract cannot run a part of the graph.
    pub fn new(model: &CompiledModel, key: &VerifierKey, device: &Device) -> Result<Self> {
        let operations = model
            .proved()
            .map(|compiled| OperationVerifier::new(compiled.clone(), key, device))
            .collect::<Result<Vec<_>>>()?;
        let places: HashMap<&str, u32> = model
            .proved()
            .enumerate()
            .map(|(place, compiled)| (compiled.operation.output(), place as u32))
            .collect();
        let at: Vec<&str> = model.transcript().map(|op| op.operation.output()).collect();
        let segment = |wanted: Vec<&str>| -> Result<Segment> {
            let cut = cut(model.graph(), &at, &wanted)?;
            let producers = cut.inputs.iter().filter(|name| at.contains(&name.as_str()));
            let producers = producers.filter_map(|name| places.get(name.as_str()).copied());
            Ok(Segment {
                plan: Plan::new(&model.outline().name, &cut.proto)?,
                producers: producers.collect(),
                inputs: cut.inputs,
                outputs: cut.outputs,
            })
        };
        let segments = model
            .proved()
            .map(|compiled| {
                let mut wanted: Vec<&str> = vec![];
                for name in compiled.operation.inputs() {
                    if !wanted.contains(&name.as_str()) {
                        wanted.push(name);
                    }
                }
                segment(wanted)
            })
            .collect::<Result<_>>()?;
        let outputs = model.graph().outputs().iter().map(|output| output.name.as_str()).collect();
        let outputs = segment(outputs)?;
        let costs = model.proved().map(|op| op.operation.recompute_cost()).collect();
        let (outline, device) = (model.outline().clone(), device.clone());
        Ok(Self { outline, operations, costs, segments, outputs, device })
    }

    /// Names, shapes and kinds of the model.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// Goes on with another key, as [`crate::dynamic::Verifier::rotate`].
    ///
    /// # Errors
    /// When an artefact does not fit its operation.
    pub fn rotate(&mut self, key: &VerifierKey) -> Result<()> {
        self.operations = OperationVerifier::rotated(&self.operations, key, &self.device)?;
        Ok(())
    }

    /// How likely challenges of a strategy catch a host that cheats.
    pub fn detection(&self, strategy: Strategy) -> Detection {
        Detection::of(strategy, &self.costs)
    }

    /// Share of a full check's multiply-accumulates that checking a challenge takes.
    pub fn cost(&self, challenge: &Challenge) -> f64 {
        let cost = |verifier: &OperationVerifier| {
            let compiled = verifier.compiled();
            let header = &compiled.artefact.header;
            check_cost(&compiled.operation, header.check, header.sketches) as f64
        };
        let all: f64 = self.operations.iter().map(cost).sum();
        let asked = challenge
            .operations
            .iter()
            .filter_map(|index| self.operations.get(*index as usize).map(cost));
        asked.sum::<f64>() / all.max(1.)
    }

    /// Draws a challenge for a receipt, with the operating system's randomness.
    ///
    /// # Errors
    /// [`Error::OtherModel`] and [`Error::Challenge`] for a receipt that is not one of this model;
    /// [`Error::Random`].
    pub fn challenge(&self, receipt: &Receipt, strategy: Strategy) -> Result<Challenge> {
        self.check_receipt(receipt)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Error::Random(error.to_string()))?;
        let chosen = draw(strategy, &self.costs, &mut ChaCha20Rng::from_seed(seed));
        Ok(self.challenge_of(receipt, &chosen))
    }

    /// The challenge to open these operations. The outputs of those that lead to the model's
    /// outputs are always asked for: the answer itself is recomputed from them.
    fn challenge_of(&self, receipt: &Receipt, chosen: &BTreeSet<u32>) -> Challenge {
        let mut producers: BTreeSet<u32> = self.outputs.producers.iter().copied().collect();
        for index in chosen {
            producers.extend(&self.segments[*index as usize].producers);
        }
        let producers = producers.difference(chosen).copied().collect();
        let operations = chosen.iter().copied().collect();
        Challenge { root: receipt.root, operations, producers }
    }

    fn check_receipt(&self, receipt: &Receipt) -> Result<()> {
        if receipt.model != self.outline.digest {
            return Err(Error::OtherModel {
                got: receipt.model.to_string(),
                expected: self.outline.digest.to_string(),
            });
        }
        if receipt.operations as usize != self.operations.len() {
            return Err(Error::Opening(format!(
                "the receipt is of {} operations, the model has {}",
                receipt.operations,
                self.operations.len()
            )));
        }
        Ok(())
    }

    /// Checks an opening, with the inputs that the verifier gave the host and the outputs that it
    /// got with the receipt.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the report when an opened operation or an output is wrong, and the
    /// errors of [`ReceiptVerifier::inspect`].
    pub fn verify(
        &self,
        inputs: &[NamedTensor],
        outputs: &[NamedTensor],
        receipt: &Receipt,
        challenge: &Challenge,
        opening: &Opening,
    ) -> Result<Report> {
        let report = self.inspect(inputs, outputs, receipt, challenge, opening)?;
        if report.accepted() { Ok(report) } else { Err(Error::Rejected(Box::new(report))) }
    }

    /// Like [`ReceiptVerifier::verify`], but a failed check is a report too: of the operations that
    /// were asked for, and of the outputs.
    ///
    /// # Errors
    /// [`Error::OtherModel`]; [`Error::Opening`] when receipt, challenge and opening are not of one
    /// inference or the opening does not lead to the receipt; and when a tensor is of wrong shape or
    /// type, or not finite.
    pub fn inspect(
        &self,
        inputs: &[NamedTensor],
        outputs: &[NamedTensor],
        receipt: &Receipt,
        challenge: &Challenge,
        opening: &Opening,
    ) -> Result<Report> {
        self.check_receipt(receipt)?;
        let inputs = self.outline.order_inputs(inputs)?;
        let wrong = |reason: &str| Err(Error::Opening(reason.to_owned()));
        let owned: Vec<NamedTensor> = inputs.iter().map(|input| (*input).clone()).collect();
        if receipt.inputs != digest_of(&owned) {
            return wrong("the receipt is of other inputs");
        }
        self.check_outputs(outputs)?;
        if receipt.outputs != digest_of(outputs) {
            return wrong("the receipt is of other outputs than were sent with it");
        }
        if challenge.root != receipt.root || opening.root != receipt.root {
            return wrong("it is of another receipt");
        }
        self.check_opened(outputs, receipt, challenge, opening)?;

        let opened: HashMap<u32, &OpenedOperation> =
            opening.operations.iter().map(|opened| (opened.index, opened)).collect();
        let mut given: HashMap<&str, &NamedTensor> =
            inputs.iter().map(|input| (input.name.as_str(), *input)).collect();
        for opened in &opening.operations {
            if self.in_transcript(opened.index) {
                given.insert(&opened.output.name, &opened.output);
            }
        }
        let mut operations = vec![];
        for index in &challenge.operations {
            let Some(opened) = opened.get(index) else { continue };
            operations.push(self.judge(*index, opened, &given)?);
        }
        operations.extend(self.judge_outputs(outputs, &given)?);
        Ok(Report { model: self.outline.digest, operations })
    }

    fn in_transcript(&self, index: u32) -> bool {
        let verifier = self.operations.get(index as usize);
        verifier.is_some_and(|verifier| verifier.compiled().in_transcript())
    }

    fn check_outputs(&self, outputs: &[NamedTensor]) -> Result<()> {
        let expected = &self.outline.outputs;
        let names = outputs.iter().map(|output| output.name.as_str());
        if !names.eq(expected.iter().map(|output| output.name.as_str())) {
            return Err(Error::Opening("the outputs are not those of the model".into()));
        }
        for (output, info) in outputs.iter().zip(expected) {
            output.check(info.dtype, &info.shape)?;
        }
        Ok(())
    }

    /// Everything about an opening that can be wrong before any arithmetic.
    fn check_opened(
        &self,
        outputs: &[NamedTensor],
        receipt: &Receipt,
        challenge: &Challenge,
        opening: &Opening,
    ) -> Result<()> {
        let wrong = |reason: String| Err(Error::Opening(reason));
        let asked = challenge.opened();
        let places: Vec<u32> = opening.operations.iter().map(|opened| opened.index).collect();
        if places != asked {
            return wrong(format!("operations {places:?} were opened, {asked:?} were asked for"));
        }
        let mut leaves = vec![];
        for opened in &opening.operations {
            let Some(verifier) = self.operations.get(opened.index as usize) else {
                return wrong(format!("there is no operation {}", opened.index));
            };
            let compiled = verifier.compiled();
            let name = compiled.operation.output();
            if opened.output.name != name {
                return wrong(format!("tensor `{}` is not `{name}`", opened.output.name));
            }
            let shape = &compiled.operation.spec().output_shape;
            opened.output.check(DatumType::F32, shape)?;
            if opened.artefact != compiled.artefact.id {
                return wrong(format!(
                    "`{name}` was proved with another artefact than {}: prover and verifier were \
                     compiled with different options",
                    compiled.artefact.header.entry
                ));
            }
            let asked_for = challenge.operations.contains(&opened.index);
            match &opened.vector {
                OpenedVector::Shown(vector) => {
                    let expected = compiled.artefact.generator.proof_dim();
                    if vector.len() != expected || !asked_for {
                        return Err(Error::Shape {
                            tensor: format!("proof vector of {name}"),
                            got: vec![vector.len()],
                            expected: vec![expected],
                        });
                    }
                    if vector.iter().any(|value| !value.is_finite()) {
                        let tensor = format!("proof vector of {name}");
                        return Err(Error::NonFinite { tensor });
                    }
                }
                OpenedVector::Hidden(_) if asked_for => {
                    return wrong(format!("the proof vector of `{name}` is missing"));
                }
                OpenedVector::Hidden(_) => {}
            }
            // An operation that gives an output of the model has one output, not two.
            if let Some(output) = outputs.iter().find(|output| output.name == name)
                && output.data != opened.output.data
            {
                return wrong(format!("`{name}` is another one than the output that was sent"));
            }
            leaves.push((opened.index as usize, opened.leaf()));
        }
        // Without leaves there is nothing to lead anywhere.
        if leaves.is_empty() {
            return Ok(());
        }
        match opening.paths.root(self.operations.len(), &leaves) {
            Some(root) if root == receipt.root => Ok(()),
            _ => wrong("the opened operations are not those that the receipt commits to".into()),
        }
    }

    fn run(&self, segment: &Segment, given: &HashMap<&str, &NamedTensor>) -> Result<Values> {
        let tensors = segment
            .inputs
            .iter()
            .map(|name| match given.get(name.as_str()) {
                Some(tensor) => tensor.to_tract(),
                None => Err(Error::MissingInput { input: name.clone() }),
            })
            .collect::<Result<Vec<_>>>()?;
        let results = segment.plan.run(tensors)?;
        Ok(segment.outputs.iter().cloned().zip(results).collect())
    }

    fn judge(
        &self,
        index: u32,
        opened: &OpenedOperation,
        given: &HashMap<&str, &NamedTensor>,
    ) -> Result<OperationReport> {
        let verifier = &self.operations[index as usize];
        let operation = &verifier.compiled().operation;
        let values = self.run(&self.segments[index as usize], given)?;
        let sample = |name: &String| {
            let value = values.get(name).ok_or_else(|| Error::MissingInput { input: name.clone() });
            to_sample(name, value?, &self.device)
        };
        let x = operation.inputs().iter().map(sample).collect::<Result<Vec<_>>>()?;
        let y = to_sample(operation.output(), &opened.output.to_tract()?, &self.device)?;
        let vector = match &opened.vector {
            OpenedVector::Shown(vector) => vector.as_slice(),
            OpenedVector::Hidden(_) => &[],
        };
        let p = CandleTensor::from_slice(vector, (1, vector.len()), &self.device)?;
        let verdict = verifier.verify(&x, &y, &p)?.pop().ok_or_else(|| Error::Operation {
            operation: operation.output().to_owned(),
            reason: "it was not judged".into(),
        })?;
        let kind = operation.spec().kind.op_type();
        Ok(judged(operation.output(), kind, checked_by(verifier), &verdict))
    }

    /// The model's outputs, recomputed from the transcript.
    fn judge_outputs(
        &self,
        outputs: &[NamedTensor],
        given: &HashMap<&str, &NamedTensor>,
    ) -> Result<Vec<OperationReport>> {
        let values = self.run(&self.outputs, given)?;
        let mut reports = vec![];
        for output in outputs {
            let Some(value) = values.get(&output.name) else { continue };
            let truth = NamedTensor::from_tract(&output.name, value)?;
            let exact = self.outline.transcript.iter().any(|(name, _)| *name == output.name);
            let reason = compare(output, &truth, exact).err();
            let node = self.outline.nodes.iter().find(|node| node.outputs.contains(&output.name));
            reports.push(OperationReport {
                operation: output.name.clone(),
                kind: node.map(|node| node.kind.clone()).unwrap_or_default(),
                checked_by: CheckedBy::Replay,
                accepted: reason.is_none(),
                score: None,
                residual: None,
                certified_deviation: None,
                reason,
            });
        }
        Ok(reports)
    }
}

type Values = HashMap<String, std::sync::Arc<tract_onnx::prelude::Tensor>>;
