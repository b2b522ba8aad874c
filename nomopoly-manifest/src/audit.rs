//! What an audit measured: the contents of `audit.json`, the guarantee ledger of a model.
//!
//! Nothing here depends on the clock, so that equal inputs and seeds give equal bytes.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Certificate, CheckCost, DeviationPoint, Rate};

/// Version of [`Audit`]. A change of an attack's meaning is a new version.
pub const AUDIT_SCHEMA: u32 = 1;

/// Who attacks, by what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attacker {
    /// Sees traffic, has no prover.
    Outsider,
    /// Holds the model, the prover, the verifier's architecture and trained head; not the key.
    Host,
    /// A host with accept or reject answers (or scores, where an attack says so).
    Oracle,
    /// A host with the verifier key.
    WhiteBox,
}

impl Attacker {
    pub const ALL: [Self; 4] = [Self::Outsider, Self::Host, Self::Oracle, Self::WhiteBox];

    /// Name for tables and plots.
    pub fn label(self) -> &'static str {
        match self {
            Self::Outsider => "outsider",
            Self::Host => "host",
            Self::Oracle => "oracle host",
            Self::WhiteBox => "white box",
        }
    }
}

impl fmt::Display for Attacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// What an attack changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// The output, without regard to the verifier.
    Outputs,
    /// The model that is run.
    Substituted,
    /// The proof vector.
    Proofs,
    /// The output, against this very verifier.
    Adaptive,
}

impl Family {
    pub const ALL: [Self; 4] = [Self::Outputs, Self::Substituted, Self::Proofs, Self::Adaptive];

    /// Name for tables and plots.
    pub fn label(self) -> &'static str {
        match self {
            Self::Outputs => "wrong outputs",
            Self::Substituted => "substituted models",
            Self::Proofs => "forged proofs",
            Self::Adaptive => "adaptive",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A verifier of one operation that an audit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defence {
    /// The compiled verifier: residuals and the trained head.
    Learned,
    /// The same residuals against one fixed threshold, nothing learned.
    FixedThreshold,
    /// A plain perceptron on input, output and proof.
    Perceptron,
    /// Recomputing the operation and comparing within rounding.
    Recompute,
}

impl Defence {
    pub const ALL: [Self; 4] =
        [Self::Learned, Self::FixedThreshold, Self::Perceptron, Self::Recompute];

    /// Name for tables and plots.
    pub fn label(self) -> &'static str {
        match self {
            Self::Learned => "compiled verifier",
            Self::FixedThreshold => "fixed threshold",
            Self::Perceptron => "perceptron",
            Self::Recompute => "recompute",
        }
    }
}

impl fmt::Display for Defence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// How a whole-model check treats one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckedHow {
    /// Its revealed output is compared with secret contractions of the operation.
    Sketch,
    /// Its claimed output is compared with the recomputed one.
    Replay,
    /// The verifier computes it itself: the host claims nothing about it.
    Recomputed,
    /// A perceptron judges it, or nothing does: no bound holds.
    Unverified,
}

impl CheckedHow {
    /// Name for tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Sketch => "sketch",
            Self::Replay => "replay",
            Self::Recomputed => "recomputed",
            Self::Unverified => "unverified",
        }
    }
}

