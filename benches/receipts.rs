//! What proving, committing, opening and checking cost beside plain inference in tract and in ONNX
//! Runtime: time, bytes and memory, and how likely each strategy meets a host that cheats.
//!
//! `cargo bench --features nomopoly-build/cli --bench receipts -- [digits|conv|encoder].. [quick]`
//!
//! Compiled operations stay in `target/bench-receipts`, so only the first run trains them. ONNX
//! Runtime is the one in the virtual environment that `scripts/conformance.sh` makes, or that of
//! the interpreter that `NOMOPOLY_PYTHON` names.

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nomopoly::candle_core::Device;
use nomopoly::dynamic::{Prover, Verifier};
use nomopoly::onnx::{Graph, Plan, cut::with_outputs};
use nomopoly::receipt::{Committed, ReceiptVerifier, Strategy};
use nomopoly::{CompiledModel, NamedTensor, Proof, Report, VerifierKey};
use support::compiled;
use support::models::{self, Whole};
use support::onnxruntime::OnnxRuntime;
use support::table::{Table, machine};
use support::timing::{LEAST, Spread, bytes, chance, digits, percent, seconds, time, timed};

/// The argument with which this program calls itself.
const MEASURE: &str = "measure";
/// Calls and share of them that are challenged, for the table of detection.
const CALLS: u64 = 1000;
const SHARE: f64 = 0.01;

/// How often everything is repeated.
struct Effort {
    /// Inferences, plain and proved, by turns.
    rounds: usize,
    /// Challenges drawn for each strategy.
    draws: usize,
}

fn strategies() -> [Strategy; 6] {
    [
        Strategy::Everything,
        Strategy::Linear,
        Strategy::Random { draws: 1 },
        Strategy::Random { draws: 3 },
        Strategy::Random { draws: 10 },
        Strategy::Parts { draws: 3, elements: 4096 },
    ]
}

fn main() {
    let mut words: Vec<String> =
        std::env::args().skip(1).map(|word| word.trim_start_matches('-').to_owned()).collect();
    // Cargo tells every benchmark that it is one.
    words.retain(|word| word != "bench");
    let mut take = |wanted: &str| {
        let before = words.len();
        words.retain(|word| word != wanted);
        words.len() < before
    };
    let (quick, measuring) = (take("quick"), take(MEASURE));
    if let Some(word) = words.iter().find(|word| !models::NAMES.contains(&word.as_str())) {
        eprintln!("`{word}` is none of {}, quick", models::NAMES.join(", "));
        std::process::exit(2);
    }
    let chosen =
        models::NAMES.iter().filter(|name| words.is_empty() || words.iter().any(|w| w == *name));
    if measuring {
        let (rounds, draws) = if quick { (7, 5) } else { (51, 50) };
        return chosen.for_each(|name| measure(&model(name), &Effort { rounds, draws }));
    }
    println!("{}; tract, candle and ONNX Runtime on one thread each.\n", machine());
    let mut failed = false;
    for name in chosen {
        compiled::compile(&model(name));
        // A process of its own: compiling wants every core, and a pool of threads cannot be made
        // smaller later. A model that fails does not take the tables of the others with it.
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
        child.args([MEASURE, name]).args(quick.then_some("quick"));
        child.envs([("RAYON_NUM_THREADS", "1"), ("CANDLE_NUM_THREADS", "1")]);
        if !child.status().is_ok_and(|status| status.success()) {
            println!("{name} could not be measured; the reason is above.\n");
            failed = true;
        }
    }
    std::process::exit(i32::from(failed));
}

fn model(name: &str) -> Whole {
    models::whole(name).expect("names are checked before")
}

/// What is measured of one model.
struct Bench {
    inputs: Vec<NamedTensor>,
    plain: Plan,
    prover: Prover,
    model: Arc<CompiledModel>,
    ort: Option<OnnxRuntime>,
}

fn measure(whole: &Whole, effort: &Effort) {
    let (path, model) = compiled::load(whole);
    let mut bench = Bench {
        inputs: vec![whole.input.clone()],
        plain: plain(whole.name, model.graph()),
        prover: Prover::new(model.clone()).expect("tract runs it"),
        model,
        ort: None,
    };
    match OnnxRuntime::start(&path, &bench.inputs, 1, &compiled::folder(whole)) {
        Ok(ort) => {
            println!("ONNX Runtime {}: {}.\n", ort.version, agreement(&bench, &ort.output));
            bench.ort = Some(ort);
        }
        Err(reason) => println!(
            "ONNX Runtime is skipped ({reason}): run scripts/conformance.sh once, or set NOMOPOLY_PYTHON.\n"
        ),
    }
    bench.host(effort);
    bench.verifier(effort);
    if let Some(peak) = support::peak_memory_mb() {
        println!(
            "Peak memory of the measuring process, host and verifiers together: {peak:.0} MB.\n"
        );
    }
}

