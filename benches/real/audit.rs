//! Honest inferences of ONNX Runtime, and hosts that run another model, against the whole check.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use nomopoly::candle_core::{DType, Device, Tensor};
use nomopoly::dynamic::{Prover, Verifier};
use nomopoly::onnx::cut::with_outputs;
use nomopoly::onnx::{Graph, round_to_int8};
use nomopoly::{CompiledModel, NamedTensor, VerifierKey};
use nomopoly_build::audit::OnnxRuntime;
use nomopoly_build::prost::Message;

use super::catalogue::Real;
use super::results::{Audited, save};
use crate::support;
use crate::support::onnxruntime::python;

/// Bytes of the tensors that ONNX Runtime gives at once.
const AT_ONCE: usize = 256 << 20;
/// Inferences under one key.
const PER_KEY: usize = 50;

/// How a host's model differs.
#[derive(Clone, Copy, PartialEq)]
pub enum Altered {
    Int8,
    BFloat16,
    Float16,
    /// Every weight moved by a thousandth of the tensor's typical weight.
    FineTuned,
    /// The numbered linear operation has the weights of another seed.
    OneLayer(usize),
}

/// A model with other weights; `None` where that changes nothing.
pub fn altered(model: &CompiledModel, how: Altered) -> Option<Graph> {
    let linear: Vec<&str> = model
        .operations()
        .iter()
        .filter_map(|compiled| compiled.operation.weights_name())
        .collect();
    let mut changed = false;
    let graph = model
        .graph()
        .with_altered_weights(|name, shape, values| {
            let Some(place) = linear.iter().position(|weights| *weights == name) else { return };
            let before = values.to_vec();
            match how {
                Altered::Int8 => round_to_int8(values),
                Altered::BFloat16 => round(values, DType::BF16),
                Altered::Float16 => round(values, DType::F16),
                Altered::FineTuned => {
                    let squares: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
                    let typical = (squares / values.len().max(1) as f64).sqrt() as f32;
                    let moves = support::values(values.len(), place as u64 + 1, typical * 1e-3);
                    values.iter_mut().zip(moves).for_each(|(value, by)| *value += by);
                }
                Altered::OneLayer(layer) if layer % linear.len() == place => {
                    let squares: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
                    let typical = (squares / values.len().max(1) as f64).sqrt() as f32;
                    values.copy_from_slice(&support::values(values.len(), 77, typical));
                }
                Altered::OneLayer(_) => {}
            }
            let _ = shape;
            changed |= before != values;
        })
        .expect("the altered model runs");
    changed.then_some(graph)
}

fn round(values: &mut [f32], to: DType) {
    let rounded = Tensor::from_slice(values, values.len(), &Device::Cpu)
        .and_then(|tensor| tensor.to_dtype(to)?.to_dtype(DType::F32)?.to_vec1::<f32>())
        .expect("candle converts");
    values.copy_from_slice(&rounded);
}

pub fn run(model: &Real, quick: bool) {
    let start = Instant::now();
    let count = if quick { 50 } else { 1000 };
    let compiled = model.compiled();
    let data = model.data();
    let input = |number: usize| model.input(compiled.graph(), &data, number);
    let prover = Prover::new(compiled.clone()).expect("tract runs it");
    let honest = honest(&compiled, &prover, &input, count);
    let mut attacks = vec![];
    for (name, how) in [
        ("int8", Altered::Int8),
        ("bf16", Altered::BFloat16),
        ("fp16", Altered::Float16),
        ("fine-tuned", Altered::FineTuned),
    ] {
        let Some(graph) = altered(&compiled, how) else {
            attacks.push((name.to_owned(), 0, 0));
            continue;
        };
        let host = Prover::running(compiled.clone(), &graph).expect("tract runs it");
        let accepted = attack(&compiled, &host, &input, 0..count);
        attacks.push((name.to_owned(), count, accepted));
    }
    let layers = compiled.operations().iter().filter(|c| c.operation.weights_name().is_some());
    let layers = layers.count().max(1);
    let each = count.div_ceil(layers);
    let mut accepted = 0;
    let mut tried = 0;
    for layer in 0..layers {
        if let Some(graph) = altered(&compiled, Altered::OneLayer(layer)) {
            let host = Prover::running(compiled.clone(), &graph).expect("tract runs it");
            let numbers = layer * each..((layer + 1) * each).min(count);
            tried += numbers.len();
            accepted += attack(&compiled, &host, &input, numbers);
        }
    }
    attacks.push(("one layer".to_owned(), tried, accepted));
    let results = Audited { attacks, seconds: start.elapsed().as_secs_f64(), ..honest };
    save(model, "audit", &results);
}

