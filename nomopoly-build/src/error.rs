//! The compiler's error type.

use std::path::PathBuf;

use crate::registry::RegistryError;

/// Short form used across the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong when a model is compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Runtime(#[from] nomopoly_runtime::Error),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Option(#[from] nomopoly_manifest::OptionError),
    #[error("tensor arithmetic failed: {0}")]
    Tensor(#[from] candle_core::Error),
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("calibration data {path}: {reason}", path = path.display())]
    Calibration { path: PathBuf, reason: String },
    #[error("the policy {path} cannot be used: {reason}; correct or remove it", path = path.display())]
    Policy { path: PathBuf, reason: String },
    #[error("operation `{operation}` (entry {entry}): {reason}")]
    Operation { operation: String, entry: String, reason: String },
    #[cfg(feature = "train")]
    #[error("{0}")]
    Plot(#[from] crate::plots::PlotError),
    #[error(
        "{model}: {} operation(s) are not compiled: {}; run `cargo nomopoly compile {model}`",
        missing.len(), missing.join(", ")
    )]
    NotCompiled { model: String, missing: Vec<String> },
    /// A build script's crate, variables or output.
    #[error("{0}")]
    Build(String),
    /// Training was stopped from outside; the registry is as it was.
    #[error("interrupted; the registry holds what was finished before and nothing half-written")]
    Interrupted,
    /// The deadline of a compilation is over; the registry holds what was finished before.
    #[error("out of time; what was finished is kept, and the next compilation goes on from there")]
    OutOfTime,
}
