//! Proving and checking beside plain inference: a few calls of each, by turns.

use std::sync::Arc;
use std::time::Instant;

use nomopoly::VerifierKey;
use nomopoly::candle_core::Device;
use nomopoly::dynamic::{Prover, Verifier};
use nomopoly::onnx::{Plan, cut::with_outputs};

use super::catalogue::Real;
use super::results::{Speed, save};
use crate::support::onnxruntime::OnnxRuntime;
use crate::support::timing::{Spread, seconds};
use crate::support::{self};

/// Calls of one program before it is the next one's turn. The first is counted apart: what the others
/// left in the processor's caches makes it slower than one that does nothing but prove, or check.
const CALLS: usize = 6;

/// Seconds of one program's calls, round by round.
#[derive(Default)]
struct Times {
    first: Vec<f64>,
    /// Medians of the calls after the first.
    later: Vec<f64>,
}

impl Times {
    fn block(&mut self, mut call: impl FnMut() -> f64) {
        self.first.push(call());
        let later = Spread::of((1..CALLS).map(|_| call()));
        self.later.push(later.median);
    }
}

pub fn run(model: &Real, quick: bool) {
    let rounds = if quick { 3 } else { 21 };
    let compiled = model.compiled();
    let data = model.data();
    let inputs = model.input(compiled.graph(), &data, 0);
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok());
    let threads = threads.unwrap_or(std::thread::available_parallelism().map_or(1, usize::from));
    let plain = with_outputs(compiled.graph(), &[]).expect("nothing is added");
    let plain = Plan::new(model.name, &plain.proto).expect("tract runs it");
    let tensors: Vec<Arc<_>> =
        inputs.iter().map(|input| input.to_tract().expect("it fits")).collect();
    let prover = Prover::new(compiled.clone()).expect("tract runs it");
    let key = VerifierKey::random().expect("the system has random bytes");
    let start = Instant::now();
    let verifier = Verifier::new(&compiled, &key, &Device::Cpu).expect("it expands");
    let start_verifier = start.elapsed().as_secs_f64();
    let mut ort = match OnnxRuntime::start(&model.path(), &inputs, threads, &model.folder()) {
        Ok(ort) => Some(ort),
        Err(reason) => {
            println!("ONNX Runtime is skipped: {reason}");
            None
        }
    };
    let proof = prover.prove(&inputs).expect("it proves");
    let report = verifier.inspect(&inputs, &proof).expect("the proof is whole");
    if !report.accepted() {
        println!("{}: AN HONEST INFERENCE WAS REJECTED: {}", model.name, report.reason());
    }
    let [mut tract, mut ours, mut check, mut theirs] = <[Times; 4]>::default();
    for round in 0..=rounds {
        for turn in 0..4 {
            match (round + turn) % 4 {
                0 => tract.block(|| seconds(|| plain.run(tensors.clone()).expect("it runs"))),
                1 => ours.block(|| seconds(|| prover.prove(&inputs).expect("it proves"))),
                2 => check.block(|| seconds(|| verifier.inspect(&inputs, &proof).expect("whole"))),
                _ => {
                    if let Some(ort) = &mut ort {
                        theirs.block(|| ort.seconds());
                    }
                }
            }
        }
        if round == 0 {
            [&mut tract, &mut ours, &mut check, &mut theirs]
                .into_iter()
                .for_each(|times| *times = Times::default());
        }
    }
    let spread = |a: &[f64], b: &[f64]| (!b.is_empty()).then(|| Spread::of_ratios(a, b));
    let median = |values: &[f64]| Spread::of(values.iter().copied()).median;
    let prove = Spread::of_ratios(&ours.later, &tract.later);
    let verify = spread(&check.later, &theirs.later);
    let (prove_cpu, prove_joules) = spent(|| drop(prover.prove(&inputs)));
    let (verify_cpu, verify_joules) = spent(|| drop(verifier.inspect(&inputs, &proof)));
    let stage = if threads == 1 { "speed-1" } else { "speed" };
    save(
        model,
        stage,
        &Speed {
            threads,
            tract: median(&tract.later),
            onnxruntime: (!theirs.later.is_empty()).then(|| median(&theirs.later)),
            prove_over_tract: prove.median,
            prove_over_tract_low: prove.low,
            prove_over_tract_high: prove.high,
            tract_over_onnxruntime: spread(&tract.later, &theirs.later).map(|s| s.median),
            verify_over_onnxruntime: verify.map(|s| s.median),
            verify_over_onnxruntime_low: verify.map(|s| s.low),
            verify_over_onnxruntime_high: verify.map(|s| s.high),
            first_prove_over_tract: Spread::of_ratios(&ours.first, &tract.first).median,
            first_verify_over_onnxruntime: spread(&check.first, &theirs.first).map(|s| s.median),
            verify_over_tract: Spread::of_ratios(&check.later, &tract.later).median,
            verify: median(&check.later),
            prove_cpu,
            verify_cpu,
            prove_joules,
            verify_joules,
            start_verifier,
            proof_bytes: proof.to_bytes().expect("plain data").len(),
            peak_mb: support::peak_memory_mb().unwrap_or(0.),
        },
    );
}

/// Processor seconds and joules of one call, the mean of some.
fn spent(call: impl Fn()) -> (f64, Option<f64>) {
    const CALLS: u32 = 10;
    let (cpu, energy) = (processor_seconds(), joules());
    (0..CALLS).for_each(|_| call());
    let per_call = |total: f64| total / f64::from(CALLS);
    let energy = energy.zip(joules()).map(|(before, after)| per_call(after - before));
    (per_call(processor_seconds() - cpu), energy)
}

/// Processor time of this process so far, all threads.
fn processor_seconds() -> f64 {
    // Fields 14 and 15, in ticks of a hundredth of a second (man 5 proc_pid_stat).
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.
}

/// What the processor package has used so far, where the kernel says (RAPL).
fn joules() -> Option<f64> {
    let file = "/sys/class/powercap/intel-rapl:0/energy_uj";
    let microjoules: f64 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Some(microjoules / 1e6)
}
