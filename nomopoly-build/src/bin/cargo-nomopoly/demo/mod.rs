//! `demo`: compile a small model, prove an inference, and catch a host that cheats.

mod cheat;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use nomopoly_build::runtime::dynamic::{Prover, Verifier};
use nomopoly_build::runtime::onnx::Model;
use nomopoly_build::runtime::{CompiledModel, NamedTensor, Proof, Report, VerifierKey};
use nomopoly_build::{Compilation, demo, load_compiled};
use serde_json::{Value, json};

use crate::arguments::DemoArguments;
use crate::compile;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::{bytes, check, deviation, percent, rate, seconds, shape};
use crate::prove::write_whole;
use crate::table::{Align, Table};
use crate::verify::verdict;

/// Seed of the model's weights and of the image.
const SEED: u64 = 0;

/// One inference that a verifier judged.
struct Trial {
    what: String,
    report: Report,
    /// Whether the verifier should accept it.
    honest: bool,
    seconds: f64,
}

pub fn run(arguments: &DemoArguments, context: &Context) -> Result<(), Failure> {
    let folder = folder(arguments)?;
    let path = folder.join("demo.onnx");
    write_whole(&path, &demo::model(SEED))?;
    let registry = context.registry_at(&folder.join("ops"))?;
    let compilation = compile::compile_plainly(&path, registry.clone(), arguments.fresh, context)?;

    let compiled = Arc::new(load_compiled(&registry, &path)?);
    let image = [NamedTensor::from_f32("image", &[1, 3, 8, 8], demo::image(SEED))];
    let start = Instant::now();
    let prover = Prover::new(compiled.clone())?;
    let prepared = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let honest = prover.prove(&image)?;
    let proved = start.elapsed().as_secs_f64();
    let proof_bytes = honest.to_bytes()?;
    write_whole(&folder.join("demo.npf"), &proof_bytes)?;

    let verifier = Verifier::new(&compiled, &VerifierKey::random()?, &Device::Cpu)?;
    let judge = |what: String, proof: &Proof, honest: bool| -> Result<Trial, Failure> {
        let start = Instant::now();
        let report = verifier.inspect(&image, proof)?;
        Ok(Trial { what, report, honest, seconds: start.elapsed().as_secs_f64() })
    };
    let mut trials = vec![judge("the honest proof".into(), &honest, true)?];
    let (edited, what) = cheat::edited_output(&prover, &image)?;
    trials.push(judge(what, &edited, false)?);
    let (quantised, difference) =
        cheat::quantised_weights(&compiled, &image, &honest, "conv1.weight")?;
    let what = format!(
        "conv1 run with int8 weights (its output deviates by {}), all proofs made anew",
        deviation(difference)
    );
    trials.push(judge(what, &quantised, false)?);

    context.result(
        || json(&compilation, &trials, &folder),
        || {
            let opening = opening(&compiled, &compilation);
            let proving = format!(
                "\nProver ready in {}. One inference proved in {}: a proof of {}.\n\n",
                seconds(prepared),
                seconds(proved),
                bytes(proof_bytes.len() as u64)
            );
            let judged: String = trials.iter().map(Trial::text).collect();
            format!("{opening}{proving}{judged}{}", closing(&folder))
        },
    )?;
    // A demo that does not show what it says must not end well.
    if trials.iter().all(|trial| trial.report.accepted() == trial.honest) {
        Ok(())
    } else {
        Err(Failure::problem(
            "the verifier judged an inference of the demo wrongly",
            "run `cargo nomopoly demo --fresh`, and report it if it happens again",
        ))
    }
}

