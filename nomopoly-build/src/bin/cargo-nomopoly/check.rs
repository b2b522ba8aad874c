//! `check`: every recorded file against its hash, every ONNX file, and that models are compiled as
//! they are now.

use std::path::PathBuf;

use candle_core::Device;
use nomopoly_build::registry::{ARTEFACT, EntryStatus, Registry, State};
use nomopoly_build::runtime::artefact::Artefact;
use nomopoly_build::{export, load_compiled};
use serde_json::json;

use crate::arguments::CheckArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::{counted, printable};
use crate::package::{Subjects, subjects};

pub fn run(arguments: &CheckArguments, context: &Context) -> Result<(), Failure> {
    let (models, registry) = models(arguments, context)?;
    let entries = registry.entries()?;
    let mut problems = vec![];
    for entry in &entries {
        match entry.state {
            State::Unrecorded => context.note(&format!(
                "`{}` is not recorded and never used; `cargo nomopoly gc` removes it",
                entry.path.display()
            )),
            _ => problems.extend(entry_problem(&registry, entry)),
        }
    }
    for model in registry.pending()? {
        for (node, entry) in model.nodes {
            let known = entries.iter().any(|other| other.name == entry);
            // An incomplete entry was reported with its files.
            if !known {
                problems.push(format!(
                    "{}: node `{node}` needs the entry `{entry}`, which is missing; run `cargo \
                     nomopoly compile` for the model",
                    model.model
                ));
            }
        }
    }
    for model in &models {
        let Err(error) = load_compiled(&registry, model) else { continue };
        let failure = Failure::from(error);
        let message = match failure.help() {
            Some(help) => format!("{failure}; {help}"),
            None => failure.to_string(),
        };
        // A damaged entry is a problem once, not twice.
        if !problems.contains(&message) {
            problems.push(message);
        }
    }
    let checked = entries.iter().filter(|entry| entry.state != State::Unrecorded).count();
    context.result(
        || {
            json!({
                "registry": registry.root().to_string_lossy(),
                "entries": checked,
                "models": models.len(),
                "ok": problems.is_empty(),
                "problems": &problems,
            })
        },
        || {
            let mut text: String = problems.iter().map(|p| format!("problem: {p}\n")).collect();
            let root = registry.root().display();
            let mut checked = counted(checked, "entry", "entries");
            if !models.is_empty() {
                checked.push_str(&format!(" and {}", counted(models.len(), "model", "models")));
            }
            text.push_str(&match problems.len() {
                0 => format!("{checked} checked in `{root}`, no problems\n"),
                n => format!(
                    "{checked} checked in `{root}`, {}\n",
                    counted(n, "problem", "problems")
                ),
            });
            printable(&text)
        },
    )?;
    if problems.is_empty() { Ok(()) } else { Err(Failure::Negative) }
}

/// The models to check: the one that was named, else those of the package, where there is one.
fn models(
    arguments: &CheckArguments,
    context: &Context,
) -> Result<(Vec<PathBuf>, Registry), Failure> {
    match subjects(arguments.model.as_deref(), &arguments.package, context) {
        Ok(Subjects { models, registry }) => Ok((models, registry)),
        Err(failure) if arguments.package.package.is_some() => Err(failure),
        // No package, or none with models: the registry alone.
        Err(_) => Ok((vec![], context.registry()?)),
    }
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
