//! Exported files, keys for them, and proofs that another runtime made.

use std::fs;
use std::path::Path;

use nomopoly_build::arrays::{npz_bytes, read_npz};
use nomopoly_build::runtime::onnx::pb;
use nomopoly_build::runtime::{NamedTensor, TensorData};
use prost::Message as _;

use crate::bench::Bench;

const EXPORT: [&str; 4] = ["export", "demo.onnx", "--out", "exported"];
const CHECK: [&str; 5] = ["export", "demo.onnx", "--out", "exported", "--check"];
const FILES: [&str; 4] = ["export.json", "key.onnx", "prover.onnx", "verifier.onnx"];
const PROVE: [&str; 6] = ["prove", "demo.onnx", "--input", "image=image.npy", "--out", "proof.npz"];
const VERIFY: [&str; 6] =
    ["verify", "demo.onnx", "--input", "image=image.npy", "--proof", "proof.npz"];

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_export_is_four_files_and_says_whose_they_are() {
    let bench = Bench::compiled();
    bench
        .run(EXPORT)
        .says(0, &["prover.onnx", "the host", "public", "operator set 17", "key.onnx"]);
    assert_eq!(files(&bench.join("exported")), FILES);
    bench.run(CHECK).says(0, &["prover.onnx"]);
    let bytes = |name: &str| fs::read(bench.join("exported").join(name)).unwrap();
    let before: Vec<Vec<u8>> = FILES.iter().map(|name| bytes(name)).collect();
    // What an earlier export left is replaced, and equal models give equal bytes.
    bench.write("exported/prover.onnx.data", b"of an earlier export");
    let json = bench.run(EXPORT.iter().chain(&["--format", "json"])).says(0, &[]).json();
    let again: Vec<Vec<u8>> = FILES.iter().map(|name| bytes(name)).collect();
    assert_eq!(before, again);
    assert_eq!(files(&bench.join("exported")), FILES);
    let export = &json["export"];
    assert_eq!(export["schema"], 2);
    assert_eq!(export["inputs"][0]["shape"], serde_json::json!([1, 3, 8, 8]));
    assert_eq!(export["operations"].as_array().unwrap().len(), 3);
    assert_eq!(export["secret"], false);
    bench.run(["export", "demo.onnx"]).says(2, &["--out"]);
}

#[test]
fn a_baked_key_makes_a_secret_file_that_says_so() {
    let bench = Bench::compiled();
    bench.run(EXPORT.iter().chain(&["--bake-key"])).says(0, &["SECRET", "can forge"]);
    let baked = fs::read(bench.join("exported/verifier.onnx")).unwrap();
    let text = fs::read_to_string(bench.join("exported/export.json")).unwrap();
    assert!(text.contains("\"secret\": true"));
    let says = |bytes: &[u8], text: &str| {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let secret = |name: &str| {
        let bytes = fs::read(bench.join("exported").join(name)).unwrap();
        let file = pb::ModelProto::decode(bytes.as_slice()).unwrap();
        let entry = file.metadata_props.into_iter().find(|entry| entry.key == "nomopoly.secret");
        entry.unwrap().value
    };
    let all = ["prover.onnx", "verifier.onnx", "key.onnx"];
    assert_eq!(all.map(secret), ["false", "true", "false"]);
    assert!(!says(&baked, "nomopoly.key/vectors/conv1"));
    #[cfg(unix)]
    assert_eq!(mode(&bench.join("exported/verifier.onnx")), 0o600);
    bench.run(CHECK).says(0, &["SECRET"]);
    // Every baked file has a key of its own.
    bench.run(EXPORT.iter().chain(&["--bake-key"])).says(0, &[]);
    assert_ne!(fs::read(bench.join("exported/verifier.onnx")).unwrap(), baked);
    bench.run(EXPORT).says(0, &["public"]);
    assert_eq!(all.map(secret), ["false"; 3]);
    assert!(says(&fs::read(bench.join("exported/verifier.onnx")).unwrap(), "nomopoly.key/vectors"));
}

#[test]
fn a_key_is_drawn_anew_for_its_owner_only() {
    let bench = Bench::compiled();
    let key = || {
        bench.run(["key", "demo.onnx", "--out", "key.npz"]).says(0, &["SECRET", "a fresh key"]);
        read_npz(&bench.join("key.npz")).unwrap()
    };
    let (first, second) = (key(), key());
    #[cfg(unix)]
    assert_eq!(mode(&bench.join("key.npz")), 0o600);
    assert!(first.iter().any(|tensor| tensor.name == "nomopoly.key/vectors/conv1"));
    for (a, b) in first.iter().zip(&second) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        assert_eq!(a.data == b.data, a.name == "nomopoly.key/identity", "{}", a.name);
    }
    bench.run(["key", "demo.onnx", "--out", "none/key.npz"]).says(1, &["none/key.npz"]);
}

