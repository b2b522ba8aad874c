//! Proofs and inputs that are damaged, foreign or do not fit: exit code 1, the thing named.

use std::fs;

use nomopoly_build::demo;
use nomopoly_build::runtime::Proof;
use nomopoly_build::runtime::receipt::{Challenge, Committed};

use crate::bench::{Bench, PROVE, VERIFY, npy, npy_f32};

#[test]
fn damaged_proofs_are_named_as_damaged() {
    let bench = Bench::compiled();
    let proof = fs::read(bench.join("proof.npf")).unwrap();
    for length in [0, 7, 20, 100, proof.len() - 1] {
        bench.write("proof.npf", &proof[..length]);
        bench.run(VERIFY).says(1, &["the proof is damaged"]);
    }
    for position in [0, 50, proof.len() / 2, proof.len() - 1] {
        let mut flipped = proof.clone();
        flipped[position] ^= 1;
        bench.write("proof.npf", &flipped);
        bench.run(VERIFY).says(1, &["the proof is damaged", "ask the host"]);
    }
    let mut newer = proof;
    newer[8] = 9;
    bench.write("proof.npf", &newer);
    bench.run(VERIFY).says(1, &["schema 9"]);
    bench.write("proof.npf", &demo::model(0));
    bench.run(VERIFY).says(1, &["the proof is damaged"]);
}

#[test]
fn what_travels_can_be_looked_at() {
    let bench = Bench::compiled();
    let proof = Proof::from_bytes(&fs::read(bench.join("proof.npf")).unwrap()).unwrap();
    let shown = bench.run(["show", "proof.npf"]).says(0, &["nothing in it is checked"]);
    assert!(shown.stdout.contains("name: logits") && shown.stdout.contains("in all]"));
    let committed = Committed::new(&[], proof).unwrap();
    let challenge =
        Challenge { root: committed.receipt().root, operations: vec![], producers: vec![0] };
    let opening = committed.open(&challenge).unwrap();
    let root = committed.receipt().root.to_string();
    for (what, bytes) in [
        ("receipt", committed.receipt().to_bytes()),
        ("challenge", challenge.to_bytes()),
        ("opening", opening.to_bytes()),
        ("committed inference", committed.to_bytes()),
    ] {
        bench.write("sent.bin", &bytes.unwrap());
        let json = bench.run(["show", "sent.bin", "--format", "json"]).says(0, &[]).json();
        assert_eq!(json["what"], what);
        let contents = &json["contents"];
        let receipt = if contents["receipt"].is_null() { contents } else { &contents["receipt"] };
        assert_eq!(receipt["root"], root, "{what}");
    }
    for (bytes, says) in
        [(&b"NMPXPKEY...."[..], "secret"), (b"", "is no proof"), (b"NMPRCEPT", "ends")]
    {
        bench.write("sent.bin", bytes);
        bench.run(["show", "sent.bin"]).says(1, &[says]);
    }
}

#[test]
fn a_proof_of_another_model_is_named() {
    let bench = Bench::compiled();
    // The digest is the first thing in the body, whose hash stands before it.
    let mut proof = fs::read(bench.join("proof.npf")).unwrap();
    proof[44] ^= 1;
    let hash = blake3::hash(&proof[44..]);
    proof[12..44].copy_from_slice(hash.as_bytes());
    bench.write("proof.npf", &proof);
    bench.run(VERIFY).says(1, &["the proof is of another model"]);
    let json = bench.run(VERIFY.into_iter().chain(["--format", "json"])).says(1, &[]).json();
    assert!(json["error"].as_str().unwrap().contains("another model"), "{json}");
}

