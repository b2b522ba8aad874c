//! What checking an operation costs, as a fraction of recomputing it: in multiply-accumulates, and
//! in time against the same tensor library and against tract.
//!
//! `cargo bench --bench cost`

mod support;

use std::time::Instant;

use nomopoly::candle_core::{Device, Tensor};
use nomopoly::onnx::Plan;
use nomopoly::{NamedTensor, OperationVerifier, VerifierKey};
use nomopoly_build::manifest::CompileOptions;
use nomopoly_build::registry::Registry;
use nomopoly_build::{Compiler, demo, load_compiled};

/// Median seconds of calls, by turns so that noise hits all alike.
fn medians<const N: usize>(mut calls: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| vec![]);
    for _ in 0..31 {
        for (call, times) in calls.iter_mut().zip(&mut times) {
            let start = Instant::now();
            call();
            times.push(start.elapsed().as_secs_f64());
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

fn main() {
    println!("Checking over recomputing (below 1 is cheaper); one call, medians of 31 by turns:");
    println!(
        "  {:<28} {:>14} {:>8} {:>10} {:>10} {:>10}",
        "operation", "check", "MACs", "vs candle", "vs tract", "check µs"
    );
    let mut models = support::growing();
    models.extend(support::kinds());
    let mut all: Vec<(String, Vec<u8>)> =
        models.into_iter().map(|single| (single.name.to_owned(), single.bytes)).collect();
    all.push(("demo".into(), demo::model(0)));
    for (name, bytes) in all {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, graph) = support::load(folder.path(), "model.onnx", &bytes);
        let registry = Registry::open(folder.path().join("ops"));
        Compiler::new(registry.clone())
            .options(CompileOptions::fast())
            .compile(&path)
            .expect("the benchmark's own model compiles");
        let model = load_compiled(&registry, &path).expect("it was just compiled");
        for compiled in model.operations() {
            let operation = &compiled.operation;
            let key = VerifierKey::from_bytes([1; 32]);
            let verifier = OperationVerifier::new(compiled.clone(), &key, &Device::Cpu)
                .expect("the key expands");
            let data: Vec<Vec<f32>> = operation
                .spec()
                .input_shapes
                .iter()
                .enumerate()
                .map(|(i, shape)| support::values(shape.iter().product(), 50 + i as u64, 1.))
                .collect();
            let shapes = &operation.spec().input_shapes;
            let inputs: Vec<Tensor> = data
                .iter()
                .zip(shapes)
                .map(|(data, shape)| {
                    let shape: Vec<usize> =
                        std::iter::once(1).chain(shape.iter().copied()).collect();
                    Tensor::from_slice(data, shape, &Device::Cpu).expect("the shape fits")
                })
                .collect();
            let output = operation.forward(&inputs).expect("the operation runs");
            let proof = compiled.prove(&output).expect("the generator runs");
            // tract's time for the operation alone: the graph cut before and after it.
            let names: Vec<&str> = operation.inputs().iter().map(String::as_str).collect();
            let cut = nomopoly::onnx::cut::cut(
                &graph,
                &names_inside(&graph, &names),
                &[operation.output()],
            )
            .expect("the graph can be cut");
            let plan = Plan::new(&name, &cut.proto).expect("tract runs it");
            let tensors: Vec<_> = data
                .iter()
                .zip(shapes)
                .zip(&names)
                .map(|((data, shape), name)| {
                    let tensor = NamedTensor::from_f32(name, shape, data.clone());
                    tensor.to_tract().expect("the shape fits")
                })
                .collect();
            let [check, candle, tract] = medians([
                &mut || drop(verifier.verify(&inputs, &output, &proof).expect("it verifies")),
                &mut || drop(operation.forward(&inputs).expect("it runs")),
                &mut || drop(plan.run(tensors.iter().cloned()).expect("it runs")),
            ]);
            let header = &compiled.artefact.header;
            let cost = nomopoly::residual::check_cost(operation, header.check, header.sketches);
            let label =
                if name == "demo" { format!("demo {}", operation.output()) } else { name.clone() };
            println!(
                "  {:<28} {:>14} {:>8.2} {:>10.2} {:>10.2} {:>10.0}",
                label,
                if header.sketches > 0 {
                    format!("sketch k={}", header.sketches)
                } else {
                    "replay".into()
                },
                cost as f64 / operation.recompute_cost() as f64,
                check / candle,
                check / tract,
                check * 1e6,
            );
        }
    }
    println!(
        "Small operations are dominated by the fixed cost of a check (the proof vector's); for"
    );
    println!("them recomputing is the better deal, and a whole-model check recomputes them.");
}

/// Those of the names that are computed inside the graph: a graph input cannot be cut.
fn names_inside<'a>(graph: &nomopoly::onnx::Graph, names: &[&'a str]) -> Vec<&'a str> {
    let is_input = |name: &str| graph.inputs().iter().any(|input| input.name == name);
    names.iter().copied().filter(|name| !is_input(name)).collect()
}
