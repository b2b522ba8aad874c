//! What the user may say on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nomopoly_build::audit::DEFAULT_SAMPLES;

use crate::compile_options::{OptionArguments, number};

/// Compiles ONNX models into provers, verifiers and adversaries, and checks inferences.
///
/// Exit status: 0 success; 1 rejected, a failed check or any other error; 2 wrong usage;
/// 130 interrupted.
#[derive(Debug, Parser)]
#[command(
    name = "cargo-nomopoly",
    bin_name = "cargo nomopoly",
    version,
    styles = clap_cargo::style::CLAP_STYLING,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every subcommand takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Folder of the compiled operations [default: ops, of the package where one is meant]
    #[arg(long, global = true, value_name = "DIR", env = "NOMOPOLY_REGISTRY")]
    pub registry: Option<PathBuf>,
    /// No progress and no notes, only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// How results are written on standard output
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people
    Text,
    /// One JSON document
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prepare a crate: dependencies, build script, profiles
    Init(InitArguments),
    /// List the nodes of a model and how each will be checked
    Scan(ScanArguments),
    /// Train what the registry lacks for a model, or for all models of a package
    Compile(Box<CompileArguments>),
    /// Show the registry's entries
    List(ListArguments),
    /// Tell all that is known of one operation or audited model, and what it is worth
    Explain(ExplainArguments),
    /// Measure what each proof is worth on attacks that training never saw, and write a report
    Audit(Box<AuditArguments>),
    /// Copy a package's compiled operations from the user's cache into its ops/
    Vendor(Box<VendorArguments>),
    /// Check every file of the registry against its recorded hash, that models are compiled, and
    /// what nomopoly.toml asks of them
    Check(CheckArguments),
    /// Remove entries that no recorded model uses, audits of models that are gone, and what crashed
    /// builds left behind
    Gc(GcArguments),
    /// Run a compiled model once and write the proof
    Prove(ProveArguments),
    /// Check a proof with a fresh secret key
    Verify(VerifyArguments),
    /// Write a compiled model as ONNX files: a prover that any ONNX runtime hosts, and its verifier
    Export(ExportArguments),
    /// Draw a fresh secret key for an exported verifier
    Key(KeyArguments),
    /// Print what a proof, receipt, challenge or opening says, without checking it
    Show(ShowArguments),
    /// Compile a small model, prove an inference, and catch a host that cheats
    Demo(DemoArguments),
}

#[derive(Debug, Args)]
pub struct ScanArguments {
    /// The ONNX file
    pub model: PathBuf,
    #[command(flatten)]
    pub shapes: Shapes,
}

/// Shapes of inputs with symbolic dimensions.
#[derive(Debug, Args)]
pub struct Shapes {
    /// Bind the shape of a model input, for example `image=1,3,48,192`; may be repeated
    #[arg(long = "input", value_name = "NAME=SHAPE", value_parser = shape)]
    pub input: Vec<(String, Vec<usize>)>,
}

/// The package whose models are meant.
#[derive(Debug, Args)]
pub struct PackageArguments {
    /// A package of the workspace: paths start from its folder [default: the one around]
    #[arg(long, short, value_name = "NAME")]
    pub package: Option<String>,
}

