//! What travels, byte for byte: files that earlier builds wrote are read, and the same values are
//! written as the same bytes. `docs/WIRE.md` describes them.
//!
//! A new schema gets new files beside the old ones: `NOMOPOLY_WRITE_FIXTURES=1 cargo test --test wire`
//! writes what is missing.

use std::path::{Path, PathBuf};

use nomopoly::receipt::{Challenge, Committed, Opening, Receipt};
use nomopoly::{Digest, NamedTensor, OperationProof, Proof, TensorData};

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn input() -> [NamedTensor; 2] {
    let ids = TensorData::I64(vec![-1, 2]);
    [
        NamedTensor::from_f32("image", &[1, 2], vec![0.5, -0.25]),
        NamedTensor { name: "ids".into(), shape: vec![2], data: ids },
    ]
}

/// A proof of two operations with two outputs, one of them not from an operation.
fn proof() -> Proof {
    let vector = |operation: &str, first: f32| OperationProof {
        operation: operation.to_owned(),
        artefact: digest(7),
        vector: (0..16).map(|index| first + index as f32 / 16.).collect(),
    };
    Proof {
        model: digest(1),
        inputs: input().map(|input| (input.name, input.shape)).to_vec(),
        outputs: vec![
            NamedTensor::from_f32("logits", &[1, 3], vec![1., 2., 3.]),
            NamedTensor { name: "top".into(), shape: vec![1], data: TensorData::I64(vec![2]) },
        ],
        transcript: vec![NamedTensor::from_f32("fc1", &[1, 4], vec![0.1, 0.2, 0.3, 0.4])],
        operations: vec![vector("fc1", 0.), vector("logits", -1.)],
    }
}

fn committed() -> Committed {
    Committed::new(&input(), proof()).unwrap()
}

fn challenge() -> Challenge {
    Challenge { root: committed().receipt().root, operations: vec![1], producers: vec![0] }
}

/// The bytes of a file that an earlier build wrote.
fn fixture(name: &str, now: &[u8]) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    if !path.exists() && std::env::var_os("NOMOPOLY_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, now).unwrap();
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_bytes_of_version_1_are_what_they_were() {
    let opening = committed().open(&challenge()).unwrap();
    let now: [(&str, Vec<u8>); 4] = [
        ("proof_v1.postcard", proof().to_bytes().unwrap()),
        ("receipt_v1.postcard", committed().receipt().to_bytes().unwrap()),
        ("challenge_v1.postcard", challenge().to_bytes().unwrap()),
        ("opening_v1.postcard", opening.to_bytes().unwrap()),
    ];
    for (name, now) in &now {
        assert_eq!(fixture(name, now), *now, "{name}");
    }
    let [proof_bytes, receipt_bytes, challenge_bytes, opening_bytes] = now.map(|(_, bytes)| bytes);
    assert_eq!(Proof::from_bytes(&proof_bytes).unwrap(), proof());
    assert_eq!(Receipt::from_bytes(&receipt_bytes).unwrap(), *committed().receipt());
    assert_eq!(Challenge::from_bytes(&challenge_bytes).unwrap(), challenge());
    assert_eq!(Opening::from_bytes(&opening_bytes).unwrap(), opening);
}

#[test]
fn the_envelope_is_as_documented() {
    let receipt = committed().receipt().to_bytes().unwrap();
    assert_eq!(&receipt[..8], b"NMPRCEPT");
    assert_eq!(receipt[8..12], 1u32.to_le_bytes());
    // Three digests, a count of one byte, a digest.
    let body = &receipt[44..];
    assert_eq!(body.len(), 3 * 32 + 1 + 32);
    assert_eq!(body[..32], [1; 32]);
    assert_eq!(body[96], 2);
    assert_eq!(body[97..], *committed().receipt().root.as_bytes());
    for (bytes, magic) in [
        (proof().to_bytes().unwrap(), b"NMPPROOF"),
        (challenge().to_bytes().unwrap(), b"NMPCHALL"),
        (committed().open(&challenge()).unwrap().to_bytes().unwrap(), b"NMPOPENG"),
    ] {
        assert_eq!(&bytes[..8], magic);
    }
}

#[test]
fn another_schema_and_another_format_are_told_apart_from_damage() {
    let mut later = committed().receipt().to_bytes().unwrap();
    later[8] = 2;
    let error = Receipt::from_bytes(&later).unwrap_err().to_string();
    assert!(error.contains("schema 2") && error.contains("reads 1"), "{error}");
    let proof = proof().to_bytes().unwrap();
    let error = Receipt::from_bytes(&proof).unwrap_err().to_string();
    assert!(error.contains("does not start as one does"), "{error}");
    let mut longer = committed().receipt().to_bytes().unwrap();
    longer.push(0);
    assert!(Receipt::from_bytes(&longer).is_err());
}
