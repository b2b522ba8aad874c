//! Models that people run, at `target/models` (made by `scripts/fetch-models.sh` and
//! `scripts/export-models.sh`): what compiling, proving and checking them costs beside plain inference
//! in tract and in ONNX Runtime, whether honest inferences of ONNX Runtime are accepted, whether
//! substituted models are caught, and how cost grows with size.
//!
//! `cargo bench --features nomopoly-build/cli --bench models -- [MODEL].. [compile|speed|audit|shapes|growth].. [quick]`
//!
//! `scripts/models.sh` runs all of it. Results stay in `target/bench-models`, one JSON file per model
//! and stage; the tables and the plot are made of what is there.

mod real;
mod support;

use std::process::Command;

use real::{STAGES, catalogue, tables};

/// The argument with which this program calls itself.
const CHILD: &str = "child";

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
    let (quick, child) = (take("quick"), take(CHILD));
    let growth = take("growth");
    let stages: Vec<&str> = STAGES.iter().copied().filter(|stage| take(stage)).collect();
    let known = catalogue::names();
    if let Some(word) = words.iter().find(|word| !known.contains(&word.as_str())) {
        eprintln!("`{word}` is none of {}, {}, quick", known.join(", "), STAGES.join(", "));
        std::process::exit(2);
    }
    let chosen: Vec<&str> = known
        .into_iter()
        .filter(|name| words.is_empty() || words.iter().any(|w| w == name))
        .collect();
    if growth && child {
        return real::growth::run(quick);
    }
    if child {
        return real::run(chosen[0], stages[0], quick);
    }
    let stages = if stages.is_empty() { STAGES.to_vec() } else { stages };
    println!("{}.\n", support::table::machine());
    let mut failed = false;
    // Without a word for what to measure, all of it.
    let everything = stages.len() == STAGES.len() && words.is_empty();
    if growth || everything {
        failed |= !run_child(&["growth"], quick, Some(1));
        if growth {
            std::process::exit(i32::from(failed));
        }
    }
    for name in chosen {
        if let Err(reason) = catalogue::get(name) {
            println!("{name} is skipped: {reason}\n");
            continue;
        }
        for stage in &stages {
            eprintln!("{name}: {stage}");
            // A process of its own: peak memory is a process's, and so are pools of threads.
            for threads in real::threads(stage) {
                if !run_child(&[name, stage], quick, threads) {
                    println!("{name}, {stage}: failed; the reason is above.\n");
                    failed = true;
                }
            }
        }
    }
    tables::print();
    std::process::exit(i32::from(failed));
}

/// Runs a part of the benchmark in a process of its own; whether it succeeded.
fn run_child(words: &[&str], quick: bool, threads: Option<usize>) -> bool {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"));
    child.arg(CHILD).args(words).args(quick.then_some("quick"));
    if let Some(threads) = threads {
        let threads = threads.to_string();
        child.envs([("RAYON_NUM_THREADS", &threads), ("CANDLE_NUM_THREADS", &threads)]);
    }
    child.status().is_ok_and(|status| status.success())
}
