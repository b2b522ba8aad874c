//! Every parser of untrusted bytes, as a function that panics on what must not be: a panic of the
//! parser itself, a value that does not survive being written and read, an accepted forgery.
//!
//! Most formats lie behind a BLAKE3 hash, which no fuzzer gets past: bytes are tried as they are
//! and as the body of a right envelope. Where a right value is larger than a fuzzer can make, the
//! input says what to change of an honest one: see [`edited`].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use nomopoly::artefact::Artefact;
use nomopoly::bundle::Bundle;
use nomopoly::candle_core::Device;
use nomopoly::dynamic::Verifier;
use nomopoly::onnx::{Graph, Model};
use nomopoly::receipt::{
    Asked, Challenge, Committed, Opening, RECEIPT_SCHEMA, Receipt, ReceiptVerifier,
};
use nomopoly::{ExpandedKey, NamedTensor, PROOF_SCHEMA, Proof};
use nomopoly_build::manifest::{
    ARTEFACT_SCHEMA, Audit, BuildManifest, CompileOptions, Metrics, OperationSpec,
};
use nomopoly_build::prost::Message;
use nomopoly_build::registry::parse_lock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::small::is_small;
use crate::tiny::TINY;

/// A name, and what is tried.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name.
pub const TARGETS: [Target; 12] = [
    ("artefact", artefact),
    ("bundle", bundle),
    ("challenge", challenge),
    ("committed", committed),
    ("expanded_key", expanded_key),
    ("lock", lock),
    ("manifest", manifest),
    ("onnx", onnx),
    ("opening", opening),
    ("proof", proof),
    ("receipt", receipt),
    ("verify", verify),
];

/// Bytes before the body of an envelope: magic, schema, hash.
pub const HEADER: usize = 44;
/// The first byte of an input that says what to change of an honest value. No format begins so.
pub const EDITS: u8 = b'~';
/// Largest relative deviation that an accepted tensor may have: far more than rounding, and far
/// less than what eight sketches let pass.
const CLOSE: f64 = 1e-2;

