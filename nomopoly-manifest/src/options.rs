//! Options of a compilation. They are part of an entry's id, so that artefacts compiled with
//! other options never stand in for each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which verifier network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Monotone head over residuals that know the operation. The default.
    #[default]
    Residual,
    /// A plain multilayer perceptron on the concatenated input, output and proof: the baseline
    /// that reports compare with. It certifies nothing.
    Mlp,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Residual => "residual",
            Self::Mlp => "mlp",
        })
    }
}

/// Options of a compilation. `Default` is the preset `accurate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileOptions {
    /// Epochs before training may stop because the target is met. 1 to 10,000; default 4.
    pub min_epochs: u32,
    /// Epochs after which training stops in any case. `min_epochs` to 10,000; default 40.
    pub max_epochs: u32,
    /// Epochs without improvement of the held-out accuracy after which training stops.
    /// 1 to 10,000; default 8.
    pub patience: u32,
    /// Held-out accuracy (mean over the five cases) at which training may stop. 0.5 to 1;
    /// default 0.9999.
    pub target_accuracy: f64,
    /// Honest samples per training step (each step holds as many of every other case).
    /// 8 to 4,096; default 32.
    pub batch_size: u32,
    /// Steps per epoch. 1 to 10,000; default 8.
    pub steps_per_epoch: u32,
    /// Inputs on which the final figures are measured, none of them used before. 100 to
    /// 1,000,000; default 1,000. Operations with large activations use fewer: the figures state
    /// how many.
    pub test_samples: u32,
    /// Length of the proof vector in floats. 16 to 64; default 32.
    pub proof_dim: u32,
    /// A deviation of `min_deviation` must be accepted with probability at most
    /// 2^-`soundness_bits` over the verifier key. 1 to 128; default 40.
    pub soundness_bits: u32,
    /// Smallest relative deviation that `soundness_bits` is asked for. 1e-6 to 1; default 1e-3.
    pub min_deviation: f64,
    /// Residuals of up to so many rounding units are honest, whatever training saw. 8 to 4,096;
    /// default 8. More for models whose honest runs in another runtime an audit finds rejected:
    /// each doubling costs about one bit of each sketch.
    #[serde(default = "default_envelope", skip_serializing_if = "is_default_envelope")]
    pub envelope: f64,
    /// Seed of everything random in a compilation. 0 to 2^63 - 1 (TOML's integers); default 0.
    pub seed: u64,
    /// Which verifier network is trained.
    pub architecture: Architecture,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self::accurate()
    }
}

/// An option outside its documented range.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionError {
    pub option: &'static str,
    pub got: String,
    pub expected: String,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option `{}` is {}, expected {}", self.option, self.got, self.expected)
    }
}

impl std::error::Error for OptionError {}

impl CompileOptions {
    /// The default preset: figures measured on 1,000 fresh inputs.
    pub fn accurate() -> Self {
        Self {
            min_epochs: 4,
            max_epochs: 40,
            patience: 8,
            target_accuracy: 0.9999,
            batch_size: 32,
            steps_per_epoch: 8,
            test_samples: 1000,
            proof_dim: 32,
            soundness_bits: 40,
            min_deviation: 1e-3,
            envelope: DEFAULT_ENVELOPE,
            seed: 0,
            architecture: Architecture::Residual,
        }
    }

    /// Half the epochs and a quarter of the test inputs: for trying things out. The certificate
    /// is as strong, the measured intervals are wider.
    pub fn fast() -> Self {
        Self {
            min_epochs: 2,
            max_epochs: 12,
            patience: 4,
            target_accuracy: 0.999,
            test_samples: 250,
            ..Self::accurate()
        }
    }

    /// Checks every option against its documented range.
    ///
    /// # Errors
    /// The first option that is out of range, with what was expected.
    pub fn validate(&self) -> Result<(), OptionError> {
        let int = |option, got: u32, low: u32, high: u32| {
            if (low..=high).contains(&got) {
                Ok(())
            } else {
                Err(OptionError {
                    option,
                    got: got.to_string(),
                    expected: format!("{low} to {high}"),
                })
            }
        };
        let float = |option, got: f64, low: f64, high: f64| {
            if got >= low && got <= high {
                Ok(())
            } else {
                Err(OptionError {
                    option,
                    got: got.to_string(),
                    expected: format!("{low} to {high}"),
                })
            }
        };
        int("min_epochs", self.min_epochs, 1, 10_000)?;
        int("max_epochs", self.max_epochs, self.min_epochs, 10_000)?;
        int("patience", self.patience, 1, 10_000)?;
        float("target_accuracy", self.target_accuracy, 0.5, 1.0)?;
        int("batch_size", self.batch_size, 8, 4096)?;
        int("steps_per_epoch", self.steps_per_epoch, 1, 10_000)?;
        int("test_samples", self.test_samples, 100, 1_000_000)?;
        if i64::try_from(self.seed).is_err() {
            return Err(OptionError {
                option: "seed",
                got: self.seed.to_string(),
                expected: format!("0 to {}", i64::MAX),
            });
        }
        int("proof_dim", self.proof_dim, 16, 64)?;
        int("soundness_bits", self.soundness_bits, 1, 128)?;
        float("min_deviation", self.min_deviation, 1e-6, 1.0)?;
        float("envelope", self.envelope, DEFAULT_ENVELOPE, 4096.)
    }
}

/// Honest residuals of runtimes that training cannot run reach this many rounding units: 6.1 was
/// the largest over 238 linear operations of six networks computed by ONNX Runtime, against k = 12
/// sketches, and this leaves a third more. Training shows the head such residuals as honest, and
/// the threshold is never set below them.
pub const DEFAULT_ENVELOPE: f64 = 8.;

fn default_envelope() -> f64 {
    DEFAULT_ENVELOPE
}

/// Entries that were compiled before there was the option keep their ids.
fn is_default_envelope(envelope: &f64) -> bool {
    *envelope == DEFAULT_ENVELOPE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_in_range() {
        CompileOptions::accurate().validate().unwrap();
        CompileOptions::fast().validate().unwrap();
    }

    #[test]
    fn an_option_out_of_range_is_named() {
        let options = CompileOptions { proof_dim: 8, ..CompileOptions::default() };
        let error = options.validate().unwrap_err();
        assert_eq!(error.option, "proof_dim");
        assert!(error.to_string().contains("16 to 64"));
        let options = CompileOptions { min_deviation: f64::NAN, ..CompileOptions::default() };
        assert_eq!(options.validate().unwrap_err().option, "min_deviation");
        let options = CompileOptions { envelope: 7., ..CompileOptions::default() };
        assert_eq!(options.validate().unwrap_err().option, "envelope");
    }
}
