//! Measuring a verifier on samples that it was not trained on.

use std::collections::BTreeMap;

use candle_core::Tensor;
use nomopoly_manifest::{Case, DeviationPoint, Histogram, Rate};
use nomopoly_runtime::certificate;
use rand_chacha::ChaCha20Rng;

use super::adversary::Adversary;
use super::fakes;
use super::judge::{Batch, Claims, Judge, logits};
use super::network::{Shown, Trainable};
use crate::error::Result;
use crate::samples::Samples;
use crate::statistics::rate;

/// Scales at which honest inputs are tried: zero, small, as given, large.
pub const SCALES: [f64; 4] = [1., 0., 1e-3, 1e3];
/// Bins of a score histogram.
const BINS: usize = 40;
/// Most samples under one key.
const PER_KEY: usize = 50;
/// Elements of a batch in memory.
const BATCH_ELEMENTS: usize = 4 << 20;

/// How many samples share a batch, a key and a runtime's rounding.
pub fn chunk_size(judge: &Judge) -> usize {
    (BATCH_ELEMENTS / judge.elements().max(1)).clamp(1, PER_KEY)
}

/// Logits of every case.
pub struct Evaluation {
    pub logits: BTreeMap<Case, Vec<f64>>,
    /// Logits of the adversary's fakes with the generator's proof.
    pub adversary: Vec<f64>,
    /// Largest spread and every spread, of samples at the given scale.
    pub spreads: Vec<f64>,
}

impl Evaluation {
    /// Share judged rightly.
    pub fn accuracy(&self, case: Case) -> f64 {
        let errors = self.errors(case);
        if errors.samples == 0 { 0. } else { 1. - errors.observed() }
    }

    /// Mean over the five cases.
    pub fn mean_accuracy(&self) -> f64 {
        Case::ALL.iter().map(|&case| self.accuracy(case)).sum::<f64>() / Case::ALL.len() as f64
    }

    /// Share judged wrongly, with its bound.
    pub fn errors(&self, case: Case) -> Rate {
        let logits = self.logits.get(&case).map_or(&[][..], Vec::as_slice);
        let wrong = logits.iter().filter(|logit| (**logit >= 0.) != (case == Case::Honest)).count();
        rate(wrong as u64, logits.len() as u64)
    }

    /// Wrong outputs accepted, over the three cases that have one.
    pub fn soundness_error(&self) -> Rate {
        let cases =
            [Case::FakeOutputFakeProof, Case::FakeOutputRealProof, Case::FakeOutputGeneratedProof];
        let rates = cases.map(|case| self.errors(case));
        rate(rates.iter().map(|r| r.errors).sum(), rates.iter().map(|r| r.samples).sum())
    }

    pub fn fool_rate(&self) -> f64 {
        mean(&self.adversary, |logit| f64::from(u8::from(logit >= 0.)))
    }

    pub fn mean_score(&self, cases: &[Case]) -> f64 {
        let means: Vec<f64> = cases
            .iter()
            .filter_map(|case| self.logits.get(case))
            .map(|logits| mean(logits, sigmoid))
            .collect();
        means.iter().sum::<f64>() / means.len().max(1) as f64
    }

    /// Histograms of the scores by case.
    pub fn histograms(&self) -> BTreeMap<Case, Histogram> {
        let bins = |logits: &Vec<f64>| {
            let mut counts = vec![0; BINS];
            for logit in logits {
                counts[((sigmoid(*logit) * BINS as f64) as usize).min(BINS - 1)] += 1;
            }
            Histogram { counts }
        };
        self.logits.iter().map(|(case, logits)| (*case, bins(logits))).collect()
    }
}

fn sigmoid(logit: f64) -> f64 {
    1. / (1. + (-logit).exp())
}

fn mean(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    values.iter().map(|&v| f(v)).sum::<f64>() / values.len().max(1) as f64
}

/// How an evaluation goes over its samples.
#[derive(Debug, Clone, Copy)]
pub struct Passes {
    /// Fakes deviate by this much to 1.
    pub least: f64,
    /// Whether honest inputs go through [`SCALES`] by turns.
    pub scaled: bool,
    /// Passes over the samples, each under fresh keys with fresh fakes.
    pub rounds: usize,
}