/// The folder of the option, else one under `target`, else a temporary one.
fn folder(arguments: &DemoArguments) -> Result<PathBuf, Failure> {
    if let Some(folder) = &arguments.dir {
        fs::create_dir_all(folder).map_err(Failure::io("create the folder", folder))?;
        return Ok(folder.clone());
    }
    let usual = PathBuf::from("target").join("nomopoly-demo");
    let writable = fs::create_dir_all(&usual).and_then(|()| tempfile::tempfile_in(&usual));
    if writable.is_ok() {
        return Ok(usual);
    }
    let made = tempfile::Builder::new().prefix("nomopoly-demo-").tempdir();
    // Kept, because the artefacts are there to be looked at.
    Ok(made.map_err(Failure::io("create a folder in", &std::env::temp_dir()))?.keep())
}

fn opening(compiled: &CompiledModel, compilation: &Compilation) -> String {
    let graph = compiled.graph();
    let parameters: usize = model_parameters(graph.model());
    let trained = compilation.operations.iter().filter(|node| !node.cached).count();
    let mut table = Table::new(&[
        ("operation", Align::Left),
        ("kind", Align::Left),
        ("output", Align::Left),
        ("check", Align::Left),
        ("accuracy", Align::Right),
        ("honest rejected", Align::Right),
        ("fakes accepted", Align::Right),
        ("certified", Align::Right),
    ]);
    for node in &compilation.operations {
        let (figures, operation) = (&node.metrics.figures, &node.metrics.operation);
        let certificate = figures.certificate.as_ref();
        table.row([
            node.node.clone(),
            operation.kind.to_string(),
            shape(&operation.output_shape),
            check(&node.metrics),
            percent(figures.accuracy),
            rate(&figures.completeness_error),
            rate(&figures.soundness_error),
            certificate.map_or_else(|| "none".into(), |c| deviation(c.deviation_at_soundness_bits)),
        ]);
    }
    format!(
        "{}: {} operations, {parameters} parameters; {trained} trained in {}\n\n{table}\
         Certified: from this relative deviation on, a wrong output passes with probability at \
         most 2^-40 (sketch) or never (replay).\n",
        compilation.model,
        compilation.operations.len(),
        seconds(compilation.seconds),
    )
}

fn model_parameters(model: &Model) -> usize {
    let graph = model.proto().graph.as_ref();
    let tensors = graph.into_iter().flat_map(|graph| &graph.initializer);
    tensors.map(|tensor| tensor.dims.iter().product::<i64>().max(0) as usize).sum()
}

impl Trial {
    fn text(&self) -> String {
        let mut text = format!(
            "{}  {}, checked in {}\n",
            verdict(self.report.accepted()),
            self.what,
            seconds(self.seconds)
        );
        for operation in self.report.rejected() {
            let reason = operation.reason.as_deref().unwrap_or("its score is below 0.5");
            text.push_str(&format!(
                "          {} ({}): {reason}\n",
                operation.operation, operation.kind
            ));
        }
        text
    }
}

fn closing(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "\nThe key is new in every run. Whoever has it can forge, and a transcript hides nothing: \
         this is not zero-knowledge.\n\n\
         Artefacts   {folder}/ops (ONNX files, figures and plots in each folder)\n\
         Proof       {folder}/demo.npf\n\
         Try         cargo nomopoly explain conv1 --registry {folder}/ops\n"
    )
}

fn json(compilation: &Compilation, trials: &[Trial], folder: &Path) -> Value {
    let trials = trials.iter().map(|trial| {
        let rejected = trial.report.rejected().map(|operation| {
            json!({
                "operation": operation.operation,
                "residual": operation.residual,
                "reason": operation.reason,
            })
        });
        json!({
            "what": trial.what,
            "honest": trial.honest,
            "accepted": trial.report.accepted(),
            "rejected": rejected.collect::<Value>(),
            "seconds": trial.seconds,
        })
    });
    json!({
        "model": compilation.model,
        "folder": folder.to_string_lossy(),
        "trained": compilation.operations.iter().filter(|node| !node.cached).count(),
        "seconds": compilation.seconds,
        "trials": trials.collect::<Value>(),
    })
}
