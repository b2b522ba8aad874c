//! `audit`: what each proof of a model is worth, measured.

mod progress;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nomopoly_build::audit::{Auditor, OnnxRuntime, report};
use nomopoly_build::manifest::Audit;
use nomopoly_build::{Calibration, Error, load_compiled};
use serde_json::json;

use crate::arguments::AuditArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::seconds;
use crate::package::{Subjects, subjects};
use crate::prove::write_whole;
use progress::Progress;

pub fn run(arguments: &AuditArguments, context: &Context) -> Result<(), Failure> {
    let subjects = subjects(arguments.model.as_deref(), &arguments.package, context)?;
    let python = arguments.python.as_deref().map(onnxruntime).transpose()?;
    let mut documents = vec![];
    for model in &subjects.models {
        let start = Instant::now();
        let folder = folder(arguments, model, subjects.models.len());
        let audit = audit(arguments, context, &subjects, model, &folder, python.clone())?;
        let (json, page) = (folder.join("audit.json"), folder.join("report.html"));
        write_whole(&json, &document(&audit)?)?;
        let html = report::html(&audit).map_err(Error::from)?;
        write_whole(&page, html.as_bytes())?;
        if context.json {
            documents.push(json!({
                "audit": audit,
                "json": json.to_string_lossy(),
                "report": page.to_string_lossy(),
            }));
        } else {
            context.print(&format!(
                "{}\naudited in {}; report: {}\n",
                report::summary(&audit),
                seconds(start.elapsed().as_secs_f64()),
                page.display()
            ))?;
        }
        // A part of an audit vouches for nothing, and must not take the place of a whole one.
        if audit.is_whole {
            let name = model.file_name().unwrap_or_default().to_string_lossy();
            subjects.registry.record_audit(&name, &audit)?;
        } else {
            context.note("not recorded in the registry: only a part of the audit was run");
        }
    }
    match documents.pop() {
        None => Ok(()),
        Some(only) if arguments.model.is_some() => context.result(|| only, String::new),
        Some(last) => {
            documents.push(last);
            context.result(|| json!({ "models": documents }), String::new)
        }
    }
}

fn audit(
    arguments: &AuditArguments,
    context: &Context,
    subjects: &Subjects,
    model: &Path,
    folder: &Path,
    python: Option<OnnxRuntime>,
) -> Result<Audit, Failure> {
    let compiled = load_compiled(&subjects.registry, model).map_err(|error| match error {
        Error::NotCompiled { model: name, .. } => Failure::problem(
            format!("{name} is not compiled as it is now"),
            format!("run `{}` first", subjects.command(model)),
        ),
        error => error.into(),
    })?;
    fs::create_dir_all(folder).map_err(Failure::io("create", folder))?;
    let progress = Arc::new(Progress::new(context));
    let mut auditor = Auditor::new(compiled, folder)
        .samples(arguments.samples)
        .seed(arguments.seed)
        .baseline(!arguments.no_baseline)
        .observer(progress.clone())
        .cancel(context.interrupt.heed());
    if !arguments.attacks.is_empty() {
        auditor = auditor.attacks(&arguments.attacks);
    }
    if let Some(budget) = arguments.budget {
        auditor = auditor.budget(Duration::from_secs_f64(budget));
    }
    if let Some(path) = &arguments.data {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        auditor = auditor.data(name, Calibration::load(path)?);
    }
    if let Some(python) = python {
        auditor = auditor.onnxruntime(python);
    }
    if let Some(jobs) = arguments.jobs {
        auditor = auditor.jobs(jobs as usize);
    }
    let result = auditor.run();
    context.interrupt.ignore();
    progress.end();
    Ok(result?)
}

/// Where the report of a model goes.
fn folder(arguments: &AuditArguments, model: &Path, models: usize) -> PathBuf {
    let stem = model.file_stem().unwrap_or_default();
    match &arguments.out {
        Some(out) if models == 1 => out.clone(),
        Some(out) => out.join(stem),
        None => Path::new("target/nomopoly-audit").join(stem),
    }
}

fn onnxruntime(python: &Path) -> Result<OnnxRuntime, Failure> {
    OnnxRuntime::new(python).map_err(|reason| {
        Failure::problem(reason, "leave --python away to audit without ONNX Runtime")
    })
}

fn document(audit: &Audit) -> Result<Vec<u8>, Failure> {
    let mut document = serde_json::to_vec_pretty(audit).map_err(|error| {
        Failure::problem(format!("cannot write the audit as JSON: {error}"), "report this")
    })?;
    document.push(b'\n');
    Ok(document)
}