#[test]
fn files_that_changed_after_the_export_are_named() {
    let bench = Bench::compiled();
    bench.run(EXPORT).says(0, &[]);
    for name in ["prover.onnx", "verifier.onnx", "key.onnx"] {
        let path = bench.join("exported").join(name);
        let whole = fs::read(&path).unwrap();
        let mut edited = whole.clone();
        edited[whole.len() / 2] ^= 1;
        fs::write(&path, &edited).unwrap();
        bench.run(CHECK).says(1, &[name, "changed after it was exported", "export` again"]);
        fs::remove_file(&path).unwrap();
        bench.run(CHECK).says(1, &[name, "cannot read"]);
        fs::write(&path, whole).unwrap();
    }
    bench.run(CHECK).says(0, &[]);
    let text = fs::read_to_string(bench.join("exported/export.json")).unwrap();
    for (edit, says) in [
        (text.replace("\"schema\": 2", "\"schema\": 1"), "schema 1"),
        (text.replace("\"schema\": 2", "\"schema\": 9"), "schema 9"),
        (text.replace("\"schema\": 2", "\"schema\": \"2\""), "no number `schema`"),
        (text.replace("\"inputs\"", "\"outputs_\""), "inputs"),
        (text.replace("\"key.onnx\"", "\"other.onnx\""), "does not name key.onnx"),
        (
            text.replace(
                "\"files\": {",
                "\"files\": {\"../demo.onnx\": {\"sha256\": \"00\", \"bytes\": 1},",
            ),
            "not the name of a file",
        ),
        (String::new(), "not a description"),
    ] {
        bench.write("exported/export.json", edit.as_bytes());
        bench.run(CHECK).says(1, &[says]);
    }
}

#[test]
fn files_of_another_compilation_are_named() {
    let bench = Bench::compiled();
    bench.run(EXPORT).says(0, &[]);
    let compile = ["compile", "demo.onnx", "--preset", "fast", "--proof-dim", "16"];
    bench.run(compile).says(0, &["trained"]);
    bench.run(CHECK).says(1, &["of another model or compilation", "export the model again"]);
    bench.run(PROVE).says(0, &[]);
    let other = fs::read(bench.join("proof.npz")).unwrap();
    bench.run(["compile", "demo.onnx", "--preset", "fast"]).says(0, &[]);
    bench.write("proof.npz", &other);
    bench.run(VERIFY).says(1, &["other compiled operations"]);
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let bench = Bench::compiled();
    bench.write("exported", b"a file");
    bench.run(EXPORT).says(1, &["exported"]);
    fs::remove_file(bench.join("exported")).unwrap();
    fs::create_dir_all(bench.join("exported/prover.onnx/x")).unwrap();
    bench.run(EXPORT).says(1, &["prover.onnx"]);
    let bare = Bench::bare();
    bare.run(EXPORT).says(1, &["compile"]);
    assert!(!bare.join("exported").exists());
}

#[test]
fn tensors_of_an_exported_prover_are_a_proof() {
    let bench = Bench::compiled();
    bench.run(PROVE).says(0, &["logits"]);
    bench.run(VERIFY).says(0, &["ACCEPTED"]);
    let tensors = read_npz(&bench.join("proof.npz")).unwrap();
    let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert!(names.contains(&"nomopoly.proof/conv1") && names.contains(&"nomopoly.identity"));
    let verify = |tensors: &[NamedTensor], code: i32, says: &[&str]| {
        bench.write("proof.npz", &npz_bytes(tensors).unwrap());
        bench.run(VERIFY).says(code, says);
    };
    for name in names {
        let without: Vec<NamedTensor> =
            tensors.iter().filter(|tensor| tensor.name != name).cloned().collect();
        verify(&without, 1, &[name, "is missing"]);
        let edited = |edit: &dyn Fn(&mut NamedTensor)| -> Vec<NamedTensor> {
            let mut tensors = tensors.clone();
            tensors.iter_mut().filter(|tensor| tensor.name == name).for_each(edit);
            tensors
        };
        verify(&edited(&|tensor| tensor.name.push('!')), 1, &[name]);
        verify(&edited(&|tensor| tensor.shape.insert(0, 1)), 1, &[name, "shape"]);
        if name == "nomopoly.identity" {
            let flip = |place: usize| {
                edited(&move |tensor| {
                    if let TensorData::U8(bytes) = &mut tensor.data {
                        bytes[place] ^= 1;
                    }
                })
            };
            verify(&flip(0), 1, &["another model"]);
            verify(&flip(63), 1, &["other compiled operations"]);
            continue;
        }
        let number = |value: f32| {
            edited(&move |tensor| {
                if let TensorData::F32(values) = &mut tensor.data {
                    values[0] = value;
                }
            })
        };
        let operation = name.trim_start_matches("nomopoly.proof/");
        verify(&number(f32::NAN), 1, &[operation, "not finite"]);
        verify(&number(1e3), 1, &["REJECTED"]);
        let integers =
            edited(&|tensor| tensor.data = TensorData::I64(vec![0; tensor.data.len()].into()));
        verify(&integers, 1, &[name]);
    }
    let mut more = tensors.clone();
    more.push(NamedTensor::from_f32("unheard of", &[1], vec![0.]));
    verify(&more, 1, &["unheard of"]);
    let whole = npz_bytes(&tensors).unwrap();
    bench.write("proof.npz", &whole[..whole.len() / 2]);
    bench.run(VERIFY).says(1, &["proof.npz"]);
    bench.write("proof.npz", b"");
    bench.run(VERIFY).says(1, &["proof.npz"]);
}
