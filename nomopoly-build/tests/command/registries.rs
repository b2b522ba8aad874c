//! Damaged and impossible registries, and interruption.

use std::fs;
use std::path::PathBuf;

use crate::bench::{Bench, PROVE};

/// The folder of the convolution's entry.
fn conv_entry(bench: &Bench) -> PathBuf {
    let entries = fs::read_dir(bench.join("ops")).unwrap().map(|item| item.unwrap().path());
    let mut conv = entries
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("conv_1x3x8x8-"));
    conv.next().unwrap()
}

#[test]
fn a_damaged_entry_is_named_by_check_and_never_loaded() {
    let bench = Bench::compiled();
    bench.run(["check", "demo.onnx"]).says(0, &["7 entries", "no problems"]);
    for file in ["artefact.safetensors", "conv_1x3x8x8_verifier.onnx"] {
        let path = conv_entry(&bench).join(file);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 4;
        fs::write(&path, damaged).unwrap();
        bench.run(["check"]).says(1, &[file, "damaged", "1 problem"]);
        let json = bench.run(["check", "--format", "json"]).says(1, &[]).json();
        assert_eq!(json["ok"], false);
        fs::write(&path, whole).unwrap();
    }
    let artefact = conv_entry(&bench).join("artefact.safetensors");
    fs::remove_file(&artefact).unwrap();
    bench.run(["check"]).says(1, &["artefact.safetensors", "missing"]);
    bench.run(["list"]).says(0, &["incomplete"]);
    bench.run(["list", "--pending"]).says(0, &["demo.onnx", "conv1"]);
    bench.run(PROVE).says(1, &["artefact.safetensors", "missing"]);
    // Compiling repairs it.
    bench.run(["compile", "demo.onnx", "--preset", "fast"]).says(0, &["1 trained, 6 cached"]);
    bench.run(["check", "demo.onnx"]).says(0, &["no problems"]);
}

#[test]
fn a_damaged_lock_is_named_with_its_line() {
    let bench = Bench::compiled();
    bench.write("ops/nomopoly.lock", b"schema = 1\nmodels = oops\n");
    bench.run(["list"]).says(1, &["nomopoly.lock", "line 2"]);
    bench.write("ops/nomopoly.lock", b"schema = 99\n");
    bench.run(["check"]).says(1, &["schema version 99"]);
}

#[test]
fn a_registry_that_cannot_be_a_folder_is_named() {
    let bench = Bench::bare();
    bench.write("file", b"");
    for root in ["file", "file/ops"] {
        bench.run(["compile", "demo.onnx", "--registry", root]).says(1, &[root, "--registry"]);
        bench.run(["list", "--registry", root]).says(1, &[root, "--registry"]);
    }
    bench.run(["demo", "--dir", "file"]).says(1, &["`file`"]);
}

#[cfg(unix)]
#[test]
fn an_interrupted_compilation_ends_with_130_and_leaves_the_registry_whole() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Command, Stdio};

    let bench = Bench::compiled();
    let mut child = crate::bench::command(bench.path())
        .args(["compile", "demo.onnx", "--seed", "5", "--min-epochs", "10000"])
        .args(["--max-epochs", "10000", "--patience", "10000"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // Training starts when inputs have been collected, soon after this line.
    while !line.contains("collecting inputs") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it trained");
    }
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains("stopping") && rest.contains("interrupted"), "{rest}");
    assert!(!rest.contains("panicked"), "{rest}");
    bench.run(["check", "demo.onnx"]).says(0, &["no problems"]);
    let left = fs::read_dir(bench.join("ops"))
        .unwrap()
        .map(|item| item.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with('.') && name.contains("conv"));
    assert_eq!(left.count(), 0);
}
