//! The models that a command is about, with the registry of their package.

use std::path::{Path, PathBuf};

use nomopoly_build::Policy;
use nomopoly_build::cargo_project::Project;
use nomopoly_build::registry::Registry;

use crate::arguments::PackageArguments;
use crate::context::Context;
use crate::failure::Failure;

/// Models and where their operations are.
pub struct Subjects {
    pub models: Vec<PathBuf>,
    pub registry: Registry,
    /// Name and folder of the package, where one is meant.
    package: Option<(String, PathBuf)>,
}

impl Subjects {
    /// No models, only a registry.
    pub fn registry_alone(registry: Registry) -> Self {
        Self { models: vec![], registry, package: None }
    }

    /// The folder where the policy for one of the models is: the package's, also where the model
    /// was named alone, else the model's. Without a model, the current one.
    ///
    /// # Errors
    /// When there is no current folder.
    pub fn policy_folder(&self, model: Option<&Path>) -> Result<PathBuf, Failure> {
        let (None, Some(model)) = (&self.package, model) else {
            return Ok(self.package.as_ref().map_or_else(PathBuf::new, |(_, f)| f.clone()));
        };
        let beside = model.parent().unwrap_or(Path::new(""));
        let absolute = std::path::absolute(model).map_err(Failure::io("find", model))?;
        let package = absolute.ancestors().skip(1).find(|f| f.join("Cargo.toml").is_file());
        Ok(package.filter(|f| Policy::file(f).is_file()).unwrap_or(beside).to_owned())
    }

    /// The command that compiles one of the models into the registry.
    pub fn command(&self, model: &Path) -> String {
        match &self.package {
            None => format!("cargo nomopoly compile {}", model.display()),
            Some((name, folder)) => {
                let model = model.strip_prefix(folder).unwrap_or(model);
                format!("cargo nomopoly compile -p {name} {}", model.display())
            }
        }
    }
}

/// A model that was named alone is a path like any other, and its registry is the one of the
/// global option. With a package, paths start from its folder, and the registry is its `ops/`
/// unless the option says otherwise; without a model, all that its sources name are meant.
///
/// # Errors
/// When there is no such package, or its sources name no model.
pub fn subjects(
    model: Option<&Path>,
    package: &PackageArguments,
    context: &Context,
) -> Result<Subjects, Failure> {
    if let (Some(model), None) = (model, &package.package) {
        let alone = Subjects::registry_alone(context.registry()?);
        return Ok(Subjects { models: vec![model.to_owned()], ..alone });
    }
    of_project(&project(package)?, model, context)
}

/// The models of one package, or the one of it that was named.
///
/// # Errors
/// When its sources name no model, or two of one file name.
pub fn of_project(
    project: &Project,
    model: Option<&Path>,
    context: &Context,
) -> Result<Subjects, Failure> {
    let folder = shortened(project.folder());
    let models: Vec<PathBuf> = match model {
        Some(model) => vec![folder.join(model)],
        None => project.models().iter().map(|model| folder.join(model)).collect(),
    };
    if models.is_empty() {
        return Err(Failure::problem(
            format!("the sources of package `{}` name no model", project.name),
            "give the path of an ONNX file, or use #[nomopoly::model(\"...\")] in the package",
        ));
    }
    let mut names: Vec<_> = models.iter().filter_map(|model| model.file_name()).collect();
    names.sort_unstable();
    if let Some(twins) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::problem(
            format!("package `{}` names two models {}", project.name, twins[0].to_string_lossy()),
            "registries record models by file name: rename one",
        ));
    }
    let registry = context.registry_of(&folder)?;
    Ok(Subjects { models, registry, package: Some((project.name.clone(), folder)) })
}

/// Packages that `check` goes through without being told which: the one around the current folder,
/// else every member of the workspace, as far as their sources name models. `None` outside any.
///
/// # Errors
/// When Cargo cannot read a manifest that is there.
pub fn around() -> Result<Option<Vec<Project>>, Failure> {
    let here = std::env::current_dir().map_err(Failure::io("find", Path::new(".")))?;
    if !here.ancestors().any(|folder| folder.join("Cargo.toml").is_file()) {
        return Ok(None);
    }
    let mut projects = Project::around(&here)?;
    projects.retain(|project| !project.models().is_empty());
    Ok(Some(projects))
}

/// The package of the option, else the one around the current folder.
///
/// # Errors
/// When there is none, or several and none was named.
pub fn project(package: &PackageArguments) -> Result<Project, Failure> {
    let here = std::env::current_dir().map_err(Failure::io("find", Path::new(".")))?;
    Project::find(&here, package.package.as_deref()).map_err(|error| {
        Failure::problem(
            error.to_string(),
            "run it in a folder of a Cargo package, give -p NAME in a workspace, or name a model",
        )
    })
}

/// A path relative to the current folder where that is shorter: what people want to read.
fn shortened(folder: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    match here.as_deref().and_then(|here| folder.strip_prefix(here).ok()) {
        Some(relative) => relative.to_owned(),
        None => folder.to_owned(),
    }
}
