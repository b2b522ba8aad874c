//! Seeds of the text formats: artefact headers, build manifests and metrics, the lock.

use std::collections::BTreeMap;

use nomopoly::artefact::Artefact;
use nomopoly::candle_core::Device;
use nomopoly_build::manifest::{
    ARTEFACT_SCHEMA, Attribute, BuildManifest, BuildStatus, BuiltModel, Check, CompileOptions,
    Lock, LockedEntry, LockedFigures, LockedModel, MANIFEST_SCHEMA, ModelInterface,
    OperationInterface, OperationKind, OperationSpec, TensorInterface,
};
use nomopoly_build::registry::{METRICS, Registry};
use nomopoly_build::{Compiler, demo};

use super::Seeds;
use crate::parsers::EDITS;
use crate::tiny::TINY;

pub fn write(artefacts: &Seeds, manifests: &Seeds, locks: &Seeds) {
    artefact(artefacts);
    manifest(manifests);
    lock(locks);
    compiled(manifests, locks);
}

fn artefact(seeds: &Seeds) {
    let bytes = TINY.bundle.artefacts.values().next().unwrap();
    let header = Artefact::from_bytes("tiny", bytes, &Device::Cpu).unwrap().header;
    let add = |name: &str, change: &dyn Fn(&mut nomopoly::artefact::ArtefactHeader)| {
        let mut header = header.clone();
        change(&mut header);
        seeds.add(name, serde_json::to_vec(&header).unwrap());
    };
    add("header", &|_| {});
    add("schema", &|header| header.schema = 9);
    add("id", &|header| header.id.replace_range(..1, "g"));
    add("sketches", &|header| header.sketches = 1 << 30);
    add("no_sketches", &|header| header.sketches = 0);
    add("replay", &|header| header.check = Check::Replay);
    add("no_certificate", &|header| header.certificate = None);
    add("large", &|header| header.operation.output_shape = vec![1 << 16, 1 << 15]);
    add("overflow", &|header| header.operation.input_shapes = vec![vec![usize::MAX, 2]]);
    add("no_inputs", &|header| header.operation.input_shapes.clear());
    add("no_elements", &|header| header.operation.output_shape = vec![0]);
    add("perceptron", &|header| {
        header.options.architecture = nomopoly_build::manifest::Architecture::Mlp;
    });
    seeds.add("nested", "[".repeat(5000));
    // The file itself: a header without tensors, lengths that claim too much, tensors that overlap.
    let file = |len: u64, json: &str| [&len.to_le_bytes()[..], json.as_bytes()].concat();
    seeds.add("empty_file", file(2, "{}"));
    seeds.add("long_file", file(u64::MAX, "{}"));
    let json = r#"{"__metadata__":{"nomopoly":"{}"}}"#;
    seeds.add("no_tensors", file(json.len() as u64, json));
    let json = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,4]}}"#;
    seeds.add("overlap", [file(json.len() as u64, json), vec![0; 4]].concat());
    super::spread(seeds, EDITS, "edit", bytes.len());
    seeds.edits(EDITS, "honest", &[]);
}

fn manifest(seeds: &Seeds) {
    let tensor = |name: &str| TensorInterface {
        name: name.into(),
        dtype: "f32".into(),
        shape: vec![1, 4],
        batch: true,
        open: vec![1],
    };
    let interface = ModelInterface {
        name: "m.onnx".into(),
        digest: "ab".repeat(32),
        inputs: vec![tensor("x")],
        outputs: vec![tensor("y")],
        operations: vec![OperationInterface {
            name: "y".into(),
            kind: "Relu".into(),
            output_shape: vec![1, 4],
            artefact: None,
        }],
    };
    let statuses = [
        BuildStatus::Ready {
            model: "/m.onnx".into(),
            bundle: "/m.bundle".into(),
            external: vec![("w.bin".into(), "/w.bin".into())],
            ledger: None,
        },
        BuildStatus::Stub { reason: "only types".into() },
        BuildStatus::Missing {
            operations: vec!["y".into()],
            reason: "no time".into(),
            command: "cargo nomopoly compile".into(),
        },
        BuildStatus::Failed { reason: "\u{0}\"\\\u{1F600}".into() },
    ];
    let model =
        |status| BuiltModel { path: "m.onnx".into(), status, interface: Some(interface.clone()) };
    let manifest = BuildManifest {
        schema: MANIFEST_SCHEMA,
        version: "0.1.0".into(),
        models: statuses.map(model).to_vec(),
    };
    let text = serde_json::to_string(&manifest).unwrap();
    seeds.add("manifest", &text);
    seeds.add("cut", &text[..text.len() / 2]);
    seeds.add("schema", text.replacen("\"schema\":1", "\"schema\":9", 1));
    seeds.add("twice", text.replacen('{', "{\"schema\":1,", 1));
    seeds.add("negative", text.replace("[1,4]", "[-1,4.5,1e999]"));
    seeds.add("nested", "[".repeat(5000));
    let options = serde_json::to_string(&CompileOptions::fast()).unwrap();
    seeds.add("options", &options);
    seeds.add("float", options.replace("0.001", "1e-3000"));
    let attributes = [
        ("alpha", Attribute::Float(1.)),
        ("mode", Attribute::Text("ceil".into())),
        ("pads", Attribute::Ints(vec![i64::MIN, i64::MAX])),
        ("group", Attribute::Int(-1)),
    ];
    let attributes = attributes.map(|(name, attribute)| (name.to_owned(), attribute));
    let spec = OperationSpec {
        kind: OperationKind::Conv,
        dtype: "f32".into(),
        input_shapes: vec![vec![1, 3], vec![]],
        output_shape: vec![usize::MAX],
        attributes: BTreeMap::from(attributes),
    };
    let text = serde_json::to_string(&spec).unwrap();
    seeds.add("operation", &text);
    seeds.add(
        "deep_attribute",
        text.replace("-1", &format!("{}1{}", "[".repeat(99), "]".repeat(99))),
    );
}

