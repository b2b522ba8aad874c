//! `vendor`: copy a package's compiled operations into its `ops/`, to be committed and published
//! with it.

use std::sync::Arc;

use candle_core::Device;
use nomopoly_build::ModelPlan;
use nomopoly_build::registry::Registry;
use nomopoly_build::runtime::onnx::{Graph, Model};
use serde_json::json;

use crate::arguments::VendorArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::{counted, printable};
use crate::package::{Subjects, subjects};

pub fn run(arguments: &VendorArguments, context: &Context) -> Result<(), Failure> {
    let Subjects { models, registry, .. } =
        subjects(arguments.model.as_deref(), &arguments.package, context)?;
    let cache = std::env::var_os("NOMOPOLY_CACHE").filter(|folder| !folder.is_empty());
    let cache = cache.map(Into::into).or_else(nomopoly_build::cache_folder).ok_or_else(|| {
        Failure::problem("this platform names no cache folder", "set NOMOPOLY_CACHE to one")
    })?;
    let cache = Registry::open(cache);
    let options = arguments.options.options();
    let (mut copied, mut kept, mut missing, mut audits) = (vec![], 0, vec![], vec![]);
    for path in &models {
        let model = Arc::new(Model::load(path)?);
        let graph = Graph::bind(model, &arguments.shapes.input.iter().cloned().collect())?;
        let plan = ModelPlan::new(&graph, &options, &Device::Cpu)?;
        let before = missing.len();
        for (entry, node) in plan.entries() {
            let id = node.id.to_string();
            if registry.is_compiled(entry, &id)?.is_some() {
                kept += 1;
            } else if cache.is_compiled(entry, &id)?.is_some() {
                registry.import(&cache, entry)?;
                copied.push(entry.to_owned());
            } else {
                missing.push(format!("{}: {} ({entry})", path.display(), node.node));
            }
        }
        if missing.len() == before {
            let name = graph.model().name();
            registry.record_model(name, plan.locked(&graph))?;
            match registry.import_audit(&cache, name) {
                Ok(true) => audits.push(name.to_owned()),
                Ok(false) => {}
                // The operations are whole without it.
                Err(error) => context.note(&error.to_string()),
            }
        }
    }
    if !missing.is_empty() {
        return Err(Failure::problem(
            format!(
                "{} not in `{}`: {}",
                counted(missing.len(), "operation is", "operations are"),
                cache.root().display(),
                missing.join(", ")
            ),
            "build the package first, or run `cargo nomopoly compile`, with the same options",
        ));
    }
    context.result(
        || {
            json!({
                "registry": registry.root().to_string_lossy(),
                "cache": cache.root().to_string_lossy(),
                "copied": &copied,
                "kept": kept,
                "audits": &audits,
            })
        },
        || {
            let mut text: String = copied.iter().map(|entry| format!("copied {entry}\n")).collect();
            text.extend(audits.iter().map(|model| format!("copied the audit of {model}\n")));
            text.push_str(&format!(
                "{} copied from `{}` to `{}`, {kept} there already\n",
                counted(copied.len(), "entry", "entries"),
                cache.root().display(),
                registry.root().display(),
            ));
            printable(&text)
        },
    )
}
