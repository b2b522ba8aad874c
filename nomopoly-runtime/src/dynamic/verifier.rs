//! The verifier's side: recompute everything between the linear operations from the input and the
//! revealed transcript, and check each linear operation with secret sketches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use candle_core::Device;
use rayon::prelude::*;
use tract_onnx::prelude::Tensor as TractTensor;

use super::expanded::ExpandedKey;
use super::judging::{self, checked_by, compare, judged, verdict, width};
use super::shapes::{PerShape, shapes_of};
use super::stream::{self, Streamed};
use crate::key::VerifierKey;
use crate::model::CompiledModel;
use crate::onnx::{CutGraph, Plan, cut::cut};
use crate::operation_check::OperationVerifier;
use crate::outline::Outline;
use crate::proof::Proof;
use crate::report::{CheckedBy, OperationReport, Report};
use crate::tensor::NamedTensor;
use crate::{Error, Result};

/// Checks proofs of one model with one key, for inputs of every shape that the model takes.
///
/// As with [`super::Prover`], the first check at another shape than the model was compiled at
/// prepares a plan for it. The contracted weights serve every shape.
pub struct Verifier {
    at_compiled: Bound,
    others: PerShape<Bound>,
    device: Device,
    /// Absent where the weights are not here.
    model: Option<CompiledModel>,
}

/// The verifier of a model for inputs of one set of shapes.
struct Bound {
    outline: Outline,
    operations: Vec<OperationVerifier>,
    plan: Plan,
    /// Names of the plan's inputs: model inputs, then transcript.
    plan_inputs: Vec<String>,
    plan_outputs: Vec<String>,
    /// The plan's outputs that each operation reads, by their places.
    needs: Vec<Vec<usize>>,
    device: Device,
}

impl Verifier {
    /// Cuts the graph at the transcript, expands the key and contracts the weights.
    ///
    /// # Errors
    /// When tract cannot run the cut graph.
    pub fn new(model: &CompiledModel, key: &VerifierKey, device: &Device) -> Result<Self> {
        let proved: Vec<_> = model.proved().collect();
        let operations = proved
            .into_par_iter()
            .map(|compiled| OperationVerifier::new(compiled.clone(), key, device))
            .collect::<Result<Vec<_>>>()?;
        let at_compiled =
            Bound::new(model.outline().clone(), operations, cut_graph(model)?, device)?;
        let (others, device) = (PerShape::new(), device.clone());
        Ok(Self { at_compiled, others, device, model: Some(model.clone()) })
    }

    /// A verifier without the weights, from a key that a trusted party expanded. It takes inputs of
    /// the shapes that the model was compiled at.
    ///
    /// # Errors
    /// When the key is of other artefacts than this version reads, or its parts do not fit.
    pub fn from_expanded(key: &ExpandedKey, device: &Device) -> Result<Self> {
        let parts = key.parts(device)?;
        let at_compiled = Bound::new(parts.outline, parts.operations, parts.cut, device)?;
        Ok(Self { at_compiled, others: PerShape::new(), device: device.clone(), model: None })
    }

    /// Draws the sketches anew from another key: what a verifier does after a rejection, since
    /// answers to forgeries tell something of the key. It costs contracting the weights; the
    /// rest of the graph stays as it is.
    ///
    /// # Errors
    /// [`Error::CannotRotate`] for a verifier that was made from an expanded key, which has no
    /// weights to contract.
    pub fn rotate(&mut self, key: &VerifierKey) -> Result<()> {
        let compiled = &mut self.at_compiled;
        if self.model.is_none() {
            return Err(Error::CannotRotate { model: compiled.outline.name.clone() });
        }
        compiled.operations = OperationVerifier::rotated(&compiled.operations, key, &self.device)?;
        // They hold the old key's sketches.
        self.others.clear();
        Ok(())
    }

    /// Names, shapes and kinds of the model as it was compiled.
    pub fn outline(&self) -> &Outline {
        &self.at_compiled.outline
    }

    /// The verifiers of the operations that a proof has a vector for, in the model's order.
    pub fn operations(&self) -> &[OperationVerifier] {
        &self.at_compiled.operations
    }