#[derive(Debug, Args)]
pub struct InitArguments {
    #[command(flatten)]
    pub package: PackageArguments,
    /// Depend on a checkout of Nomopoly in this folder, not on crates.io
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct VendorArguments {
    /// The ONNX file [default: every model that the package's sources name]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub package: PackageArguments,
    #[command(flatten)]
    pub shapes: Shapes,
    #[command(flatten)]
    pub options: OptionArguments,
}

#[derive(Debug, Args)]
pub struct CompileArguments {
    /// The ONNX file [default: every model that the package's sources name]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub package: PackageArguments,
    #[command(flatten)]
    pub shapes: Shapes,
    #[command(flatten)]
    pub options: OptionArguments,
    /// Where to train; `auto` is the GPU this command was built for, else the CPU
    #[arg(long, value_enum, default_value_t = DeviceName::Auto)]
    pub device: DeviceName,
    /// Real inputs to train and measure on: a .npz file with an array `[samples, ...]` per model
    /// input, or a .npy file for a model with one input [default: generated inputs]
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Train every operation again, also what the registry has
    #[arg(long)]
    pub force: bool,
    /// Operations trained at once, 1 to 1024; results do not depend on it [default: cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceName {
    Auto,
    Cpu,
    Cuda,
    Metal,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    /// Only compiled entries with at least this mean accuracy, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = |text: &str| number(text, 0., 1.))]
    pub min_accuracy: Option<f64>,
    /// Only compiled entries whose certificate holds with at least this many bits, 0 to 1024
    #[arg(long, value_name = "BITS", value_parser = |text: &str| number(text, 0., 1024.))]
    pub min_certified_bits: Option<f64>,
    /// Instead list the nodes of recorded models whose entry is missing or incomplete
    #[arg(long, conflicts_with_all = ["min_accuracy", "min_certified_bits"])]
    pub pending: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// Name of an entry, the start of one, the name of a node of a compiled model, or the file name
    /// of an audited one
    #[arg(value_name = "NAME")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct AuditArguments {
    /// The ONNX file, compiled before [default: every model that the package's sources name]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub package: PackageArguments,
    /// Trials of each cheap attack on each operation, and honest runs; 100 to 1,000,000
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SAMPLES,
          value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub samples: u32,
    /// Only these attacks, separated by commas: outputs, substituted, proofs, adaptive, whole-model,
    /// or names that a report shows [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub attacks: Vec<String>,
    /// Start nothing new after this many seconds; run again to go on
    #[arg(long, value_name = "SECONDS", value_parser = |text: &str| number(text, 0., 1e9))]
    pub budget: Option<f64>,
    /// Seed of everything random; equal seeds give equal figures
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Real inputs: a .npz file with an array `[samples, ...]` per model input, or a .npy file for a
    /// model with one input [default: generated]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// A Python interpreter with onnxruntime and numpy, for honest runs of ONNX Runtime
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<PathBuf>,
    /// Train no plain perceptrons to compare with
    #[arg(long)]
    pub no_baseline: bool,
    /// Folder of the report and of what was measured [default: target/nomopoly-audit/MODEL]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Pieces of work at once, 1 to 1024; figures do not depend on it [default: cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Also check that this ONNX file is compiled as it is now [default: every model that the
    /// sources of the package around name]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub package: PackageArguments,
}

#[derive(Debug, Args)]
pub struct GcArguments {
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
}

/// The arrays of one inference.
#[derive(Debug, Args)]
pub struct InputArguments {
    /// An array for a model input, for example `image=digit.npy`; may be repeated
    #[arg(long = "input", value_name = "NAME=FILE.npy", value_parser = array_file)]
    pub input: Vec<(String, PathBuf)>,
    /// A .npz file with arrays named like the model's inputs
    #[arg(long, value_name = "FILE.npz")]
    pub inputs: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ProveArguments {
    /// The ONNX file, compiled before
    pub model: PathBuf,
    #[command(flatten)]
    pub inputs: InputArguments,
    /// Where the proof goes, replacing what is there; a name that ends in .npz gives tensors as an
    /// exported prover does
    #[arg(long, short, value_name = "FILE.npf")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The ONNX file, compiled before
    pub model: PathBuf,
    #[command(flatten)]
    pub inputs: InputArguments,
    /// The proof that the host sent: a file of `prove`, or a .npz file with every output of an
    /// exported prover by its name
    #[arg(long, short, value_name = "FILE")]
    pub proof: PathBuf,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The ONNX file, compiled before
    pub model: PathBuf,
    /// Folder for prover.onnx, verifier.onnx, key.onnx and export.json; what an earlier export left
    /// there is replaced
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Draw a key and put it into verifier.onnx, which is a secret file then [default: the key is an
    /// input, and the file is public]
    #[arg(long, conflicts_with = "check")]
    pub bake_key: bool,
    /// Write nothing: check that the folder holds what was exported, of the model as it is compiled
    /// now
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
pub struct KeyArguments {
    /// The ONNX file, compiled before
    pub model: PathBuf,
    /// Where the key's tensors go, replacing what is there
    #[arg(long, short, value_name = "FILE.npz")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The file, as a host or verifier sent it
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Folder for the model and its artefacts [default: target/nomopoly-demo, or a temporary
    /// folder where that cannot be written]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Train again, also what is there
    #[arg(long)]
    pub fresh: bool,
}

/// `image=1,3,48,192` or `image=1x3x48x192`; a scalar is `scale=`.
fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let (name, shape) = pair(text, "image=1,3,48,192")?;
    let dimensions = shape.split([',', 'x']).filter(|_| !shape.is_empty()).map(|dimension| {
        dimension.trim().parse::<usize>().map_err(|_| {
            format!("`{dimension}` is not a dimension; expected whole numbers, as in `{name}=1,3,48,192`")
        })
    });
    Ok((name.to_owned(), dimensions.collect::<Result<_, _>>()?))
}

fn array_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = pair(text, "image=digit.npy")?;
    if path.is_empty() {
        return Err(format!("no file for input `{name}`, expected for example `{name}=digit.npy`"));
    }
    Ok((name.to_owned(), path.into()))
}

fn pair<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(format!("expected a name and a value, for example `{example}`")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn shapes_are_read_in_both_notations_and_errors_name_the_part() {
        assert_eq!(shape("a=1,3,8"), Ok(("a".into(), vec![1, 3, 8])));
        assert_eq!(shape("a=1x3x8"), Ok(("a".into(), vec![1, 3, 8])));
        assert_eq!(shape("a="), Ok(("a".into(), vec![])));
        assert!(shape("a=1,-3").unwrap_err().contains("`-3`"));
        assert!(shape("1,3").unwrap_err().contains("image=1,3,48,192"));
    }
}
