//! The verifiers that attacks are tried on: the compiled one, and the baselines of every table.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use nomopoly_manifest::Defence;
use nomopoly_runtime::{
    CompiledOperation, NamedTensor, OperationVerifier, PreparedInputs, Proof, Report, VerifierKey,
};

use super::subject::{Claim, Subject};
use crate::error::Result;

/// A verifier of one operation that adaptive attacks work against.
pub trait Verifier: Sync {
    /// The verifier with a key, shown a batch of inputs.
    ///
    /// # Errors
    /// When a shape does not fit.
    fn round(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Box<dyn Round>>;

    /// Whether its verdicts depend on the key. Where they do not, a host can ask itself.
    fn is_keyed(&self) -> bool {
        true
    }
}

/// One verifier, one key, one batch of inputs: what is left to judge is claims.
pub trait Round {
    /// Logits `[B]` of claims, accepted at 0 and above; gradients reach the output.
    ///
    /// # Errors
    /// When a shape does not fit.
    fn logits(&self, claim: &Claim) -> Result<Tensor>;

    /// A smoother measure of what speaks against each claim, `[B]`: smaller is better for the
    /// attacker. Where logits see the worst position only, it sees them all.
    ///
    /// # Errors
    /// When a shape does not fit.
    fn evidence(&self, claim: &Claim) -> Result<Tensor> {
        Ok(self.logits(claim)?.neg()?)
    }

    /// The verdicts.
    ///
    /// # Errors
    /// When a shape does not fit.
    fn accepts(&self, claim: &Claim) -> Result<Vec<bool>> {
        // Not a number is not accepted.
        Ok(self.logits(claim)?.to_vec1::<f32>()?.into_iter().map(|logit| logit >= 0.).collect())
    }

    /// The secret vectors `[features, k]`, for the white box.
    fn vectors(&self) -> Option<Tensor> {
        None
    }
}

/// A verifier as it was compiled: the runtime's own.
pub struct Compiled {
    pub operation: CompiledOperation,
    pub device: Device,
}

struct CompiledRound {
    verifier: OperationVerifier,
    inputs: PreparedInputs,
}

impl Verifier for Compiled {
    fn round(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Box<dyn Round>> {
        let verifier = OperationVerifier::new(self.operation.clone(), key, &self.device)?;
        let inputs = verifier.prepare(inputs)?;
        Ok(Box::new(CompiledRound { verifier, inputs }))
    }

    fn is_keyed(&self) -> bool {
        self.operation.artefact.header.sketches > 0
    }
}

impl Round for CompiledRound {
    fn logits(&self, claim: &Claim) -> Result<Tensor> {
        Ok(self.verifier.logits(&self.inputs, &claim.output, &claim.proof)?)
    }

    fn evidence(&self, claim: &Claim) -> Result<Tensor> {
        Ok(match self.verifier.features(&self.inputs, &claim.output, &claim.proof)? {
            // The root mean square of the output's residual.
            Some(features) => features.narrow(1, 1, 1)?.flatten_all()?,
            None => self.logits(claim)?.neg()?,
        })
    }

    fn accepts(&self, claim: &Claim) -> Result<Vec<bool>> {
        let verdicts = self.verifier.judge(&self.inputs, &claim.output, &claim.proof)?;
        Ok(verdicts.iter().map(nomopoly_runtime::Verdict::accepted).collect())
    }

