//! What is not as a policy asks, with the way out.

use std::fmt;

use nomopoly_manifest::{Attacker, Rate};

/// One rule that one operation, or the model as a whole, does not keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// Name of the operation's output; `None` for the model as a whole.
    pub operation: Option<String>,
    pub breach: Breach,
}

/// Which rule, what was found and what is asked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Breach {
    /// `max_frr`.
    FalseRejection {
        rate: Rate,
        limit: f64,
        /// Whether an audit measured it, or the compilation.
        audited: bool,
    },
    /// `max_far`.
    FalseAcceptance {
        rate: Rate,
        limit: f64,
        /// The worst attack of the audit; `None` for the figure of the compilation.
        attack: Option<(String, Attacker)>,
    },
    /// `min_certified_bits`.
    CertifiedBits {
        /// `None` where nothing is certified.
        bits: Option<f64>,
        limit: f64,
    },
    /// `allow_unverified`.
    Unverified,
    /// `require_audit`.
    NotAudited,
    /// `require_audit` with a rate that the audit did not measure.
    NotMeasured {
        /// `max_frr` or `max_far`.
        rule: &'static str,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.operation {
            Some(operation) => write!(f, "operation `{operation}`: {}", self.breach),
            None => write!(f, "the model as a whole: {}", self.breach),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FalseRejection { rate, limit, audited } => {
                let way_out = way_out(rate, *limit, *audited, "compile with more epochs");
                write!(
                    f,
                    "false rejection up to {}, policy max_frr is {limit:e}: {way_out}",
                    shown(rate)
                )
            }
            Self::FalseAcceptance { rate, limit, attack } => {
                let of = match attack {
                    Some((name, attacker)) => format!(" of the attack {name} ({attacker})"),
                    None => String::new(),
                };
                let stronger = "compile with a larger soundness_bits, or more epochs";
                let way_out = way_out(rate, *limit, attack.is_some(), stronger);
                write!(
                    f,
                    "false acceptance{of} up to {}, policy max_far is {limit:e}: {way_out}",
                    shown(rate)
                )
            }
            Self::CertifiedBits { bits, limit } => {
                match bits {
                    // Rounded down: a certificate is never shown stronger than it is.
                    Some(bits) => write!(f, "{:.1} bits are certified", (bits * 10.).floor() / 10.),
                    None => write!(f, "nothing is certified"),
                }?;
                write!(
                    f,
                    ", policy min_certified_bits is {limit}: compile with a larger soundness_bits, \
                     or more epochs"
                )
            }
            Self::Unverified => write!(
                f,
                "a perceptron judges it, or nothing does, policy allow_unverified is false: compile \
                 with the architecture `residual`"
            ),
            Self::NotAudited => write!(
                f,
                "it was not audited as it is compiled now, policy require_audit is true: run \
                 `cargo nomopoly audit` for it"
            ),
            Self::NotMeasured { rule } => {
                let what = match *rule {
                    "max_frr" => "no honest run",
                    _ => "no attack by an outsider or a host",
                };
                write!(
                    f,
                    "the audit measured {what}, policy {rule} with require_audit needs it: audit \
                     with every attack"
                )
            }
        }
    }
}

/// `3.0e-3 (0 of 1000, 95 %)`.
fn shown(rate: &Rate) -> String {
    let Rate { errors, samples, upper_95 } = rate;
    format!("{} ({errors} of {samples}, 95 %)", rounded_up(*upper_95))
}

/// Two digits, never less than it is.
fn rounded_up(value: f64) -> String {
    if !(value > 0. && value.is_finite()) {
        return format!("{value:.1e}");
    }
    let power = 10f64.powf(1. - value.log10().floor());
    format!("{:.1e}", (value * power - 1e-9).ceil() / power)
}

/// More trials help as long as what was seen is within the limit; else the operation itself must
/// be better.
fn way_out(rate: &Rate, limit: f64, audited: bool, better: &str) -> String {
    let more = match audited {
        true => "audit with more samples",
        false => "audit with more samples or compile with a larger test_samples",
    };
    if rate.observed() > limit || limit <= 0. { better.to_owned() } else { more.to_owned() }
}
