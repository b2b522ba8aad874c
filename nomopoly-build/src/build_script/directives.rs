//! What a build script says to Cargo. This file alone prints: it is the interface.

use std::path::{Path, PathBuf};

use nomopoly_manifest::{BuildStatus, BuiltModel};

use super::environment::VARIABLES;

/// Lines for Cargo, collected so that callers who are no build script can look at them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// Files that were read: Cargo runs the build script again when one changes.
    pub files: Vec<PathBuf>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Directives {
    pub(super) fn file(&mut self, path: &Path) {
        if !self.files.iter().any(|file| file == path) {
            self.files.push(path.to_owned());
        }
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// A model that is not ready is a warning too, for it may have no attribute that would
    /// report it.
    pub(super) fn status(&mut self, model: &BuiltModel) {
        let path = &model.path;
        match &model.status {
            BuildStatus::Ready { .. } | BuildStatus::Stub { .. } => {}
            BuildStatus::Missing { operations, reason, command } => self.warn(format!(
                "{path}: {} operation(s) are not compiled: {reason}; run `{command}`",
                operations.len()
            )),
            BuildStatus::Failed { reason } => self.warn(format!("{path}: {reason}")),
        }
    }

    /// The lines as Cargo reads them.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        // A line break would end the line for Cargo.
        let files = self.files.iter().map(|path| path.to_string_lossy().into_owned());
        let files = files.filter(|path| !path.contains(['\n', '\r']));
        lines.extend(files.map(|path| format!("cargo::rerun-if-changed={path}")));
        lines.extend(VARIABLES.iter().map(|name| format!("cargo::rerun-if-env-changed={name}")));
        lines.extend(self.warnings.iter().map(|text| format!("cargo::warning={}", line(text))));
        lines
    }

    pub(super) fn print(&self) {
        for line in self.lines() {
            println!("{line}");
        }
    }
}

/// An error ends the build, once the build script is over.
pub(super) fn print_error(text: &str) {
    println!("cargo::error={}", line(text));
}

fn line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_one_line() {
        let mut directives = Directives::default();
        directives.file(Path::new("a b/é.onnx"));
        directives.file(Path::new("odd\nname"));
        directives.warn("two\n  lines");
        let lines = directives.lines();
        assert!(lines.contains(&"cargo::rerun-if-changed=a b/é.onnx".to_owned()));
        assert!(lines.contains(&"cargo::warning=two; lines".to_owned()));
        assert!(lines.contains(&"cargo::rerun-if-env-changed=NOMOPOLY_MODE".to_owned()));
        assert!(lines.iter().all(|line| !line.contains('\n') && line.starts_with("cargo::")));
    }
}