    /// Checks a proof against the inputs that the verifier gave the host.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the report when the check fails, and the errors of
    /// [`Verifier::inspect`].
    pub fn verify(&self, inputs: &[NamedTensor], proof: &Proof) -> Result<Report> {
        let report = self.inspect(inputs, proof)?;
        if report.accepted() { Ok(report) } else { Err(Error::Rejected(Box::new(report))) }
    }

    /// Like [`Verifier::verify`], but a failed check is a report too.
    ///
    /// # Errors
    /// When the inputs do not fit the model, or the proof is not one of this model and these
    /// artefacts: another digest, tensors missing, of wrong shape or type, or not finite.
    pub fn inspect(&self, inputs: &[NamedTensor], proof: &Proof) -> Result<Report> {
        let compiled = &self.at_compiled;
        let ordered = compiled.outline.order_inputs(inputs)?;
        if compiled.outline.has_shapes_of(&ordered) {
            return compiled.inspect(&ordered, proof);
        }
        let Some(model) = &self.model else {
            compiled.outline.inputs_as_compiled(inputs)?;
            return compiled.inspect(&ordered, proof);
        };
        // Before a plan is made for shapes that the host says it ran.
        compiled.outline.of_this_model(proof)?;
        let shapes = shapes_of(&ordered);
        let bound = self.others.get(&shapes, || compiled.at(&model.at(&shapes)?))?;
        bound.inspect(&ordered, proof)
    }

    /// The proof that tensors are which a host computed with an exported prover, as
    /// [`crate::exchange`] names them, of an inference with these inputs.
    ///
    /// # Errors
    /// [`Error::OtherModel`], [`Error::DamagedProof`], [`Error::DType`] and [`Error::Shape`] name what
    /// is missing, foreign or of another form; and errors of the inputs.
    pub fn proof_of(&self, inputs: &[NamedTensor], tensors: Vec<NamedTensor>) -> Result<Proof> {
        let proved = self.operations().iter().map(OperationVerifier::compiled);
        crate::exchange::proof(self.outline(), proved, inputs, tensors)
    }

    /// [`Verifier::inspect`] for several inferences, on every core.
    pub fn inspect_all(&self, claims: &[(&[NamedTensor], &Proof)]) -> Vec<Result<Report>> {
        claims.par_iter().map(|(inputs, proof)| self.inspect(inputs, proof)).collect()
    }

    /// [`Verifier::verify`] for several inferences, on every core.
    pub fn verify_all(&self, claims: &[(&[NamedTensor], &Proof)]) -> Vec<Result<Report>> {
        claims.par_iter().map(|(inputs, proof)| self.verify(inputs, proof)).collect()
    }
}

impl Bound {
    fn new(
        outline: Outline,
        operations: Vec<OperationVerifier>,
        cut: CutGraph,
        device: &Device,
    ) -> Result<Self> {
        let plan = Plan::new(&outline.name, &cut.proto)?;
        let device = device.clone();
        let (plan_inputs, plan_outputs) = (cut.inputs, cut.outputs);
        let place = |name: &String| {
            plan_outputs.iter().position(|output| output == name).ok_or_else(|| Error::Operation {
                operation: name.clone(),
                reason: "the plan does not compute it".into(),
            })
        };
        let needs = operations.iter().map(|verifier: &OperationVerifier| {
            verifier.compiled().operation.inputs().iter().map(place).collect()
        });
        let needs = needs.collect::<Result<Vec<Vec<usize>>>>()?;
        Ok(Self { outline, operations, plan, plan_inputs, plan_outputs, needs, device })
    }

    /// The same for the same model at other shapes, with the same secret vectors.
    fn at(&self, model: &CompiledModel) -> Result<Self> {
        let operations = self.operations.iter().zip(model.proved());
        let operations = operations.map(|(verifier, compiled)| verifier.at(compiled.clone()));
        let operations = operations.collect::<Result<_>>()?;
        Self::new(model.outline().clone(), operations, cut_graph(model)?, &self.device)
    }

