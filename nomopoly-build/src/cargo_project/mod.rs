//! The Cargo package around a model: its targets, the models that its sources name, and what
//! `cargo nomopoly init` adds to it.

#[cfg(feature = "cli")]
pub mod init;
pub mod references;

use std::path::{Component, Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, Package};

use crate::error::{Error, Result};

/// A package of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// The `Cargo.toml` of its workspace, which may be the same.
    pub root_manifest: PathBuf,
    /// Source file of each target: library, binaries, tests, examples, benchmarks.
    pub targets: Vec<PathBuf>,
}

impl Project {
    /// Finds the package of this name in the workspace around `folder`; without a name, the
    /// package whose folder it is in, or the only one.
    ///
    /// # Errors
    /// [`Error::Build`] when there is no package, or several and none was named.
    pub fn find(folder: &Path, package: Option<&str>) -> Result<Self> {
        let mut projects = match package {
            Some(_) => Self::members(folder)?,
            None => Self::around(folder)?,
        };
        let names: Vec<&str> = projects.iter().map(|project| project.name.as_str()).collect();
        let names = names.join(", ");
        if let Some(name) = package {
            projects.retain(|project| project.name == name);
        }
        match (projects.len(), projects.pop()) {
            (1, Some(project)) => Ok(project),
            (0, _) => Err(Error::Build(match package {
                Some(name) => format!("no package `{name}` in this workspace; it has {names}"),
                None => "this workspace has no packages".to_owned(),
            })),
            _ => Err(Error::Build(format!("which package is meant? Give -p with one of {names}"))),
        }
    }

    /// The package whose folder `folder` is in; in none, every package of the workspace.
    ///
    /// # Errors
    /// [`Error::Build`] with what Cargo says, for example that there is no `Cargo.toml`.
    pub fn around(folder: &Path) -> Result<Vec<Self>> {
        let projects = Self::members(folder)?;
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = canonical(folder);
        let around =
            projects.iter().filter(|project| folder.starts_with(canonical(project.folder())));
        // The innermost, where packages lie in each other's folders.
        let innermost = around.max_by_key(|project| project.manifest.as_os_str().len()).cloned();
        Ok(innermost.map_or(projects, |project| vec![project]))
    }

    fn members(folder: &Path) -> Result<Vec<Self>> {
        let metadata = metadata(folder, None)?;
        let packages = metadata.workspace_packages();
        Ok(packages.into_iter().map(|package| Self::new(package, &metadata)).collect())
    }

    fn new(package: &Package, metadata: &Metadata) -> Self {
        Self {
            name: package.name.to_string(),
            manifest: package.manifest_path.clone().into(),
            root_manifest: metadata.workspace_root.join("Cargo.toml").into(),
            targets: sources(package),
        }
    }

    /// The package's folder.
    pub fn folder(&self) -> &Path {
        // A manifest's path has a file name.
        self.manifest.parent().unwrap_or(Path::new("."))
    }

    /// Paths of the models that attributes in the sources name, each once, relative to the
    /// package's folder.
    pub fn models(&self) -> Vec<PathBuf> {
        let mut models: Vec<PathBuf> = vec![];
        for reference in references::find(&self.targets).models {
            // The same model however it is written.
            let parts = Path::new(&reference.path).components();
            let path: PathBuf = parts.filter(|part| !matches!(part, Component::CurDir)).collect();
            if !models.contains(&path) {
                models.push(path);
            }
        }
        models
    }
}

/// Source file of each target of the package in this folder.
///
/// # Errors
/// [`Error::Build`] with what Cargo says.
pub fn targets(manifest_dir: &Path) -> Result<Vec<PathBuf>> {
    let manifest = manifest_dir.join("Cargo.toml");
    let metadata = metadata(manifest_dir, Some(&manifest))?;
    let same = |path: &Path| match (path.canonicalize(), manifest.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => path == manifest,
    };
    let package = metadata.packages.iter().find(|p| same(p.manifest_path.as_std_path()));
    let package = package.ok_or_else(|| {
        Error::Build(format!("cargo metadata knows no package at {}", manifest.display()))
    })?;
    Ok(sources(package))
}

fn sources(package: &Package) -> Vec<PathBuf> {
    let targets = package.targets.iter().filter(|target| !target.is_custom_build());
    targets.map(|target| target.src_path.clone().into()).collect()
}

/// What Cargo knows without resolving dependencies: needs no network and takes no lock.
fn metadata(folder: &Path, manifest: Option<&Path>) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.no_deps().current_dir(folder).other_options(["--offline".to_owned()]);
    if let Some(manifest) = manifest {
        command.manifest_path(manifest);
    }
    command.exec().map_err(|error| match error {
        cargo_metadata::Error::CargoMetadata { stderr } => {
            Error::Build(format!("cargo metadata failed: {}", stderr.trim()))
        }
        error => Error::Build(format!("cargo metadata failed: {error}")),
    })
}