/// Judges the samples in all five cases.
pub fn evaluate(
    judge: &Judge,
    network: &Trainable,
    adversary: &Adversary,
    samples: &Samples,
    passes: Passes,
    random: &mut ChaCha20Rng,
) -> Result<Evaluation> {
    let mut out = Evaluation { logits: BTreeMap::new(), adversary: vec![], spreads: vec![] };
    for_chunks(judge, samples, passes.rounds, |turn, inputs| {
        let batch = judge.batch(inputs, turn, random)?;
        out.spreads.extend(judge.spreads(&batch)?);
        let claims = Claims::new(judge, &batch, adversary, passes.least, random)?;
        for shown in claims.shown(judge, &batch) {
            let (case, shown) = shown?;
            let logits = if case == Case::Honest && passes.scaled {
                honest_at_scale(judge, network, &batch, turn, random)?
            } else {
                logits(network, &shown)?
            };
            if case == Case::FakeOutputGeneratedProof {
                let made = logits.iter().zip(&claims.by_adversary).filter(|(_, made)| **made);
                out.adversary.extend(made.map(|(logit, _)| *logit));
            }
            out.logits.entry(case).or_default().extend(logits);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Logits and spreads of honest outputs.
pub struct Honest {
    pub logits: Vec<f64>,
    pub spreads: Vec<f64>,
}

/// Judges honest outputs alone, of every runtime and at every scale by turns: the samples of the
/// whole operation, of which there are few.
pub fn evaluate_honest(
    judge: &Judge,
    network: &Trainable,
    samples: &Samples,
    random: &mut ChaCha20Rng,
) -> Result<Honest> {
    let mut out = Honest { logits: vec![], spreads: vec![] };
    for turn in 0..samples.len() {
        let batch = judge.batch(samples.narrow(turn, 1)?, turn, random)?;
        out.spreads.extend(judge.spreads(&batch)?);
        // Every runtime comes with one of the scales; rounding does not know them.
        let scale = SCALES[(turn / 4 + turn) % SCALES.len()];
        let inputs = batch.inputs.iter().map(|x| Ok((x * scale)?)).collect::<Result<Vec<_>>>()?;
        let scaled = judge.batch(inputs, turn, random)?;
        out.logits.extend(logits(network, &honest(judge, &scaled)?)?);
    }
    Ok(out)
}

fn honest_at_scale(
    judge: &Judge,
    network: &Trainable,
    batch: &Batch,
    turn: usize,
    random: &mut ChaCha20Rng,
) -> Result<Vec<f64>> {
    // Divided by the number of runtimes, so that every runtime meets every scale.
    let scale = SCALES[(turn / 4) % SCALES.len()];
    if scale == 1. {
        return logits(network, &honest(judge, batch)?);
    }
    let inputs = batch.inputs.iter().map(|x| Ok((x * scale)?)).collect::<Result<Vec<_>>>()?;
    let scaled = judge.batch(inputs, turn, random)?;
    logits(network, &honest(judge, &scaled)?)
}

/// What the verifier sees of the honest claims about a batch.
pub fn honest<'a>(judge: &Judge, batch: &'a Batch) -> Result<Shown<'a>> {
    judge.show(batch, &batch.honest, &batch.seen, &batch.seen.proof)
}

/// Calls `f` with a running number and the inputs of each chunk.
pub fn for_chunks(
    judge: &Judge,
    samples: &Samples,
    rounds: usize,
    mut f: impl FnMut(usize, Vec<Tensor>) -> Result<()>,
) -> Result<()> {
    let chunk = chunk_size(judge);
    let mut turn = 0;
    for _ in 0..rounds {
        let mut start = 0;
        while start < samples.len() {
            let len = chunk.min(samples.len() - start);
            f(turn, samples.narrow(start, len)?)?;
            start += len;
            turn += 1;
        }
    }
    Ok(())
}

/// False acceptance against deviation: dense and sparse random errors, each with the generator's
/// proof, on `count` samples a point, beside the certified bound.
pub fn deviation_curve(
    judge: &Judge,
    network: &Trainable,
    samples: &Samples,
    count: usize,
    bound: Option<(u32, f64, f64)>,
    random: &mut ChaCha20Rng,
) -> Result<Vec<DeviationPoint>> {
    // Half-decades from 1 to 1e-8.
    let deviations: Vec<f64> = (0..=16).map(|step| 10f64.powf(-0.5 * f64::from(step))).collect();
    let mut accepted = vec![0u64; deviations.len()];
    let mut tried = 0;
    let samples = samples.first(count)?;
    let rounds = count.div_ceil(samples.len().max(1)).max(1);
    for_chunks(judge, &samples, rounds, |turn, inputs| {
        if tried >= count {
            return Ok(());
        }
        let batch = judge.batch(inputs, turn, random)?;
        let size = batch.truth.dim(0)?;
        tried += size;
        for (deviation, accepted) in deviations.iter().zip(&mut accepted) {
            let fake = fakes::deviate(&batch.truth, &vec![*deviation; size], random)?;
            let seen = judge.see(&batch, &fake)?;
            let logits = logits(network, &judge.show(&batch, &fake, &seen, &seen.proof)?)?;
            *accepted += logits.iter().filter(|logit| **logit >= 0.).count() as u64;
        }
        Ok(())
    })?;
    Ok(deviations
        .into_iter()
        .zip(accepted)
        .map(|(deviation, accepted)| {
            let log2 = bound.map_or(0., |(sketches, threshold, spread)| {
                certificate::log2_bound(sketches, threshold, spread, deviation)
            });
            DeviationPoint {
                deviation,
                certified_log2: log2.is_finite().then_some(log2),
                measured: rate(accepted, tried as u64),
            }
        })
        .collect())
}
