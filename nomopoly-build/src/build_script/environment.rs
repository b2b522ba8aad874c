//! What Cargo and the user say through environment variables.

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};

/// What a build script does about operations that no registry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Trains them within the budget.
    #[default]
    Auto,
    /// Never trains; every file is checked against its recorded hash.
    Locked,
    /// Makes the types only, for documentation builds: constructors return an error.
    Stub,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "locked" => Ok(Self::Locked),
            "stub" => Ok(Self::Stub),
            other => Err(format!("expected `auto`, `locked` or `stub`, got `{other}`")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Locked => "locked",
            Self::Stub => "stub",
        })
    }
}

/// The variables that are read, so that Cargo builds again when one changes.
pub(super) const VARIABLES: [&str; 6] = [
    "NOMOPOLY_MODE",
    "NOMOPOLY_REGISTRY",
    "NOMOPOLY_CACHE",
    "NOMOPOLY_BUDGET",
    "DOCS_RS",
    // Where the platform's cache folder is.
    "XDG_CACHE_HOME",
];

/// Where a build script runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Folder of the crate's `Cargo.toml`.
    pub manifest_dir: PathBuf,
    /// Where files for the crate go.
    pub out_dir: PathBuf,
    /// Name of the crate.
    pub package: String,
    /// `NOMOPOLY_MODE`, or [`Mode::Stub`] where `DOCS_RS` is set.
    pub mode: Option<Mode>,
    /// `NOMOPOLY_REGISTRY`, absolute.
    pub registry: Option<PathBuf>,
    /// The user's cache: `NOMOPOLY_CACHE`, else the platform's folder. `None` where there is
    /// none to be had.
    pub cache: Option<PathBuf>,
    /// `NOMOPOLY_BUDGET`, in seconds.
    pub budget: Option<Duration>,
}

impl Environment {
    /// Reads the variables that Cargo sets for build scripts, and the user's.
    ///
    /// # Errors
    /// [`Error::Build`] outside a build script, and for a variable with a value that means
    /// nothing.
    pub fn from_cargo() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_variables(get: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let required = |name: &str| {
            get(name).ok_or_else(|| {
                Error::Build(format!(
                    "{name} is not set: nomopoly_build::compile is for build.rs; elsewhere use \
                     Config::run or Compiler"
                ))
            })
        };
        let text = |name: &str| get(name).map(|value| value.to_string_lossy().into_owned());
        let wrong = |name: &str, reason: String| Error::Build(format!("{name}: {reason}"));
        let mode = match text("NOMOPOLY_MODE") {
            Some(mode) => Some(mode.parse().map_err(|reason| wrong("NOMOPOLY_MODE", reason))?),
            None => get("DOCS_RS").map(|_| Mode::Stub),
        };
        let budget = text("NOMOPOLY_BUDGET").map(|budget| {
            let seconds: Option<f64> = budget.parse().ok();
            seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| {
                wrong("NOMOPOLY_BUDGET", format!("expected a number of seconds, got `{budget}`"))
            })
        });
        // Cargo runs build scripts in the package's folder, people run cargo elsewhere.
        let folder = |name: &str| match get(name).map(PathBuf::from) {
            Some(path) if path.is_relative() => Err(wrong(
                name,
                format!("{} is relative; builds need an absolute path", path.display()),
            )),
            path => Ok(path),
        };
        Ok(Self {
            manifest_dir: required("CARGO_MANIFEST_DIR")?.into(),
            out_dir: required("OUT_DIR")?.into(),
            package: text("CARGO_PKG_NAME").unwrap_or_default(),
            mode,
            registry: folder("NOMOPOLY_REGISTRY")?,
            cache: folder("NOMOPOLY_CACHE")?.or_else(super::cache_folder),
            budget: budget.transpose()?,
        })
    }
}

/// A path without `.` parts: the same model however it is written.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Environment> {
        Environment::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn variables_are_read_and_nonsense_is_named() {
        let base = [("CARGO_MANIFEST_DIR", "/crate"), ("OUT_DIR", "/out")];
        let with = |name, value| from(&[base[0], base[1], (name, value)]);
        let environment = with("NOMOPOLY_MODE", "locked").unwrap();
        assert_eq!(environment.mode, Some(Mode::Locked));
        assert_eq!(with("DOCS_RS", "1").unwrap().mode, Some(Mode::Stub));
        let budget = with("NOMOPOLY_BUDGET", "1.5").unwrap().budget;
        assert_eq!(budget, Some(Duration::from_millis(1500)));
        for (name, value) in [
            ("NOMOPOLY_MODE", "fast"),
            ("NOMOPOLY_BUDGET", "-1"),
            ("NOMOPOLY_BUDGET", "soon"),
            ("NOMOPOLY_REGISTRY", "ops"),
            ("NOMOPOLY_CACHE", "../cache"),
        ] {
            let error = with(name, value).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
        assert!(from(&[base[0]]).unwrap_err().to_string().contains("OUT_DIR"));
    }

    #[test]
    fn paths_are_the_same_however_they_are_written() {
        assert_eq!(plain(Path::new("./models/./a.onnx")), Path::new("models/a.onnx"));
    }
}