fn key() -> VerifierKey {
    VerifierKey::random().expect("the system has random bytes")
}

/// How many inferences of a host that runs another model are accepted, each core with keys of its
/// own.
fn attack(
    model: &CompiledModel,
    host: &Prover,
    input: &(dyn Fn(usize) -> Vec<NamedTensor> + Sync),
    numbers: std::ops::Range<usize>,
) -> usize {
    let (next, accepted) = (AtomicUsize::new(numbers.start), AtomicUsize::new(0));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut verifier = Verifier::new(model, &key(), &Device::Cpu).expect("it expands");
                for turn in 0.. {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    if turn % PER_KEY == PER_KEY - 1 {
                        verifier.rotate(&key()).expect("the weights are here");
                    }
                    let inputs = input(number);
                    let proof = host.prove(&inputs).expect("it proves");
                    let report = verifier.inspect(&inputs, &proof).expect("the proof is whole");
                    accepted.fetch_add(usize::from(report.accepted()), Ordering::Relaxed);
                }
            });
        }
    });
    accepted.into_inner()
}

fn honest(
    model: &Arc<CompiledModel>,
    prover: &Prover,
    input: &dyn Fn(usize) -> Vec<NamedTensor>,
    count: usize,
) -> Audited {
    let mut results = Audited {
        runtime: String::new(),
        honest: 0,
        honest_rejected: 0,
        largest_residual: 0.,
        where_largest: String::new(),
        attacks: vec![],
        seconds: 0.,
    };
    let ort = match OnnxRuntime::new(Path::new(&python())) {
        Ok(ort) => ort,
        Err(reason) => {
            println!("ONNX Runtime is skipped: {reason}");
            return results;
        }
    };
    results.runtime = format!("ONNX Runtime {}", ort.version());
    let names: Vec<&str> = prover.needed().iter().map(String::as_str).collect();
    let exposed = with_outputs(model.graph(), &names).expect("the model has these tensors");
    let bytes = exposed.proto.encode_to_vec();
    let elements: usize = names
        .iter()
        .filter_map(|name| model.graph().value(name))
        .map(|value| value.shape.iter().product::<usize>())
        .sum();
    let at_once = (AT_ONCE / (4 * elements).max(1)).clamp(1, count);
    let mut verifier = Verifier::new(model, &key(), &Device::Cpu).expect("it expands");
    for first in (0..count).step_by(at_once) {
        let inputs: Vec<_> = (first..(first + at_once).min(count)).map(input).collect();
        let runs = ort.run(&bytes, &inputs, &|| false).expect("ONNX Runtime runs it");
        verifier.rotate(&key()).expect("the weights are here");
        for (inputs, run) in inputs.iter().zip(runs) {
            let run = exposed.outputs.iter().zip(run);
            let computed: Vec<NamedTensor> =
                run.map(|(name, tensor)| NamedTensor { name: name.clone(), ..tensor }).collect();
            let proof = prover.prove_computed(inputs, &computed).expect("it is whole");
            let report = verifier.inspect(inputs, &proof).expect("the proof is whole");
            results.honest += 1;
            for operation in &report.operations {
                if let Some(residual) = operation.residual
                    && residual > results.largest_residual
                {
                    results.largest_residual = residual;
                    results.where_largest = format!("{} ({})", operation.operation, operation.kind);
                }
            }
            if !report.accepted() {
                results.honest_rejected += 1;
                if results.honest_rejected < 4 {
                    println!("AN HONEST INFERENCE WAS REJECTED: {}", report.reason());
                }
            }
        }
    }
    results
}
