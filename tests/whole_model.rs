//! Whole-model proofs through the public API: what is accepted, what is refused and why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use nomopoly::candle_core::Device;
use nomopoly::dynamic::{Prover, Verifier};
use nomopoly::onnx::{DatumType, builder, round_to_int8};
use nomopoly::{
    CheckedBy, CompiledModel, Error, ExpandedKey, NamedTensor, Proof, TensorData, VerifierKey,
};
use nomopoly_build::manifest::{Architecture, CompileOptions};
use nomopoly_build::prost::Message;
use nomopoly_build::registry::Registry;
use nomopoly_build::{Compiler, demo, load_compiled};

fn options() -> CompileOptions {
    CompileOptions { test_samples: 100, ..CompileOptions::fast() }
}

fn compile(folder: &Path, name: &str, bytes: &[u8], options: CompileOptions) -> Arc<CompiledModel> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    let registry = Registry::open(folder.join("ops"));
    Compiler::new(registry.clone()).options(options).compile(&path).unwrap();
    Arc::new(load_compiled(&registry, &path).unwrap())
}

/// The demo model, compiled once for all tests.
static DEMO: LazyLock<Arc<CompiledModel>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "demo.onnx", &demo::model(0), options())
});

fn image(seed: u64) -> [NamedTensor; 1] {
    [NamedTensor::from_f32("image", &[1, 3, 8, 8], demo::image(seed))]
}

fn verifier(model: &Arc<CompiledModel>) -> Verifier {
    Verifier::new(model, &VerifierKey::random().unwrap(), &Device::Cpu).unwrap()
}

fn prover(model: &Arc<CompiledModel>) -> Prover {
    Prover::new(model.clone()).unwrap()
}

#[test]
fn honest_inferences_are_accepted_at_every_scale() {
    let (host, verifier) = (prover(&DEMO), verifier(&DEMO));
    for seed in 0..10 {
        for scale in [0., 1e-3, 1., 1e3] {
            let data = demo::image(seed).iter().map(|v| v * scale).collect();
            let input = [NamedTensor::from_f32("image", &[1, 3, 8, 8], data)];
            let bytes = host.prove(&input).unwrap().to_bytes().unwrap();
            let report = verifier.verify(&input, &Proof::from_bytes(&bytes).unwrap()).unwrap();
            assert_eq!(report.operations.len(), 7);
            let sketched = report.operations.iter().filter(|o| o.checked_by == CheckedBy::Sketch);
            assert!(sketched.count() >= 2);
        }
    }
}

#[test]
fn other_weights_are_refused_and_the_operation_is_named() {
    let verifier = verifier(&DEMO);
    /// Rounds towards zero by dropping bits of the significand.
    fn drop_bits(weights: &mut [f32], bits: u32) {
        weights.iter_mut().for_each(|w| *w = f32::from_bits(w.to_bits() >> bits << bits));
    }
    let bf16 = |weights: &mut [f32]| drop_bits(weights, 16);
    let fp16 = |weights: &mut [f32]| drop_bits(weights, 13);
    let alterations: [fn(&mut [f32]); 4] = [round_to_int8, bf16, fp16, |w| w.reverse()];
    for alter in alterations {
        let matrices = |_: &str, shape: &[usize], values: &mut [f32]| {
            if shape.len() > 1 {
                alter(values);
            }
        };
        let graph = DEMO.graph().with_altered_weights(matrices).unwrap();
        let host = Prover::running(DEMO.clone(), &graph).unwrap();
        for seed in 0..5 {
            let input = image(seed);
            let error = verifier.verify(&input, &host.prove(&input).unwrap()).unwrap_err();
            let Error::Rejected(report) = error else { panic!("{error}") };
            assert!(report.reason().contains("conv1"), "{}", report.reason());
        }
    }
}

#[test]
fn every_edit_of_a_proof_is_refused() {
    let (host, verifier) = (prover(&DEMO), verifier(&DEMO));
    let input = image(3);
    let honest = host.prove(&input).unwrap();
    let refused = |proof: &Proof| !verifier.inspect(&input, proof).unwrap().accepted();
    assert!(!refused(&honest));
    for index in 0..honest.transcript.len() {
        let len = honest.transcript[index].data.len();
        for element in [0, len / 2, len - 1] {
            let mut proof = honest.clone();
            if let TensorData::F32(values) = &mut proof.transcript[index].data {
                values[element] += 0.01;
            }
            assert!(refused(&proof), "transcript {index} element {element}");
        }
    }
    for index in 0..honest.operations.len() {
        let mut proof = honest.clone();
        proof.operations[index].vector[5] += 0.01;
        assert!(refused(&proof), "proof vector {index}");
    }
    let mut proof = honest.clone();
    if let TensorData::F32(logits) = &mut proof.outputs[0].data {
        logits.swap(0, 1);
    }
    assert!(refused(&proof), "output");
    let replayed = host.prove(&image(4)).unwrap();
    assert!(refused(&replayed), "replayed");
}

