//! What proving and checking a digit costs, beside plain inference in tract and in ONNX Runtime:
//! start-up, time for each image, and memory.
//!
//! `cargo bench -p digits --bench inference`
//!
//! ONNX Runtime is the one in the virtual environment that `scripts/conformance.sh` makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use nomopoly::onnx::{Graph, Model as OnnxModel, Plan, cut::with_outputs};
use nomopoly::{Proven, Tensors as _, VerifierKey};

#[nomopoly::model("models/digits.onnx")]
struct Digits;

/// Runs of each kind, by turns.
const ROUNDS: usize = 2000;
const START_UPS: usize = 25;

fn main() {
    let what: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let Some(what) = what.first() {
        return alone(what);
    }
    println!("Digits, one image at a time, one thread; medians of {ROUNDS} by turns.\n");
    let input = input();
    let host = Digits::prover().expect("the model is built in");
    let key = || VerifierKey::random().expect("the system has random bytes");
    let verifier = Digits::verifier(key()).expect("the model is built in");
    let plain = plain();
    let tensors = || {
        let named = input.to_named();
        named.iter().map(|t| t.to_tract().expect("it fits")).collect::<Vec<_>>()
    };
    let sent = host.prove(&input).and_then(|proven| proven.to_bytes()).expect("it proves");
    let (mut infer, mut prove, mut verify) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        infer.push(seconds(|| drop(plain.run(tensors()).expect("it runs"))));
        prove.push(seconds(|| {
            drop(host.prove(&input).and_then(|p| p.to_bytes()).expect("it proves"))
        }));
        verify.push(seconds(|| {
            let proven = Proven::<Digits>::from_bytes(&sent).expect("it is whole");
            verifier.verify(&input, &proven).expect("it is accepted");
        }));
    }
    let (mut start_plain, mut start_prover, mut start_verifier) = (vec![], vec![], vec![]);
    for _ in 0..START_UPS {
        start_plain.push(seconds(|| drop(self::plain())));
        start_prover.push(seconds(|| drop(Digits::prover().expect("the model is built in"))));
        start_verifier.push(seconds(|| drop(Digits::verifier(key()).expect("it is built in"))));
    }
    let python = root().join("target/conformance/venv/bin/python");
    let ort = onnx_runtime(&python);
    let tract = median(&mut infer);
    println!(
        "  {:<28} {:>12} {:>10} {:>10} {:>12}",
        "", "start-up", "per image", "of tract", "peak memory"
    );
    let row = |name: &str, start: f64, each: f64, memory: Option<f64>| {
        println!(
            "  {name:<28} {:>9.2} ms {:>7.1} µs {:>10.2} {:>9} MB",
            start * 1e3,
            each * 1e6,
            each / tract,
            memory.map_or_else(|| "-".into(), |mb| format!("{mb:.0}"))
        );
    };
    row("tract, plain inference", median(&mut start_plain), tract, memory("plain"));
    match ort {
        Some((start, each, memory)) => {
            row("ONNX Runtime, plain inference", start, each, Some(memory))
        }
        None => {
            println!("  ONNX Runtime is skipped: run scripts/conformance.sh once to install it")
        }
    }
    row("prove, and encode", median(&mut start_prover), median(&mut prove), memory("prove"));
    row("decode, and verify", median(&mut start_verifier), median(&mut verify), memory("verify"));
    println!("\n  proof: {} bytes", sent.len());
}

/// One of the kinds in a process of its own, for its peak memory.
fn alone(what: &str) {
    let input = input();
    let host = || Digits::prover().expect("the model is built in");
    match what {
        "plain" => {
            let tensor = input.to_named()[0].to_tract().expect("it fits");
            drop(plain().run([tensor]).expect("it runs"));
        }
        "prove" => drop(host().prove(&input).expect("it proves")),
        _ => {
            let proven = host().prove(&input).expect("it proves");
            let verifier = Digits::verifier(VerifierKey::from_bytes([1; 32])).expect("it is there");
            verifier.verify(&input, &proven).expect("it is accepted");
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:"));
    println!("{}", peak.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("0"));
}

fn memory(what: &str) -> Option<f64> {
    let output = Command::new(std::env::current_exe().ok()?).arg(what).output().ok()?;
    let kb: f64 = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    (kb > 0.).then_some(kb / 1024.)
}

fn plain() -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits.onnx");
    let model = Arc::new(OnnxModel::load(path).expect("the model is there"));
    let graph = Graph::bind(model, &BTreeMap::new()).expect("its shapes are fixed");
    let exposed = with_outputs(&graph, &[]).expect("nothing is added");
    Plan::new("digits.onnx", &exposed.proto).expect("tract runs it")
}

/// An image without structure.
fn input() -> DigitsInput {
    let pixels: Vec<f32> = (0..64).map(|i| ((i * 37) % 17) as f32 / 16.).collect();
    DigitsInput { image: pixels.try_into().expect("64 pixels") }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const SCRIPT: &str = r#"
import sys, time, resource, numpy as np, onnxruntime as ort
options = ort.SessionOptions(); options.intra_op_num_threads = 1
starts = []
for _ in range(25):
    start = time.perf_counter(); session = ort.InferenceSession(sys.argv[1], options)
    starts.append(time.perf_counter() - start)
x = {session.get_inputs()[0].name: np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)}
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter(); session.run(None, x); times.append(time.perf_counter() - start)
print(np.median(starts), np.median(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"#;

/// Start-up, seconds for each image and peak MB (Python's own included).
fn onnx_runtime(python: &Path) -> Option<(f64, f64, f64)> {
    let model = root().join("examples/digits/models/digits.onnx");
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .arg(model)
        .arg(ROUNDS.to_string())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
