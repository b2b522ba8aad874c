//! What can go wrong with a registry, each time with the path and a way out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every message is one line, so that build scripts can pass it on to Cargo.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    #[error("cannot {operation} `{}`: {cause}; {}", path.display(), io_hint(cause))]
    Io {
        /// Completes "cannot ...".
        operation: &'static str,
        path: PathBuf,
        cause: io::Error,
    },

    #[error(
        "{name:?} is not the name of a registry entry: expected one like \
         `conv_1x3x8x8-9c41d2e0a1b2`; `cargo nomopoly list` shows them"
    )]
    Name { name: String },

    #[error(
        "another build is running: `{}` stayed locked for {:.1} s; wait for that build to end, \
         or set NOMOPOLY_REGISTRY or --registry to another folder",
        path.display(), waited.as_secs_f64()
    )]
    Locked { path: PathBuf, waited: Duration },

    #[error(
        "`{}` has schema version {found}, expected {expected}: run `cargo nomopoly compile \
         --force` with the version that the application uses, or delete `{}` and compile again",
        path.display(), folder(path).display()
    )]
    Schema { path: PathBuf, found: i64, expected: u32 },

    #[error(
        "`{}` is not a valid lock file: line {line}: {reason}; restore it from version control, \
         or run `cargo nomopoly compile --force`",
        path.display()
    )]
    Parse {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        reason: String,
    },

    /// Readable, but with names or hashes that no compiler wrote.
    #[error(
        "`{}` is not a valid lock file: {reason}; restore it from version control, or run \
         `cargo nomopoly compile --force`",
        path.display()
    )]
    InvalidLock { path: PathBuf, reason: String },

    #[error("no entry {name:?} in `{}`{}; `cargo nomopoly list` shows all", path.display(), suggestion(close))]
    Unknown {
        name: String,
        path: PathBuf,
        /// Nearest names, best first.
        close: Vec<String>,
    },

    #[error(
        "{name:?} stands for several entries of `{}`: {}; give more of the name",
        path.display(), quoted(candidates)
    )]
    Ambiguous { name: String, path: PathBuf, candidates: Vec<String> },

    #[error("entry `{entry}` is not recorded in `{}`; run `cargo nomopoly compile`", path.display())]
    NotRecorded { entry: String, path: PathBuf },

    #[error(
        "`{}` does not hold what nomopoly.lock records: {}; {}",
        path.display(), listed(faults), fault_hint(faults)
    )]
    Corrupt { entry: String, path: PathBuf, faults: Vec<Fault> },

    /// The caller of [`super::Transaction::commit`] wrote too little or too much.
    #[error(
        "`{}` is not a whole entry: {}; remove stray files and run `cargo nomopoly compile` again",
        path.display(), listed(faults)
    )]
    Unfinished { entry: String, path: PathBuf, faults: Vec<Fault> },

    #[error("cannot record {name:?} in `{}`: {reason}", path.display())]
    Refused {
        /// Of an entry or a model.
        name: String,
        path: PathBuf,
        /// What was got and what was expected.
        reason: String,
    },

    #[error(
        "`{}` cannot be used: {reason}; run `cargo nomopoly compile --force`",
        path.display()
    )]
    Metrics { path: PathBuf, reason: String },

    #[error(
        "the audit `{}` of {model} {reason}; restore it from version control, or run \
         `cargo nomopoly audit {model}`",
        path.display()
    )]
    Audit {
        /// Name under which the model is recorded.
        model: String,
        path: PathBuf,
        /// Goes on from the name of the file.
        reason: String,
    },

    #[error(
        "ONNX files in `{}` are invalid: {}; run `cargo nomopoly compile --force`",
        path.display(), failures.join("; ")
    )]
    Onnx {
        entry: String,
        path: PathBuf,
        /// Each begins with the name of the file.
        failures: Vec<String>,
    },
}

impl RegistryError {
    /// For `map_err`.
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { operation, path: path.to_owned(), cause }
    }

    /// Whether the lock file cannot be used by this version, so that only
    /// [`super::Registry::discard_unusable_lock`] or an older file helps.
    pub fn is_unusable_lock(&self) -> bool {
        matches!(self, Self::Schema { .. } | Self::Parse { .. } | Self::InvalidLock { .. })
    }
}

/// How one file of an entry differs from the lock. Files are relative to the entry's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    Missing {
        file: String,
    },
    Damaged {
        file: String,
        expected: String,
        got: String,
    },
    /// No file of an entry has this name.
    Foreign {
        file: String,
    },
    /// The lock holds no hash for a file that every entry has.
    NotListed {
        file: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { file } => write!(f, "`{file}` is missing"),
            Self::Damaged { file, expected, got } => {
                write!(f, "`{file}` is damaged (BLAKE3 {got}, expected {expected})")
            }
            Self::Foreign { file } => write!(f, "`{file}` does not belong to the entry"),
            Self::NotListed { file } => write!(f, "no hash of `{file}` is recorded"),
        }
    }
}

fn io_hint(cause: &io::Error) -> &'static str {
    use io::ErrorKind::{
        Interrupted, IsADirectory, NotADirectory, PermissionDenied, QuotaExceeded,
        ReadOnlyFilesystem, StorageFull,
    };
    match cause.kind() {
        StorageFull | QuotaExceeded => {
            "free some space, or set NOMOPOLY_REGISTRY or --registry to a folder on another disk"
        }
        PermissionDenied | ReadOnlyFilesystem => {
            "change its permissions, or set NOMOPOLY_REGISTRY or --registry to a writable folder"
        }
        NotADirectory | IsADirectory => {
            "a file is in the place of a folder or the reverse: move it away, or set \
             NOMOPOLY_REGISTRY or --registry to a writable folder"
        }
        Interrupted => "try again",
        _ => "set NOMOPOLY_REGISTRY or --registry to a writable folder",
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn fault_hint(faults: &[Fault]) -> &'static str {
    if faults.iter().all(|fault| matches!(fault, Fault::Foreign { .. })) {
        "move it out of the folder"
    } else {
        "restore the folder from version control, or run `cargo nomopoly compile --force`"
    }
}

fn suggestion(close: &[String]) -> String {
    if close.is_empty() { String::new() } else { format!(": did you mean {}?", quoted(close)) }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn listed(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(", ")
}
