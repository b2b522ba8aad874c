//! What a compilation measured: the contents of `compilation_metrics.json`.
//!
//! Nothing here depends on the clock, so that equal inputs and seeds give equal bytes; seconds
//! are in `compilation.log`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Check, CompileOptions, OperationSpec};

/// The five cases of a training batch: what was presented, and whether to accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// True output, its proof. The only case to accept.
    Honest,
    /// Fake output, fake proof.
    FakeOutputFakeProof,
    /// True output, fake proof.
    RealOutputFakeProof,
    /// Fake output with the proof of the true output.
    FakeOutputRealProof,
    /// Fake output with the public generator's proof of it.
    FakeOutputGeneratedProof,
}

impl Case {
    pub const ALL: [Self; 5] = [
        Self::Honest,
        Self::FakeOutputFakeProof,
        Self::RealOutputFakeProof,
        Self::FakeOutputRealProof,
        Self::FakeOutputGeneratedProof,
    ];

    /// Name for tables and plots.
    pub fn label(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::FakeOutputFakeProof => "fake output, fake proof",
            Self::RealOutputFakeProof => "real output, fake proof",
            Self::FakeOutputRealProof => "fake output, real proof",
            Self::FakeOutputGeneratedProof => "fake output, generated proof",
        }
    }
}

/// An observed error rate with its exact one-sided 95 % Clopper-Pearson upper bound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub errors: u64,
    pub samples: u64,
    /// The true rate is below this with 95 % confidence.
    pub upper_95: f64,
}

impl Rate {
    /// Observed share of errors; 0 when nothing was sampled.
    pub fn observed(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.errors as f64 / self.samples as f64 }
    }

    /// Whether this rate tells something beside others of up to `most` samples: a bound from few
    /// samples is wide whatever they show, so those count only if they show errors.
    pub fn is_telling(&self, most: u64) -> bool {
        self.errors > 0 || (self.samples > 0 && self.samples.saturating_mul(10) >= most)
    }
}

/// One epoch of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// Mean binary cross-entropy of the verifier's head over the epoch's steps, in nats.
    pub verifier_loss: f64,
    /// Mean loss of the adversary: -ln(score that the verifier gives its fakes), in nats.
    pub adversary_loss: f64,
    /// Share of held-out samples judged rightly, by case.
    pub accuracy: BTreeMap<Case, f64>,
    /// Mean of `accuracy` over the five cases.
    pub mean_accuracy: f64,
    /// Share of the adversary's fakes, each with the public generator's proof, that were accepted.
    pub fool_rate: f64,
    /// Mean score of honest held-out samples.
    pub honest_score: f64,
    /// Mean score of fake held-out samples over the four fake cases.
    pub fake_score: f64,
    /// `honest_score - fake_score`.
    pub score_separation: f64,
    /// Smallest relative deviation of the fakes in this epoch.
    pub deviation: f64,
}

/// The bound of DESIGN §2.4. A wrong output whose relative deviation is d passes all sketches
/// with probability at most `(2Φ(threshold · spread / d) - 1)^sketches` over the verifier key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Number of secret Gaussian vectors; 0 for replay, whose bound is not probabilistic.
    pub sketches: u32,
    /// Largest residual, in rounding units, that is accepted when every other feature is 0.
    pub threshold: f64,
    /// Root of the sum over positions of the squared rounding unit, over the norm of the true
    /// output: the worst of the held-out inputs.
    pub spread: f64,
    /// `spread` of the median held-out input.
    pub median_spread: f64,
    /// Certified bits at the option `min_deviation`: `-log2` of the bound. `None` stands for
    /// "always rejected" (replay).
    pub bits_at_min_deviation: Option<f64>,
    /// Smallest relative deviation whose bound is at most 2^-`soundness_bits`.
    pub deviation_at_soundness_bits: f64,
}

/// What checking costs, in multiply-accumulates of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCost {
    pub recompute: u64,
    pub verify: u64,
}

/// Counts of scores in equal bins over 0 to 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    pub counts: Vec<u64>,
}

/// False acceptance of dense Gaussian deviations of one size, with the generator's proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviationPoint {
    /// Relative deviation of the fake output.
    pub deviation: f64,
    /// `log2` of the certified bound for the worst held-out input (at most 0); `None` where the
    /// bound is 0.
    pub certified_log2: Option<f64>,
    /// Measured false acceptance.
    pub measured: Rate,
}

/// The final figures, measured on inputs that neither training nor any choice saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Mean over the five cases of the share judged rightly.
    pub accuracy: f64,
    /// Errors by case.
    pub cases: BTreeMap<Case, Rate>,
    /// Honest runs rejected (FRR), over inputs at the scales 0, 1e-3, 1 and 1e3.
    pub completeness_error: Rate,
    /// Wrong outputs accepted (FAR) over the three fake-output cases, deviations of
    /// `min_deviation` and larger.
    pub soundness_error: Rate,
    /// Absent for [`crate::Architecture::Mlp`], which certifies nothing.
    pub certificate: Option<Certificate>,
    /// Epochs trained.
    pub epochs: u32,
    pub cost: CheckCost,
}

/// The contents of `compilation_metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// [`crate::ARTEFACT_SCHEMA`] of the writer.
    pub schema: u32,
    /// Name of the registry entry.
    pub entry: String,
    pub operation: OperationSpec,
    pub check: Check,
    pub options: CompileOptions,
    pub history: Vec<Epoch>,
    pub figures: Figures,
    /// Scores on the test inputs by case.
    pub scores: BTreeMap<Case, Histogram>,
    /// False acceptance against deviation, largest deviation first.
    pub deviations: Vec<DeviationPoint>,
}