impl fmt::Display for CheckedHow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The contents of `audit.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// [`AUDIT_SCHEMA`] of the writer.
    pub schema: u32,
    /// Version of the crate `nomopoly-build` that wrote it.
    pub version: String,
    /// File name of the model.
    pub model: String,
    /// BLAKE3 of the model, 64 hexadecimal digits.
    pub digest: String,
    pub settings: AuditSettings,
    /// Whether every attack of the suite was run, within its budget.
    pub is_whole: bool,
    /// What was asked for and not run, with the reason: no time left, or what it needs is absent.
    pub skipped: Vec<Skipped>,
    /// Every node that computes something, in the model's order.
    pub operations: Vec<OperationAudit>,
    pub whole: WholeModelAudit,
}

/// What an audit was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditSettings {
    /// Trials of each cheap attack on each operation, and honest runs.
    pub samples: u32,
    pub seed: u64,
    /// Names of the attacks, in the order of the suite.
    pub attacks: Vec<String>,
    /// Where inputs came from: `generated`, or the name of a file.
    pub data: String,
    /// How many distinct inputs there were; further trials repeat them under fresh keys.
    pub distinct_inputs: u32,
    /// Runtimes that made honest runs.
    pub runtimes: Vec<String>,
    /// Smallest relative deviation that counts as a wrong output: compile option
    /// `min_deviation`.
    pub min_deviation: f64,
    /// Compile option `soundness_bits`.
    pub soundness_bits: u32,
}

/// Something that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// For example `pgd on fc1.out`.
    pub what: String,
    pub reason: String,
}

/// The ledger of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationAudit {
    /// Name of the node's output.
    pub operation: String,
    /// ONNX `op_type`.
    pub kind: String,
    pub checked: CheckedHow,
    /// Registry entry; absent for nodes without an artefact, which the verifier recomputes.
    pub entry: Option<String>,
    /// The bound of the compiled verifier; absent where nothing is certified and for nodes
    /// without an artefact.
    pub certificate: Option<Certificate>,
    /// Multiply-accumulates of one check and of one recompute.
    pub cost: Option<CheckCost>,
    /// Bytes that a proof holds for this node: revealed output and proof vector.
    pub bytes: u64,
    /// Honest runs by runtime and input scale.
    pub honest: Vec<HonestFigures>,
    /// In the order of the suite.
    pub attacks: Vec<AttackFigures>,
    /// Measured acceptance of the errors that the certificate is tight for, beside the certified
    /// bound, both averaged over the same inputs.
    pub agreement: Vec<DeviationPoint>,
    /// Where the compiled verifier is no better than a fixed threshold, in a sentence.
    pub no_better_than_fixed: Option<String>,
}

/// Honest runs of one runtime at one scale of the model's inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HonestFigures {
    /// `tract`, `candle`, `onnxruntime`.
    pub runtime: String,
    /// The model's inputs were multiplied by this; 1 for inputs as they are.
    pub scale: f64,
    /// Wrongly rejected.
    pub rejected: BTreeMap<Defence, Rate>,
    /// Largest output residual in rounding units, where residuals are taken.
    pub largest_residual: Option<f64>,
}

/// One attack on one operation, or on the whole model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttackFigures {
    /// Name of the attack, as `--attacks` takes it.
    pub attack: String,
    pub family: Family,
    pub attacker: Attacker,
    /// What the attacker spent or how the attack was set, for example `20 restarts, 500 steps`.
    pub setting: String,
    /// What each verifier accepted.
    pub accepted: BTreeMap<Defence, Accepted>,
    /// Relative deviations of the attacker's outputs; absent for forged proofs of true outputs.
    pub deviations: Option<Deviations>,
}

/// What a verifier accepted of an attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Accepted claims whose deviation is `min_deviation` or more; for forged proofs of true
    /// outputs, all.
    pub wrong: Rate,
    /// Accepted claims of smaller deviation: within rounding they are what honest runtimes give.
    pub small: Rate,
    /// Largest deviation that was accepted.
    pub largest: Option<f64>,
}

/// The relative deviations that an attack made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deviations {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

/// The ledger of the model as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WholeModelAudit {
    /// Whole-model checks of honest runs, each after a round trip through the wire format.
    pub honest: Vec<HonestFigures>,
    /// Substituted models and edited outputs against the whole-model check.
    pub attacks: Vec<AttackFigures>,
    /// Every operation's tolerance spent at once to change the model's answer.
    pub drift: Vec<DriftPoint>,
    /// Bytes of one proof.
    pub proof_bytes: u64,
    /// Multiply-accumulates of checking and of running the operations that have an artefact.
    pub cost: CheckCost,
}

/// A drift attack of one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftPoint {
    pub attacker: Attacker,
    /// How the direction was found: `gradient` or `random search`.
    pub direction: String,
    /// Share of each operation's acceptance threshold that is spent.
    pub spent: f64,
    pub accepted: Rate,
    /// Relative deviation of the model's first output: median over the accepted runs.
    pub moved: Option<f64>,
    /// The largest over the accepted runs.
    pub most_moved: Option<f64>,
    /// Accepted runs whose largest output element is another one than in the honest run.
    pub class_changed: Rate,
}
