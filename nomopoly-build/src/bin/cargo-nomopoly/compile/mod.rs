//! `compile`: train what the registry lacks for a model.

mod progress;
mod summary;

use std::path::Path;
use std::sync::Arc;

use nomopoly_build::manifest::CompileOptions;
use nomopoly_build::registry::Registry;
use nomopoly_build::{Calibration, Compilation, Compiler, DeviceChoice};
use serde_json::json;

use crate::arguments::{CompileArguments, DeviceName};
use crate::context::Context;
use crate::failure::Failure;
use crate::package::{Subjects, subjects};
use progress::Progress;

pub fn run(arguments: &CompileArguments, context: &Context) -> Result<(), Failure> {
    let Subjects { models, registry, .. } =
        subjects(arguments.model.as_deref(), &arguments.package, context)?;
    let options = arguments.options.options();
    let calibration = arguments.calibration.as_deref().map(Calibration::load).transpose()?;
    let mut documents = vec![];
    for model in &models {
        let mut compiler = Compiler::new(registry.clone())
            .options(options.clone())
            .force(arguments.force)
            .device(match arguments.device {
                DeviceName::Auto => DeviceChoice::Auto,
                DeviceName::Cpu => DeviceChoice::Cpu,
                DeviceName::Cuda => DeviceChoice::Cuda,
                DeviceName::Metal => DeviceChoice::Metal,
            });
        for (name, shape) in &arguments.shapes.input {
            compiler = compiler.input(name.as_str(), shape.as_slice());
        }
        if let Some(jobs) = arguments.jobs {
            compiler = compiler.jobs(jobs as usize);
        }
        if let Some(calibration) = &calibration {
            compiler = compiler.calibration(calibration.clone());
        }
        let compilation = compile(compiler, model, context)?;
        if context.json {
            documents.push(summary::json(&compilation, &registry, &options));
        } else {
            context.print(&summary::text(&compilation, &registry, &options))?;
        }
    }
    // One document: of the model that was named, or of all.
    match documents.pop() {
        None => Ok(()),
        Some(only) if arguments.model.is_some() => context.result(|| only, String::new),
        Some(last) => {
            documents.push(last);
            context.result(|| json!({ "models": documents }), String::new)
        }
    }
}

/// Compiles with progress, stopped by Ctrl-C.
pub fn compile(
    compiler: Compiler,
    model: &Path,
    context: &Context,
) -> Result<Compilation, Failure> {
    let progress = Arc::new(Progress::new(context));
    let result =
        compiler.observer(progress.clone()).cancel(context.interrupt.heed()).compile(model);
    context.interrupt.ignore();
    progress.end();
    Ok(result?)
}

/// Compiles a model with default options: the demo.
pub fn compile_plainly(
    model: &Path,
    registry: Registry,
    force: bool,
    context: &Context,
) -> Result<Compilation, Failure> {
    let compiler = Compiler::new(registry).options(CompileOptions::default()).force(force);
    compile(compiler, model, context)
}