#[test]
fn malformed_proofs_and_inputs_are_errors_that_name_the_thing() {
    let (host, verifier) = (prover(&DEMO), verifier(&DEMO));
    let input = image(0);
    let honest = host.prove(&input).unwrap();
    let error = |change: &dyn Fn(&mut Proof)| {
        let mut proof = honest.clone();
        change(&mut proof);
        verifier.inspect(&input, &proof).unwrap_err().to_string()
    };
    assert!(
        error(&|p| p.model = nomopoly::onnx::Digest::from_bytes([0; 32])).contains("another model")
    );
    assert!(error(&|p| drop(p.transcript.pop())).contains("transcript"));
    assert!(error(&|p| p.transcript.swap(0, 1)).contains("conv1"));
    assert!(error(&|p| p.transcript[0].shape[1] = 15).contains("conv1"));
    assert!(error(&|p| p.operations[0].vector.truncate(3)).contains("conv1"));
    assert!(error(&|p| p.operations[0].vector[0] = f32::NAN).contains("finite"));
    assert!(error(&|p| p.outputs[0].name = "x".into()).contains("logits"));
    let nan = |p: &mut Proof| {
        if let TensorData::F32(values) = &mut p.transcript[1].data {
            values[0] = f32::NAN;
        }
    };
    assert!(error(&nan).contains("fc1"));

    let prove = |input: NamedTensor| host.prove(&[input]).unwrap_err().to_string();
    assert!(
        prove(NamedTensor::from_f32("picture", &[1, 3, 8, 8], demo::image(0)))
            .contains("its inputs are image")
    );
    assert!(
        prove(NamedTensor::from_f32("image", &[1, 3, 64], demo::image(0))).contains("[1, 3, 8, 8]")
    );
    assert!(prove(NamedTensor::from_f32("image", &[1, 3, 8, 8], vec![0.; 3])).contains("shape"));
    assert!(
        prove(NamedTensor::from_f32("image", &[1, 3, 8, 8], vec![f32::NAN; 192]))
            .contains("finite")
    );
    let ints = NamedTensor {
        name: "image".into(),
        shape: vec![1, 3, 8, 8],
        data: TensorData::I32(vec![0; 192].into()),
    };
    assert!(prove(ints).contains("i32"));
    assert!(host.prove(&[]).unwrap_err().to_string().contains("image"));
}

#[test]
fn nodes_without_an_artefact_take_part_by_replay() {
    let weights: Vec<f32> = (0..32 * 64).map(|i| ((i * 37 % 101) as f32 - 50.) / 200.).collect();
    let nodes = vec![
        builder::node("MatMul", &["x", "w"], &["hidden"], vec![]),
        builder::node("Sigmoid", &["hidden"], &["gate"], vec![]),
        builder::node("Mul", &["hidden", "gate"], &["silu"], vec![]),
        builder::node("Softmax", &["silu"], &["p"], vec![]),
    ];
    let graph = builder::graph(
        "gated",
        nodes,
        vec![builder::tensor_f32("w", &[32, 64], &weights)],
        vec![builder::value_info("x", DatumType::F32, &[4, 32])],
        vec![builder::value_info("p", DatumType::F32, &[4, 64])],
    );
    let folder = tempfile::tempdir().unwrap();
    let bytes = builder::model(graph, 17).encode_to_vec();
    let model = compile(folder.path(), "gated.onnx", &bytes, options());
    let data = (0..128).map(|i| ((i * 29 % 67) as f32 - 33.) / 20.).collect();
    let input = [NamedTensor::from_f32("x", &[4, 32], data)];
    let honest = prover(&model).prove(&input).unwrap();
    let verifier = verifier(&model);
    let report = verifier.verify(&input, &honest).unwrap();
    let how: Vec<_> = report.operations.iter().map(|o| o.checked_by).collect();
    use CheckedBy::{Recomputed, Replay, Sketch};
    assert_eq!(how, [Sketch, Recomputed, Recomputed, Replay]);
    let mut edited = honest.clone();
    if let TensorData::F32(p) = &mut edited.outputs[0].data {
        p[10] += 1e-3;
    }
    let error = verifier.verify(&input, &edited).unwrap_err().to_string();
    assert!(error.contains("`p` (Softmax)"), "{error}");
}

