//! Whether checking a model costs less than running it: an estimate from its operations.

use nomopoly_build::manifest::{Check, Metrics};
use serde_json::{Value, json};

use crate::numbers::{bytes, count, percent};

/// Multiply-accumulates a second of inference in tract, and of sketches, on one core; nanoseconds for
/// each element that a check looks at, and for each operation with a proof vector. From ResNet-18,
/// MobileNetV2, MiniLM and the digits (docs/BENCHMARKS.md); another machine is faster or slower at
/// all of them alike.
const INFERENCE: f64 = 35e9;
const SKETCHES: f64 = 80e9;
const PER_ELEMENT: f64 = 1.25;
const PER_OPERATION: f64 = 3_000.;

/// What a full check and a proof of a model cost, in what its operations count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Worth {
    /// Multiply-accumulates of running the operations that have an artefact.
    recompute: u64,
    /// Multiply-accumulates of checking them.
    check: u64,
    /// Elements of inputs and outputs of the sketched ones.
    looked_at: u64,
    /// Elements that a proof reveals.
    revealed: u64,
    sketched: u64,
}

impl Worth {
    pub fn of(metrics: &[Metrics]) -> Self {
        let mut worth = Self::default();
        for metrics in metrics {
            let cost = &metrics.figures.cost;
            worth.recompute += cost.recompute;
            worth.check += cost.verify;
            if metrics.check == Check::Sketch {
                let operation = &metrics.operation;
                worth.sketched += 1;
                worth.revealed += operation.output_len() as u64;
                worth.looked_at += (operation.inputs_len() + operation.output_len()) as u64;
            }
        }
        worth
    }

    /// Estimated time of a check over that of running the model.
    fn ratio(&self) -> f64 {
        let run = self.recompute as f64 / INFERENCE;
        let sketches = self.check as f64 / SKETCHES;
        let looking =
            1e-9 * (PER_ELEMENT * self.looked_at as f64 + PER_OPERATION * self.sketched as f64);
        (sketches + looking) / run.max(1e-12)
    }

    fn advice(&self) -> &'static str {
        match self.ratio() {
            _ if self.sketched == 0 => {
                "nothing is checked by sketch: a verifier recomputes the whole model. Run it yourself, \
                 a proof saves nothing"
            }
            ratio if ratio > 0.8 => {
                "recomputing wins: run the model yourself, or ask a host for receipts and check a few \
                 operations of some inferences"
            }
            ratio if ratio > 0.4 => {
                "a check saves little: receipts, of which a few operations are checked, save more"
            }
            _ => "a check is worth it",
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "multiply_accumulates_of_inference": self.recompute,
            "multiply_accumulates_of_a_check": self.check,
            "revealed_elements": self.revealed,
            "estimated_check_over_inference": self.ratio(),
            "advice": self.advice(),
        })
    }

    pub fn text(&self) -> String {
        format!(
            "a check takes {} multiply-accumulates beside {} of inference; a proof reveals {}\n\
             estimated time of a check over inference in tract: {}; measure with your inputs before \
             you rely on it\n{}\n",
            count(self.check),
            count(self.recompute),
            bytes(4 * self.revealed),
            percent(self.ratio()),
            self.advice(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_products_are_worth_a_check_and_small_ones_are_not() {
        let large = Worth {
            recompute: 1_800_000_000,
            check: 235_000_000,
            looked_at: 4_800_000,
            revealed: 2_500_000,
            sketched: 21,
        };
        assert!(large.ratio() < 0.3 && large.advice() == "a check is worth it", "{large:?}");
        let small =
            Worth { recompute: 30_000, check: 9_000, looked_at: 2000, revealed: 64, sketched: 1 };
        assert!(small.ratio() > 0.8 && small.advice().contains("recomputing wins"), "{small:?}");
        assert!(Worth::default().advice().contains("nothing is checked by sketch"));
    }
}