fn lock(seeds: &Seeds) {
    let entry = "conv_1x3-0123456789ab";
    let id = format!("0123456789ab{}", "c".repeat(52));
    let hash = "d".repeat(64);
    let mut lock = Lock::new(ARTEFACT_SCHEMA);
    let model = LockedModel {
        digest: hash.clone(),
        audit: Some(hash.clone()),
        inputs: BTreeMap::from([("x".into(), vec![1, 3])]),
        nodes: BTreeMap::from([("conv.out \"1\"".into(), entry.into())]),
    };
    lock.models.insert("m.onnx".into(), model);
    let figures = LockedFigures {
        check: Check::Sketch,
        accuracy: 0.99,
        completeness_error_upper_95: 1e-3,
        soundness_error_upper_95: 1. / 3.,
        certified_bits: Some(41.25),
        certified_deviation: None,
    };
    let files = BTreeMap::from([("artefact.safetensors".into(), hash)]);
    let locked = LockedEntry { id, seed: 7, figures, files };
    lock.entries.insert(entry.into(), locked);
    let text = toml::to_string(&lock).unwrap();
    seeds.add("lock", &text);
    for part in 1..4 {
        seeds.add(&format!("cut_{part}"), &text[..text.len() * part / 4]);
    }
    let change = |name: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        seeds.add(name, text.replacen(from, to, 1));
    };
    change("schema", "schema = 1", "schema = 9");
    change("no_number", "0.99", "nan");
    change("infinite", "0.99", "-inf");
    change("seed", "seed = 7", "seed = -7");
    change("large_seed", "seed = 7", "seed = 18446744073709551615");
    change("path", entry, "../../etc/passwd-0123456789ab");
    change("file", "artefact.safetensors", "../../artefact.safetensors");
    change("control", "m.onnx", "m\\u001B[2J.onnx");
    change("shape", "[1, 3]", "[-1, 3]");
    seeds.add("nothing", "");
    seeds.add("latin", b"schema = 1\n# \xe9\n");
    seeds.add("nested", format!("schema = 1\na = {}", "[".repeat(5000)));
    seeds.add("dotted", format!("schema = 1\n{}a = 1", "a.".repeat(2000)));
    seeds.add(
        "tables",
        format!("schema = 1\n{}", (0..500).map(|i| format!("[t{i}]\n")).collect::<String>()),
    );
}

/// A lock and metrics as the compiler writes them.
fn compiled(manifests: &Seeds, locks: &Seeds) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.onnx");
    std::fs::write(&path, demo::model(0)).unwrap();
    let registry = Registry::open(folder.path().join("ops"));
    let options = CompileOptions { test_samples: 100, ..CompileOptions::fast() };
    Compiler::new(registry.clone()).options(options).compile(&path).unwrap();
    locks.add("compiled", std::fs::read(registry.root().join("nomopoly.lock")).unwrap());
    let entries = registry.entries().unwrap();
    let metrics = entries.iter().map(|entry| std::fs::read(entry.path.join(METRICS)).unwrap());
    // The shortest will do.
    manifests.add("metrics", metrics.min_by_key(Vec::len).unwrap());
}
