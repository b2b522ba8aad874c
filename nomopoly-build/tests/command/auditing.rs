//! `audit`: what it writes, that it goes on where it was stopped, and what it says when it cannot.

use std::fs;

use nomopoly_build::registry::Registry;

use crate::bench::Bench;

/// Few attacks on few inputs: enough to see everything around them.
const QUICK: [&str; 7] =
    ["audit", "demo.onnx", "--samples", "100", "--no-baseline", "--attacks", "int8,noise-1e-2"];

#[test]
fn an_audit_is_written_and_repeated_without_work() {
    let bench = Bench::compiled();
    bench
        .run([&QUICK[..], &["--out", "first"]].concat())
        .says(0, &["Audit of demo.onnx", "fc1", "0/100", "certified", "no Python"])
        .says(0, &["honest runs of tract", "int8 on the whole model", "report: first/report.html"])
        .says(0, &["not recorded in the registry"]);
    let page = fs::read_to_string(bench.join("first/report.html")).unwrap();
    assert!(page.contains("demo.onnx") && page.contains("int8") && !page.contains("src=\"http"));
    let json = fs::read(bench.join("first/audit.json")).unwrap();
    let audit: nomopoly_build::manifest::Audit = serde_json::from_slice(&json).unwrap();
    assert_eq!(audit.settings.attacks, ["noise-1e-2", "int8"]);
    assert_eq!(audit.operations.len(), 7);

    // A part of the suite vouches for nothing: the registry does not keep it.
    assert!(!audit.is_whole);
    assert!(Registry::open(bench.join("ops")).read_audit("demo.onnx").unwrap().is_none());

    // Again: nothing is left to do. Elsewhere with one worker: the same bytes.
    let again = bench.run([&QUICK[..], &["--out", "first"]].concat());
    again.says(0, &["13 pieces of work, 13 done by an earlier run"]);
    bench.run([&QUICK[..], &["--out", "second", "--jobs", "1", "--quiet"]].concat()).says(0, &[]);
    assert_eq!(fs::read(bench.join("second/audit.json")).unwrap(), json);
}

#[test]
fn a_budget_leaves_the_rest_for_the_next_run() {
    let bench = Bench::compiled();
    let budget = bench.run([&QUICK[..], &["--out", "a", "--budget", "0"]].concat());
    budget.says(0, &["Not run", "int8 on the whole model", "the budget was spent"]);
    bench.run([&QUICK[..], &["--out", "a"]].concat()).says(0, &["int8", "0/100"]);
}

#[test]
fn what_cannot_be_audited_is_said_with_the_way_out() {
    let bench = Bench::compiled();
    let run = |arguments: &[&str]| bench.run([&["audit"][..], arguments].concat());
    run(&["demo.onnx", "--attacks", "int9"]).says(1, &["no attack `int9`", "int8-per-channel"]);
    run(&["demo.onnx", "--samples", "5"]).says(2, &["100..=1000000"]);
    run(&["absent.onnx"]).says(1, &["absent.onnx"]);
    run(&["demo.onnx", "--python", "no-such-python"]).says(1, &["no-such-python", "pip install"]);
    bench.write("data.npz", b"not an archive");
    run(&["demo.onnx", "--data", "data.npz"]).says(1, &["data.npz"]);
    bench.write("file", b"");
    run(&["demo.onnx", "--out", "file"]).says(1, &["file"]);
    // A model that was trained further since it was compiled.
    bench.write("demo.onnx", &nomopoly_build::demo::model(1));
    run(&["demo.onnx"]).says(1, &["not compiled as it is now", "cargo nomopoly compile demo.onnx"]);
}
