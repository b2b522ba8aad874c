//! Honest runs from elsewhere: outputs that tract, candle and ONNX Runtime computed, at several scales
//! of the inputs, judged operation by operation and as a whole after a trip through the wire format.

use std::collections::BTreeMap;

use candle_core::Tensor;
use nomopoly_manifest::{Defence, HonestFigures, Skipped};
use nomopoly_runtime::dynamic::Verifier;
use nomopoly_runtime::{Error as RuntimeError, NamedTensor, Proof, TensorData, typed_dtype};
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};

use super::onnxruntime::OnnxRuntime;
use super::subject::{Claim, Subject, key};
use super::verifiers::Panel;
use super::whole::{Values, Whole};
use crate::error::{Error, Result};
use crate::statistics::rate;
use crate::training::SCALES;

/// Inferences under one key.
const PER_KEY: usize = 50;
/// Inferences that are run at once, and elements that they may expose together.
const AT_ONCE: usize = 2000;
const AT_ONCE_ELEMENTS: usize = 64 << 20;

/// Who computes.
pub enum Runtime {
    Tract,
    Candle,
    OnnxRuntime(OnnxRuntime),
}

impl Runtime {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::Candle => "candle",
            Self::OnnxRuntime(_) => "onnxruntime",
        }
    }

    /// Name and version, for reports.
    pub fn describe(&self) -> String {
        match self {
            Self::OnnxRuntime(python) => format!("onnxruntime {}", python.version()),
            _ => self.name().to_owned(),
        }
    }

    /// Everything that operations receive and give in these inferences.
    fn run(
        &self,
        whole: &Whole,
        inputs: &[Vec<NamedTensor>],
        check_stop: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<Values>> {
        match self {
            Self::Tract => inputs.iter().map(|inputs| whole.tract(inputs)).collect(),
            Self::Candle => inputs
                .iter()
                .map(|inputs| {
                    check_stop()?;
                    whole.by_steps(inputs, &mut |compiled, x| Ok(compiled.operation.forward(x)?))
                })
                .collect(),
            Self::OnnxRuntime(python) => {
                let (model, names) = whole.exposed();
                let stop = || check_stop().is_err();
                let results = python.run(model, inputs, &stop).map_err(|reason| {
                    check_stop().err().unwrap_or(Error::Build(format!("ONNX Runtime: {reason}")))
                })?;
                let named = |tensors: Vec<NamedTensor>| {
                    names.iter().cloned().zip(tensors).map(|(name, mut tensor)| {
                        tensor.name.clone_from(&name);
                        (name, tensor)
                    })
                };
                Ok(results.into_iter().map(|tensors| named(tensors).collect()).collect())
            }
        }
    }
}

/// What one runtime's honest runs gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Honest {
    pub whole: Vec<HonestFigures>,
    /// In the order of the subjects.
    pub operations: Vec<Vec<HonestFigures>>,
    pub skipped: Vec<(String, String)>,
}

impl Honest {
    pub fn skipped(&self) -> impl Iterator<Item = Skipped> {
        self.skipped
            .iter()
            .map(|(what, reason)| Skipped { what: what.clone(), reason: reason.clone() })
    }
}

#[derive(Default)]
struct Counts {
    /// Rejected and tried.
    rejected: BTreeMap<Defence, (u64, u64)>,
    largest: Option<f64>,
}

impl Counts {
    fn add(&mut self, accepted: &BTreeMap<Defence, Vec<bool>>, residuals: &[Option<f64>]) {
        for (defence, accepted) in accepted {
            let counts = self.rejected.entry(*defence).or_default();
            counts.0 += accepted.iter().filter(|accepted| !**accepted).count() as u64;
            counts.1 += accepted.len() as u64;
        }
        for residual in residuals.iter().flatten() {
            self.largest = Some(self.largest.unwrap_or(0.).max(*residual));
        }
    }

    fn finish(self, runtime: &str, scale: f64) -> HonestFigures {
        HonestFigures {
            runtime: runtime.to_owned(),
            scale,
            rejected: self.rejected.into_iter().map(|(d, (e, n))| (d, rate(e, n))).collect(),
            largest_residual: self.largest,
        }
    }
}

/// What honest runs are measured on.
pub struct Field<'a> {
    pub whole: &'a Whole,
    pub subjects: &'a [Subject],
    pub panels: &'a [Panel],
    /// Inputs of the model by number.
    pub inputs: &'a dyn Fn(usize) -> Result<Vec<NamedTensor>>,
    pub check_stop: &'a dyn Fn() -> Result<()>,
}