    fn inspect(&self, ordered: &[&NamedTensor], proof: &Proof) -> Result<Report> {
        self.check_form(ordered, proof)?;
        let given: HashMap<&str, &NamedTensor> = ordered
            .iter()
            .copied()
            .chain(&proof.transcript)
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect();
        let plan_inputs = self
            .plan_inputs
            .iter()
            .map(|name| match given.get(name.as_str()) {
                Some(tensor) => tensor.to_tract(),
                None => Err(Error::MissingInput { input: name.clone() }),
            })
            .collect::<Result<Vec<_>>>()?;
        let claimed: HashMap<&str, &NamedTensor> = proof
            .outputs
            .iter()
            .chain(&proof.transcript)
            .map(|tensor| (tensor.name.as_str(), tensor))
            .collect();
        // Operations are judged while what comes after them is still recomputed.
        let judge = |number: usize, value: &dyn Fn(usize) -> Option<Arc<TractTensor>>| {
            let (verifier, vector) = (&self.operations[number], &proof.operations[number]);
            let name = verifier.compiled().operation.output();
            let x: Option<Vec<_>> = self.needs[number].iter().map(|place| value(*place)).collect();
            let x = x.ok_or_else(|| Error::MissingInput { input: name.to_owned() })?;
            let x: Vec<&TractTensor> = x.iter().map(AsRef::as_ref).collect();
            let claimed =
                claimed.get(name).ok_or_else(|| Error::MissingInput { input: name.to_owned() })?;
            verdict(verifier, &x, claimed, &vector.vector, &self.device)
        };
        let Streamed { values, results } =
            stream::run(&self.plan, plan_inputs, &self.needs, judge)?;
        let recomputed: HashMap<&str, _> =
            self.plan_outputs.iter().map(String::as_str).zip(values.iter()).collect();
        let verdicts = self.operations.iter().zip(results).map(|(verifier, verdict)| {
            (verifier.compiled().operation.output(), (checked_by(verifier), verdict))
        });
        let verdicts: HashMap<&str, _> = verdicts.collect();

        let mut operations = vec![];
        let mut compared: HashSet<&str> = HashSet::new();
        let width = width(self.operations.iter());
        for node in &self.outline.nodes {
            let Some(name) = node.outputs.first() else { continue };
            let mut report = match verdicts.get(name.as_str()) {
                Some((checked_by, verdict)) => judged(name, &node.kind, *checked_by, verdict),
                None => OperationReport {
                    operation: name.clone(),
                    kind: node.kind.clone(),
                    checked_by: CheckedBy::Recomputed,
                    accepted: true,
                    score: None,
                    residual: None,
                    certified_deviation: None,
                    reason: None,
                },
            };
            // Outputs of nodes without a verdict, and outputs that the transcript holds as well,
            // are compared with what was recomputed: all of them, however the first came out.
            let judged_by = report.checked_by;
            for output in &node.outputs {
                if let Some(claimed) = proof.outputs.iter().find(|tensor| tensor.name == *output)
                    && (judged_by != CheckedBy::Replay || output != name)
                    && let Some(truth) = recomputed.get(output.as_str())
                {
                    compared.insert(output.as_str());
                    let truth = NamedTensor::from_tract(output, truth)?;
                    let exact = judged_by != CheckedBy::Recomputed && output == name;
                    if let Err(reason) = compare(claimed, &truth, exact, &node.kind, width) {
                        report.accepted = false;
                        report.reason.get_or_insert(reason);
                    } else if judged_by == CheckedBy::Recomputed {
                        report.checked_by = CheckedBy::Replay;
                    }
                } else if output == name && judged_by == CheckedBy::Replay {
                    // The verdict is about it.
                    compared.insert(name);
                }
            }
            operations.push(report);
        }
        // What no node computes: constants and inputs that are outputs too.
        for claimed in &proof.outputs {
            if compared.contains(claimed.name.as_str()) {
                continue;
            }
            let truth = recomputed
                .get(claimed.name.as_str())
                .ok_or_else(|| Error::MissingInput { input: claimed.name.clone() })?;
            let truth = NamedTensor::from_tract(&claimed.name, truth)?;
            let refused = compare(claimed, &truth, false, "", width).err();
            operations.push(judging::recomputed(&claimed.name, "output", refused));
        }
        Ok(Report { model: self.outline.digest, operations })
    }

