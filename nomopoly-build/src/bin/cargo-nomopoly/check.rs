//! `check`: every recorded file against its hash, every ONNX file, that models are compiled as they
//! are now, and that they are what the package's policy asks for.

use std::collections::BTreeMap;

use candle_core::Device;
use nomopoly_build::manifest::{Audit, Metrics};
use nomopoly_build::registry::{ARTEFACT, EntryStatus, Registry, RegistryError, State};
use nomopoly_build::runtime::artefact::Artefact;
use nomopoly_build::{Error, Policy, export, load_compiled};
use serde_json::json;

use crate::arguments::CheckArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::{counted, printable};
use crate::package::{Subjects, around, of_project, subjects};

pub fn run(arguments: &CheckArguments, context: &Context) -> Result<(), Failure> {
    let mut total = Checked::default();
    let mut roots = vec![];
    for subjects in subjects_of(arguments, context)? {
        total.registry(&subjects, context)?;
        roots.push(subjects.registry.root().to_string_lossy().into_owned());
    }
    let Checked { entries, models, problems } = total;
    context.result(
        || {
            json!({
                "registries": &roots,
                "entries": entries,
                "models": models,
                "ok": problems.is_empty(),
                "problems": &problems,
            })
        },
        || {
            let mut text: String = problems.iter().map(|p| format!("problem: {p}\n")).collect();
            text.push_str(&counted(entries, "entry", "entries"));
            if models > 0 {
                text.push_str(&format!(" and {}", counted(models, "model", "models")));
            }
            let roots: Vec<String> = roots.iter().map(|root| format!("`{root}`")).collect();
            text.push_str(&format!(" checked in {}, ", roots.join(", ")));
            text.push_str(&match problems.len() {
                0 => "no problems\n".to_owned(),
                n => format!("{}\n", counted(n, "problem", "problems")),
            });
            printable(&text)
        },
    )?;
    if problems.is_empty() { Ok(()) } else { Err(Failure::Negative) }
}

/// What there is to check: the model or package that was named, else those around.
fn subjects_of(arguments: &CheckArguments, context: &Context) -> Result<Vec<Subjects>, Failure> {
    if arguments.model.is_some() || arguments.package.package.is_some() {
        return Ok(vec![subjects(arguments.model.as_deref(), &arguments.package, context)?]);
    }
    match around()?.unwrap_or_default().as_slice() {
        // No package, or none with models: the registry alone.
        [] => Ok(vec![Subjects::registry_alone(context.registry()?)]),
        projects => projects.iter().map(|project| of_project(project, None, context)).collect(),
    }
}

#[derive(Default)]
struct Checked {
    entries: usize,
    models: usize,
    problems: Vec<String>,
}

impl Checked {
    fn registry(&mut self, subjects: &Subjects, context: &Context) -> Result<(), Failure> {
        let Subjects { models, registry, .. } = subjects;
        let entries = registry.entries()?;
        for entry in &entries {
            match entry.state {
                State::Unrecorded => context.note(&format!(
                    "`{}` is not recorded and never used; `cargo nomopoly gc` removes it",
                    entry.path.display()
                )),
                _ => self.problems.extend(entry_problem(registry, entry)),
            }
        }
        for model in registry.pending()? {
            for (node, entry) in model.nodes {
                let known = entries.iter().any(|other| other.name == entry);
                // An incomplete entry was reported with its files.
                if !known {
                    self.problems.push(format!(
                        "{}: node `{node}` needs the entry `{entry}`, which is missing; run \
                         `cargo nomopoly compile` for the model",
                        model.model
                    ));
                }
            }
        }
        for model in models {
            let Err(error) = load_compiled(registry, model) else { continue };
            let problem = match error {
                Error::NotCompiled { missing, .. } => format!(
                    "{}: not compiled: {}; run `{}`",
                    model.display(),
                    missing.join(", "),
                    subjects.command(model)
                ),
                error => {
                    let failure = Failure::from(error);
                    match failure.help() {
                        Some(help) => format!("{failure}; {help}"),
                        None => failure.to_string(),
                    }
                }
            };
            // A damaged entry is a problem once, not twice.
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        let audits = self.audits(registry, context)?;
        for (model, policy) in policies(subjects)? {
            self.policy(registry, &model, &policy, audits.get(&model))?;
        }
        self.entries += entries.iter().filter(|entry| entry.state != State::Unrecorded).count();
        self.models += models.len();
        Ok(())
    }

    /// The audits that count, by the names of their models.
    fn audits(
        &mut self,
        registry: &Registry,
        context: &Context,
    ) -> Result<BTreeMap<String, Audit>, Failure> {
        let mut audits = BTreeMap::new();
        for model in registry.read_lock()?.models.into_keys() {
            match registry.recorded_audit(&model) {
                Ok(recorded) => {
                    let audit = recorded.valid(&mut |reason| context.note(&reason));
                    audits.extend(audit.map(|audit| (model, audit)));
                }
                Err(error) => self.problems.push(error.to_string()),
            }
        }
        Ok(audits)
    }

    /// Everything that is not as the policy asks. Models that are not compiled, and entries whose
    /// figures cannot be read, are problems already.
    fn policy(
        &mut self,
        registry: &Registry,
        model: &str,
        policy: &Policy,
        audit: Option<&Audit>,
    ) -> Result<(), Failure> {
        let lock = registry.read_lock()?;
        let Some(locked) = lock.models.get(model) else { return Ok(()) };
        let nodes = locked.nodes.iter();
        let metrics: Result<Vec<(&str, Metrics)>, RegistryError> = nodes
            .map(|(node, entry)| registry.metrics(entry).map(|metrics| (node.as_str(), metrics)))
            .collect();
        let Ok(metrics) = metrics else { return Ok(()) };
        let operations = metrics.iter().map(|(node, metrics)| (*node, metrics));
        let violations = policy.violations(operations, audit);
        self.problems.extend(violations.iter().map(|violation| format!("{model}: {violation}")));
        Ok(())
    }
}

/// Names of models with the policy for each, where there is one. Without a model that was meant,
/// that of the current folder is for all that the registry records.
fn policies(subjects: &Subjects) -> Result<Vec<(String, Policy)>, Failure> {
    let mut policies = vec![];
    for model in &subjects.models {
        let name = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let policy = Policy::load(&subjects.policy_folder(Some(model))?)?;
        policies.extend(policy.map(|policy| (name, policy)));
    }
    if subjects.models.is_empty()
        && let Some(policy) = Policy::load(&subjects.policy_folder(None)?)?
    {
        let models = subjects.registry.read_lock()?.models.into_keys();
        policies.extend(models.map(|model| (model, policy.clone())));
    }
    Ok(policies)
}

/// The first stage that an entry fails; later ones would only repeat it.
fn entry_problem(registry: &Registry, entry: &EntryStatus) -> Option<String> {
    let check = || -> Result<(), nomopoly_build::Error> {
        registry.verify_entry(&entry.name)?;
        registry.validate_onnx(&entry.name, &mut |path| export::check_file(path))?;
        registry.metrics(&entry.name)?;
        let bytes = registry.read_verified(&entry.name, ARTEFACT)?;
        Artefact::from_bytes(&entry.name, &bytes, &Device::Cpu)?;
        Ok(())
    };
    check().err().map(|error| error.to_string())
}
