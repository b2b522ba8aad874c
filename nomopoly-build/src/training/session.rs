//! The training of one operation, from its first step to its artefact and figures.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use nomopoly_manifest::{
    ARTEFACT_SCHEMA, Case, Check, CheckCost, CompileOptions, Epoch, Figures, Metrics,
};
use nomopoly_runtime::CompiledOperation;
use nomopoly_runtime::artefact::{Artefact, ArtefactHeader, MAX_SKETCHES, Network};
use nomopoly_runtime::certificate;
use nomopoly_runtime::mlp::MLP_MOST_INPUTS;
use nomopoly_runtime::onnx::Digest;
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::residual::{check_cost, is_worth_a_sketch};
use rand_chacha::ChaCha20Rng;

use super::adversary::Adversary;
use super::evaluate::{self, Evaluation, Passes, SCALES, deviation_curve, evaluate, for_chunks};
use super::judge::{Claims, Judge};
use super::network::{Trainable, cross_entropy};
use super::threshold::{self, HonestResiduals};
use super::{SPREAD_RESERVE, Trained};
use crate::error::{Error, Result};
use crate::random;
use crate::samples::Splits;

/// Multiply-accumulates that the final measurement may take for each test sample that was asked for:
/// large operations are measured on fewer samples, and say so.
const TEST_BUDGET: u64 = 1_000_000;
/// Elements that one training step of a head may hold: large operations train on fewer samples a
/// step, each of which has thousands of positions.
const STEP_ELEMENTS: usize = 32 << 10;
/// The same of the baseline perceptron, which has one verdict a sample to learn from.
const BASELINE_STEP_ELEMENTS: usize = 2 << 20;
/// Multiply-accumulates of recomputing that one epoch may hold.
const EPOCH_BUDGET: u64 = 160_000_000;
/// Random errors that the curve of false acceptance may draw at each of its points.
const CURVE_ELEMENTS: usize = 4 << 20;
/// Trials a point of the curve of false acceptance.
const CURVE_TRIALS: usize = 100;
/// By this the curriculum's smallest deviation shrinks after an epoch that went well.
const CURRICULUM_STEP: f64 = 0.01;

