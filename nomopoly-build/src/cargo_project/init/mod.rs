//! What `cargo nomopoly init` does to an existing crate: dependencies, build script, profiles.
//!
//! [`plan`] only reads; [`Plan::apply`] writes. Whatever a user has set is left as it is, and so
//! are comments, order and line endings.

mod error;
mod manifest;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use toml_edit::{Item, Value};

pub use error::InitError;
use manifest::Manifest;

const CRATE: &str = "nomopoly";
const BUILD_CRATE: &str = "nomopoly-build";
const BUILD_SCRIPT: &str = "build.rs";
const CALL: &str = "nomopoly_build::compile_referenced();";
const BUILD_SCRIPT_TEXT: &str = r#"//! Compiles the ONNX models that this crate's sources name in `#[nomopoly::model("...")]`.

fn main() {
    nomopoly_build::compile_referenced();
}
"#;
/// Tables of the root manifest that get `opt-level = 3`, and why.
const PROFILES: [(&[&str], &str); 3] = [
    (
        &["profile", "dev", "build-override"],
        "# The build script compiles models: numeric loops, slow without optimisation.",
    ),
    (
        &["profile", "release", "build-override"],
        "# Cargo does not optimise build scripts in release builds either.",
    ),
    (&["profile", "dev", "package", "*"], "# Running and checking a model are numeric loops too."),
];

/// Where the crates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The registry that Cargo uses, with this version requirement.
    Registry { version: String },
    /// A checkout of Nomopoly: absolute, or relative to the package's folder.
    Path(PathBuf),
}

/// One thing that [`Plan::apply`] does, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub file: PathBuf,
    /// As in "added dependency nomopoly".
    pub what: String,
}

/// What there is to do. Nothing, for a crate that has been set up before.
#[derive(Debug)]
pub struct Plan {
    changes: Vec<Change>,
    notes: Vec<String>,
    /// Manifests before the build script, which does not build without its dependency.
    files: Vec<NewText>,
}

#[derive(Debug)]
struct NewText {
    path: PathBuf,
    /// Contents that the plan was made for; none for a new file.
    before: Option<Vec<u8>>,
    after: String,
}

/// Finds out what is missing. `manifest` is the `Cargo.toml` of the package, `root_manifest` that
/// of its workspace, the only one whose profiles count; they may be the same.
///
/// # Errors
/// When a manifest cannot be read or is not one of a package. Nothing has been written.
pub fn plan(manifest: &Path, root_manifest: &Path, source: &Source) -> Result<Plan, InitError> {
    let mut package = Manifest::read(manifest)?;
    let mut root = if same_file(manifest, root_manifest) {
        None
    } else {
        Some(Manifest::read(root_manifest)?)
    };
    let mut notes = vec![];

    let packages = ["package", "project"];
    if !packages.iter().any(|key| package.document.contains_key(key)) {
        return Err(InitError::NoPackage { path: manifest.to_owned() });
    }
    package.add_dependency(CRATE, &["dependencies"], source)?;
    // The second name is one that Cargo still reads, but not beside the first.
    package.add_dependency(BUILD_CRATE, &["build-dependencies", "build_dependencies"], source)?;
    let build_script = plan_build_script(&package, &mut notes)?;
    for (table, comment) in PROFILES {
        root.as_mut().unwrap_or(&mut package).optimise(table, comment, &mut notes)?;
    }

    let (mut changes, mut files) = (vec![], vec![]);
    for manifest in [Some(package), root].into_iter().flatten() {
        if let Some((file, what)) = manifest.into_new_text() {
            files.push(file);
            changes.extend(what);
        }
    }
    if let Some(path) = build_script {
        changes.push(Change { file: path.clone(), what: "created the build script".to_owned() });
        files.push(NewText { path, before: None, after: BUILD_SCRIPT_TEXT.to_owned() });
    }
    Ok(Plan { changes, notes, files })
}

impl Plan {
    /// Empty if there is nothing to do.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What a person should look at, changes or not.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes every file whole. A file that cannot be written leaves the others as they were,
    /// unless the system fails between two renames.
    ///
    /// # Errors
    /// When a file cannot be written, or is no longer what the plan was made for.
    pub fn apply(&self) -> Result<(), InitError> {
        let drafts: Vec<_> = self.files.iter().map(NewText::draft).collect::<Result<_, _>>()?;
        for (file, (draft, target)) in self.files.iter().zip(drafts) {
            draft
                .persist(target)
                .map_err(|error| InitError::io("write", &file.path)(error.error))?;
        }
        Ok(())
    }
}

impl NewText {
    /// The new contents in a file beside the old one, and where to move it.
    fn draft(&self) -> Result<(NamedTempFile, PathBuf), InitError> {
        let mut target = self.path.clone();
        let mut permissions = None;
        match (fs::read(&self.path), &self.before) {
            (Ok(now), Some(before)) if now == *before => {
                // A link stays one: its target is replaced.
                target = self.path.canonicalize().map_err(InitError::io("find", &self.path))?;
                let metadata = target.metadata().map_err(InitError::io("read", &target))?;
                if metadata.permissions().readonly() {
                    return Err(InitError::ReadOnly { path: self.path.clone() });
                }
                permissions = Some(metadata.permissions());
            }
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => {}
            (Err(cause), Some(_)) => return Err(InitError::io("read", &self.path)(cause)),
            _ => return Err(InitError::Changed { path: self.path.clone() }),
        }
        let draft = || -> io::Result<NamedTempFile> {
            // Opened here, for tempfile's own permissions are those of a secret.
            let open = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
            let mut draft =
                tempfile::Builder::new().prefix(".nomopoly-").make_in(folder_of(&target), open)?;
            draft.write_all(self.after.as_bytes())?;
            if let Some(permissions) = permissions {
                draft.as_file().set_permissions(permissions)?;
            }
            draft.as_file().sync_all()?;
            Ok(draft)
        };
        Ok((draft().map_err(InitError::io("write", &self.path))?, target))
    }
}

/// The build script to create, if the package has none.
fn plan_build_script(
    package: &Manifest,
    notes: &mut Vec<String>,
) -> Result<Option<PathBuf>, InitError> {
    let folder = package.path.parent().unwrap_or(&package.path);
    let root = package.document.as_table();
    let setting = root.get("package").or(root.get("project")).and_then(|table| table.get("build"));
    let scripts = match setting {
        Some(Item::Value(Value::Boolean(wanted))) if !wanted.value() => {
            notes.push(format!(
                "`{}` says `build = false`, so no build compiles models: remove that line and run \
                 this again, or use `cargo nomopoly compile`",
                package.path.display()
            ));
            return Ok(None);
        }
        Some(Item::Value(Value::String(path))) => vec![folder.join(path.value())],
        Some(Item::Value(Value::Array(paths))) => {
            paths.iter().filter_map(Value::as_str).map(|path| folder.join(path)).collect()
        }
        _ => {
            let path = folder.join(BUILD_SCRIPT);
            if !path.try_exists().map_err(InitError::io("read", &path))? {
                return Ok(Some(path));
            }
            vec![path]
        }
    };
    for script in &scripts {
        let text = fs::read(script).map_err(InitError::io("read", script))?;
        if String::from_utf8_lossy(&text).contains("nomopoly_build") {
            return Ok(None);
        }
    }
    if let Some(script) = scripts.first() {
        notes.push(format!("add the line `{CALL}` to `main` of `{}`", script.display()));
    }
    Ok(None)
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    one == other
        || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}
