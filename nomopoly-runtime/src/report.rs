//! What a verifier found.

use std::fmt;

use serde::Serialize;

use crate::onnx::Digest;

/// How one node of the model was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CheckedBy {
    /// Its revealed output was compared with secret contractions of the operation.
    Sketch,
    /// Its claimed output was compared with the recomputed one.
    Replay,
    /// The baseline perceptron judged it. This certifies nothing.
    Baseline,
    /// The verifier computed it itself; the host claims nothing about it.
    Recomputed,
}

impl fmt::Display for CheckedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sketch => "sketch",
            Self::Replay => "replay",
            Self::Baseline => "baseline",
            Self::Recomputed => "recomputed",
        })
    }
}

/// One node of the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperationReport {
    /// Name of the node's output.
    pub operation: String,
    /// ONNX `op_type`.
    pub kind: String,
    pub checked_by: CheckedBy,
    pub accepted: bool,
    /// 0 to 1, accepted at 0.5 and above; absent where nothing is claimed.
    pub score: Option<f64>,
    /// Largest residual in rounding units.
    pub residual: Option<f64>,
    /// Smallest relative deviation that is certified to be rejected for this input.
    pub certified_deviation: Option<f64>,
    /// Why it was rejected.
    pub reason: Option<String>,
}

/// The outcome of checking one inference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub model: Digest,
    /// Every node, in the model's order.
    pub operations: Vec<OperationReport>,
}

impl Report {
    /// Whether everything was accepted.
    pub fn accepted(&self) -> bool {
        self.operations.iter().all(|operation| operation.accepted)
    }

    /// The operations that were not accepted, in the model's order.
    pub fn rejected(&self) -> impl Iterator<Item = &OperationReport> {
        self.operations.iter().filter(|operation| !operation.accepted)
    }

    /// One sentence: accepted, or the first operation that was not and why.
    pub fn reason(&self) -> String {
        let others = self.rejected().count().saturating_sub(1);
        match self.rejected().next() {
            None => "every operation was accepted".into(),
            Some(first) => {
                let reason = first.reason.as_deref().unwrap_or("its score is below 0.5");
                let more = match others {
                    0 => String::new(),
                    n => format!(" (and {n} more)"),
                };
                format!("operation `{}` ({}): {reason}{more}", first.operation, first.kind)
            }
        }
    }
}
