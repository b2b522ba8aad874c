//! Figures against limits: those of an audit where there is one, else those of the compilation.

use nomopoly_manifest::{
    Architecture, Attacker, Audit, Certificate, CheckedHow, Defence, HonestFigures, Metrics,
    OperationAudit, Rate,
};

use super::bound::pooled;
use super::{Breach, Policy, Violation};

impl Policy {
    /// Everything that is not as the policy asks, in the order of the operations.
    ///
    /// `operations` are the compiled ones: name of the output, and what its compilation measured.
    /// Nodes without an artefact are recomputed by the verifier and need no figures. `audit` is one
    /// of these very operations; its figures count in place of the others.
    pub fn violations<'a>(
        &self,
        operations: impl IntoIterator<Item = (&'a str, &'a Metrics)>,
        audit: Option<&Audit>,
    ) -> Vec<Violation> {
        let operations: Vec<(&str, &Metrics)> = operations.into_iter().collect();
        let mut found = Found::default();
        match audit {
            None if self.require_audit => found.add(None, Breach::NotAudited),
            None => {
                for (operation, metrics) in operations {
                    self.compiled(operation, metrics, &mut found);
                }
            }
            Some(audit) => {
                for operation in &audit.operations {
                    let metrics = operations.iter().find(|(name, _)| *name == operation.operation);
                    self.audited(operation, metrics.map(|(_, metrics)| *metrics), &mut found);
                }
                if let Some(rate) = rejected(&audit.whole.honest) {
                    self.false_rejection(None, rate, true, &mut found);
                }
            }
        }
        found.0
    }

    fn compiled(&self, operation: &str, metrics: &Metrics, found: &mut Found) {
        let perceptron = metrics.options.architecture == Architecture::Mlp;
        let figures = &metrics.figures;
        if perceptron && !self.allow_unverified {
            found.add(Some(operation), Breach::Unverified);
        }
        self.false_rejection(Some(operation), figures.completeness_error, false, found);
        self.false_acceptance(operation, figures.soundness_error, None, found);
        if !perceptron {
            self.certified(operation, figures.certificate.as_ref(), found);
        }
    }

    fn audited(&self, audit: &OperationAudit, metrics: Option<&Metrics>, found: &mut Found) {
        let operation = audit.operation.as_str();
        if audit.checked == CheckedHow::Unverified && !self.allow_unverified {
            found.add(Some(operation), Breach::Unverified);
        }
        // What an audit was not asked to measure, the compilation did, unless that does not count.
        // Of what the verifier recomputes itself the host claims nothing.
        let claimed = audit.checked != CheckedHow::Recomputed && audit.entry.is_some();
        let instead = metrics.filter(|_| claimed && !self.require_audit);
        match (rejected(&audit.honest).filter(|_| claimed), instead) {
            (Some(rate), _) => self.false_rejection(Some(operation), rate, true, found),
            (None, Some(metrics)) => {
                let rate = metrics.figures.completeness_error;
                self.false_rejection(Some(operation), rate, false, found);
            }
            (None, None) if claimed && self.max_frr.is_some() => {
                found.add(Some(operation), Breach::NotMeasured { rule: "max_frr" });
            }
            (None, None) => {}
        }
        match (worst(audit).filter(|_| claimed), instead) {
            (Some((rate, attack)), _) => {
                self.false_acceptance(operation, rate, Some(attack), found);
            }
            (None, Some(metrics)) => {
                self.false_acceptance(operation, metrics.figures.soundness_error, None, found);
            }
            (None, None) if claimed && self.max_far.is_some() => {
                found.add(Some(operation), Breach::NotMeasured { rule: "max_far" });
            }
            (None, None) => {}
        }
        if matches!(audit.checked, CheckedHow::Sketch | CheckedHow::Replay) {
            self.certified(operation, audit.certificate.as_ref(), found);
        }
    }

    fn false_rejection(
        &self,
        operation: Option<&str>,
        rate: Rate,
        audited: bool,
        found: &mut Found,
    ) {
        if let Some(limit) = self.max_frr.filter(|limit| exceeds(rate.upper_95, *limit)) {
            found.add(operation, Breach::FalseRejection { rate, limit, audited });
        }
    }

    fn false_acceptance(
        &self,
        operation: &str,
        rate: Rate,
        attack: Option<(String, Attacker)>,
        found: &mut Found,
    ) {
        if let Some(limit) = self.max_far.filter(|limit| exceeds(rate.upper_95, *limit)) {
            found.add(Some(operation), Breach::FalseAcceptance { rate, limit, attack });
        }
    }

    fn certified(&self, operation: &str, certificate: Option<&Certificate>, found: &mut Found) {
        let Some(limit) = self.min_certified_bits else { return };
        let bits = match certificate {
            None => None,
            Some(certificate) => match certificate.bits_at_min_deviation {
                // Always rejected: no number of bits is too many.
                None => return,
                some => some,
            },
        };
        if bits.is_none_or(|bits| exceeds(limit, bits)) {
            found.add(Some(operation), Breach::CertifiedBits { bits, limit });
        }
    }
}

/// Violations as they are found.
#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, operation: Option<&str>, breach: Breach) {
        self.0.push(Violation { operation: operation.map(str::to_owned), breach });
    }
}

/// Whether a figure is above a limit; what is not a number is.
fn exceeds(figure: f64, limit: f64) -> bool {
    figure > limit || figure.is_nan()
}

/// Honest runs of every runtime and scale that the compiled verifier rejected.
fn rejected(honest: &[HonestFigures]) -> Option<Rate> {
    pooled(honest.iter().filter_map(|figures| figures.rejected.get(&Defence::Learned)))
}

/// The attack by an outsider or a host of which the compiled verifier may accept most, among those
/// with enough trials to tell.
fn worst(audit: &OperationAudit) -> Option<(Rate, (String, Attacker))> {
    let tried = || {
        audit.attacks.iter().filter_map(|attack| {
            let wrong = attack.accepted.get(&Defence::Learned)?.wrong;
            let counts = matches!(attack.attacker, Attacker::Outsider | Attacker::Host);
            (counts && wrong.samples > 0).then(|| (wrong, (attack.attack.clone(), attack.attacker)))
        })
    };
    let most = tried().map(|(wrong, _)| wrong.samples).max()?;
    tried()
        .filter(|(wrong, _)| wrong.is_telling(most))
        .max_by(|(a, _), (b, _)| a.upper_95.total_cmp(&b.upper_95))
}
