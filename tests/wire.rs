//! What travels, byte for byte: files that earlier builds wrote are read, and the same values are
//! written as the same bytes. `docs/WIRE.md` describes them.
//!
//! A new schema gets new files beside the old ones: `NOMOPOLY_WRITE_FIXTURES=1 cargo test --test wire`
//! writes what is missing.

use std::path::{Path, PathBuf};

use nomopoly::receipt::{Asked, Challenge, Committed, Opening, Part, Receipt};
use nomopoly::{Digest, NamedTensor, OperationProof, Proof, TensorData};

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn input() -> [NamedTensor; 2] {
    let ids = TensorData::I64(vec![-1, 2].into());
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
            NamedTensor {
                name: "top".into(),
                shape: vec![1],
                data: TensorData::I64(vec![2].into()),
            },
        ],
        transcript: vec![NamedTensor::from_f32("fc1", &[1, 4], vec![0.1, 0.2, 0.3, 0.4])],
        operations: vec![vector("fc1", 0.), vector("logits", -1.)],
    }
}

fn committed() -> Committed {
    Committed::new(&input(), proof()).unwrap()
}

fn challenge() -> Challenge {
    let operations = vec![Asked { index: 1, parts: vec![] }];
    Challenge { root: committed().receipt().root, operations, producers: vec![0] }
}

fn challenge_of_a_part() -> Challenge {
    let parts = vec![Part { first: 2, count: 2 }];
    Challenge { operations: vec![Asked { index: 0, parts }], producers: vec![1], ..challenge() }
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
fn the_bytes_are_what_they_were() {
    let opening = committed().open(&challenge()).unwrap();
    let part = committed().open(&challenge_of_a_part()).unwrap();
    let now: [(&str, Vec<u8>); 7] = [
        ("proof_v1.postcard", proof().to_bytes().unwrap()),
        ("receipt_v2.postcard", committed().receipt().to_bytes().unwrap()),
        ("challenge_v2.postcard", challenge().to_bytes().unwrap()),
        ("opening_v2.postcard", opening.to_bytes().unwrap()),
        ("challenge_of_a_part_v2.postcard", challenge_of_a_part().to_bytes().unwrap()),
        ("opening_of_a_part_v2.postcard", part.to_bytes().unwrap()),
        ("committed_v2.postcard", committed().to_bytes().unwrap()),
    ];
    for (name, now) in &now {
        assert_eq!(fixture(name, now), *now, "{name}");
    }
    let [proof_bytes, receipt, asked, opened, part_asked, part_opened, stored] =
        now.map(|(_, bytes)| bytes);
    assert_eq!(Proof::from_bytes(&proof_bytes).unwrap(), proof());
    assert_eq!(Receipt::from_bytes(&receipt).unwrap(), *committed().receipt());
    assert_eq!(Challenge::from_bytes(&asked).unwrap(), challenge());
    assert_eq!(Opening::from_bytes(&opened).unwrap(), opening);
    assert_eq!(Challenge::from_bytes(&part_asked).unwrap(), challenge_of_a_part());
    assert_eq!(Opening::from_bytes(&part_opened).unwrap(), part);
    assert_eq!(Committed::from_bytes(&stored).unwrap().receipt(), committed().receipt());
}

#[test]
fn version_1_of_receipts_is_refused_by_name() {
    let refused = |name: &str, error: Option<nomopoly::Error>| {
        let error = error.unwrap().to_string();
        assert!(error.contains("schema 1") && error.contains("reads 2"), "{name}: {error}");
    };
    for name in ["receipt_v1.postcard", "challenge_v1.postcard", "opening_v1.postcard"] {
        let bytes = fixture(name, &[]);
        match name.split('_').next() {
            Some("receipt") => refused(name, Receipt::from_bytes(&bytes).err()),
            Some("challenge") => refused(name, Challenge::from_bytes(&bytes).err()),
            _ => refused(name, Opening::from_bytes(&bytes).err()),
        }
    }
}

#[test]
fn a_commitment_holds_each_operation_once() {
    let mut twice = proof();
    twice.operations.push(twice.operations[0].clone());
    let error = Committed::new(&input(), twice).unwrap_err().to_string();
    assert!(error.contains("`fc1` twice"), "{error}");
    let mut without = proof();
    without.transcript.clear();
    let error = Committed::new(&input(), without).unwrap_err().to_string();
    assert!(error.contains("lacks the output of `fc1`"), "{error}");
}

#[test]
fn the_envelope_is_as_documented() {
    let receipt = committed().receipt().to_bytes().unwrap();
    assert_eq!(&receipt[..8], b"NMPRCEPT");
    assert_eq!(receipt[8..12], 2u32.to_le_bytes());
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
        (committed().to_bytes().unwrap(), b"NMPCOMIT"),
    ] {
        assert_eq!(&bytes[..8], magic);
    }
}

#[test]
fn another_schema_and_another_format_are_told_apart_from_damage() {
    let mut later = committed().receipt().to_bytes().unwrap();
    later[8] = 3;
    let error = Receipt::from_bytes(&later).unwrap_err().to_string();
    assert!(error.contains("schema 3") && error.contains("reads 2"), "{error}");
    let proof = proof().to_bytes().unwrap();
    let error = Receipt::from_bytes(&proof).unwrap_err().to_string();
    assert!(error.contains("does not start as one does"), "{error}");
    let mut longer = committed().receipt().to_bytes().unwrap();
    longer.push(0);
    assert!(Receipt::from_bytes(&longer).is_err());
}