#[test]
fn artefacts_do_not_depend_on_the_number_of_threads() {
    let files = |jobs: usize| -> BTreeMap<PathBuf, Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.onnx");
        std::fs::write(&path, demo::model(0)).unwrap();
        let root = folder.path().join("ops");
        Compiler::new(Registry::open(&root)).options(options()).jobs(jobs).compile(&path).unwrap();
        let mut files = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
                if file.is_dir() {
                    folders.push(file);
                } else if file.file_name().unwrap() != "compilation.log" {
                    let bytes = std::fs::read(&file).unwrap();
                    files.insert(file.strip_prefix(&root).unwrap().to_owned(), bytes);
                }
            }
        }
        files
    };
    let (one, many) = (files(1), files(4));
    assert!(one.len() > 7 * 7);
    assert_eq!(one.keys().collect::<Vec<_>>(), many.keys().collect::<Vec<_>>());
    for (name, bytes) in &one {
        assert!(*bytes == many[name], "{} differs", name.display());
    }
}

#[test]
fn the_baseline_goes_the_whole_way_too() {
    let folder = tempfile::tempdir().unwrap();
    let baseline = CompileOptions { architecture: Architecture::Mlp, ..options() };
    let model = compile(folder.path(), "demo.onnx", &demo::model(0), baseline);
    let input = image(0);
    let report = verifier(&model).inspect(&input, &prover(&model).prove(&input).unwrap()).unwrap();
    let judged = report.operations.iter().filter(|o| o.checked_by == CheckedBy::Baseline);
    assert_eq!(judged.count(), 7);
    assert!(report.operations.iter().all(|o| o.certified_deviation.is_none()));
}

#[test]
fn a_model_that_changed_is_not_loaded_with_old_artefacts() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "demo.onnx", &demo::model(0), options());
    let path = folder.path().join("demo.onnx");
    std::fs::write(&path, demo::model(1)).unwrap();
    let error = load_compiled(&Registry::open(folder.path().join("ops")), &path).unwrap_err();
    assert!(error.to_string().contains("has changed"), "{error}");
    assert!(error.to_string().contains("cargo nomopoly compile"), "{error}");
}

#[test]
fn an_expanded_key_verifies_without_the_weights() {
    let key = VerifierKey::from_bytes([5; 32]);
    let expanded = ExpandedKey::new(&DEMO, &key).unwrap();
    assert_eq!(format!("{expanded:?}"), "ExpandedKey(secret)");
    let bytes = expanded.as_bytes().to_vec();
    for name in ["conv1.weight", "fc1.weight"] {
        let graph = DEMO.graph().model().proto().graph.as_ref().unwrap();
        let weights = graph.initializer.iter().find(|tensor| tensor.name == name).unwrap();
        let part = &weights.raw_data[..64];
        assert!(!bytes.windows(64).any(|window| window == part), "{name} is in the expanded key");
    }
    let with = Verifier::new(&DEMO, &key, &Device::Cpu).unwrap();
    let loaded = ExpandedKey::from_bytes(bytes.clone()).unwrap();
    let without = Verifier::from_expanded(&loaded, &Device::Cpu).unwrap();
    let host = prover(&DEMO);
    for seed in 0..5 {
        let input = image(seed);
        let honest = host.prove(&input).unwrap();
        let report = without.verify(&input, &honest).unwrap();
        assert_eq!(report, with.verify(&input, &honest).unwrap());
        let edit = |_: &str, data: &mut TensorData| {
            if let TensorData::F32(values) = data {
                values[0] += 0.1;
            }
        };
        let edited = host.prove_edited(&input, edit).unwrap();
        let report = without.inspect(&input, &edited).unwrap();
        assert!(!report.accepted());
        assert_eq!(report, with.inspect(&input, &edited).unwrap());
    }
    let mut without = without;
    let error = without.rotate(&VerifierKey::from_bytes([6; 32])).unwrap_err();
    assert!(matches!(error, Error::CannotRotate { .. }), "{error}");
    for damaged in [&bytes[..bytes.len() - 1], &bytes[1..], &[]] {
        let error = ExpandedKey::from_bytes(damaged.to_vec()).unwrap_err().to_string();
        assert!(error.contains("the expanded key"), "{error}");
    }
}

#[test]
fn a_rotated_verifier_judges_as_one_that_was_made_with_the_key() {
    let (first, second) = (VerifierKey::from_bytes([1; 32]), VerifierKey::from_bytes([2; 32]));
    let mut rotated = Verifier::new(&DEMO, &first, &Device::Cpu).unwrap();
    let fresh = Verifier::new(&DEMO, &second, &Device::Cpu).unwrap();
    let input = image(1);
    let proof = prover(&DEMO).prove(&input).unwrap();
    let before = rotated.verify(&input, &proof).unwrap();
    rotated.rotate(&second).unwrap();
    let after = rotated.verify(&input, &proof).unwrap();
    assert_ne!(before, after);
    assert_eq!(after, fresh.verify(&input, &proof).unwrap());
}