    /// Everything about a proof that can be wrong before any arithmetic.
    fn check_form(&self, inputs: &[&NamedTensor], proof: &Proof) -> Result<()> {
        let outline = &self.outline;
        outline.of_this_model(proof)?;
        let damaged = |reason: String| Err(Error::DamagedProof(reason));
        for (info, (name, shape)) in inputs.iter().zip(&proof.inputs) {
            if info.name != *name || info.shape != *shape {
                return damaged(format!(
                    "it is of an inference with input `{name}` of shape {shape:?}, not `{}` of shape {:?}",
                    info.name, info.shape
                ));
            }
        }
        let expected = &outline.transcript;
        if proof.inputs.len() != inputs.len() || proof.transcript.len() != expected.len() {
            return damaged(format!(
                "it has {} inputs and {} transcript tensors, expected {} and {}",
                proof.inputs.len(),
                proof.transcript.len(),
                inputs.len(),
                expected.len()
            ));
        }
        for (tensor, (name, shape)) in proof.transcript.iter().zip(expected) {
            if tensor.name != *name {
                return damaged(format!("transcript tensor `{}` is not `{name}`", tensor.name));
            }
            // Whoever judges it looks at every element anyway, and at whether it is a number.
            tensor.check_form(tract_onnx::prelude::DatumType::F32, shape)?;
        }
        if proof.outputs.len() != outline.outputs.len() {
            return damaged(format!(
                "it has {} outputs, expected {}",
                proof.outputs.len(),
                outline.outputs.len()
            ));
        }
        for (tensor, info) in proof.outputs.iter().zip(&outline.outputs) {
            if tensor.name != info.name {
                return damaged(format!("output `{}` is not `{}`", tensor.name, info.name));
            }
            tensor.check(info.dtype, &info.shape)?;
        }
        if proof.operations.len() != self.operations.len() {
            return damaged(format!(
                "it has {} proof vectors, expected {}",
                proof.operations.len(),
                self.operations.len()
            ));
        }
        for (vector, verifier) in proof.operations.iter().zip(&self.operations) {
            let compiled = verifier.compiled();
            let header = &compiled.artefact.header;
            if vector.operation != compiled.operation.output() {
                return damaged(format!(
                    "proof vector of `{}` is not of `{}`",
                    vector.operation,
                    compiled.operation.output()
                ));
            }
            if vector.artefact != compiled.artefact.id {
                return damaged(format!(
                    "proof vector of `{}` was made with another artefact than {}: prover and verifier were compiled with different options",
                    vector.operation, header.entry
                ));
            }
            let expected = compiled.artefact.generator.proof_dim();
            if vector.vector.len() != expected {
                return Err(Error::Shape {
                    tensor: format!("proof vector of {}", vector.operation),
                    got: vec![vector.vector.len()],
                    expected: vec![expected],
                });
            }
            if vector.vector.iter().any(|value| !value.is_finite()) {
                let tensor = format!("proof vector of {}", vector.operation);
                return Err(Error::NonFinite { tensor });
            }
        }
        Ok(())
    }
}

/// The part of a model that a verifier recomputes: its graph cut at the transcript, with the model's
/// outputs and whatever the checked operations read as outputs.
///
/// # Errors
/// When a shape depends on the data.
pub fn cut_graph(model: &CompiledModel) -> Result<CutGraph> {
    let at: Vec<&str> = model.transcript().map(|op| op.operation.output()).collect();
    let mut wanted: Vec<&str> =
        model.graph().outputs().iter().map(|output| output.name.as_str()).collect();
    for compiled in model.proved() {
        for input in compiled.operation.inputs() {
            if !wanted.contains(&input.as_str()) {
                wanted.push(input);
            }
        }
    }
    cut(model.graph(), &at, &wanted)
}