#[test]
fn a_model_that_changed_is_not_compiled() {
    let bench = Bench::compiled();
    bench.write("demo.onnx", &demo::model(1));
    bench.run(PROVE).says(1, &["demo.onnx", "has changed", "cargo nomopoly compile demo.onnx"]);
    bench.run(["check", "demo.onnx"]).says(1, &["has changed"]);
    bench.write("new.onnx", &demo::model(0));
    bench.run(["check", "new.onnx"]).says(1, &["new.onnx", "not compiled"]);
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let bench = Bench::compiled();
    let image = demo::image(0);
    let mut holey = image.clone();
    holey[100] = f32::NAN;
    let mut endless = image.clone();
    endless[0] = f32::INFINITY;
    let wide: Vec<u8> = image.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    let cases: [(&str, Vec<u8>, &[&str]); 12] = [
        ("shape", npy_f32(&[1, 3, 64], &image), &["`image`", "[1, 3, 64]", "[1, 3, 8, 8]"]),
        ("dtype", npy("<f8", "(1, 3, 8, 8)", &wide), &["`image`", "f64", "f32"]),
        ("nan", npy_f32(&[1, 3, 8, 8], &holey), &["`image`", "not finite"]),
        ("infinite", npy_f32(&[1, 3, 8, 8], &endless), &["`image`", "not finite"]),
        ("empty", vec![], &["image.npy", "`image`"]),
        ("text", b"1,2,3\n".to_vec(), &["image.npy"]),
        ("short", npy_f32(&[1, 3, 8, 8], &image[..100]), &["image.npy", "truncated"]),
        ("huge", npy("<f4", "(1000000000000, 3, 8, 8)", &[0; 64]), &["image.npy"]),
        ("overflow", npy("<f4", "(4294967296, 4294967296, 16)", &[0; 64]), &["image.npy"]),
        ("no elements", npy("<f4", "(1, 3, 8, 0)", &[]), &["`image`", "[1, 3, 8, 0]"]),
        ("complex", npy("<c8", "(1, 3, 8, 8)", &[0; 1536]), &["image.npy"]),
        ("fields", npy("|V8", "(1, 3, 8, 8)", &[0; 1536]), &["image.npy"]),
    ];
    for (case, bytes, texts) in cases {
        bench.write("image.npy", &bytes);
        for arguments in [PROVE, VERIFY] {
            let ran = bench.run(arguments);
            assert_eq!(ran.code, Some(1), "{case}: {}{}", ran.stdout, ran.stderr);
            ran.says(1, texts);
        }
    }
}

#[test]
fn inputs_must_be_the_models_and_come_once() {
    let bench = Bench::compiled();
    let prove =
        |extra: &[&str]| bench.run([&["prove", "demo.onnx", "--out", "new.npf"], extra].concat());
    prove(&[]).says(1, &["`image` is missing", "--input"]);
    prove(&["--input", "img=image.npy"]).says(1, &["no input `img`", "image"]);
    prove(&["--input", "image=image.npy", "--input", "image=image.npy"])
        .says(1, &["`image` is given twice"]);
    prove(&["--input", "image=none.npy"]).says(1, &["none.npy", "check the path"]);
    prove(&["--input", "image=."]).says(1, &["not a regular file"]);
    prove(&["--input", "image"]).says(2, &["image=digit.npy"]);
    prove(&["--inputs", "image.npy"]).says(1, &["image.npy"]);
    assert!(!bench.join("new.npf").exists());
}

#[test]
fn files_that_are_not_there_are_named() {
    let bench = Bench::compiled();
    bench.run(["scan", "none.onnx"]).says(1, &["none.onnx", "check the path"]);
    bench
        .run(["verify", "demo.onnx", "--input", "image=image.npy", "--proof", "none.npf"])
        .says(1, &["none.npf"]);
    bench
        .run(["prove", "demo.onnx", "--input", "image=image.npy", "--out", "none/proof.npf"])
        .says(1, &["none/proof.npf"]);
    bench
        .run(["prove", "demo.onnx", "--input", "image=image.npy", "--out", "ops"])
        .says(1, &["`ops`", "folder"]);
    bench.run(["compile", "demo.onnx", "--calibration", "none.npz"]).says(1, &["none.npz"]);
}

#[test]
fn files_that_are_no_models_are_named() {
    let bench = Bench::bare();
    bench.write("empty.onnx", b"");
    bench.write("text.onnx", b"this is not a model, but a line of text\n");
    bench.write("half.onnx", &demo::model(0)[..500]);
    for file in ["empty.onnx", "text.onnx", "half.onnx"] {
        for subcommand in ["scan", "compile"] {
            bench.run([subcommand, file]).says(1, &[file]);
        }
    }
    bench.run(["scan", "demo.onnx", "--input", "x=1"]).says(1, &["no input `x`", "image"]);
    bench.run(["scan", "demo.onnx", "--input", "image=1,3,9,9"]).says(1, &["image"]);
}
