//! Errors as people see them, and exit codes.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use nomopoly_build::export::model::{Damage, ExportError};
use nomopoly_build::registry::RegistryError;
use nomopoly_build::runtime;

/// Why the command does not end with success.
#[derive(Debug)]
pub enum Failure {
    /// An error: what, and the way out where the message does not hold it.
    Problem {
        message: String,
        help: Option<String>,
    },
    /// A wrong combination of options, which only the library could tell.
    Usage {
        message: String,
    },
    /// The result says no (rejected, or a check that failed), and has been written.
    Negative,
    Interrupted,
}

impl Failure {
    pub fn problem(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Problem { message: message.into(), help: Some(help.into()) }
    }

    /// For `map_err` after an operation on a file of the user's.
    pub fn io(action: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let start = format!("cannot {action} `{}`", path.display());
        move |error| {
            let help = match error.kind() {
                std::io::ErrorKind::NotFound => "check the path",
                std::io::ErrorKind::PermissionDenied => {
                    "check the permissions, or use another path"
                }
                std::io::ErrorKind::StorageFull => "free some space, or use another disk",
                _ => "use another path",
            };
            Self::problem(format!("{start}: {error}"), help)
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Problem { .. } | Self::Negative => 1,
            Self::Usage { .. } => 2,
            Self::Interrupted => INTERRUPTED,
        })
    }

    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Problem { help, .. } => help.as_deref(),
            Self::Usage { .. } => Some("`cargo nomopoly compile --help` shows every range"),
            Self::Negative | Self::Interrupted => None,
        }
    }
}

/// 128 + SIGINT, as shells report it.
pub const INTERRUPTED: u8 = 130;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem { message, .. } | Self::Usage { message } => f.write_str(message),
            Self::Negative => f.write_str("the result is negative"),
            Self::Interrupted => write!(f, "{}", nomopoly_build::Error::Interrupted),
        }
    }
}

impl std::error::Error for Failure {}

impl miette::Diagnostic for Failure {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Failure::help(self).map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

impl From<nomopoly_build::Error> for Failure {
    fn from(error: nomopoly_build::Error) -> Self {
        use nomopoly_build::Error;
        match error {
            Error::Runtime(error) => error.into(),
            Error::Interrupted => Self::Interrupted,
            Error::Option(error) => Self::Usage {
                message: format!(
                    "--{} is {}, expected {}",
                    error.option.replace('_', "-"),
                    error.got,
                    error.expected
                ),
            },
            Error::Io { ref path, ref source, action } => {
                let cause = std::io::Error::new(source.kind(), source.to_string());
                Self::io(action, path)(cause)
            }
            Error::Calibration { .. } => {
                Self::problem(error.to_string(), "save it with numpy.savez(file, name=array, ...)")
            }
            error => Self::Problem { message: error.to_string(), help: None },
        }
    }
}

/// Whether a node that cannot run is one that scikit-learn's exporter can do without.
fn of_scikit_learn(node: &str) -> bool {
    node.contains("(ZipMap)") || node.contains("(Scaler)")
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self::io("write", &error.path)(error.source)
    }
}

impl From<Damage> for Failure {
    fn from(error: Damage) -> Self {
        Self::problem(error.to_string(), "run `cargo nomopoly export` again")
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        // The registry's messages hold the way out.
        Self::Problem { message: error.to_string(), help: None }
    }
}

impl From<runtime::Error> for Failure {
    fn from(error: runtime::Error) -> Self {
        use runtime::Error;
        let help = match &error {
            Error::Io { .. } => Some("check the path"),
            Error::NotOnnx { .. } => Some("give the path of an .onnx file"),
            Error::UnknownOpset { .. } => {
                Some("export the model again with a supported operator set")
            }
            Error::UnsupportedNodes { nodes, .. } if nodes.iter().any(|n| of_scikit_learn(n)) => {
                Some(
                    "export a scikit-learn model of standard operators: \
                 to_onnx(..., options={\"zipmap\": False}, black_op={\"Scaler\"})",
                )
            }
            Error::UnsupportedNodes { .. } => {
                Some("export the model without these operations, or bind their shapes with --input")
            }
            Error::MissingInput { .. } => Some("give it with --input NAME=FILE.npy"),
            Error::Shape { .. } => Some("reshape the array, or compile the model for its shape"),
            Error::DType { .. } => {
                Some("convert the array, for example with array.astype(numpy.float32)")
            }
            Error::NonFinite { .. } => Some(
                "inputs and outputs must be finite: look for a division by zero or an overflow",
            ),
            Error::Artefact { .. } => Some("run `cargo nomopoly compile --force` for the model"),
            Error::DamagedProof(_) => Some("ask the host to send the proof again"),
            Error::ProofSchema { .. } => Some("use the same version of Nomopoly on both sides"),
            Error::OtherModel { .. } => Some(
                "the host must run the very file that the verifier has; compare their BLAKE3 digests",
            ),
            _ => None,
        };
        Self::Problem { message: error.to_string(), help: help.map(str::to_owned) }
    }
}
