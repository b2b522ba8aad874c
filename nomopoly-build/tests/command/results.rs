//! What the subcommands print when all is well.

use std::io::Read as _;
use std::process::Stdio;

use nomopoly_build::demo;

use crate::bench::{Bench, PROVE, VERIFY, command};

#[test]
fn both_ways_of_calling_work() {
    let bench = Bench::bare();
    let as_cargo_does = bench.run(["nomopoly", "scan", "demo.onnx"]).says(0, &["conv1"]);
    assert_eq!(bench.run(["scan", "demo.onnx"]).stdout, as_cargo_does.stdout);
    bench.run(["nomopoly", "--help"]).says(0, &["cargo nomopoly", "compile"]);
}

#[test]
fn wrong_usage_exits_with_2_and_names_the_option() {
    let bench = Bench::bare();
    bench.run(["frobnicate"]).says(2, &["frobnicate"]);
    bench.run(["scan"]).says(2, &["<MODEL>"]);
    bench.run(["scan", "demo.onnx", "--input", "image=1,three"]).says(2, &["three"]);
    bench.run(["compile", "demo.onnx", "--proof-dim", "8"]).says(2, &["--proof-dim", "16..=64"]);
    bench.run(["compile", "demo.onnx", "--min-deviation", "nan"]).says(2, &["0.000001 to 1"]);
    bench
        .run(["compile", "demo.onnx", "--min-epochs", "9", "--max-epochs", "8"])
        .says(2, &["--max-epochs", "9 to 10000"]);
}

#[test]
fn help_of_compile_shows_defaults_and_ranges() {
    let bench = Bench::bare();
    bench
        .run(["compile", "--help"])
        .says(0, &["16 to 64", "[default: 32]", "0.5 to 1", "fast: 0.999", "[default: accurate]"]);
}

#[test]
fn scan_lists_every_node() {
    let bench = Bench::bare();
    bench.run(["scan", "demo.onnx"]).says(
        0,
        &["conv1", "Relu", "pool1", "1x3x8x8", "pads=[1,1,1,1]", "sketch ~", "replay", "7 nodes"],
    );
    let scan = bench.run(["scan", "demo.onnx", "--format", "json"]).says(0, &[]).json();
    assert_eq!(scan["nodes"].as_array().unwrap().len(), 7);
    assert_eq!(scan["nodes"][0]["parameters"], 3 * 16 * 9 + 16);
    assert_eq!(scan["inputs"][0]["shape"], serde_json::json!([1, 3, 8, 8]));
}

