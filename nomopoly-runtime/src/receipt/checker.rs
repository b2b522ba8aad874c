//! The verifier's side: draws challenges, checks openings.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use candle_core::{Device, Tensor as CandleTensor};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use tract_onnx::prelude::{DatumType, Tensor as TractTensor};

use super::challenge::{Asked, Challenge, Part};
use super::commit::{OpenedOperation, OpenedOutput, OpenedVector, Opening, Receipt};
use super::strategy::{Detection, Drawn, Strategy, draw};
use super::tensors::digest_of;
use crate::dynamic::judging::{self, checked_by, compare, judged, verdict, width};
use crate::key::VerifierKey;
use crate::model::CompiledModel;
use crate::onnx::{Plan, cut::cut};
use crate::operation_check::OperationVerifier;
use crate::operations::linear::Slices;
use crate::outline::Outline;
use crate::report::{CheckedBy, OperationReport, Report};
use crate::residual::check_cost;
use crate::tensor::{NamedTensor, to_sample};
use crate::{Error, Result};

/// Checks receipts of one model with one key, by opening some of their operations.
pub struct ReceiptVerifier {
    outline: Outline,
    operations: Vec<OperationVerifier>,
    /// What a strategy draws them by.
    drawn: Vec<Drawn>,
    /// What leads to each operation's inputs, and to the model's outputs.
    segments: Vec<Segment>,
    outputs: Segment,
    /// Operations of the transcript whose output is one of the model, by their places.
    answers: Vec<u32>,
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
        let outputs: Vec<&str> =
            model.graph().outputs().iter().map(|output| output.name.as_str()).collect();
        let answers = outputs.iter().filter(|name| at.contains(name));
        let answers = answers.filter_map(|name| places.get(name).copied()).collect();
        let outputs = segment(outputs)?;
        let drawn = operations.iter().map(drawn).collect();
        let (outline, device) = (model.outline().clone(), device.clone());
        Ok(Self { outline, operations, drawn, segments, outputs, answers, device })
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
        Detection::of(strategy, &self.drawn)
    }

    /// Share of a full check's multiply-accumulates that checking a challenge takes. Parts are
    /// checked at the price of the whole operation, of a convolution of each image that they are of;
    /// contracting a convolution's weights for them is not counted.
    pub fn cost(&self, challenge: &Challenge) -> f64 {
        let cost = |verifier: &OperationVerifier| {
            let compiled = verifier.compiled();
            let header = &compiled.artefact.header;
            check_cost(&compiled.operation, header.check, header.sketches) as f64
        };
        let all: f64 = self.operations.iter().map(cost).sum();
        let asked = challenge.operations.iter();
        let asked = asked.filter_map(|asked| self.operations.get(asked.index as usize).map(cost));
        asked.sum::<f64>() / all.max(1.)
    }

    /// Draws a challenge for a receipt, with the operating system's randomness.
    ///
    /// # Errors
    /// [`Error::OtherModel`] and [`Error::Opening`] for a receipt that is not one of this model;
    /// [`Error::Random`].
    pub fn challenge(&self, receipt: &Receipt, strategy: Strategy) -> Result<Challenge> {
        self.check_receipt(receipt)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Error::Random(error.to_string()))?;
        let mut chosen = draw(strategy, &self.drawn, &mut ChaCha20Rng::from_seed(seed));
        // An answer that the transcript itself holds follows from nothing else that is opened.
        chosen.extend(self.answers.iter().map(|index| (*index, vec![])));
        // The outputs of operations that lead to the model's outputs are always asked for: the
        // answer itself is recomputed from them.
        let mut producers: BTreeSet<u32> = self.outputs.producers.iter().copied().collect();
        for index in chosen.keys() {
            producers.extend(&self.segments[*index as usize].producers);
        }
        let operations = chosen.into_iter().map(|(index, parts)| {
            // What is opened as a whole for another's sake is checked as a whole.
            let parts = if producers.remove(&index) { vec![] } else { parts };
            Asked { index, parts }
        });
        let operations = operations.collect();
        Ok(Challenge { root: receipt.root, operations, producers: producers.into_iter().collect() })
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
        let inputs = self.outline.inputs_as_compiled(inputs)?;
        let wrong = |reason: &str| Err(Error::Opening(reason.to_owned()));
        if receipt.inputs != digest_of(inputs.iter().copied()) {
            return wrong("the receipt is of other inputs");
        }
        self.check_outputs(outputs)?;
        if receipt.outputs != digest_of(outputs) {
            return wrong("the receipt is of other outputs than were sent with it");
        }
        if challenge.root != receipt.root || opening.root != receipt.root {
            return wrong("it is of another receipt");
        }
        let asked = challenge.opened();
        self.check_opened(outputs, receipt, &asked, opening)?;

        let mut given: HashMap<&str, &NamedTensor> =
            inputs.iter().map(|input| (input.name.as_str(), *input)).collect();
        for opened in &opening.operations {
            if let (true, OpenedOutput::Whole(output)) =
                (self.in_transcript(opened.index), &opened.output)
            {
                given.insert(&output.name, output);
            }
        }
        let mut operations = vec![];
        for opened in &opening.operations {
            if let Some(Some(asked)) = asked.get(&opened.index) {
                operations.push(self.judge(asked, opened, &given)?);
            }
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
        asked: &BTreeMap<u32, Option<&Asked>>,
        opening: &Opening,
    ) -> Result<()> {
        let wrong = |reason: String| Err(Error::Opening(reason));
        if !asked.keys().copied().eq(opening.operations.iter().map(|opened| opened.index)) {
            let count = opening.operations.len();
            return wrong(format!(
                "{count} operations were opened, not the {} that were asked for",
                asked.len()
            ));
        }
        let mut leaves = vec![];
        for opened in &opening.operations {
            let Some(verifier) = self.operations.get(opened.index as usize) else {
                return wrong(format!("there is no operation {}", opened.index));
            };
            let asked = asked.get(&opened.index).copied().flatten();
            check_one(verifier, asked, opened)?;
            let name = verifier.compiled().operation.output();
            // An operation that gives an output of the model has one output, not two.
            if let OpenedOutput::Whole(whole) = &opened.output
                && let Some(output) = outputs.iter().find(|output| output.name == name)
                && output.data != whole.data
            {
                return wrong(format!("`{name}` is another one than the output that was sent"));
            }
            let leaf = opened.leaf().ok_or_else(|| {
                Error::Opening(format!("the chunks of `{name}` lead to no tensor"))
            })?;
            leaves.push((opened.index as usize, leaf));
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
        asked: &Asked,
        opened: &OpenedOperation,
        given: &HashMap<&str, &NamedTensor>,
    ) -> Result<OperationReport> {
        let verifier = &self.operations[asked.index as usize];
        let operation = &verifier.compiled().operation;
        let values = self.run(&self.segments[asked.index as usize], given)?;
        let value = |name: &String| -> Result<&TractTensor> {
            let value = values.get(name).ok_or_else(|| Error::MissingInput { input: name.clone() });
            Ok(value?)
        };
        let x = operation.inputs().iter().map(value).collect::<Result<Vec<_>>>()?;
        let verdict = match (&opened.output, &opened.vector) {
            (OpenedOutput::Whole(output), OpenedVector::Shown(vector)) => {
                verdict(verifier, &x, output, vector, &self.device)?
            }
            (OpenedOutput::Parts(parts), _) => {
                let mut shape = vec![1];
                shape.extend(&operation.spec().output_shape);
                let len = shape.iter().product();
                let elements = parts.padded(len, &asked.parts).unwrap_or_default();
                let y = CandleTensor::from_vec(elements, shape, &self.device)?;
                let range = |part: &Part| (part.first as usize, part.count as usize);
                let parts: Vec<_> = asked.parts.iter().map(range).collect();
                let named = operation.inputs().iter().zip(&x);
                let x = named.map(|(name, x)| to_sample(name, x, &self.device));
                verifier.judge_parts(&x.collect::<Result<Vec<_>>>()?, &y, &parts)?
            }
            // It was refused before.
            (OpenedOutput::Whole(_), OpenedVector::Hidden(_)) => {
                let name = operation.output();
                return Err(Error::Opening(format!("the proof vector of `{name}` is missing")));
            }
        };
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
        let width = width(self.operations.iter());
        let mut reports = vec![];
        for output in outputs {
            let Some(value) = values.get(&output.name) else { continue };
            let truth = NamedTensor::from_tract(&output.name, value)?;
            let exact = self.outline.transcript.iter().any(|(name, _)| *name == output.name);
            let node = self.outline.nodes.iter().find(|node| node.outputs.contains(&output.name));
            let kind = node.map_or("", |node| node.kind.as_str());
            let refused = compare(output, &truth, exact, kind, width).err();
            reports.push(judging::recomputed(&output.name, kind, refused));
        }
        Ok(reports)
    }
}

