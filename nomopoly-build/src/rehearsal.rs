//! Honest inferences against the whole check, right after a compilation.
//!
//! Operations are trained one by one, on inputs that are exact. In a whole model a verifier arrives at
//! an operation's input on its own, through everything between two sketches, and where that path is
//! ill-conditioned two honest runtimes arrive at inputs that differ by more than the next sketch's unit
//! knows. A rehearsal finds such models before a user does: it proves a few inferences with tract, moves
//! each revealed number by less than a rounding, as another runtime might have rounded it, and checks.

use std::sync::Arc;

use candle_core::Device;
use nomopoly_runtime::dynamic::{Prover, Verifier};
use nomopoly_runtime::{CompiledModel, NamedTensor, TensorData};

use crate::audit::key;
use crate::error::Result;
use crate::random;

/// What a rehearsal found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Rehearsal {
    pub inferences: usize,
    /// Honest inferences that were rejected.
    pub rejected: usize,
    /// The largest residual of a sketched or replayed operation, in rounding units.
    pub largest: f64,
    /// The operation that had it.
    pub operation: String,
    /// Why the first rejected one was.
    pub reason: Option<String>,
    /// What residuals were compiled to be honest, in rounding units.
    pub envelope: f64,
}

impl Rehearsal {
    /// What to tell the user, if the model needs another envelope.
    pub fn advice(&self) -> Option<String> {
        // Other runtimes come further than this finds: half of the way is near.
        let near = self.largest > self.envelope / 2.;
        if self.rejected == 0 && !near {
            return None;
        }
        let wanted = (4. * self.largest.max(self.envelope / 2.)).log2().ceil().exp2().min(4096.);
        let what = match &self.reason {
            Some(reason) => format!(
                "{} of {} honest inferences were rejected ({reason})",
                self.rejected, self.inferences
            ),
            None => format!(
                "honest inferences come as far as {:.1} of {} rounding units at `{}`: those of other \
                 runtimes may be rejected",
                self.largest, self.envelope, self.operation
            ),
        };
        Some(format!("{what}; compile with `--envelope {wanted}`"))
    }
}

/// Proves and checks `inferences`.
///
/// # Errors
/// When the model cannot be run.
pub fn rehearse(
    model: &Arc<CompiledModel>,
    source: &mut dyn FnMut(usize) -> Result<Vec<NamedTensor>>,
    seed: u64,
    inferences: usize,
) -> Result<Rehearsal> {
    let digest = model.graph().model().digest().to_string();
    let mut random = random::stream(seed, &digest, "rehearsal");
    let host = Prover::new(model.clone())?;
    let verifier = Verifier::new(model, &key(&mut random), &Device::Cpu)?;
    let options = model.operations().iter().map(|c| c.artefact.header.options.envelope);
    let mut rehearsal = Rehearsal {
        inferences,
        rejected: 0,
        largest: 0.,
        operation: String::new(),
        reason: None,
        envelope: options.fold(0., f64::max),
    };
    let revealed: Vec<String> =
        model.transcript().map(|compiled| compiled.operation.output().to_owned()).collect();
    for number in 0..inferences {
        let inputs = source(number)?;
        let proof = host.prove_edited(&inputs, |name, data| {
            let TensorData::F32(values) = data else { return };
            // The first one as tract gives it.
            if number == 0 || !revealed.iter().any(|other| other == name) {
                return;
            }
            for value in values {
                let move_by = random::uniform(&mut random) - 0.5;
                *value *= 1. + (move_by * f64::from(f32::EPSILON)) as f32;
            }
        })?;
        let report = verifier.inspect(&inputs, &proof)?;
        if !report.accepted() {
            rehearsal.rejected += 1;
            rehearsal.reason.get_or_insert_with(|| report.reason().to_string());
        }
        for operation in &report.operations {
            if let Some(residual) = operation.residual
                && residual > rehearsal.largest
            {
                (rehearsal.largest, rehearsal.operation) = (residual, operation.operation.clone());
            }
        }
    }
    Ok(rehearsal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_comes_where_honest_runs_come_near_the_envelope() {
        let calm = Rehearsal {
            inferences: 8,
            rejected: 0,
            largest: 1.,
            operation: "y".into(),
            reason: None,
            envelope: 8.,
        };
        assert_eq!(calm.advice(), None);
        let near = Rehearsal { largest: 5., ..calm.clone() };
        assert!(near.advice().unwrap().contains("--envelope 32"), "{:?}", near.advice());
        let rejected = Rehearsal { rejected: 2, reason: Some("z is off".into()), ..calm };
        let advice = rejected.advice().unwrap();
        assert!(advice.contains("2 of 8") && advice.contains("z is off"), "{advice}");
        assert!(advice.contains("--envelope 16"), "{advice}");
    }
}
