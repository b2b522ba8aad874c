//! Counting what was accepted.

use std::collections::BTreeMap;

use candle_core::Tensor;
use nomopoly_manifest::{Accepted, Defence, Deviations};

use crate::error::Result;
use crate::statistics::rate;
use crate::training::relative_deviations;

/// Counts of one attack.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counts: BTreeMap<Defence, Counts>,
    deviations: Vec<f64>,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    /// Accepted and tried.
    wrong: (u64, u64),
    small: (u64, u64),
    largest: Option<f64>,
}

impl Tally {
    /// Counts claims whose outputs deviate by so much. A true output with a proof of its own is no
    /// attack; with a forged one it is, which only recomputing does not look at.
    pub fn claims(
        &mut self,
        verdicts: &BTreeMap<Defence, Vec<bool>>,
        deviations: &[f64],
        least: f64,
        forged_proofs: bool,
    ) {
        for (defence, accepted) in verdicts {
            let forged = forged_proofs && *defence != Defence::Recompute;
            self.count(*defence, accepted, deviations, least, forged);
        }
        self.note(deviations);
    }

    /// Counts the verdicts of one verifier.
    pub fn count(
        &mut self,
        defence: Defence,
        accepted: &[bool],
        deviations: &[f64],
        least: f64,
        forged_proofs: bool,
    ) {
        let counts = self.counts.entry(defence).or_default();
        for (accepted, deviation) in accepted.iter().zip(deviations) {
            let wrong = *deviation >= least || (*deviation == 0. && forged_proofs);
            if *deviation == 0. && !forged_proofs {
                continue;
            }
            let which = if wrong { &mut counts.wrong } else { &mut counts.small };
            which.0 += u64::from(*accepted);
            which.1 += 1;
            if *accepted && *deviation > 0. && deviation.is_finite() {
                counts.largest = Some(counts.largest.unwrap_or(0.).max(*deviation));
            }
        }
    }

    /// Notes the deviations that were tried.
    pub fn note(&mut self, deviations: &[f64]) {
        // The error of an output of zeros has no relative size.
        let sized = deviations.iter().copied().filter(|d| *d > 0. && d.is_finite());
        self.deviations.extend(sized);
    }

    /// Keeps the verifiers that an attack on this one says something of: those that judge by the same
    /// residuals, or the perceptron alone.
    pub fn only_related(&mut self, to: Defence) {
        let alone = to == Defence::Perceptron;
        self.counts.retain(|defence, _| (*defence == Defence::Perceptron) == alone);
    }

    /// Whether nothing was tried.
    pub fn is_empty(&self) -> bool {
        self.counts.values().all(|counts| counts.wrong.1 + counts.small.1 == 0)
    }

    /// The figures.
    pub fn finish(mut self) -> (BTreeMap<Defence, Accepted>, Option<Deviations>) {
        let accepted = |counts: &Counts| Accepted {
            wrong: rate(counts.wrong.0, counts.wrong.1),
            small: rate(counts.small.0, counts.small.1),
            largest: counts.largest,
        };
        let figures = self.counts.iter().map(|(defence, counts)| (*defence, accepted(counts)));
        let figures = figures.collect();
        self.deviations.sort_by(f64::total_cmp);
        let deviations = match (self.deviations.first(), self.deviations.last()) {
            (Some(&least), Some(&most)) => {
                Some(Deviations { least, median: self.deviations[self.deviations.len() / 2], most })
            }
            _ => None,
        };
        (figures, deviations)
    }
}

/// Relative deviations of outputs from the true ones.
///
/// # Errors
/// When the shapes differ.
pub fn deviations(output: &Tensor, truth: &Tensor) -> Result<Vec<f64>> {
    let sizes = relative_deviations(output, truth)?;
    // Zero beside zero is no deviation.
    let same = (output - truth)?.abs()?.reshape((truth.dim(0)?, ()))?.sum(1)?.to_vec1::<f32>()?;
    Ok(sizes.into_iter().zip(same).map(|(size, same)| if same == 0. { 0. } else { size }).collect())
}
