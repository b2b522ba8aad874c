//! `nomopoly.toml`: what a package asks of its models' proofs before it builds.
//!
//! | file | subject |
//! | --- | --- |
//! | `violation.rs` | what is not as the policy asks, in words |
//! | `judge.rs` | figures against limits |
//! | `bound.rs` | the bound of figures that are pooled |

mod bound;
mod judge;
#[cfg(test)]
mod tests;
mod violation;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

pub use violation::{Breach, Violation};

/// Name of the file, beside the package's `Cargo.toml`.
pub const POLICY_FILE: &str = "nomopoly.toml";

/// What a package asks of its models. What is not given is not asked, except that operations
/// without a bound are refused unless they are allowed.
///
/// ```toml
/// [policy]
/// max_frr = 1e-3
/// max_far = 1e-3
/// min_certified_bits = 40
/// allow_unverified = false
/// require_audit = false
/// ```
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Upper 95 % bound of the false rejection rate of every operation, and of the whole model
    /// where it was audited. 0 to 1.
    pub max_frr: Option<f64>,
    /// Upper 95 % bound of the false acceptance rate of every operation: outsiders and hosts,
    /// deviations of the compile option `min_deviation` and larger. 0 to 1.
    pub max_far: Option<f64>,
    /// Bits that are certified at the compile option `min_deviation` for every compiled operation. What
    /// is replayed is certain above its tolerance, and has none below. 0 to 1024.
    pub min_certified_bits: Option<f64>,
    /// Accepts operations that a perceptron judges, or nothing does.
    pub allow_unverified: bool,
    /// Asks for an audit: figures of a compilation do not count.
    pub require_audit: bool,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    policy: Policy,
}

impl Policy {
    /// Where the policy of the package in this folder is, if it has one.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(POLICY_FILE)
    }

    /// The policy in this folder; `None` where there is no such file.
    ///
    /// # Errors
    /// [`Error::Policy`] for a file that cannot be read, is no TOML, or has a key or a value that
    /// means nothing.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = Self::file(folder);
        match fs::read_to_string(&path) {
            Ok(text) => match Self::parse(&text) {
                Ok(policy) => Ok(Some(policy)),
                Err(reason) => Err(Error::Policy { path, reason }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Policy { path, reason: error.to_string() }),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            let message: Vec<&str> = error.message().lines().map(str::trim).collect();
            format!("line {line}: {}", message.join("; "))
        })?;
        let policy = file.policy;
        for (key, value, most) in [
            ("max_frr", policy.max_frr, 1.),
            ("max_far", policy.max_far, 1.),
            ("min_certified_bits", policy.min_certified_bits, 1024.),
        ] {
            // Not a number is in no range.
            if let Some(value) = value.filter(|value| !(0. ..=most).contains(value)) {
                return Err(format!("`{key}` is {value}, expected 0 to {most}"));
            }
        }
        Ok(policy)
    }
}
