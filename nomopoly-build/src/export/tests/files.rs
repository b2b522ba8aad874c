//! The exported files as files: bytes, properties, size, validation.

use std::path::PathBuf;

use prost::Message;
use tempfile::TempDir;

use super::*;

fn decode(bytes: &[u8]) -> pb::ModelProto {
    pb::ModelProto::decode(bytes).unwrap()
}

fn property<'a>(model: &'a pb::ModelProto, key: &str) -> &'a str {
    let found = model.metadata_props.iter().find(|property| property.key == key);
    found.map_or("", |property| &property.value)
}

fn written(folder: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("file.onnx");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn equal_operations_give_equal_bytes() {
    for check in [Check::Sketch, Check::Replay] {
        let first = Subject::new(&subjects::conv(), check, sharp_head());
        let second = Subject::new(&subjects::conv(), check, sharp_head());
        assert_eq!(first.exported, second.exported);
    }
}

#[test]
fn every_file_says_what_it_is() {
    let subject = Subject::new(&subjects::conv(), Check::Sketch, sharp_head());
    let header = &subject.compiled.artefact.header;
    for (role, bytes) in subject.exported.files() {
        let model = decode(bytes);
        assert_eq!((model.ir_version, model.opset_import[0].version), (9, 19));
        assert_eq!(property(&model, "nomopoly.schema"), ARTEFACT_SCHEMA.to_string());
        assert_eq!(property(&model, "nomopoly.entry"), header.entry);
        assert_eq!(property(&model, "nomopoly.role"), role);
        assert_eq!(property(&model, "nomopoly.id"), header.id);
        let key = if role == "verifier" { "export-only, public" } else { "" };
        assert_eq!(property(&model, "nomopoly.key"), key);
        assert!(model.graph.unwrap().node.iter().all(|node| node.domain.is_empty()));
    }
}

#[test]
fn every_file_passes_validation() {
    let folder = TempDir::new().unwrap();
    for (name, operation) in subjects::all() {
        for &check in subjects::checks(&operation) {
            let subject = Subject::new(&operation, check, sharp_head());
            for (role, bytes) in subject.exported.files() {
                let path = written(&folder, bytes);
                assert_eq!(check_file(&path), Ok(()), "{name} {role}");
            }
        }
    }
}

#[test]
fn what_is_not_an_exported_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let subject = Subject::new(&subjects::gemm(), Check::Sketch, sharp_head());
    let refused = |bytes: &[u8]| check_file(written(&folder, bytes)).unwrap_err();
    let good = &subject.exported.prover;
    assert!(refused(&good[..good.len() / 2]).contains("file.onnx"));
    let changed = |change: &dyn Fn(&mut pb::ModelProto)| {
        let mut model = decode(good);
        change(&mut model);
        refused(&model.encode_to_vec())
    };
    let message = changed(&|model| model.metadata_props.clear());
    assert!(message.contains("nomopoly.schema"), "{message}");
    let message = changed(&|model| model.metadata_props[0].value = "0".into());
    assert!(message.contains("schema 0"), "{message}");
    let message = changed(&|model| model.metadata_props[2].value = "verifier".into());
    assert!(message.contains("a verifier does not map"), "{message}");
    let message = changed(&|model| {
        model.graph.as_mut().unwrap().node[0].op_type = "Conv".into();
    });
    assert!(!message.is_empty());
    assert!(check_file(folder.path().join("nowhere.onnx")).is_err());
}

#[test]
fn files_do_not_grow_with_the_activation() {
    // 9,300 elements in and out.
    let subject = Subject::new(&subjects::relu(), Check::Replay, sharp_head());
    for (role, bytes) in subject.exported.files() {
        assert!(bytes.len() < 160_000, "{role}: {} bytes", bytes.len());
    }
}

#[test]
fn the_export_key_depends_on_the_operation_and_gives_its_own_sketches() {
    let subject = Subject::new(&subjects::gemm(), Check::Sketch, sharp_head());
    let vectors = |key: &VerifierKey| {
        let verifier = OperationVerifier::new(subject.compiled.clone(), key, &Device::Cpu).unwrap();
        values(&verifier.contracted().unwrap().vectors)
    };
    let id = subject.compiled.artefact.id;
    let baked = vectors(&export_key(&id));
    assert_eq!(baked, vectors(&export_key(&id)));
    assert_ne!(baked, vectors(&export_key(&Digest::from_bytes([0; 32]))));
    let verifier = decode(&subject.exported.verifier).graph.unwrap();
    let bytes: Vec<u8> = baked.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert!(verifier.initializer.iter().any(|tensor| tensor.raw_data == bytes));
}

#[test]
fn an_adversary_holds_no_copy_of_the_weights() {
    let subject = Subject::new(&subjects::gemm(), Check::Replay, sharp_head());
    let adversary = decode(&subject.exported.adversary).graph.unwrap();
    let weights = subject.compiled.operation.constants()[0].elem_count();
    let same_size =
        |tensor: &pb::TensorProto| tensor.dims.iter().product::<i64>() == weights as i64;
    assert!(!adversary.initializer.iter().any(same_size));
}