/// The model's own graph in tract: what a host runs that proves nothing.
fn plain(name: &str, graph: &Graph) -> Plan {
    let exposed = with_outputs(graph, &[]).expect("nothing is added");
    Plan::new(name, &exposed.proto).expect("tract runs it")
}

/// Whether both runtimes understand the model alike.
fn agreement(bench: &Bench, theirs: &[f32]) -> String {
    let ours = &bench.prover.prove(&bench.inputs).expect("it proves").outputs[0];
    let ours = ours.as_f32().expect("outputs of these models are f32");
    let largest = ours.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    let furthest = ours.iter().zip(theirs).fold(0f32, |far, (a, b)| far.max((a - b).abs()));
    let off = furthest / largest;
    let right = ours.len() == theirs.len() && off < 1e-3;
    let verdict = if right { "the same answer as tract's" } else { "ANOTHER ANSWER than tract's" };
    format!("{verdict}, within {off:.0e} of the largest output ({})", digits(largest.into()))
}

impl Bench {
    /// Seconds of plain inference. The input is converted before, the output not at all.
    fn plain(&self) -> f64 {
        let tensor = self.inputs[0].to_tract().expect("it fits");
        seconds(|| self.plain.run([tensor.clone()]).expect("it runs"))
    }

    /// Seconds of proving and of committing to what was proved, one after the other.
    fn proved(&self) -> (f64, f64) {
        let (mut prove, mut commit, mut calls) = (Duration::ZERO, Duration::ZERO, 0);
        while calls == 0 || prove + commit < LEAST {
            let start = Instant::now();
            let proof = self.prove();
            let proved = start.elapsed();
            let committed = Committed::new(&self.inputs, proof).expect("the proof is whole");
            commit += start.elapsed() - proved;
            prove += proved;
            drop(std::hint::black_box(committed));
            calls += 1;
        }
        (prove.as_secs_f64() / f64::from(calls), commit.as_secs_f64() / f64::from(calls))
    }

    fn prove(&self) -> Proof {
        self.prover.prove(&self.inputs).expect("it proves")
    }

    /// The host: plain inference, proving and committing.
    fn host(&mut self, effort: &Effort) {
        let (mut tract, mut prove, mut commit, mut ort) = (vec![], vec![], vec![], vec![]);
        // The first round warms caches and the allocator up.
        for round in 0..=effort.rounds {
            for turn in 0..3 {
                // Nobody is always first.
                match (round + turn) % 3 {
                    0 => tract.push(self.plain()),
                    1 => ort.extend(self.ort.as_mut().map(OnnxRuntime::seconds)),
                    _ => {
                        let (proved, committed) = self.proved();
                        prove.push(proved);
                        commit.push(committed);
                    }
                }
            }
            if round == 0 {
                [&mut tract, &mut prove, &mut commit, &mut ort].into_iter().for_each(Vec::clear);
            }
        }
        println!(
            "One inference: median (10th to 90th percentile) of {} by turns; ratios are taken round by round.\n",
            effort.rounds
        );
        let both: Vec<f64> = prove.iter().zip(&commit).map(|(a, b)| a + b).collect();
        let mut table = Table::new(&[
            "",
            "time",
            "over plain tract",
            "adds to plain tract",
            "over ONNX Runtime",
        ]);
        // Committing alone is an addition; what holds an inference adds what goes beyond it.
        let rows = [
            ("tract, plain inference", &tract, None),
            ("ONNX Runtime, plain inference", &ort, None),
            ("`Prover::prove`", &prove, Some(1.)),
            ("`Committed::new`", &commit, Some(0.)),
            ("prove and commit", &both, Some(1.)),
        ];
        for (label, times, inference) in rows.into_iter().filter(|row| !row.1.is_empty()) {
            let over = Spread::of_ratios(times, &tract);
            let over_ort = (!ort.is_empty()).then(|| Spread::of_ratios(times, &ort).show(digits));
            table.row([
                label.to_owned(),
                Spread::of(times.iter().copied()).show(time),
                over.show(digits),
                inference.map_or("-".into(), |own| over.show(|ratio| percent(ratio - own))),
                over_ort.unwrap_or("-".into()),
            ]);
        }
        table.print();
    }