impl Field<'_> {
    /// Measures `count` inferences of a runtime, as many at each scale; few of zeros.
    ///
    /// # Errors
    /// When the model cannot be run on its inputs as they are.
    pub fn measure(
        &self,
        runtime: &Runtime,
        count: usize,
        first: usize,
        random: &mut ChaCha20Rng,
    ) -> Result<Honest> {
        let mut honest =
            Honest { operations: vec![vec![]; self.subjects.len()], ..Honest::default() };
        let device = &self.subjects.first().map_or(candle_core::Device::Cpu, |s| s.device.clone());
        let mut verifier = Verifier::new(&self.whole.model, &key(random), device)?;
        // Inputs that are no numbers have no scale.
        let float = |name| matches!(name, Some("f32" | "f64"));
        let inputs = self.whole.graph().inputs();
        let scaled_too = inputs.iter().any(|input| float(typed_dtype(input.dtype)));
        let scales = if scaled_too { &SCALES[..] } else { &SCALES[..1] };
        // Zeros are one input: what is rejected there is rejected always, under any key.
        let others = scales.iter().filter(|scale| **scale != 0.).count();
        let zeros = if scaled_too { PER_KEY.min(count.div_ceil(SCALES.len())) } else { 0 };
        let most = (AT_ONCE_ELEMENTS / self.whole.elements().max(1)).clamp(1, AT_ONCE);
        for (turn, scale) in scales.iter().copied().enumerate() {
            let each = match scale {
                0. => zeros,
                _ => (count - zeros).div_ceil(others),
            };
            let mut whole = Counts::default();
            let mut operations: Vec<Counts> =
                self.subjects.iter().map(|_| Counts::default()).collect();
            let mut start = 0;
            let outcome = (|| -> Result<()> {
                while start < each {
                    let size = most.min(each - start);
                    let numbers = (0..size).map(|index| first + turn * each + start + index);
                    let inputs = numbers
                        .map(|number| Ok(scaled((self.inputs)(number)?, scale)))
                        .collect::<Result<Vec<_>>>()?;
                    let runs = runtime.run(self.whole, &inputs, self.check_stop)?;
                    for (inputs, runs) in inputs.chunks(PER_KEY).zip(runs.chunks(PER_KEY)) {
                        (self.check_stop)()?;
                        let plain = matches!(runtime, Runtime::Tract);
                        self.whole_model(&mut verifier, inputs, runs, plain, &mut whole, random)?;
                        self.by_operation(runs, &mut operations, random)?;
                    }
                    start += size;
                }
                Ok(())
            })();
            match outcome {
                Ok(()) => {}
                // A model may overflow far from its usual inputs; then no host can prove anything.
                Err(Error::Runtime(RuntimeError::NonFinite { tensor })) if scale != 1. => {
                    let what = format!("honest runs of {} at scale {scale:.0e}", runtime.name());
                    let reason = format!("`{tensor}` is not finite there in the model itself");
                    honest.skipped.push((what, reason));
                    continue;
                }
                Err(error @ (Error::Interrupted | Error::OutOfTime)) => return Err(error),
                // Another runtime that cannot run the model is no reason to measure nothing.
                Err(error) if matches!(runtime, Runtime::OnnxRuntime(_)) => {
                    let what = format!("honest runs of {} at scale {scale:.0e}", runtime.name());
                    honest.skipped.push((what, error.to_string()));
                    continue;
                }
                Err(error) => return Err(error),
            }
            honest.whole.push(whole.finish(runtime.name(), scale));
            for (figures, counts) in honest.operations.iter_mut().zip(operations) {
                figures.push(counts.finish(runtime.name(), scale));
            }
        }
        Ok(honest)
    }

    fn whole_model(
        &self,
        verifier: &mut Verifier,
        inputs: &[Vec<NamedTensor>],
        runs: &[Values],
        plain: bool,
        counts: &mut Counts,
        random: &mut ChaCha20Rng,
    ) -> Result<()> {
        verifier.rotate(&key(random))?;
        for (inputs, run) in inputs.iter().zip(runs) {
            // tract's own run is the prover's, as it is.
            let proof = if plain {
                self.whole.prove_plainly(inputs)?
            } else {
                self.whole.prove(inputs, run)?
            };
            let sent = proof.to_bytes()?;
            let report = verifier.inspect(inputs, &Proof::from_bytes(&sent)?)?;
            let accepted = BTreeMap::from([(Defence::Learned, vec![report.accepted()])]);
            let residuals: Vec<_> = report.operations.iter().map(|op| op.residual).collect();
            counts.add(&accepted, &residuals);
        }
        Ok(())
    }

    fn by_operation(
        &self,
        runs: &[Values],
        counts: &mut [Counts],
        random: &mut ChaCha20Rng,
    ) -> Result<()> {
        for ((subject, panel), counts) in self.subjects.iter().zip(self.panels).zip(counts) {
            for runs in runs.chunks(subject.chunk_size()) {
                let operation = subject.operation();
                let stack = |name: &str| -> Result<Tensor> {
                    let samples = runs.iter().map(|run| self.whole.sample(name, run));
                    Ok(Tensor::cat(&samples.collect::<Result<Vec<_>>>()?, 0)?)
                };
                let inputs = operation.inputs().iter().map(|name| stack(name));
                let inputs = inputs.collect::<Result<Vec<_>>>()?;
                let output = stack(operation.output())?;
                let proof = subject.prove(&output)?;
                let round = panel.round(&key(random), &inputs)?;
                let verdicts = round.judge(&Claim { output, proof })?;
                counts.add(&verdicts.accepted, &verdicts.residuals);
            }
        }
        Ok(())
    }
}

/// Float inputs times a scale; the others as they are.
fn scaled(mut inputs: Vec<NamedTensor>, scale: f64) -> Vec<NamedTensor> {
    for input in &mut inputs {
        match &mut input.data {
            TensorData::F32(values) => values.iter_mut().for_each(|v| *v *= scale as f32),
            TensorData::F64(values) => values.iter_mut().for_each(|v| *v *= scale),
            _ => {}
        }
    }
    inputs
}