#[test]
fn a_second_compilation_is_cached_and_says_so() {
    let bench = Bench::compiled();
    let again = bench.run(["compile", "demo.onnx", "--preset", "fast", "--format", "json"]);
    let again = again.says(0, &[]).json();
    let operations = again["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 7);
    for operation in operations {
        assert_eq!(operation["cached"], true, "{operation}");
        assert!(operation["figures"]["accuracy"].as_f64().unwrap() > 0.9, "{operation}");
    }
    bench.run(["compile", "demo.onnx", "--preset", "fast"]).says(
        0,
        &["conv1", "completeness error", "0 trained, 7 cached", "in the registry already"],
    );
    let quiet = bench.run(["compile", "demo.onnx", "--preset", "fast", "--quiet"]).says(0, &[]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn list_shows_entries_and_filters_them() {
    let bench = Bench::compiled();
    bench.run(["list"]).says(0, &["compiled", "demo.onnx: conv1", "7 entries"]);
    let all = bench.run(["list", "--format", "json"]).says(0, &[]).json();
    assert_eq!(all["entries"].as_array().unwrap().len(), 7);
    bench.run(["list", "--min-certified-bits", "1000"]).says(0, &[]);
    bench.run(["list", "--pending"]).says(0, &["nothing is pending"]);
    let elsewhere = bench.run(["list", "--registry", "none"]);
    elsewhere.says(0, &["`none` holds no entries", "compile MODEL"]);
}

#[test]
fn explain_finds_entries_by_node_and_by_name_and_is_honest() {
    let bench = Bench::compiled();
    let by_node = bench.run(["explain", "conv1"]).says(
        0,
        &[
            "conv_1x3x8x8-",
            "used by      demo.onnx: conv1",
            "(2 Phi(t s / d) - 1)^k",
            "1e-5",
            "host (",
            "White box",
            "can forge",
            "Not zero-knowledge",
            "artefact.safetensors",
        ],
    );
    assert_eq!(bench.run(["explain", "conv_1x3x8x8"]).stdout, by_node.stdout);
    bench.run(["explain", "pool1"]).says(0, &["with certainty", "No secret is involved"]);
    bench.run(["explain", "conv_1x3x8x9"]).says(1, &["conv_1x3x8x9", "did you mean"]);
    bench.run(["explain", "../x"]).says(1, &["../x"]);
}

#[test]
fn an_honest_proof_is_accepted() {
    let bench = Bench::compiled();
    bench.run(PROVE).says(0, &["logits f32 1x10", "largest at", "proof.npf"]);
    bench.run(VERIFY).says(0, &["ACCEPTED", "conv1", "sketch", "recomputed", "logits f32 1x10"]);
    let report = bench.run(VERIFY.into_iter().chain(["--format", "json"])).says(0, &[]).json();
    assert_eq!(report["accepted"], true);
    assert_eq!(report["outputs"][0]["values"].as_array().unwrap().len(), 10);
    let left: Vec<_> = std::fs::read_dir(bench.path())
        .unwrap()
        .map(|item| item.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_proof_of_another_input_is_rejected_and_the_operation_named() {
    let bench = Bench::compiled();
    bench.write("other.npy", &crate::bench::npy_f32(&[1, 3, 8, 8], &demo::image(1)));
    let arguments = ["verify", "demo.onnx", "--input", "image=other.npy", "--proof", "proof.npf"];
    let rejected = bench.run(arguments).says(1, &["REJECTED", "operation `conv1` (Conv)"]);
    assert!(!rejected.stdout.contains("largest at"), "{}", rejected.stdout);
    let report = bench.run(arguments.into_iter().chain(["--format", "json"])).says(1, &[]).json();
    assert_eq!(report["accepted"], false);
    assert_eq!(report["outputs"], serde_json::Value::Null);
}

#[test]
fn gc_removes_what_nothing_uses() {
    let bench = Bench::compiled();
    bench.run(["gc"]).says(0, &["nothing to remove"]);
    // Other options make other entries, in whose place the old ones are used by no model.
    bench
        .run(["compile", "demo.onnx", "--preset", "fast", "--seed", "1", "--test-samples", "100"])
        .says(0, &["7 trained"]);
    bench.run(["gc", "--dry-run"]).says(0, &["would remove 7 folders", "conv_1x3x8x8-"]);
    bench.run(["gc"]).says(0, &["removed 7 folders"]);
    bench.run(["list"]).says(0, &["7 entries"]);
    bench.run(["check", "demo.onnx"]).says(0, &["no problems"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::compiled();
    for arguments in [vec!["list"], vec!["explain", "conv1"], vec!["scan", "demo.onnx"]] {
        let mut child = command(bench.path())
            .args(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?}");
    }
}

#[test]
fn the_demo_catches_both_cheats() {
    let bench = Bench::bare();
    let demo = bench
        .run(["demo"])
        .says(0, &["ACCEPTED", "REJECTED", "int8", "conv1 (Conv", "rounding units"]);
    assert_eq!(demo.stdout.matches("REJECTED").count(), 2, "{}", demo.stdout);
    assert!(demo.stdout.lines().count() < 40, "{}", demo.stdout);
    assert!(bench.join("target/nomopoly-demo/ops/nomopoly.lock").is_file());
    let again = bench.run(["demo", "--format", "json", "--quiet"]).says(0, &[]).json();
    assert_eq!(again["trained"], 0);
}
