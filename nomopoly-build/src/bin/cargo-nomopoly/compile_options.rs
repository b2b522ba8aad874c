//! The options of training as command-line options, over a preset.

use std::str::FromStr;

use clap::{Args, ValueEnum, value_parser};
use nomopoly_build::manifest::{Architecture, CompileOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Figures measured on 1,000 fresh inputs
    Accurate,
    /// For trying things out: as strong a certificate, wider measured intervals
    Fast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArchitectureName {
    /// Monotone head over residuals that know the operation
    Residual,
    /// A plain perceptron: the baseline, which certifies nothing
    Mlp,
}

/// Every option is part of an entry's id: other options make other entries.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training options")]
pub struct OptionArguments {
    /// Defaults of the options below
    #[arg(long, value_enum, default_value_t = Preset::Accurate)]
    pub preset: Preset,
    /// Epochs before training may stop because the target is met, 1 to 10000
    /// [default: 4; fast: 2]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000))]
    pub min_epochs: Option<u32>,
    /// Epochs after which training stops in any case, --min-epochs to 10000 [default: 40; fast: 12]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000))]
    pub max_epochs: Option<u32>,
    /// Epochs without improvement after which training stops, 1 to 10000 [default: 8; fast: 4]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000))]
    pub patience: Option<u32>,
    /// Held-out accuracy over the five cases at which training may stop, 0.5 to 1
    /// [default: 0.9999; fast: 0.999]
    #[arg(long, value_name = "SHARE", value_parser = |text: &str| number(text, 0.5, 1.))]
    pub target_accuracy: Option<f64>,
    /// Honest samples per training step, 8 to 4096 [default: 32]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(8..=4096))]
    pub batch_size: Option<u32>,
    /// Steps per epoch, 1 to 10000 [default: 8]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000))]
    pub steps_per_epoch: Option<u32>,
    /// Fresh inputs on which the final figures are measured, 100 to 1000000
    /// [default: 1000; fast: 250]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(100..=1_000_000))]
    pub test_samples: Option<u32>,
    /// Length of the proof vector in floats, 16 to 64 [default: 32]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(16..=64))]
    pub proof_dim: Option<u32>,
    /// A deviation of --min-deviation is accepted with probability at most 2^-BITS, 1 to 128
    /// [default: 40]
    #[arg(long, value_name = "BITS", value_parser = value_parser!(u32).range(1..=128))]
    pub soundness_bits: Option<u32>,
    /// Smallest relative deviation that --soundness-bits is asked for, 1e-6 to 1 [default: 0.001]
    #[arg(long, value_name = "SHARE", value_parser = |text: &str| number(text, 1e-6, 1.))]
    pub min_deviation: Option<f64>,
    /// Residuals of up to so many rounding units are honest, 8 to 4096: more where an audit finds
    /// honest runs of another runtime rejected; each doubling costs a bit of each sketch
    /// [default: 8]
    #[arg(long, value_name = "UNITS", value_parser = |text: &str| number(text, 8., 4096.))]
    pub envelope: Option<f64>,
    /// Seed of everything random in training; the same seed gives the same bytes,
    /// 0 to 2^63 - 1 [default: 0]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(0..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Which verifier network is trained
    #[arg(long, value_enum, default_value_t = ArchitectureName::Residual)]
    pub architecture: ArchitectureName,
}

impl OptionArguments {
    /// The preset with what was said over it. The library checks the ranges once more.
    pub fn options(&self) -> CompileOptions {
        let preset = match self.preset {
            Preset::Accurate => CompileOptions::accurate(),
            Preset::Fast => CompileOptions::fast(),
        };
        CompileOptions {
            min_epochs: self.min_epochs.unwrap_or(preset.min_epochs),
            max_epochs: self.max_epochs.unwrap_or(preset.max_epochs),
            patience: self.patience.unwrap_or(preset.patience),
            target_accuracy: self.target_accuracy.unwrap_or(preset.target_accuracy),
            batch_size: self.batch_size.unwrap_or(preset.batch_size),
            steps_per_epoch: self.steps_per_epoch.unwrap_or(preset.steps_per_epoch),
            test_samples: self.test_samples.unwrap_or(preset.test_samples),
            proof_dim: self.proof_dim.unwrap_or(preset.proof_dim),
            soundness_bits: self.soundness_bits.unwrap_or(preset.soundness_bits),
            min_deviation: self.min_deviation.unwrap_or(preset.min_deviation),
            envelope: self.envelope.unwrap_or(preset.envelope),
            seed: self.seed.unwrap_or(preset.seed),
            architecture: match self.architecture {
                ArchitectureName::Residual => Architecture::Residual,
                ArchitectureName::Mlp => Architecture::Mlp,
            },
        }
    }
}

/// A number from `low` to `high`.
pub fn number(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let wrong = || format!("expected a number from {low} to {high}");
    let number = f64::from_str(text).map_err(|_| wrong())?;
    // Written so that NaN is not in any range.
    if number >= low && number <= high { Ok(number) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        options: OptionArguments,
    }

    #[test]
    fn the_defaults_are_the_librarys_and_options_override_the_preset() {
        let parse = |arguments: &[&str]| {
            Only::try_parse_from([&["x"], arguments].concat()).unwrap().options.options()
        };
        assert_eq!(parse(&[]), CompileOptions::default());
        assert_eq!(parse(&["--preset", "fast"]), CompileOptions::fast());
        let fast = parse(&[
            "--preset",
            "fast",
            "--seed",
            "7",
            "--min-deviation",
            "0.01",
            "--envelope",
            "64",
        ]);
        let (seed, min_deviation, envelope) = (7, 0.01, 64.);
        let expected = CompileOptions { seed, min_deviation, envelope, ..CompileOptions::fast() };
        assert_eq!(fast, expected);
    }

    #[test]
    fn ranges_are_closed_and_nan_is_in_none() {
        assert_eq!(number("1", 0.5, 1.), Ok(1.));
        assert!(number("nan", 0., 1.).is_err());
        assert!(number("1.01", 0., 1.).unwrap_err().contains("0 to 1"));
    }
}
