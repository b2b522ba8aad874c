//! Policies that `check` enforces, and audits.

use std::fs;

use nomopoly_build::registry::Registry;

use crate::audits;
use crate::bench::Bench;

fn record_audit(bench: &Bench) -> std::path::PathBuf {
    audits::record(&Registry::open(bench.join("ops")), "demo.onnx")
}

#[test]
fn check_says_everything_that_is_not_as_the_policy_asks() {
    let bench = Bench::compiled();
    bench.write("nomopoly.toml", b"[policy]\nmax_frr = 0.5\nmax_far = 0.5\n");
    for arguments in [&["check", "demo.onnx"][..], &["check"]] {
        bench.run(arguments).says(0, &["no problems"]);
    }
    bench.write("nomopoly.toml", b"[policy]\nmax_frr = 1e-9\n");
    // Beside the model, and in the current folder where the registry alone is checked.
    for arguments in [&["check", "demo.onnx"][..], &["check"]] {
        let words =
            ["demo.onnx: operation `conv1`: false rejection up to", "policy max_frr is 1e-9"];
        bench.run(arguments).says(1, &words).says(1, &["7 problems"]);
    }
    let json = bench.run(["check", "--format", "json"]).says(1, &[]).json();
    assert_eq!((&json["ok"], json["problems"].as_array().unwrap().len()), (&false.into(), 7));
    bench.write("nomopoly.toml", b"[policy]\nmax_fra = 1e-9\n");
    bench.run(["check"]).says(1, &["nomopoly.toml", "line 2", "max_fra", "max_frr", "correct"]);
}

#[test]
fn the_policy_of_a_package_is_for_its_models_wherever_they_are() {
    let bench = Bench::compiled();
    bench.write("Cargo.toml", b"[package]\nname = \"one\"\nedition = \"2024\"\n");
    bench.write("models/demo.onnx", &fs::read(bench.join("demo.onnx")).unwrap());
    bench.write("nomopoly.toml", b"[policy]\nmax_far = 1e-9\n");
    bench.run(["check", "models/demo.onnx"]).says(1, &["policy max_far is 1e-9"]);
    // Only where the package has none.
    bench.write("models/nomopoly.toml", b"[policy]\nmax_far = 1e-8\n");
    bench.run(["check", "models/demo.onnx"]).says(1, &["policy max_far is 1e-9"]);
    fs::remove_file(bench.join("nomopoly.toml")).unwrap();
    bench.run(["check", "models/demo.onnx"]).says(1, &["policy max_far is 1e-8"]);
}

#[test]
fn an_audit_counts_in_place_of_the_compilation() {
    let bench = Bench::compiled();
    // The preset measures on 250 inputs, which cannot show as little as this.
    bench.write("nomopoly.toml", b"[policy]\nmax_frr = 2e-3\nmax_far = 2e-3\n");
    bench.run(["check"]).says(1, &["conv1", "compile with a larger test_samples"]);
    bench.write(
        "nomopoly.toml",
        b"[policy]\nmax_frr = 2e-3\nmax_far = 2e-3\nrequire_audit = true\n",
    );
    bench.run(["check"]).says(1, &["not audited", "cargo nomopoly audit", "1 problem"]);
    let file = record_audit(&bench);
    bench.run(["check", "demo.onnx"]).says(0, &["no problems"]);

    // A damaged audit is a problem of its own, and vouches for nothing.
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("2000", "9000")).unwrap();
    let words = ["is damaged", "`cargo nomopoly audit demo.onnx`", "not audited", "2 problems"];
    bench.run(["check"]).says(1, &words);
    fs::remove_file(&file).unwrap();
    bench.run(["check"]).says(1, &["is missing"]);
}

#[test]
fn explain_prints_what_an_audit_measured() {
    let bench = Bench::compiled();
    let explain = |arguments: &[&str]| bench.run([&["explain"][..], arguments].concat());
    let before = explain(&["conv1", "--format", "json"]).says(0, &[]).json();
    assert_eq!(before["audit"], serde_json::json!([]));
    explain(&["demo.onnx"]).says(0, &["not audited", "cargo nomopoly audit", "recomputing wins"]);
    let file = record_audit(&bench);
    explain(&["conv1"]).says(
        0,
        &[
            "Audited as conv1 of demo.onnx: 2000 samples",
            "int8 weights",
            "host",
            "0/2000 (< 0.15 %)",
            "2.0e-5",
            "tract",
        ],
    );
    explain(&["demo.onnx"]).says(0, &["Audit of demo.onnx", "conv1"]);
    let json = explain(&["conv1", "--format", "json"]).says(0, &[]).json();
    assert_eq!(json["audit"].as_array().unwrap().len(), 1);
    assert_eq!(json["audit"][0]["model"], "demo.onnx");
    assert_eq!(json["audit"][0]["operation"]["operation"], "conv1");
    // What cannot be read is a note: the entry is known all the same.
    fs::write(&file, b"{}").unwrap();
    explain(&["conv1"]).says(0, &["note: ", "is damaged", "What it is worth"]);
}

#[test]
fn gc_removes_the_audit_of_operations_that_were_replaced() {
    let bench = Bench::compiled();
    let file = record_audit(&bench);
    bench.run(["list"]).says(0, &["7 entries"]);
    bench.run(["gc"]).says(0, &["nothing to remove"]);
    bench
        .run(["compile", "demo.onnx", "--preset", "fast", "--seed", "1", "--test-samples", "100"])
        .says(0, &["7 trained"]);
    bench.run(["check", "demo.onnx"]).says(0, &["no problems"]);
    bench.run(["gc", "--dry-run"]).says(0, &["would remove 7 folders and 1 audit", "audits/"]);
    assert!(file.is_file());
    bench.run(["gc"]).says(0, &["removed 7 folders and 1 audit"]);
    assert!(!file.exists());
}

#[test]
fn the_policy_that_the_readme_shows_is_one() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let shown = readme.split("```toml\n").find(|block| block.starts_with("[policy]")).unwrap();
    let bench = Bench::compiled();
    bench.write("nomopoly.toml", shown.split_once("```").unwrap().0.as_bytes());
    // More than the preset's few samples can show.
    bench.run(["check"]).says(1, &["policy max_frr is 1e-3", "policy max_far is 1e-3"]);
}
