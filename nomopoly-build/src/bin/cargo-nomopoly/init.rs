//! `init`: prepare a crate for models.

use nomopoly_build::cargo_project::init::{Source, plan};
use serde_json::{Value, json};

use crate::arguments::InitArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::printable;
use crate::package::project;

pub fn run(arguments: &InitArguments, context: &Context) -> Result<(), Failure> {
    let project = project(&arguments.package)?;
    let source = match &arguments.path {
        None => Source::Registry { version: env!("CARGO_PKG_VERSION").to_owned() },
        Some(path) => {
            // Relative to the crate from here on: the command may run elsewhere.
            let path = path.canonicalize().map_err(Failure::io("find", path))?;
            if !path.join("nomopoly-build").join("Cargo.toml").is_file() {
                return Err(Failure::problem(
                    format!("`{}` is no checkout of Nomopoly", path.display()),
                    "give the folder that holds `nomopoly-build`",
                ));
            }
            Source::Path(path)
        }
    };
    let failed = |error: nomopoly_build::cargo_project::init::InitError| Failure::Problem {
        message: error.to_string(),
        help: None,
    };
    let plan = plan(&project.manifest, &project.root_manifest, &source).map_err(failed)?;
    plan.apply().map_err(failed)?;
    context.result(
        || {
            let changes = plan.changes().iter();
            json!({
                "package": project.name,
                "changes": changes
                    .map(|change| json!({ "file": change.file.to_string_lossy(), "what": change.what }))
                    .collect::<Value>(),
                "notes": plan.notes(),
            })
        },
        || {
            let mut text: String = plan
                .changes()
                .iter()
                .map(|change| format!("{}: {}\n", change.file.display(), change.what))
                .collect();
            if plan.changes().is_empty() {
                text.push_str(&format!("package `{}` is set up already\n", project.name));
            }
            for note in plan.notes() {
                text.push_str(&format!("note: {note}\n"));
            }
            text.push_str(
                "\nPut a model into the package and use it:\n\n    \
                 #[nomopoly::model(\"models/model.onnx\")]\n    struct Model;\n\n    \
                 let prover = Model::prover()?;\n    \
                 let verifier = Model::verifier(nomopoly::VerifierKey::random()?)?;\n",
            );
            printable(&text)
        },
    )
}
