//! What an audit measured of a model, as constants: who attacked each operation how, and what its
//! compiled verifier accepted.
//!
//! `nomopoly-build` writes these as Rust text into a crate's `OUT_DIR`, so that a program can state
//! and test its own guarantees without reading a file.

use nomopoly_manifest::{Attacker, CheckCost, Family};

use super::model::Measured;
use crate::report::CheckedBy;

/// The guarantee ledger of a model. All figures are of the compiled verifier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ledger {
    /// Version of `nomopoly-build` that audited the model.
    pub version: &'static str,
    /// Trials of each cheap attack on each operation, and honest runs.
    pub samples: u32,
    pub seed: u64,
    /// Where inputs came from: `generated`, or the name of a file.
    pub data: &'static str,
    /// How many distinct inputs there were; further trials repeat them under fresh keys.
    pub distinct_inputs: u32,
    /// Smallest relative deviation that counts as a wrong output.
    pub min_deviation: f64,
    /// The bits that the certificates aim at.
    pub soundness_bits: u32,
    /// Every node that computes something, in the model's order.
    pub operations: &'static [AuditedOperation],
    /// The whole-model check.
    pub model: AuditedModel,
    /// What was asked for and not run.
    pub not_run: &'static [NotRun],
}

impl Ledger {
    /// The operation whose output has this name.
    pub fn operation(&self, name: &str) -> Option<&'static AuditedOperation> {
        self.operations.iter().find(|operation| operation.operation == name)
    }
}

/// The ledger of one node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuditedOperation {
    /// Name of the node's output.
    pub operation: &'static str,
    /// ONNX `op_type`.
    pub kind: &'static str,
    /// How a whole-model check treats it. [`CheckedBy::Baseline`] also stands for nodes that
    /// nothing judges: no bound holds.
    pub checked_by: CheckedBy,
    /// Registry entry of the node's artefact.
    pub entry: Option<&'static str>,
    /// The bound of the verifier; absent where nothing is certified and for nodes without an
    /// artefact.
    pub certified: Option<CertifiedBound>,
    /// Multiply-accumulates of one check and of one recompute.
    pub cost: Option<CheckCost>,
    /// Bytes that a proof holds for this node: revealed output and proof vector.
    pub bytes: u64,
    /// Honest runs by runtime and input scale.
    pub honest: &'static [HonestRuns],
    /// In the order of the suite.
    pub attacks: &'static [Attack],
}

impl AuditedOperation {
    /// The attack by one of these attackers with the largest upper bound of wrong outputs accepted;
    /// `None` where none was tried.
    pub fn worst(&self, attackers: &[Attacker]) -> Option<&'static Attack> {
        worst(self.attacks, attackers)
    }
}

/// The bound of a verifier: a wrong output of relative deviation d is accepted with probability at
/// most `(2Φ(threshold · spread / d) - 1)^sketches` over the verifier key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CertifiedBound {
    /// Number of secret vectors; 0 for replay, whose bound is not probabilistic.
    pub sketches: u32,
    /// Largest residual, in rounding units, that is accepted.
    pub threshold: f64,
    /// Rounding units of all positions over the norm of the output: the worst held-out input.
    pub spread: f64,
    /// The same of the median held-out input.
    pub median_spread: f64,
    /// `-log2` of the bound at [`Ledger::min_deviation`]; `None` stands for "always rejected".
    pub bits_at_min_deviation: Option<f64>,
    /// Smallest relative deviation whose bound is at most 2^-[`Ledger::soundness_bits`].
    pub deviation_at_soundness_bits: f64,
}

/// Honest runs of one runtime at one scale of the model's inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HonestRuns {
    /// `tract`, `candle`, `onnxruntime`.
    pub runtime: &'static str,
    /// The model's inputs were multiplied by this; 1 for inputs as they are.
    pub scale: f64,
    /// Wrongly rejected (FRR).
    pub rejected: Measured,
    /// In rounding units, where residuals are taken.
    pub largest_residual: Option<f64>,
}

/// One attack on one operation, or on the whole model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attack {
    pub name: &'static str,
    /// What it changes.
    pub family: Family,
    /// Who makes it.
    pub attacker: Attacker,
    /// What the attacker spent or how the attack was set.
    pub setting: &'static str,
    /// Accepted claims of deviation [`Ledger::min_deviation`] and larger (FAR); for forged proofs
    /// of true outputs, all accepted ones.
    pub wrong: Measured,
    /// Accepted claims of smaller deviation: within rounding they are what honest runtimes give.
    pub small: Measured,
    /// Largest relative deviation that was accepted.
    pub largest_accepted: Option<f64>,
}

/// The ledger of the model as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuditedModel {
    /// Whole-model checks of honest runs.
    pub honest: &'static [HonestRuns],
    /// Substituted models and edited outputs against the whole-model check.
    pub attacks: &'static [Attack],
    /// Every operation's tolerance spent at once to change the model's answer.
    pub drift: &'static [Drift],
    /// Bytes of one proof.
    pub proof_bytes: u64,
    /// Multiply-accumulates of checking and of running the operations that have an artefact.
    pub cost: CheckCost,
}

impl AuditedModel {
    /// As [`AuditedOperation::worst`].
    pub fn worst(&self, attackers: &[Attacker]) -> Option<&'static Attack> {
        worst(self.attacks, attackers)
    }
}

/// A drift attack of one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    pub attacker: Attacker,
    /// How the direction was found.
    pub direction: &'static str,
    /// Share of each operation's acceptance threshold that is spent.
    pub spent: f64,
    pub accepted: Measured,
    /// Relative deviation of the model's first output: median over the accepted runs.
    pub moved: Option<f64>,
    /// The largest over the accepted runs.
    pub most_moved: Option<f64>,
    /// Accepted runs whose largest output element is another one than in the honest run.
    pub class_changed: Measured,
}

/// Something that an audit was asked for and did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRun {
    /// For example `pgd on fc1.out`.
    pub what: &'static str,
    pub reason: &'static str,
}

fn worst(attacks: &'static [Attack], attackers: &[Attacker]) -> Option<&'static Attack> {
    let tried = attacks
        .iter()
        .filter(|attack| attackers.contains(&attack.attacker) && attack.wrong.samples > 0);
    tried.max_by(|a, b| a.wrong.upper_95.total_cmp(&b.wrong.upper_95))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn attack(name: &'static str, attacker: Attacker, samples: u64, upper_95: f64) -> Attack {
        let measured = Measured { errors: 0, samples, upper_95 };
        let (family, setting) = (Family::Outputs, "");
        Attack {
            name,
            family,
            attacker,
            setting,
            wrong: measured,
            small: measured,
            largest_accepted: None,
        }
    }

    #[test]
    fn the_worst_attack_is_of_the_attackers_that_were_asked_for() {
        static ATTACKS: [Attack; 4] = [
            attack("fresh noise", Attacker::Outsider, 1000, 0.003),
            attack("int8", Attacker::Host, 500, 0.006),
            attack("pgd", Attacker::WhiteBox, 20, 1.),
            attack("not tried", Attacker::Host, 0, 1.),
        ];
        let name = |attackers: &[Attacker]| worst(&ATTACKS, attackers).map(|attack| attack.name);
        assert_eq!(name(&[Attacker::Outsider, Attacker::Host]), Some("int8"));
        assert_eq!(name(&Attacker::ALL), Some("pgd"));
        assert_eq!(name(&[Attacker::Oracle]), None);
    }
}
