//! What can go wrong when a crate is set up.

use std::io;
use std::path::{Path, PathBuf};

/// Every message is one line with a way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    #[error("cannot {operation} `{}`: {cause}; {}", path.display(), io_hint(cause))]
    Io {
        /// Completes "cannot ...".
        operation: &'static str,
        path: PathBuf,
        cause: io::Error,
    },

    #[error(
        "`{}` is not valid TOML: line {line}: {reason}; correct it and run this again",
        path.display()
    )]
    Parse {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        reason: String,
    },

    #[error(
        "`{}` has no [package], only a workspace: name the member that uses a model, or run this \
         in its folder",
        path.display()
    )]
    NoPackage { path: PathBuf },

    #[error(
        "`{key}` in `{}` is of type {got}, expected {expected}; correct it and run this again",
        path.display()
    )]
    Layout { path: PathBuf, key: String, got: &'static str, expected: &'static str },

    /// Generated code and the build script name the crates.
    #[error(
        "`{}` has the dependency {package} under the name `{name}`, expected `{package}`: rename \
         it there",
        path.display()
    )]
    Renamed { path: PathBuf, package: &'static str, name: String },

    #[error("`{}` is not UTF-8, as Cargo requires; use another path", path.display())]
    NotUtf8 { path: PathBuf },

    #[error("`{}` is read-only; make it writable and run this again", path.display())]
    ReadOnly { path: PathBuf },

    #[error("`{}` has been changed meanwhile; run this again", path.display())]
    Changed { path: PathBuf },
}

impl InitError {
    pub(super) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { operation, path, cause }
    }
}

fn io_hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => {
            "check the path, or run this in the folder of a crate (`cargo new` makes one)"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "make the file and its folder writable for you"
        }
        io::ErrorKind::StorageFull => "free some space",
        _ => "check the path",
    }
}