/// One operation in training.
pub(super) struct Session<'a> {
    /// Of what is trained on: the operation, or a part of it.
    judge: Judge,
    /// Of the whole operation, where training is on a part.
    whole: Option<Judge>,
    entry: &'a str,
    options: &'a CompileOptions,
    splits: &'a Splits,
    network: Trainable,
    verifier_optimiser: AdamW,
    adversary: Adversary,
    adversary_optimiser: AdamW,
    adversary_variables: Vec<Var>,
    random: ChaCha20Rng,
    /// Deviation below which fakes are within rounding and cannot be told from honest outputs.
    floor: f64,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        judge: Judge,
        entry: &'a str,
        options: &'a CompileOptions,
        splits: &'a Splits,
        mut random: ChaCha20Rng,
    ) -> Result<Self> {
        let operation = judge.operation.clone();
        let device = judge.device.clone();
        let (judge, whole) = match &splits.trial {
            None => (judge, None),
            Some(trial) => (judge.on(&trial.part.operation)?, Some(judge)),
        };
        let (network, rate) = if judge.baseline {
            let spec = operation.spec();
            let inputs = spec.inputs_len() + spec.output_len() + options.proof_dim as usize;
            if inputs > MLP_MOST_INPUTS {
                return Err(Error::Operation {
                    operation: operation.output().to_owned(),
                    entry: entry.to_owned(),
                    reason: format!(
                        "the baseline perceptron would have {inputs} inputs, {MLP_MOST_INPUTS} are \
                         its limit; compile with the residual architecture"
                    ),
                });
            }
            let x = &splits.train.inputs;
            let y = operation.forward(x)?;
            let scales = (magnitude(x)?, magnitude(std::slice::from_ref(&y))?);
            (Trainable::mlp(inputs, scales.0, scales.1, &mut random, &device)?, 1e-3)
        } else {
            (Trainable::head(options.envelope, &mut random, &device)?, 0.05)
        };
        let (adversary, variables) =
            Adversary::new(&operation, &judge.operation, options.proof_dim, &mut random, &device)?;
        let optimiser = |variables, lr| {
            AdamW::new(variables, ParamsAdamW { lr, weight_decay: 0., ..Default::default() })
        };
        let verifier_optimiser = optimiser(network.variables(), rate)?;
        let adversary_optimiser = optimiser(variables.clone(), 0.01)?;
        let mut session = Self {
            judge,
            whole,
            entry,
            options,
            splits,
            network,
            verifier_optimiser,
            adversary,
            adversary_optimiser,
            adversary_variables: variables,
            random,
            floor: options.min_deviation,
        };
        session.floor = session.rounding_floor()?;
        Ok(session)
    }

    /// The deviation at which a random error passes all sketches with probability 2^-20, or, for
    /// replay, four times the tolerance.
    fn rounding_floor(&mut self) -> Result<f64> {
        if self.judge.baseline {
            return Ok(self.options.min_deviation);
        }
        let mut spreads = vec![];
        let Self { judge, splits, random, .. } = self;
        for_chunks(judge, &splits.validation, 1, |turn, inputs| {
            spreads.extend(judge.spreads(&judge.batch(inputs, turn, random)?)?);
            Ok(())
        })?;
        let worst = spreads.into_iter().fold(0., f64::max);
        let envelope = self.options.envelope;
        let floor = match self.judge.sketches {
            0 => 4. * envelope * worst,
            k => certificate::deviation_at(k, envelope, worst, 20.),
        };
        Ok(floor.clamp(1e-7, 0.5))
    }

    pub(super) fn run(&mut self, on_epoch: &mut dyn FnMut(&Epoch) -> bool) -> Result<Vec<Epoch>> {
        let mut history: Vec<Epoch> = vec![];
        let (mut deviation, mut best, mut since_best) = (1f64, 0f64, 0);
        let mut validation = random::stream(self.options.seed, self.entry, "validation");
        for number in 1..=self.options.max_epochs {
            deviation = deviation.max(self.floor);
            self.adversary.set_deviation(deviation);
            let (mut verifier_loss, mut adversary_loss) = (0., 0.);
            let (batch, steps) = self.sizes();
            let mut counted = 0;
            for step in 0..steps {
                let losses = self.step(deviation, batch, step)?;
                // Fakes of outputs near the end of f32's range (attention masks) may overflow: such
                // a step teaches nothing and has no loss.
                if losses.0.is_finite() && losses.1.is_finite() {
                    verifier_loss += losses.0;
                    adversary_loss += losses.1;
                    counted += 1;
                }
            }
            let steps = f64::from(counted.max(1));
            let evaluation = evaluate(
                &self.judge,
                &self.network,
                &self.adversary,
                &self.splits.validation,
                Passes { least: deviation, scaled: false, rounds: 1 },
                &mut validation,
            )?;
            let epoch = describe(
                number,
                verifier_loss / steps,
                adversary_loss / steps,
                &evaluation,
                deviation,
            );
            let proceed = on_epoch(&epoch);
            let accuracy = epoch.mean_accuracy;
            history.push(epoch);
            if !proceed {
                return Err(Error::Interrupted);
            }
            if accuracy > best {
                (best, since_best) = (accuracy, 0);
            } else {
                since_best += 1;
            }
            let met = accuracy >= self.options.target_accuracy;
            if met && number >= self.options.min_epochs && deviation <= self.floor {
                break;
            }
            if met && deviation > self.floor {
                // A harder curriculum: accuracies before and after do not compare.
                deviation *= CURRICULUM_STEP;
                (best, since_best) = (0., 0);
            } else if since_best >= self.options.patience {
                break;
            }
        }
        Ok(history)
    }

    /// Samples a step and steps an epoch: as the options say, fewer for large operations.
    fn sizes(&self) -> (usize, usize) {
        let most = if self.judge.baseline { BASELINE_STEP_ELEMENTS } else { STEP_ELEMENTS };
        let affordable = most / self.judge.elements().max(1);
        let batch = (self.options.batch_size as usize).min(affordable).max(2);
        let macs = self.judge.operation.recompute_cost().max(1) * batch as u64;
        let steps = (EPOCH_BUDGET / macs) as usize;
        (batch, (self.options.steps_per_epoch as usize).min(steps.max(2)))
    }

    /// One step of the verifier and one of the adversary; their losses in nats.
    fn step(&mut self, deviation: f64, size: usize, variant: usize) -> Result<(f64, f64)> {
        let inputs = self.splits.train.draw(size, &mut self.random)?;
        let batch = self.judge.batch(inputs, variant, &mut self.random)?;
        let claims =
            Claims::new(&self.judge, &batch, &self.adversary, deviation, &mut self.random)?;

        let mut losses = vec![];
        for shown in claims.shown(&self.judge, &batch) {
            let (case, mut shown) = shown?;
            shown.features = shown.features.map(|features| features.detach());
            let loss = cross_entropy(&self.network.logits(&shown)?, case == Case::Honest)?;
            // As much weight for the one honest case as for the four fake ones.
            losses.push(if case == Case::Honest { (loss * 4.)? } else { loss });
            if case == Case::Honest && self.network.is_head() {
                let (envelope, device) = (self.options.envelope, &self.judge.device);
                shown.features =
                    Some(threshold::envelope_batch(envelope, size, &mut self.random, device)?);
                losses.push((cross_entropy(&self.network.logits(&shown)?, true)? * 4.)?);
            }
        }
        let count = losses.len() as f64;
        let loss = (Tensor::stack(&losses, 0)?.sum_all()? / count)?;
        step_if_finite(&mut self.verifier_optimiser, &loss, &self.network.variables())?;
        let verifier_loss = f64::from(loss.to_scalar::<f32>()?);

        // The adversary learns through the verifier: from its fakes with the generator's proof
        // and with its own.
        let fake = self.adversary.output(&self.judge.operation, &batch.inputs, &batch.truth)?;
        let own = self.adversary.proof(&self.judge.generator, &fake)?;
        let seen = self.judge.see(&batch, &fake)?;
        let mut losses = vec![];
        for proof in [&own, &seen.proof] {
            let shown = self.judge.show(&batch, &fake, &seen, proof)?;
            losses.push(cross_entropy(&self.network.logits(&shown)?, true)?);
        }
        let loss = (Tensor::stack(&losses, 0)?.sum_all()? / 2.)?;
        step_if_finite(&mut self.adversary_optimiser, &loss, &self.adversary_variables)?;
        Ok((verifier_loss, f64::from(loss.to_scalar::<f32>()?)))
    }

    /// Fixes the threshold on its own split and measures the final figures on the test split.
    pub(super) fn finish(
        mut self,
        history: Vec<Epoch>,
        id: Digest,
        generator_seed: Digest,
    ) -> Result<Trained> {
        self.fix_threshold()?;
        let options = self.options;
        let cost = self.cost()?;
        let operation = self.operation().clone();
        let mut random = random::stream(options.seed, self.entry, "test");
        let test = &self.splits.test;
        let budget = TEST_BUDGET * u64::from(options.test_samples);
        let each = self.judge.operation.recompute_cost().max(1);
        let trials = ((budget / each) as usize).clamp(8, options.test_samples as usize);
        let test = test.first(trials)?;
        let rounds = trials.div_ceil(test.len().max(1));
        let mut evaluation = evaluate(
            &self.judge,
            &self.network,
            &self.adversary,
            &test,
            Passes { least: options.min_deviation, scaled: true, rounds },
            &mut random,
        )?;
        let head = self.network.to_head()?;
        let largest = evaluation.spreads.iter().copied().fold(0., f64::max);
        if let (Some(whole), Some(trial)) = (&self.whole, &self.splits.trial) {
            // Completeness and spread are of the whole as well as of parts.
            let of_whole =
                evaluate::evaluate_honest(whole, &self.network, &trial.test, &mut random)?;
            evaluation.spreads = of_whole.spreads;
            evaluation.logits.entry(Case::Honest).or_default().extend(of_whole.logits);
        }
        let mut spreads = evaluation.spreads.clone();
        spreads.sort_by(f64::total_cmp);
        let worst = spreads.last().copied().unwrap_or(0.);
        let median = spreads.get(spreads.len() / 2).copied().unwrap_or(0.);
        let certificate = head.as_ref().map(|head| {
            head.certify(
                self.judge.sketches,
                worst,
                median,
                f64::from(options.soundness_bits),
                options.min_deviation,
            )
        });
        // The curve is measured on what was trained on.
        let bound = certificate.as_ref().map(|c| (c.sketches, c.threshold, largest));
        let affordable = CURVE_ELEMENTS / self.judge.operation.spec().output_len().max(1);
        let count = CURVE_TRIALS.min(trials).min(affordable.max(2));
        let deviations =
            deviation_curve(&self.judge, &self.network, &test, count, bound, &mut random)?;
        let figures = Figures {
            accuracy: evaluation.mean_accuracy(),
            cases: Case::ALL.iter().map(|&case| (case, evaluation.errors(case))).collect(),
            completeness_error: evaluation.errors(Case::Honest),
            soundness_error: evaluation.soundness_error(),
            certificate: certificate.clone(),
            epochs: history.len() as u32,
            cost,
        };
        let network = match (head, self.network.to_mlp()?) {
            (Some(head), _) => Network::Residual(head),
            (None, Some(mlp)) => Network::Mlp(mlp),
            (None, None) => return Err(self.failure("it has no network")),
        };
        let Self { judge, whole, adversary, .. } = self;
        let judge = whole.unwrap_or(judge);
        let artefact = Artefact {
            id,
            header: ArtefactHeader {
                schema: ARTEFACT_SCHEMA,
                entry: self.entry.to_owned(),
                id: id.to_string(),
                operation: judge.operation.spec().clone(),
                options: options.clone(),
                check: judge.check,
                sketches: judge.sketches,
                generator_seed: generator_seed.to_string(),
                certificate,
            },
            generator: judge.generator,
            network,
        };
        let metrics = Metrics {
            schema: ARTEFACT_SCHEMA,
            entry: self.entry.to_owned(),
            operation: judge.operation.spec().clone(),
            check: judge.check,
            options: options.clone(),
            history,
            figures,
            scores: evaluation.histograms(),
            deviations,
        };
        let compiled = CompiledOperation::new(operation, Arc::new(artefact))?;
        Ok(Trained { compiled, adversary: adversary.detach(), metrics })
    }

    fn failure(&self, reason: &str) -> Error {
        Error::Operation {
            operation: self.judge.operation.output().to_owned(),
            entry: self.entry.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// The operation that is compiled, whole.
    fn operation(&self) -> &Arc<Operation> {
        &self.whole.as_ref().unwrap_or(&self.judge).operation
    }

    fn set_check(&mut self, check: Check, sketches: u32) {
        for judge in std::iter::once(&mut self.judge).chain(&mut self.whole) {
            (judge.check, judge.sketches) = (check, sketches);
        }
    }

    fn cost(&self) -> Result<CheckCost> {
        let recompute = self.operation().recompute_cost();
        let verify = match self.network.to_mlp()? {
            Some(mlp) => mlp.cost(),
            None => check_cost(self.operation(), self.judge.check, self.judge.sketches),
        };
        Ok(CheckCost { recompute, verify })
    }

    /// See [`threshold`]. The number of sketches grows if the trained threshold asks for more.
    fn fix_threshold(&mut self) -> Result<()> {
        let mut random = random::stream(self.options.seed, self.entry, "threshold");
        if self.judge.baseline {
            let split = &self.splits.threshold;
            let evaluation = evaluate(
                &self.judge,
                &self.network,
                &self.adversary,
                split,
                Passes { least: self.options.min_deviation, scaled: false, rounds: 1 },
                &mut random,
            )?;
            return threshold::fix_mlp(&self.network, &evaluation.logits);
        }
        for _ in 0..3 {
            let mut honest = HonestResiduals::default();
            let mut worst = 0f64;
            let Self { judge, whole, splits, .. } = &mut *self;
            let on_whole = whole.as_ref().zip(splits.trial.as_ref());
            let on_whole = on_whole.map(|(whole, trial)| (whole, &trial.threshold, true));
            let on_trial = std::iter::once((&*judge, &splits.threshold, whole.is_none()));
            for (judge, samples, is_whole) in on_trial.chain(on_whole) {
                // Every runtime at every scale, each on one chunk of the split by turns.
                let chunks = samples.len().div_ceil(evaluate::chunk_size(judge)).max(1);
                let pairs = (0..4).flat_map(|v| SCALES.map(|s| (v, s)));
                for (pair, (variant, scale)) in pairs.enumerate() {
                    for_chunks(judge, samples, 1, |turn, inputs| {
                        if turn != pair % chunks {
                            return Ok(());
                        }
                        let inputs =
                            inputs.iter().map(|x| Ok((x * scale)?)).collect::<Result<Vec<_>>>()?;
                        let batch = judge.batch(inputs, variant, &mut random)?;
                        if scale == 1. && is_whole {
                            worst = judge.spreads(&batch)?.into_iter().fold(worst, f64::max);
                        }
                        honest.observe(&evaluate::honest(judge, &batch)?)
                    })?;
                }
            }
            threshold::fix_head(&self.network, &honest, self.options.envelope)?;
            let head = self.network.to_head()?.ok_or_else(|| self.failure("it has no head"))?;
            if self.judge.check != Check::Sketch {
                return Ok(());
            }
            let needed = certificate::sketches_for(
                head.threshold(),
                worst * SPREAD_RESERVE,
                self.options.min_deviation,
                f64::from(self.options.soundness_bits),
                MAX_SKETCHES,
            );
            match needed {
                Some(k) if is_worth_a_sketch(self.operation(), k) => {
                    if k <= self.judge.sketches {
                        return Ok(());
                    }
                    self.set_check(Check::Sketch, k);
                }
                _ => self.set_check(Check::Replay, 0),
            }
        }
        Ok(())
    }
}

/// Takes a step unless a gradient overflowed: one lost step costs nothing, one NaN in a weight is
/// never trained away.
fn step_if_finite(optimiser: &mut AdamW, loss: &Tensor, variables: &[Var]) -> Result<()> {
    let gradients = loss.backward()?;
    for variable in variables {
        if let Some(gradient) = gradients.get(variable)
            && !gradient.abs()?.sum_all()?.to_scalar::<f32>()?.is_finite()
        {
            return Ok(());
        }
    }
    Ok(optimiser.step(&gradients)?)
}

fn describe(
    epoch: u32,
    verifier_loss: f64,
    adversary_loss: f64,
    evaluation: &Evaluation,
    deviation: f64,
) -> Epoch {
    let honest_score = evaluation.mean_score(&[Case::Honest]);
    let fake_score = evaluation.mean_score(&Case::ALL[1..]);
    Epoch {
        epoch,
        verifier_loss,
        adversary_loss,
        accuracy: Case::ALL.iter().map(|&case| (case, evaluation.accuracy(case))).collect(),
        mean_accuracy: evaluation.mean_accuracy(),
        fool_rate: evaluation.fool_rate(),
        honest_score,
        fake_score,
        score_separation: honest_score - fake_score,
        deviation,
    }
}

/// Root mean square over all samples, never zero.
fn magnitude(tensors: &[Tensor]) -> Result<f64> {
    let mut sum = 0.;
    let mut count = 0;
    for tensor in tensors {
        sum += f64::from(tensor.sqr()?.sum_all()?.to_scalar::<f32>()?);
        count += tensor.elem_count();
    }
    Ok((sum / count.max(1) as f64).sqrt().max(1e-6))
}