    fn vectors(&self) -> Option<Tensor> {
        self.verifier.contracted().map(|contracted| contracted.vectors.clone())
    }
}

/// Verifiers that claims are tried on.
pub trait Judges: Sync {
    /// The verifiers with a key, shown a batch of inputs.
    ///
    /// # Errors
    /// When a shape does not fit.
    fn jury(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Box<dyn Jury>>;
}

/// Verifiers with one key and one batch of inputs.
pub trait Jury {
    /// What each of them accepts.
    ///
    /// # Errors
    /// When a shape does not fit.
    fn verdicts(&self, claim: &Claim) -> Result<BTreeMap<Defence, Vec<bool>>>;
}

/// Is told of every verdict on a whole inference: key, inputs, proof and report.
pub type Witness<'a> =
    &'a (dyn Fn(&VerifierKey, &[NamedTensor], &Proof, &Report) -> Result<()> + Sync);

/// All verifiers of an operation that an audit compares.
pub struct Panel {
    learned: CompiledOperation,
    perceptron: Option<CompiledOperation>,
    device: Device,
}

/// The panel with one key and one batch of inputs.
pub struct PanelRound {
    learned: CompiledRound,
    perceptron: Option<CompiledRound>,
    /// What recomputing gives, and the rounding unit of each element.
    truth: Tensor,
    unit: Tensor,
}

/// Verdicts of the panel on a batch of claims.
pub struct PanelVerdicts {
    pub accepted: BTreeMap<Defence, Vec<bool>>,
    /// Largest output residual of each claim in rounding units, where residuals are taken.
    pub residuals: Vec<Option<f64>>,
}

impl Panel {
    pub fn new(subject: &Subject, perceptron: Option<CompiledOperation>) -> Self {
        Self { learned: subject.compiled.clone(), perceptron, device: subject.device.clone() }
    }

    /// The perceptron, where one was trained.
    pub fn perceptron(&self) -> Option<&CompiledOperation> {
        self.perceptron.as_ref()
    }

    /// The panel with a key, shown a batch of inputs.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn round(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<PanelRound> {
        let round = |compiled: &CompiledOperation| -> Result<CompiledRound> {
            let verifier = OperationVerifier::new(compiled.clone(), key, &self.device)?;
            let inputs = verifier.prepare(inputs)?;
            Ok(CompiledRound { verifier, inputs })
        };
        let operation = &self.learned.operation;
        let truth = operation.forward(inputs)?;
        Ok(PanelRound {
            learned: round(&self.learned)?,
            perceptron: self.perceptron.as_ref().map(round).transpose()?,
            unit: operation.element_unit(inputs, &truth)?,
            truth,
        })
    }
}

impl Judges for Panel {
    fn jury(&self, key: &VerifierKey, inputs: &[Tensor]) -> Result<Box<dyn Jury>> {
        Ok(Box::new(self.round(key, inputs)?))
    }
}

impl Jury for PanelRound {
    fn verdicts(&self, claim: &Claim) -> Result<BTreeMap<Defence, Vec<bool>>> {
        Ok(self.judge(claim)?.accepted)
    }
}

impl PanelRound {
    /// # Errors
    /// When a shape does not fit.
    pub fn judge(&self, claim: &Claim) -> Result<PanelVerdicts> {
        let mut accepted = BTreeMap::new();
        let CompiledRound { verifier, inputs } = &self.learned;
        let verdicts = verifier.judge(inputs, &claim.output, &claim.proof)?;
        let learned = verdicts.iter().map(nomopoly_runtime::Verdict::accepted).collect();
        accepted.insert(Defence::Learned, learned);
        let residuals = verdicts.iter().map(|verdict| verdict.residual).collect();
        let envelope = verifier.compiled().artefact.header.options.envelope;
        let within = |residual: Option<f64>| residual.is_some_and(|residual| residual <= envelope);
        if verdicts.iter().all(|verdict| verdict.residual.is_some()) {
            let fixed = verdicts.iter().map(|v| within(v.residual) && within(v.proof_residual));
            accepted.insert(Defence::FixedThreshold, fixed.collect());
        }
        if let Some(perceptron) = &self.perceptron {
            accepted.insert(Defence::Perceptron, perceptron.accepts(claim)?);
        }
        let error = (&claim.output - &self.truth)?.abs()?.broadcast_div(&self.unit)?;
        let error = error.reshape((error.dim(0)?, ()))?;
        // The maximum skips NaN, the sum does not.
        let (most, sum) = (error.max(1)?.to_vec1::<f32>()?, error.sum(1)?.to_vec1::<f32>()?);
        let same = most.iter().zip(sum);
        let same = same.map(|(most, sum)| sum.is_finite() && f64::from(*most) <= envelope);
        accepted.insert(Defence::Recompute, same.collect());
        Ok(PanelVerdicts { accepted, residuals })
    }
}
