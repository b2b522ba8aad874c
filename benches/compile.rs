//! What compiling costs: the demo model beside the baseline perceptron, then time and bytes against
//! the size of an operation.
//!
//! `cargo bench --bench compile`

mod support;

use nomopoly_build::manifest::{Architecture, CompileOptions};
use nomopoly_build::registry::Registry;
use nomopoly_build::{Compilation, Compiler, demo};

fn compile(folder: &std::path::Path, bytes: &[u8], architecture: Architecture) -> Compilation {
    let registry = folder.join(format!("ops-{architecture}"));
    let (path, _) = support::load(folder, "model.onnx", bytes);
    let options = CompileOptions { architecture, ..CompileOptions::default() };
    Compiler::new(Registry::open(registry))
        .options(options)
        .force(true)
        .compile(path)
        .expect("the benchmark's own model compiles")
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");

    println!("Demo model, everything included, 5 runs each by turns:");
    let bytes = demo::model(0);
    let (mut ours, mut baseline) = (vec![], vec![]);
    let mut entries = 0;
    for _ in 0..5 {
        let compilation = compile(folder.path(), &bytes, Architecture::Residual);
        entries = compilation.operations.len();
        ours.push(compilation.seconds);
        baseline.push(compile(folder.path(), &bytes, Architecture::Mlp).seconds);
    }
    ours.sort_by(f64::total_cmp);
    baseline.sort_by(f64::total_cmp);
    println!(
        "  {entries} operations: {:.2} s (median; {:.2} to {:.2}), baseline perceptron {:.2} s, ratio {:.2}",
        ours[2],
        ours[0],
        ours[4],
        baseline[2],
        ours[2] / baseline[2]
    );
    if let Some(peak) = support::peak_memory_mb() {
        println!("  peak memory of this process so far: {peak:.0} MB");
    }

    println!("\nGrowth, one operation each:");
    println!(
        "  {:<28} {:>10} {:>10} {:>8} {:>12} {:>12} {:>12} {:>8}",
        "operation", "MMAC", "weights", "seconds", "entry", "beyond", "largest file", "tested"
    );
    for single in support::growing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let compilation = compile(folder.path(), &single.bytes, Architecture::Residual);
        let operation = &compilation.operations[0];
        let entry = folder.path().join("ops-residual").join(&operation.entry);
        let largest = std::fs::read_dir(&entry)
            .expect("the entry is there")
            .flatten()
            .filter_map(|file| file.metadata().ok())
            .map(|data| data.len())
            .max()
            .unwrap_or(0);
        // The model file is the weights and a few hundred bytes.
        let weights = single.bytes.len() as f64 / 1e3;
        let total = operation.bytes as f64 / 1e3;
        println!(
            "  {:<28} {:>10.1} {:>7.0} kB {:>8.2} {:>9.0} kB {:>9.0} kB {:>9.0} kB {:>8}",
            single.name,
            operation.metrics.figures.cost.recompute as f64 / 1e6,
            weights,
            compilation.seconds,
            total,
            total - weights,
            largest as f64 / 1e3,
            operation.metrics.figures.completeness_error.samples,
        );
    }
}