type Values = HashMap<String, Arc<TractTensor>>;

fn drawn(verifier: &OperationVerifier) -> Drawn {
    let compiled = verifier.compiled();
    let sketched = checked_by(verifier) == CheckedBy::Sketch;
    let shape = &compiled.operation.spec().output_shape;
    Drawn {
        cost: compiled.in_transcript().then(|| compiled.operation.recompute_cost()),
        slices: compiled
            .operation
            .linear()
            .filter(|_| sketched)
            .map(|linear| Slices::of(linear, shape))
            .filter(Slices::are_numbered),
    }
}

/// Everything about one opened operation that can be wrong before any arithmetic.
fn check_one(
    verifier: &OperationVerifier,
    asked: Option<&Asked>,
    opened: &OpenedOperation,
) -> Result<()> {
    let wrong = |reason: String| Err(Error::Opening(reason));
    let compiled = verifier.compiled();
    let name = compiled.operation.output();
    let shape = &compiled.operation.spec().output_shape;
    if opened.artefact != compiled.artefact.id {
        return wrong(format!(
            "`{name}` was proved with another artefact than {}: prover and verifier were compiled \
             with different options",
            compiled.artefact.header.entry
        ));
    }
    let parts = asked.map_or(&[][..], |asked| &asked.parts);
    let named = match &opened.output {
        OpenedOutput::Whole(output) => &output.name,
        OpenedOutput::Parts(parts) => &parts.name,
    };
    if named != name {
        return wrong(format!("tensor `{named}` is not `{name}`"));
    }
    match &opened.output {
        OpenedOutput::Whole(output) if parts.is_empty() => {
            output.check(DatumType::F32, shape)?;
        }
        OpenedOutput::Parts(opened) if !parts.is_empty() => {
            if opened.shape != *shape {
                return Err(Error::Shape {
                    tensor: name.to_owned(),
                    got: opened.shape.clone(),
                    expected: shape.clone(),
                });
            }
            match opened.padded(shape.iter().product(), parts) {
                None => return wrong(format!("other parts of `{name}` than were asked for")),
                Some(elements) if elements.iter().any(|value| !value.is_finite()) => {
                    return Err(Error::NonFinite { tensor: name.to_owned() });
                }
                Some(_) => {}
            }
        }
        OpenedOutput::Whole(_) => {
            return wrong(format!("`{name}` was opened whole, parts of it were asked for"));
        }
        OpenedOutput::Parts(_) => {
            return wrong(format!("parts of `{name}` were opened, all of it was asked for"));
        }
    }
    // The vector is of the whole output: whoever asks for parts cannot check it.
    let wants_vector = asked.is_some() && parts.is_empty();
    match &opened.vector {
        OpenedVector::Shown(vector) => {
            let expected = compiled.artefact.generator.proof_dim();
            if vector.len() != expected || !wants_vector {
                return Err(Error::Shape {
                    tensor: format!("proof vector of {name}"),
                    got: vec![vector.len()],
                    expected: vec![if wants_vector { expected } else { 0 }],
                });
            }
            if vector.iter().any(|value| !value.is_finite()) {
                return Err(Error::NonFinite { tensor: format!("proof vector of {name}") });
            }
        }
        OpenedVector::Hidden(_) if wants_vector => {
            return wrong(format!("the proof vector of `{name}` is missing"));
        }
        OpenedVector::Hidden(_) => {}
    }
    Ok(())
}
