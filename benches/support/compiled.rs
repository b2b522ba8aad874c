//! The whole models compiled, in a folder of the target folder that later runs use again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nomopoly::CompiledModel;
use nomopoly_build::manifest::CompileOptions;
use nomopoly_build::registry::{ARTEFACT, Registry};
use nomopoly_build::{Compilation, Compiler, Event, Observer, load_compiled};

use super::models::Whole;
use super::table::Table;
use super::timing::{bytes, time};

const FILE: &str = "model.onnx";

/// Where a model, its operations and what a benchmark notes of them lie.
pub fn folder(model: &Whole) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-receipts").join(model.name)
}

fn registry(model: &Whole) -> Registry {
    Registry::open(folder(model).join("ops"))
}

/// Says on the error output what is being trained: the first run takes minutes.
struct Progress;

impl Observer for Progress {
    fn event(&self, event: &Event) {
        match event {
            Event::Planned { entries, missing } => {
                eprintln!("{missing} of {entries} operations are to be trained");
            }
            Event::Finished { entry, seconds, .. } => eprintln!("  {entry} in {seconds:.1} s"),
            _ => {}
        }
    }
}

/// Compiles a model or finds that it is, and prints what that took.
pub fn compile(model: &Whole) {
    println!("## {}: {}\n", model.name, model.about);
    let folder = folder(model);
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    let (path, _) = super::load(&folder, FILE, &model.bytes);
    // The fewest inputs that figures may be measured on: here nothing is read from them.
    let options = CompileOptions { test_samples: 100, ..CompileOptions::fast() };
    let said = format!(
        "preset fast with {} test inputs, {} soundness bits from deviation {:e}, proof vectors of {}",
        options.test_samples, options.soundness_bits, options.min_deviation, options.proof_dim
    );
    let compilation = Compiler::new(registry(model))
        .options(options)
        .observer(Arc::new(Progress))
        .compile(&path)
        .expect("the benchmark's own model compiles");
    println!("Compiled with {said}; every operation from one registry:\n");
    let entries: BTreeSet<&str> =
        compilation.operations.iter().map(|node| node.entry.as_str()).collect();
    let once = |bytes: &dyn Fn(&str) -> u64| entries.iter().map(|entry| bytes(entry)).sum::<u64>();
    let whole = once(&|entry| {
        let node = compilation.operations.iter().find(|node| node.entry == entry);
        node.map_or(0, |node| node.bytes)
    });
    let loaded = once(&|entry| {
        let file = registry(model).root().join(entry).join(ARTEFACT);
        file.metadata().map_or(0, |data| data.len())
    });
    let mut table = Table::new(&[
        "model file",
        "operations",
        "of them trained",
        "replayed without artefact",
        "compiling",
        "artefacts that verifiers load",
        "everything in the registry",
    ]);
    table.row([
        bytes(model.bytes.len() as f64),
        compilation.operations.len().to_string(),
        entries.len().to_string(),
        compilation.replayed.len().to_string(),
        compile_time(&folder, &compilation),
        bytes(loaded as f64),
        bytes(whole as f64),
    ]);
    table.print();
}

/// How long compiling took: now, or when everything was trained in one go.
fn compile_time(folder: &Path, compilation: &Compilation) -> String {
    // Two compilations of the same bytes with other options are two figures.
    let entries: Vec<&str> = compilation.operations.iter().map(|op| op.entry.as_str()).collect();
    let file = folder.join("compile-seconds");
    if compilation.operations.iter().all(|node| !node.cached) {
        let record = format!("{}\n{}", compilation.seconds, entries.join("\n"));
        std::fs::write(file, record).expect("the target folder is writable");
        return time(compilation.seconds);
    }
    let record = std::fs::read_to_string(file).unwrap_or_default();
    let recorded = record.split_once('\n').filter(|(_, of)| *of == entries.join("\n"));
    if let Some(seconds) = recorded.and_then(|(seconds, _)| seconds.parse().ok()) {
        return format!("{} (earlier)", time(seconds));
    }
    // An interrupted run left a part: the sum over threads is all that is known.
    let logged: BTreeMap<&str, f64> = compilation
        .operations
        .iter()
        .filter_map(|node| Some((node.entry.as_str(), node.seconds?)))
        .collect();
    format!("{} of core time", time(logged.values().sum()))
}

/// The file of a model that was compiled, and the model.
pub fn load(model: &Whole) -> (PathBuf, Arc<CompiledModel>) {
    let path = folder(model).join(FILE);
    let compiled = load_compiled(&registry(model), &path).expect("it was compiled before");
    (path, Arc::new(compiled))
}
