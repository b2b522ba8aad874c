//! Showing claims to a verifier in training: batches, residual features, the five cases.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use nomopoly_manifest::{Case, Check};
use nomopoly_runtime::generator::Generator;
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::operations::linear::Contracted;
use nomopoly_runtime::residual::{Prepared, features, proof_residual};
use rand_chacha::ChaCha20Rng;

use super::adversary::Adversary;
use super::fakes;
use super::network::{Shown, Trainable};
use crate::error::Result;
use crate::random;

/// Largest residual that reaches the networks in training: keeps gradients finite.
const RESIDUAL_CEILING: f32 = 1e15;

/// What the verifier of one operation knows before it is trained.
pub struct Judge {
    pub operation: Arc<Operation>,
    pub generator: Generator,
    pub check: Check,
    pub sketches: u32,
    /// Whether the verifier is the baseline perceptron, which looks at no residuals.
    pub baseline: bool,
    pub device: Device,
}

/// Inputs with everything that does not depend on a claim, under one fresh key.
pub struct Batch {
    pub inputs: Vec<Tensor>,
    /// The true output.
    pub truth: Tensor,
    /// The true output as some runtime computed it, and its proof.
    pub honest: Tensor,
    pub proof: Tensor,
    pub folded: Tensor,
    prepared: Option<Prepared>,
    contracted: Option<Contracted>,
}

impl Judge {
    /// Prepares a batch. The secret vectors are drawn anew: one head must serve every key.
    pub fn batch(
        &self,
        inputs: Vec<Tensor>,
        variant: usize,
        random: &mut ChaCha20Rng,
    ) -> Result<Batch> {
        let contracted = match (self.check, self.operation.linear()) {
            (Check::Sketch, Some(linear)) if !self.baseline => {
                let shape = [linear.features(), self.sketches as usize];
                Some(linear.contract(&random::normal(random, &shape, &self.device)?)?)
            }
            _ => None,
        };
        let truth = self.operation.forward(&inputs)?;
        let honest = fakes::honest_output(&self.operation, &inputs, variant, random)?;
        let (prepared, folded) = if self.baseline {
            (None, self.generator.fold_inputs(&inputs)?)
        } else {
            let prepared =
                Prepared::new(&self.operation, &self.generator, &inputs, contracted.as_ref())?;
            let folded = prepared.folded.clone();
            (Some(prepared), folded)
        };
        let proof = self.generator.proof(&folded, &honest)?;
        Ok(Batch { inputs, truth, honest, proof, folded, prepared, contracted })
    }

    /// What the verifier sees of a claim.
    pub fn show<'a>(
        &self,
        batch: &'a Batch,
        output: &'a Tensor,
        proof: &'a Tensor,
    ) -> Result<Shown<'a>> {
        let features = match &batch.prepared {
            Some(prepared) => {
                let contracted = batch.contracted.as_ref();
                let residual = prepared.output_residual(&self.operation, contracted, output)?;
                let of_proof = proof_residual(&self.generator, &batch.folded, output, proof)?;
                let residual = residual.minimum(RESIDUAL_CEILING)?;
                Some(features(&residual, &of_proof.minimum(RESIDUAL_CEILING)?)?)
            }
            None => None,
        };
        Ok(Shown { features, inputs: &batch.inputs, output, proof })
    }

    /// `spread` of each sample whose true output is not zero.
    pub fn spreads(&self, batch: &Batch) -> Result<Vec<f64>> {
        let Some(prepared) = &batch.prepared else { return Ok(vec![]) };
        let spreads = prepared.spread(&self.operation, &batch.truth)?;
        Ok(spreads.into_iter().filter(|spread| spread.is_finite()).collect())
    }

    /// Elements that one sample takes while it is checked: what bounds a batch in memory.
    pub fn elements(&self) -> usize {
        elements(&self.operation)
    }
}

/// Elements that one sample of an operation takes while it is computed.
pub fn elements(operation: &Operation) -> usize {
    let spec = operation.spec();
    let gathered = operation.linear().map_or(0, |linear| {
        if linear.is_channels_first() { linear.reduction() * linear.positions() } else { 0 }
    });
    spec.inputs_len() + spec.output_len() + gathered
}

/// Claims of the five cases about one batch.
pub struct Claims {
    /// Output and proof of each case.
    pub cases: BTreeMap<Case, (Tensor, Tensor)>,
    /// Whether each sample's fake output is the adversary's.
    pub by_adversary: Vec<bool>,
}

impl Claims {
    /// Builds the five cases: fake outputs by the adversary for every second sample and by random
    /// deviations, log-uniform in `least` to 1, for the others.
    pub fn new(
        judge: &Judge,
        batch: &Batch,
        adversary: &Adversary,
        least: f64,
        random: &mut ChaCha20Rng,
    ) -> Result<Self> {
        let count = batch.truth.dim(0)?;
        let asked: Vec<f64> = (0..count).map(|_| random::log_uniform(random, least, 1.)).collect();
        let moved = fakes::deviate(&batch.truth, &asked, random)?;
        let made = adversary.output(&judge.operation, &batch.inputs, &batch.truth)?.detach();
        let made_deviations = fakes::relative_deviations(&made, &batch.truth)?;
        // An adversary that hit the true output made no fake.
        let by_adversary: Vec<bool> = made_deviations
            .iter()
            .enumerate()
            .map(|(index, deviation)| {
                index % 2 == 0 && *deviation >= least && deviation.is_finite()
            })
            .collect();
        let fake = select(&by_adversary, &made, &moved)?;
        let adversary_proof = adversary.proof(&judge.generator, &batch.folded, &fake)?.detach();
        let fake_proof = fakes::fake_proofs(&batch.proof, 1e-3, random)?;
        let generated = judge.generator.proof(&batch.folded, &fake)?;
        let cases = BTreeMap::from([
            (Case::Honest, (batch.honest.clone(), batch.proof.clone())),
            (Case::FakeOutputFakeProof, (fake.clone(), adversary_proof)),
            (Case::RealOutputFakeProof, (batch.honest.clone(), fake_proof)),
            (Case::FakeOutputRealProof, (fake.clone(), batch.proof.clone())),
            (Case::FakeOutputGeneratedProof, (fake, generated)),
        ]);
        Ok(Self { cases, by_adversary })
    }
}

/// Rows of `a` where `choose`, of `b` elsewhere.
fn select(choose: &[bool], a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; a.rank()];
    shape[0] = choose.len();
    let mask: Vec<u8> = choose.iter().map(|&c| c.into()).collect();
    let mask = Tensor::from_vec(mask, shape, a.device())?.broadcast_as(a.shape())?;
    Ok(mask.where_cond(a, b)?)
}

/// Logits of a shown claim, one per sample, NaN as minus infinity.
pub fn logits(network: &Trainable, shown: &Shown) -> Result<Vec<f64>> {
    let logits = network.logits(shown)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(logits
        .into_iter()
        .map(|v| if v.is_nan() { f64::NEG_INFINITY } else { f64::from(v) })
        .collect())
}
