//! What the verifiers accept and refuse, on 20,000 inputs a case that training never saw: the nine
//! kinds and the demo model's operations, beside the baseline perceptron.
//!
//! `cargo bench --bench accuracy [-- SAMPLES [NAME..]]`
//!
//! Rows: honest runs rejected (four runtimes' roundings, scales 0, 10⁻³, 1 and 10³, and ONNX Runtime
//! where `scripts/conformance.sh` has made its virtual environment), the five cases, weights rounded
//! to int8, int4, bf16 and fp16, and deviations of 10⁻³ to 1.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use nomopoly::candle_core::{Device, Tensor};
use nomopoly::{OperationVerifier, Verdict, VerifierKey};
use nomopoly_build::manifest::{Architecture, Case, CompileOptions, Rate};
use nomopoly_build::registry::{self, Registry};
use nomopoly_build::{Compiler, demo, load_compiled, rate};

/// Samples under one key.
const PER_KEY: usize = 100;

type Rounding = (&'static str, fn(f32, f32) -> f32);

/// Rounds a weight, given the largest of its tensor.
const WEIGHTS: [Rounding; 4] = [
    ("int8", |w, largest| (w / largest * 127.).round() * largest / 127.),
    ("int4", |w, largest| (w / largest * 7.).round() * largest / 7.),
    // Round to nearest even at 8 and 11 significant bits.
    ("bf16", |w, _| significant(w, 16)),
    ("fp16", |w, _| significant(w, 13)),
];

fn significant(w: f32, dropped: u32) -> f32 {
    let bits = w.to_bits();
    let half = (1u32 << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
    f32::from_bits((bits + half) >> dropped << dropped)
}

fn main() {
    let samples: usize =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(20_000);
    let only: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--") && argument.parse::<usize>().is_err())
        .collect();
    println!("Errors in {samples} samples a case, with exact one-sided 95 % upper bounds:\n");
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance/venv/bin/python");
    if !python.is_file() {
        println!("ONNX Runtime is skipped: run scripts/conformance.sh once to install it.\n");
    }
    let mut models: Vec<(String, Vec<u8>)> =
        support::kinds().into_iter().map(|s| (s.name.to_owned(), s.bytes)).collect();
    models.push(("demo".into(), demo::model(0)));
    models.retain(|(name, _)| only.is_empty() || only.contains(name));
    for (name, bytes) in models {
        for architecture in [Architecture::Residual, Architecture::Mlp] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let (path, _) = support::load(folder.path(), "model.onnx", &bytes);
            let registry = Registry::open(folder.path().join("ops"));
            let options = CompileOptions {
                architecture,
                test_samples: samples as u32,
                ..CompileOptions::default()
            };
            let compilation = Compiler::new(registry.clone())
                .options(options)
                .compile(&path)
                .expect("the benchmark's own model compiles");
            let model = load_compiled(&registry, &path).expect("it was just compiled");
            for (node, compiled) in compilation.operations.iter().zip(model.operations()) {
                let figures = &node.metrics.figures;
                let label =
                    if name == "demo" { format!("demo {}", node.node) } else { name.clone() };
                let how = match (&figures.certificate, architecture) {
                    (_, Architecture::Mlp) => "baseline perceptron: certifies nothing".to_owned(),
                    (Some(c), _) if c.sketches > 0 => format!(
                        "sketch k={}: 2^-{:.1} at deviation 1e-3, 2^-40 from deviation {:.1e}",
                        c.sketches,
                        c.bits_at_min_deviation.unwrap_or(f64::INFINITY),
                        c.deviation_at_soundness_bits
                    ),
                    (Some(c), _) => {
                        format!(
                            "replay: certain from deviation {:.1e}",
                            c.deviation_at_soundness_bits
                        )
                    }
                    (None, _) => String::new(),
                };
                println!("{label}, {how}");
                print(&[("honest rejected", figures.completeness_error)]);
                for case in &Case::ALL[1..] {
                    print(&[(case.label(), figures.cases[case])]);
                }
                if architecture == Architecture::Residual && python.is_file() {
                    let folder = registry.root().join(&node.entry);
                    let rate = onnx_runtime(compiled, &folder, &python, samples);
                    print(&[("honest in ONNX Runtime rejected", rate)]);
                }
                print(&attacks(compiled, samples));
            }
        }
        println!();
    }
}

fn print(rates: &[(&str, Rate)]) {
    for (what, rate) in rates {
        println!(
            "    {what:<34} {:>6} of {:<6} (< {:.1e})",
            rate.errors, rate.samples, rate.upper_95
        );
    }
}

/// Inputs of an operation: independent values without structure.
fn inputs(compiled: &nomopoly::CompiledOperation, count: usize, seed: u64) -> Vec<Tensor> {
    let shapes = &compiled.operation.spec().input_shapes;
    let draw = |(index, shape): (usize, &Vec<usize>)| {
        let len = count * shape.iter().product::<usize>();
        let shape: Vec<usize> = std::iter::once(count).chain(shape.iter().copied()).collect();
        let data = support::values(len, seed * 31 + index as u64 + 1, 1.);
        Tensor::from_vec(data, shape, &Device::Cpu).expect("the shape fits")
    };
    shapes.iter().enumerate().map(draw).collect()
}

fn accepted(verdicts: &[Verdict]) -> u64 {
    verdicts.iter().filter(|verdict| verdict.accepted()).count() as u64
}

/// Substituted weights and dense deviations, with the public generator's proofs, fresh key for
/// every [`PER_KEY`] samples.
fn attacks(compiled: &nomopoly::CompiledOperation, samples: usize) -> Vec<(&'static str, Rate)> {
    let operation = &compiled.operation;
    let mut counts: Vec<(&'static str, u64)> = vec![];
    let mut count = |what: &'static str, errors: u64| match counts.iter_mut().find(|c| c.0 == what)
    {
        Some(entry) => entry.1 += errors,
        None => counts.push((what, errors)),
    };
    let chunks = samples.div_ceil(PER_KEY);
    for chunk in 0..chunks {
        let mut key = [9; 32];
        key[..8].copy_from_slice(&(chunk as u64).to_le_bytes());
        let verifier =
            OperationVerifier::new(compiled.clone(), &VerifierKey::from_bytes(key), &Device::Cpu)
                .expect("the key expands");
        let x = inputs(compiled, PER_KEY, 1000 + chunk as u64);
        let judge = |y: &Tensor| {
            let proof = compiled.prove(y).expect("the generator runs");
            accepted(&verifier.verify(&x, y, &proof).expect("it verifies"))
        };
        if let Some(linear) = operation.linear() {
            for (what, round) in WEIGHTS {
                let weights = linear.weights().flatten_all().and_then(|w| w.to_vec1::<f32>());
                let weights = weights.expect("weights are floats");
                let largest = weights.iter().fold(0f32, |largest, w| largest.max(w.abs()));
                let rounded: Vec<f32> = weights.iter().map(|w| round(*w, largest)).collect();
                let shape = linear.weights().shape();
                let rounded = Tensor::from_vec(rounded, shape, &Device::Cpu).expect("it fits");
                let other = linear.with_weights(rounded).expect("it fits");
                let y = other.forward(&x[0]).expect("it runs");
                count(what, judge(&y));
            }
        }
        let truth = operation.forward(&x).expect("it runs");
        let norm = |t: &Tensor| -> Tensor {
            let flat = t.reshape((PER_KEY, ())).and_then(|t| t.sqr()?.sum_keepdim(1)?.sqrt());
            flat.expect("it is a batch")
        };
        for (what, deviation) in [
            ("deviation 1e-3", 1e-3),
            ("deviation 1e-2", 1e-2),
            ("deviation 1e-1", 1e-1),
            ("deviation 1", 1.),
        ] {
            let noise = support::values(truth.elem_count(), 77 + chunk as u64, 1.);
            let noise =
                Tensor::from_vec(noise, (PER_KEY, truth.elem_count() / PER_KEY), &Device::Cpu);
            let noise = noise.expect("it fits");
            let factor =
                (norm(&truth) * deviation).and_then(|n| n.div(&norm(&noise))).expect("norms");
            let fake = noise
                .broadcast_mul(&factor)
                .and_then(|noise| noise.reshape(truth.shape()))
                .and_then(|noise| &truth + noise)
                .expect("it fits");
            count(what, judge(&fake));
        }
    }
    let total = (chunks * PER_KEY) as u64;
    counts.into_iter().map(|(what, errors)| (what, rate(errors, total))).collect()
}

const SCRIPT: &str = r#"
import sys, numpy as np, onnxruntime as ort
folder, prover, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = ort.SessionOptions(); options.intra_op_num_threads = 1
session = ort.InferenceSession(prover, options)
xs = [np.fromfile(f"{folder}/x{i}.bin", np.float32).reshape([count] + list(v.shape))
      for i, v in enumerate(session.get_inputs())]
names = [v.name for v in session.get_inputs()]
ys, ps = [], []
for i in range(count):
    y, p = session.run(None, {n: x[i] for n, x in zip(names, xs)})
    ys.append(y); ps.append(p)
np.stack(ys).astype(np.float32).tofile(f"{folder}/y.bin")
np.stack(ps).astype(np.float32).tofile(f"{folder}/p.bin")
"#;

/// Honest runs of the exported prover in ONNX Runtime, at the scales 0, 1e-3, 1 and 1e3 by turns,
/// judged in Rust.
fn onnx_runtime(
    compiled: &nomopoly::CompiledOperation,
    entry: &Path,
    python: &PathBuf,
    samples: usize,
) -> Rate {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let chunks = samples.div_ceil(PER_KEY);
    let scale = |chunk: usize| [1., 0., 1e-3, 1e3][chunk % 4];
    let batches: Vec<Vec<Tensor>> = (0..chunks)
        .map(|chunk| {
            let x = inputs(compiled, PER_KEY, 500_000 + chunk as u64);
            x.iter().map(|x| (x * scale(chunk)).expect("it scales")).collect()
        })
        .collect();
    let bytes = |t: &Tensor| -> Vec<u8> {
        let values = t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("floats");
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    };
    for index in 0..batches[0].len() {
        let data: Vec<u8> = batches.iter().flat_map(|batch| bytes(&batch[index])).collect();
        std::fs::write(folder.path().join(format!("x{index}.bin")), data).expect("it is writable");
    }
    let [prover, ..] = registry::expected_files(registry::stem_of(&compiled.artefact.header.entry));
    let status = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(folder.path())
        .arg(entry.join(prover))
        .arg((chunks * PER_KEY).to_string())
        .status()
        .expect("python runs");
    assert!(status.success(), "ONNX Runtime failed");
    let read = |name: &str| -> Vec<f32> {
        let bytes = std::fs::read(folder.path().join(name)).expect("python wrote it");
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let (y, p) = (read("y.bin"), read("p.bin"));
    let spec = compiled.operation.spec();
    let dim = compiled.artefact.generator.proof_dim();
    let mut rejected = 0;
    for (chunk, x) in batches.iter().enumerate() {
        let mut key = [3; 32];
        key[..8].copy_from_slice(&(chunk as u64).to_le_bytes());
        let key = VerifierKey::from_bytes(key);
        let verifier = OperationVerifier::new(compiled.clone(), &key, &Device::Cpu).expect("key");
        let len = PER_KEY * spec.output_len();
        let shape: Vec<usize> =
            std::iter::once(PER_KEY).chain(spec.output_shape.iter().copied()).collect();
        let y = Tensor::from_slice(&y[chunk * len..(chunk + 1) * len], shape, &Device::Cpu);
        let rows = &p[chunk * PER_KEY * dim..(chunk + 1) * PER_KEY * dim];
        let p = Tensor::from_slice(rows, (PER_KEY, dim), &Device::Cpu);
        let verdicts = verifier.verify(x, &y.expect("it fits"), &p.expect("it fits"));
        rejected += PER_KEY as u64 - accepted(&verdicts.expect("it verifies"));
    }
    rate(rejected, (chunks * PER_KEY) as u64)
}