    /// The verifier: what is sent, what checking takes and whom it catches.
    fn verifier(&mut self, effort: &Effort) {
        let key = VerifierKey::random().expect("the system has random bytes");
        let receipts = ReceiptVerifier::new(&self.model, &key, &Device::Cpu).expect("it expands");
        let full = Verifier::new(&self.model, &key, &Device::Cpu).expect("it expands");
        let proof = self.prove();
        let committed = Committed::new(&self.inputs, proof.clone()).expect("the proof is whole");
        let mut drawn: Vec<Drawn> = strategies().iter().map(|_| Drawn::default()).collect();
        let (mut tract, mut ort, mut whole, mut refused) =
            (vec![], vec![], vec![], BTreeSet::new());
        let mut judge = |label: &str, report: Report| {
            if !report.accepted() {
                refused.insert(format!("{label}: {}", report.reason()));
            }
        };
        for _ in 0..effort.draws {
            tract.push(self.plain());
            ort.extend(self.ort.as_mut().map(OnnxRuntime::seconds));
            let inspect = || full.inspect(&self.inputs, &proof).expect("the proof is whole");
            let (seconds_of_check, report) = timed(inspect);
            judge("the full proof", report);
            whole.push(seconds_of_check);
            for (strategy, drawn) in strategies().into_iter().zip(&mut drawn) {
                let receipt = committed.receipt();
                let challenge = receipts.challenge(receipt, strategy).expect("it is of this model");
                let open = || committed.open(&challenge).expect("it can be opened");
                let (seconds_of_opening, opening) = timed(open);
                let outputs = committed.outputs();
                let inspect = || {
                    receipts
                        .inspect(&self.inputs, outputs, receipt, &challenge, &opening)
                        .expect("the opening leads to its receipt")
                };
                let (seconds_of_check, report) = timed(inspect);
                judge(&strategy.to_string(), report);
                drawn.seconds.push(seconds_of_check);
                drawn.opening.push(seconds_of_opening);
                drawn.asked.push(challenge.operations.len() as f64);
                drawn.cost.push(receipts.cost(&challenge));
                drawn.bytes.push(opening.to_bytes().expect("plain data").len() as f64);
            }
        }
        let of = self.model.proved().count();
        println!(
            "Sent, and checked: median (smallest to largest) of {} challenges drawn for each strategy, all on one \
             inference; ratios against the plain inference run beside each challenge. Bytes are those of the wire \
             formats; times leave decoding out.\n",
            effort.draws
        );
        let sent =
            |bytes: Result<Vec<u8>, nomopoly::Error>| bytes.expect("plain data").len() as f64;
        let proof_bytes = sent(proof.to_bytes());
        let mut table =
            Table::new(&["sent by the host", "bytes", "of the full proof", "made by the host in"]);
        let fixed = |label: &str, size: f64| {
            [label.to_owned(), bytes(size), percent(size / proof_bytes), "-".into()]
        };
        table.row(fixed("receipt", sent(committed.receipt().to_bytes())));
        table.row(fixed("full proof", proof_bytes));
        for (strategy, drawn) in strategies().iter().zip(&drawn) {
            let size = Spread::of(drawn.bytes.iter().copied());
            table.row([
                format!("opening, `{strategy}`"),
                size.show_all(bytes),
                percent(size.median / proof_bytes),
                Spread::of(drawn.opening.iter().copied()).show_all(time),
            ]);
        }
        table.print();
        println!("A host keeps {} for each open receipt.\n", bytes(committed.size() as f64));

        let mut table = Table::new(&[
            "checked",
            &format!("operations asked for, of {of}"),
            "multiply-accumulates of a full check",
            "time",
            "over ONNX Runtime",
            "over tract",
        ]);
        let times = |seconds: &[f64]| {
            let over = |plain: &[f64]| match plain {
                [] => "-".into(),
                plain => Spread::of_ratios(seconds, plain).show_all(digits),
            };
            [Spread::of(seconds.iter().copied()).show_all(time), over(&ort), over(&tract)]
        };
        for (strategy, drawn) in strategies().iter().zip(&drawn) {
            let asked =
                Spread::of(drawn.asked.iter().copied()).show_all(|count| format!("{count}"));
            let cost = Spread::of(drawn.cost.iter().copied()).show_all(percent);
            let label = [format!("`{strategy}`"), asked, cost];
            table.row(label.into_iter().chain(times(&drawn.seconds)));
        }
        let label = ["full proof, `dynamic::Verifier`".into(), "-".into(), "-".into()];
        table.row(label.into_iter().chain(times(&whole)));
        table.print();
        for line in refused {
            println!("AN HONEST INFERENCE WAS REJECTED: {line}\n");
        }

        let calls = format!("over {CALLS} calls, {} % challenged", 100. * SHARE);
        let mut table = Table::new(&[
            "caught, cheating in the least likely operation",
            "if challenged",
            &calls,
        ]);
        for strategy in strategies() {
            let detection = receipts.detection(strategy);
            let over = detection.over(CALLS, SHARE);
            table.row([format!("`{strategy}`"), chance(detection.least), chance(over)]);
        }
        table.print();
    }
}

/// What was measured of one strategy's challenges.
#[derive(Default)]
struct Drawn {
    seconds: Vec<f64>,
    opening: Vec<f64>,
    bytes: Vec<f64>,
    asked: Vec<f64>,
    cost: Vec<f64>,
}
