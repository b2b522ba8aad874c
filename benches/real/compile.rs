//! Compiling into an empty registry, and again.

use std::sync::Arc;
use std::time::Instant;

use nomopoly_build::manifest::Check;
use nomopoly_build::registry::ARTEFACT;
use nomopoly_build::{Compilation, Compiler, Event, Observer, scan};

use super::catalogue::Real;
use super::results::{Compiled, save};
use crate::support;

struct Progress;

impl Observer for Progress {
    fn event(&self, event: &Event) {
        match event {
            Event::Planned { entries, missing } => {
                eprintln!("  {missing} of {entries} to be trained")
            }
            Event::Finished { entry, seconds, metrics } if *seconds > 3. => {
                eprintln!("  {entry} in {seconds:.1} s, {} epochs", metrics.history.len());
            }
            _ => {}
        }
    }
}

pub fn run(model: &Real) {
    let _ = std::fs::remove_dir_all(model.registry().root());
    let compile = || -> (Compilation, f64) {
        let start = Instant::now();
        let mut compiler = Compiler::new(model.registry())
            .options(model.options())
            .calibration(model.data())
            .observer(Arc::new(Progress));
        for (name, shape) in model.shapes() {
            compiler = compiler.input(name, shape);
        }
        let compilation = compiler.compile(model.path()).expect("it compiles");
        (compilation, start.elapsed().as_secs_f64())
    };
    let (compilation, cold_seconds) = compile();
    let peak_mb = support::peak_memory_mb().unwrap_or(0.);
    let (_, again_seconds) = compile();
    let graph = model.graph();
    let nodes = scan(&graph, &model.options()).expect("it was compiled");
    let mut entries: Vec<_> = compilation.operations.iter().collect();
    entries.sort_by(|a, b| a.entry.cmp(&b.entry));
    entries.dedup_by(|a, b| a.entry == b.entry);
    let of = |check: Check| {
        compilation.operations.iter().filter(|node| node.metrics.check == check).count()
    };
    let size = |name: &str| {
        let file = model.registry().root().join(name).join(ARTEFACT);
        file.metadata().map_or(0, |data| data.len())
    };
    let transcript = compilation.operations.iter().filter(|n| n.metrics.check == Check::Sketch);
    save(
        model,
        "compile",
        &Compiled {
            nodes: nodes.len(),
            sketched: of(Check::Sketch),
            replayed: of(Check::Replay),
            recomputed: compilation.replayed.len(),
            cold_seconds,
            again_seconds,
            peak_mb,
            model_bytes: model.path().metadata().map_or(0, |data| data.len()),
            loaded_bytes: entries.iter().map(|node| size(&node.entry)).sum(),
            registry_bytes: entries.iter().map(|node| node.bytes).sum(),
            parameters: nodes.iter().map(|node| node.parameters).sum(),
            multiply_accumulates: nodes.iter().filter_map(|node| node.multiply_accumulates).sum(),
            transcript: transcript.map(|node| node.metrics.operation.output_len() as u64).sum(),
        },
    );
}
