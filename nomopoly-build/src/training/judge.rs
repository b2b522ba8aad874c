//! Showing claims to a verifier in training: batches, residual features, the five cases.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use nomopoly_manifest::{Case, Check};
use nomopoly_runtime::generator::Generator;
use nomopoly_runtime::operations::Operation;
use nomopoly_runtime::operations::linear::Contracted;
use nomopoly_runtime::residual::{Prepared, half, proof_residual};
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
    /// The true output as some runtime computed it, and what is seen of it.
    pub honest: Tensor,
    pub seen: Seen,
    prepared: Option<Prepared>,
    contracted: Option<Contracted>,
}

/// What can be worked out of a claimed output, whatever the proof.
pub struct Seen {
    /// The half of the features that the output decides; the perceptron looks at none.
    features: Option<Tensor>,
    /// The generator's proof of the output.
    pub proof: Tensor,
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
        let prepared = (!self.baseline)
            .then(|| Prepared::new(&self.operation, &inputs, contracted.as_ref()))
            .transpose()?;
        let seen = self.look(prepared.as_ref(), contracted.as_ref(), &honest)?;
        Ok(Batch { inputs, truth, honest, seen, prepared, contracted })
    }

    /// The judge of a part of the operation.
    pub fn on(&self, part: &Arc<Operation>) -> Result<Self> {
        let spec = part.spec();
        Ok(Self {
            operation: part.clone(),
            generator: self.generator.at(&spec.output_shape)?,
            check: self.check,
            sketches: self.sketches,
            baseline: self.baseline,
            device: self.device.clone(),
        })
    }

    /// Looks at a claimed output.
    pub fn see(&self, batch: &Batch, output: &Tensor) -> Result<Seen> {
        self.look(batch.prepared.as_ref(), batch.contracted.as_ref(), output)
    }

    fn look(
        &self,
        prepared: Option<&Prepared>,
        contracted: Option<&Contracted>,
        output: &Tensor,
    ) -> Result<Seen> {
        let features = match prepared {
            Some(prepared) => {
                let residual = prepared.output_residual(&self.operation, contracted, output)?;
                Some(half(&residual.minimum(RESIDUAL_CEILING)?)?)
            }
            None => None,
        };
        Ok(Seen { features, proof: self.generator.proof(output)? })
    }

    /// What the verifier sees of a claim.
    pub fn show<'a>(
        &self,
        batch: &'a Batch,
        output: &'a Tensor,
        seen: &Seen,
        proof: &'a Tensor,
    ) -> Result<Shown<'a>> {
        let features = match &seen.features {
            Some(features) => {
                let residual = proof_residual(&self.generator, &seen.proof, proof)?;
                Some(Tensor::cat(&[features, &half(&residual.minimum(RESIDUAL_CEILING)?)?], 1)?)
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
    /// The fake outputs of three of them, and what is seen of those.
    fake: Tensor,
    seen: Seen,
    /// The proof of each case.
    proofs: BTreeMap<Case, Tensor>,
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
        let seen = judge.see(batch, &fake)?;
        let adversary_proof = adversary.proof(&judge.generator, &fake)?.detach();
        let fake_proof = fakes::fake_proofs(&batch.seen.proof, 1e-3, random)?;
        let proofs = BTreeMap::from([
            (Case::Honest, batch.seen.proof.clone()),
            (Case::FakeOutputFakeProof, adversary_proof),
            (Case::RealOutputFakeProof, fake_proof),
            (Case::FakeOutputRealProof, batch.seen.proof.clone()),
            (Case::FakeOutputGeneratedProof, seen.proof.clone()),
        ]);
        Ok(Self { fake, seen, proofs, by_adversary })
    }

    /// Each case, and what the verifier sees of its claims about the batch.
    pub fn shown<'a>(
        &'a self,
        judge: &'a Judge,
        batch: &'a Batch,
    ) -> impl Iterator<Item = Result<(Case, Shown<'a>)>> {
        self.proofs.iter().map(|(case, proof)| {
            let (output, seen) = match case {
                Case::Honest | Case::RealOutputFakeProof => (&batch.honest, &batch.seen),
                _ => (&self.fake, &self.seen),
            };
            Ok((*case, judge.show(batch, output, seen, proof)?))
        })
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