/// A body in its envelope.
pub fn sealed(magic: &[u8; 8], schema: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend_from_slice(&schema.to_le_bytes());
    bytes.extend_from_slice(blake3::hash(body).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// An envelope whose body was changed, sealed again.
pub fn resealed(envelope: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let body = change(&envelope[HEADER..]);
    let mut bytes = envelope[..12].to_vec();
    bytes.extend_from_slice(blake3::hash(&body).as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Changed bytes. Each five of `edits` are a place (three bytes, modulo the length), what to do
/// there (flip bits, write, insert, remove) and a byte to do it with.
pub fn edited(bytes: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits.chunks_exact(5).take(16) {
        let place = u32::from_le_bytes([edit[0], edit[1], edit[2], 0]) as usize;
        let (place, value) = (place % (bytes.len() + 1), edit[4]);
        let end = (place + usize::from(value)).min(bytes.len());
        match (edit[3] % 4, bytes.get_mut(place)) {
            (0, Some(byte)) => *byte ^= value,
            (1, Some(byte)) => *byte = value,
            (2, _) => bytes.insert(place, value),
            (3, Some(_)) => drop(bytes.drain(place..end)),
            _ => {}
        }
    }
    bytes
}

/// Reads; what was read must be written as bytes that read as the same. Bytes are compared and not
/// values: a NaN is not equal to itself, and its bits must stay.
fn round_trip<T, E: Display>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, E>,
    write: impl Fn(&T) -> Result<Vec<u8>, E>,
) -> Option<T> {
    let value = match read(bytes) {
        Ok(value) => value,
        Err(error) => {
            // Messages are made of untrusted bytes, too.
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let no = |error: E| -> Vec<u8> { panic!("what was read cannot be written: {error}") };
    let written = write(&value).unwrap_or_else(no);
    match read(&written) {
        Ok(again) => assert!(write(&again).unwrap_or_else(no) == written, "it reads as another"),
        Err(error) => panic!("what was written cannot be read: {error}"),
    }
    Some(value)
}

/// Tries bytes as they are and as a body.
fn each(magic: &[u8; 8], schema: u32, bytes: &[u8], parse: impl Fn(&[u8])) {
    parse(bytes);
    parse(&sealed(magic, schema, bytes));
}

/// JSON as the macro and the registry read it: as some value first, whose schema they look at.
fn json<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let read = |bytes: &[u8]| -> Result<T, serde_json::Error> {
        serde_json::from_value(serde_json::from_slice::<serde_json::Value>(bytes)?)
    };
    round_trip(bytes, read, |value| serde_json::to_vec(value));
}

pub fn proof(bytes: &[u8]) {
    each(b"NMPPROOF", PROOF_SCHEMA, bytes, |bytes| {
        let peeked = Proof::peek_model(bytes);
        if let Some(proof) = round_trip(bytes, Proof::from_bytes, Proof::to_bytes) {
            assert_eq!(peeked.ok(), Some(proof.model));
            let proof = Proof { model: TINY.proof.model, ..proof };
            let _ = TINY.verifier.inspect(&TINY.input, &proof);
        }
    });
}

pub fn receipt(bytes: &[u8]) {
    each(b"NMPRCEPT", RECEIPT_SCHEMA, bytes, |bytes| {
        if let Some(receipt) = round_trip(bytes, Receipt::from_bytes, Receipt::to_bytes) {
            let (challenge, opening) = TINY.whole.clone();
            let verdict = inspect(&TINY.receipts, &receipt, challenge, opening);
            assert!(!verdict || receipt == *TINY.committed.receipt(), "another receipt");
        }
    });
    json::<Receipt>(bytes);
}

pub fn challenge(bytes: &[u8]) {
    each(b"NMPCHALL", RECEIPT_SCHEMA, bytes, |bytes| {
        if let Some(challenge) = round_trip(bytes, Challenge::from_bytes, Challenge::to_bytes) {
            // A host answers whoever asks.
            let root = TINY.committed.receipt().root;
            let challenge = Challenge { root, ..challenge };
            if let Ok(opening) = TINY.committed.open(&challenge) {
                let bytes = opening.to_bytes().expect("plain data");
                let read = Opening::from_bytes(&bytes).expect("an honest opening is read");
                assert!(read == opening);
                inspect(&TINY.receipts, TINY.committed.receipt(), challenge, opening);
            }
        }
    });
}

pub fn opening(bytes: &[u8]) {
    each(b"NMPOPENG", RECEIPT_SCHEMA, bytes, |bytes| {
        if let Some(opening) = round_trip(bytes, Opening::from_bytes, Opening::to_bytes) {
            for (challenge, honest) in [&TINY.whole, &TINY.parts] {
                let opening = Opening { root: honest.root, ..opening.clone() };
                let same = opening == *honest;
                let receipt = TINY.committed.receipt();
                let accepted = inspect(&TINY.receipts, receipt, challenge.clone(), opening);
                assert!(!accepted || same, "another opening is accepted");
            }
        }
    });
}

/// Whether a receipt's verifier accepts, all roots being the receipt's.
fn inspect(
    verifier: &ReceiptVerifier,
    receipt: &Receipt,
    challenge: Challenge,
    opening: Opening,
) -> bool {
    let challenge = Challenge { root: receipt.root, ..challenge };
    let opening = Opening { root: receipt.root, ..opening };
    assert!(verifier.cost(&challenge).is_finite());
    let outputs = TINY.committed.outputs();
    let report = verifier.inspect(&TINY.input, outputs, receipt, &challenge, &opening);
    report.is_ok_and(|report| report.accepted())
}

pub fn committed(bytes: &[u8]) {
    let open = |committed: Committed| {
        let operations = committed.receipt().operations.min(8);
        let operations = (0..operations).map(|index| Asked { index, parts: vec![] }).collect();
        let root = committed.receipt().root;
        let challenge = Challenge { root, operations, producers: vec![] };
        committed.open(&challenge).expect("it has these operations");
        assert!(committed.size() < 1 << 30);
    };
    each(b"NMPCOMIT", RECEIPT_SCHEMA, bytes, |bytes| {
        round_trip(bytes, Committed::from_bytes, Committed::to_bytes).map(open);
    });
    // No fuzzer finds the receipt that fits a proof.
    if let Ok(proof) = Proof::from_bytes(&sealed(b"NMPPROOF", PROOF_SCHEMA, bytes))
        && let Ok(committed) = Committed::new(&TINY.input, proof)
    {
        let bytes = committed.to_bytes().expect("plain data");
        let read = round_trip(&bytes, Committed::from_bytes, Committed::to_bytes);
        open(read.expect("what was committed to is read"));
    }
}

pub fn bundle(bytes: &[u8]) {
    let parse = |bytes: &[u8]| {
        let Some(bundle) = round_trip(bytes, Bundle::from_bytes, Bundle::to_bytes) else { return };
        if !bundle.operations.is_empty() {
            let bundle = Bundle { model: TINY.bundle.model, ..bundle };
            let model = Model::clone(TINY.model.graph().model());
            let _ = bundle.load(model, &Device::Cpu);
        }
    };
    match bytes.split_first() {
        Some((&EDITS, edits)) => {
            let honest = TINY.bundle.to_bytes().expect("plain data");
            parse(&resealed(&honest, |body| edited(body, edits)));
        }
        _ => each(b"NMPBUNDL", 1, bytes, parse),
    }
}

pub fn expanded_key(bytes: &[u8]) {
    let parse = |bytes: &[u8]| {
        if let Ok(key) = ExpandedKey::from_bytes(bytes.to_vec())
            && let Ok(verifier) = Verifier::from_expanded(&key, &Device::Cpu)
        {
            let _ = verifier.inspect(&TINY.input, &TINY.proof);
        }
    };
    match bytes.split_first() {
        Some((&EDITS, edits)) => {
            parse(&resealed(TINY.expanded.as_bytes(), |body| edited(body, edits)));
        }
        _ => each(b"NMPXPKEY", 1, bytes, parse),
    }
}

pub fn artefact(bytes: &[u8]) {
    let parse = |bytes: &[u8]| {
        let read = |bytes: &[u8]| Artefact::from_bytes("fuzzed", bytes, &Device::Cpu);
        round_trip(bytes, read, Artefact::to_bytes);
    };
    let honest = TINY.bundle.artefacts.values().next().expect("it has artefacts");
    match bytes.split_first() {
        Some((&EDITS, edits)) => parse(&edited(honest, edits)),
        _ => {
            parse(bytes);
            // As the header of right tensors, which take 38 kB.
            if let Ok(header) = std::str::from_utf8(bytes) {
                parse(&with_header(honest, header));
            }
        }
    }
}

/// A safetensors file with another Nomopoly header.
pub fn with_header(artefact: &[u8], header: &str) -> Vec<u8> {
    let (len, rest) = artefact.split_first_chunk::<8>().expect("it begins with a length");
    let (json, tensors) = rest.split_at(u64::from_le_bytes(*len) as usize);
    let mut json: serde_json::Value = serde_json::from_slice(json).expect("a header in JSON");
    json["__metadata__"]["nomopoly"] = header.into();
    let mut json = json.to_string();
    // Tensors are aligned.
    json.extend(std::iter::repeat_n(' ', json.len().next_multiple_of(8) - json.len()));
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend_from_slice(tensors);
    bytes
}

pub fn manifest(bytes: &[u8]) {
    json::<BuildManifest>(bytes);
    json::<Metrics>(bytes);
    json::<Audit>(bytes);
    json::<CompileOptions>(bytes);
    json::<OperationSpec>(bytes);
}

pub fn lock(bytes: &[u8]) {
    let read = |bytes: &[u8]| parse_lock(bytes).map_err(|error| error.to_string());
    let lock = round_trip(bytes, read, |lock| {
        toml::to_string(lock).map(String::into_bytes).map_err(|error| error.to_string())
    });
    if let Some(lock) = lock {
        assert_eq!(lock.schema, ARTEFACT_SCHEMA);
    }
}

pub fn onnx(bytes: &[u8]) {
    let read = |bytes: &[u8]| Model::from_bytes("fuzzed.onnx", bytes);
    let model = round_trip(bytes, read, |model| Ok(model.proto().encode_to_vec()));
    if let Some(model) = model.filter(|model| is_small(model.proto()))
        && let Ok(graph) = Graph::bind(Arc::new(model), &BTreeMap::new())
    {
        let _ = nomopoly_build::scan(&graph, &CompileOptions::fast());
    }
}

/// What a host sends, edited and checked: accepted only where it is the honest one, up to rounding.
pub fn verify(bytes: &[u8]) {
    let Some((which, edits)) = bytes.split_first() else { return };
    let change = |envelope: nomopoly::Result<Vec<u8>>| {
        resealed(&envelope.expect("plain data"), |body| edited(body, edits))
    };
    let receipt = TINY.committed.receipt();
    match which % 4 {
        0 => {
            if let Ok(proof) = Proof::from_bytes(&change(TINY.proof.to_bytes()))
                && let Ok(report) = TINY.verifier.inspect(&TINY.input, &proof)
                && report.accepted()
            {
                assert_honest(&proof);
            }
        }
        1 => {
            if let Ok(edited) = Receipt::from_bytes(&change(receipt.to_bytes())) {
                let (challenge, opening) = TINY.whole.clone();
                let accepted = inspect(&TINY.receipts, &edited, challenge, opening);
                assert!(!accepted || edited == *receipt, "another receipt is accepted");
            }
        }
        other => {
            let (challenge, honest) = if other == 2 { &TINY.whole } else { &TINY.parts };
            if let Ok(edited) = Opening::from_bytes(&change(honest.to_bytes())) {
                let same = edited == *honest;
                let accepted = edited.root == receipt.root
                    && inspect(&TINY.receipts, receipt, challenge.clone(), edited);
                assert!(!accepted || same, "another opening is accepted");
            }
        }
    }
}

/// Panics unless an accepted proof is the honest one up to rounding.
pub fn assert_honest(proof: &Proof) {
    let honest = &TINY.proof;
    assert_eq!((proof.model, &proof.inputs), (honest.model, &honest.inputs));
    assert_eq!(proof.outputs.len(), honest.outputs.len());
    assert_eq!(proof.transcript.len(), honest.transcript.len());
    assert_eq!(proof.operations.len(), honest.operations.len());
    let tensors = proof.outputs.iter().chain(&proof.transcript);
    for (got, expected) in tensors.zip(honest.outputs.iter().chain(&honest.transcript)) {
        assert_eq!((&got.name, &got.shape), (&expected.name, &expected.shape));
        close(values(got), values(expected));
    }
    for (got, expected) in proof.operations.iter().zip(&honest.operations) {
        assert_eq!((&got.operation, got.artefact), (&expected.operation, expected.artefact));
        close(&got.vector, &expected.vector);
    }
}

fn values(tensor: &NamedTensor) -> &[f32] {
    tensor.as_f32().expect("every tensor of the model is f32")
}

fn close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let error = norm(&mut got.iter().zip(expected).map(|(got, expected)| got - expected));
    let size = norm(&mut expected.iter().copied());
    assert!(error <= CLOSE * size, "accepted with a relative deviation of {}", error / size);
}
