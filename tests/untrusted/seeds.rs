//! The seeds of the fuzzers: small right values of every format, and systematic damage to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use nomopoly::bundle::Bundle;
use nomopoly::candle_core::Device;
use nomopoly::onnx::{Graph, Model};
use nomopoly::receipt::{Asked, Challenge, Committed, Part};
use nomopoly::{
    CompiledModel, Digest, ExpandedKey, NamedTensor, OperationProof, Proof, TensorData, VerifierKey,
};

use crate::fuzz;
use crate::parsers::{EDITS, HEADER};
use crate::tiny::TINY;

#[path = "json.rs"]
mod json;
#[path = "models.rs"]
mod models;

/// A variable-length number that says 2^60.
const BOMB: [u8; 9] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];

/// Writes the seeds if the environment asks for it, once, before any of them is read.
pub fn written() {
    static WRITTEN: LazyLock<()> = LazyLock::new(|| {
        if std::env::var_os("NOMOPOLY_WRITE_SEEDS").is_some() {
            write_all();
        }
    });
    LazyLock::force(&WRITTEN);
}

/// The seeds of one target.
pub struct Seeds(PathBuf);

impl Seeds {
    fn of(target: &str) -> Self {
        let folder = fuzz("seeds").join(target);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn add(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    /// An envelope; its body, also cut, longer, and with lengths that claim too much.
    fn envelope(&self, bytes: &[u8]) {
        let body = &bytes[HEADER..];
        self.add("whole", bytes);
        self.add("body", body);
        self.add("header", &bytes[..HEADER]);
        self.add("schema", [&bytes[..8], &[9, 0, 0, 0], &bytes[12..]].concat());
        self.add("hash", [&bytes[..12], &[0; 32], body].concat());
        self.add("longer", [body, &[0]].concat());
        self.add("nothing", []);
        for part in 1..4 {
            self.add(&format!("cut_{part}"), &body[..body.len() * part / 4]);
        }
        for part in 0..12 {
            let at = body.len() * part / 12;
            self.add(&format!("bomb_{part}"), [&body[..at], &BOMB, &body[at + 1..]].concat());
        }
    }

    /// Edits of a large honest value.
    fn edits(&self, first: u8, name: &str, edits: &[[u8; 5]]) {
        self.add(name, [&[first][..], &edits.concat()].concat());
    }
}

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

/// A tensor of every element type, with values that are hard to carry.
pub fn tensors() -> Vec<NamedTensor> {
    let data = [
        TensorData::F32(vec![1., -0., f32::from_bits(0x7fa0_0001), f32::MIN_POSITIVE / 2.].into()),
        TensorData::F64(
            vec![1., f64::NEG_INFINITY, f64::from_bits(0x7ff0_0000_0000_0001), -0.].into(),
        ),
        TensorData::I8(vec![0, -1, i8::MIN, i8::MAX].into()),
        TensorData::I16(vec![0, -1, i16::MIN, i16::MAX].into()),
        TensorData::I32(vec![0, -1, i32::MIN, i32::MAX].into()),
        TensorData::I64(vec![0, -1, i64::MIN, i64::MAX].into()),
        TensorData::U8(vec![0, 1, 127, u8::MAX].into()),
        TensorData::U16(vec![0, 1, 128, u16::MAX].into()),
        TensorData::U32(vec![0, 1, 128, u32::MAX].into()),
        TensorData::U64(vec![0, 1, 128, u64::MAX].into()),
        TensorData::Bool(vec![false, true, true, false].into()),
    ];
    let named =
        |data: TensorData| NamedTensor { name: data.dtype().into(), shape: vec![2, 2], data };
    data.map(named).to_vec()
}

/// A proof of two operations.
fn proof() -> Proof {
    let operation = |name: &str, value: f32| OperationProof {
        operation: name.to_owned(),
        artefact: digest(7),
        vector: vec![value; 16],
    };
    let mut outputs = tensors();
    outputs.push(NamedTensor::from_f32("logits", &[1, 3], vec![1., 2., 3.]));
    Proof {
        model: digest(1),
        inputs: vec![("image".into(), vec![1, 2]), ("ids".into(), vec![2])],
        outputs,
        transcript: vec![NamedTensor::from_f32("fc1", &[1, 4], vec![0.1, 0.2, 0.3, 0.4])],
        operations: vec![operation("fc1", 0.5), operation("logits", f32::NAN)],
    }
}

fn write_all() {
    let seeds = Seeds::of("proof");
    seeds.envelope(&proof().to_bytes().unwrap());
    // Thousands of inputs, tensors and operations of a few bytes each.
    let claims = |before: &[u8], count: u16, each: &[u8]| {
        let count = [(count & 127) as u8 | 128, (count >> 7) as u8];
        [before, &count, &each.repeat(1000)].concat()
    };
    let start = [&[1u8; 32][..], &[0]].concat();
    seeds.add("many_inputs", claims(&[1; 32], 1000, &[0, 0]));
    seeds.add("many_outputs", claims(&start, 1000, &[0, 0, 10, 0]));
    seeds.add("many_dimensions", claims(&[&start[..], &[1, 0]].concat(), 1000, &[1]));

    let committed = Committed::new(&tensors(), proof()).unwrap();
    Seeds::of("receipt").envelope(&committed.receipt().to_bytes().unwrap());
    let seeds = Seeds::of("committed");
    seeds.envelope(&committed.to_bytes().unwrap());
    seeds.add("proof", &proof().to_bytes().unwrap()[HEADER..]);

    let root = committed.receipt().root;
    let part = |first, count| Part { first, count };
    let challenge = |operations, producers| Challenge { root, operations, producers };
    let asked = |index, parts: &[Part]| Asked { index, parts: parts.to_vec() };
    let both = challenge(vec![asked(0, &[part(1, 2)]), asked(1, &[])], vec![0]);
    let seeds = Seeds::of("challenge");
    seeds.envelope(&both.to_bytes().unwrap());
    for (name, other) in [
        ("nothing_asked", challenge(vec![], vec![])),
        ("producers", challenge(vec![], vec![0, 1, 2])),
        ("parts", challenge(vec![asked(0, &[part(0, 576), part(8640, 576)])], vec![1])),
        ("unsorted", challenge(vec![asked(2, &[]), asked(0, &[]), asked(0, &[])], vec![1, 1, 0])),
        ("too_far", challenge(vec![asked(0, &[part(9216, 1), part(u32::MAX, u32::MAX)])], vec![])),
        ("overlapping", challenge(vec![asked(0, &[part(0, 9216); 100])], vec![1])),
        ("no_such", challenge(vec![asked(u32::MAX, &[part(0, 0)])], vec![7])),
    ] {
        seeds.add(name, &other.to_bytes().unwrap()[HEADER..]);
    }
    let seeds = Seeds::of("opening");
    seeds.envelope(&committed.open(&both).unwrap().to_bytes().unwrap());
    for (name, other) in
        [("nothing_opened", challenge(vec![], vec![])), ("producers", challenge(vec![], vec![1]))]
    {
        seeds.add(name, &committed.open(&other).unwrap().to_bytes().unwrap()[HEADER..]);
    }

    bundle();
    expanded_key();
    verify();
    json::write(&Seeds::of("artefact"), &Seeds::of("manifest"), &Seeds::of("lock"));
    models::write(&Seeds::of("onnx"));
}

/// Edits at places spread over a value of so many bytes.
fn spread(seeds: &Seeds, first: u8, name: &str, len: usize) {
    for (step, place) in (0..len).step_by(len / 9 + 1).enumerate() {
        let [a, b, c, _] = (place as u32).to_le_bytes();
        let (action, value) = ([0, 1, 2, 3][step % 4], [0x80, 0xff, 0x01, 7][step / 2 % 4]);
        seeds.edits(first, &format!("{name}_{step}"), &[[a, b, c, action, value]]);
    }
}

fn bundle() {
    let seeds = Seeds::of("bundle");
    let small = Bundle {
        model: digest(1),
        inputs: BTreeMap::from([("x".into(), vec![1, 2, 24, 24])]),
        artefacts: BTreeMap::from([("conv".into(), vec![1, 2, 3]), ("other".into(), vec![])]),
        operations: BTreeMap::from([("conv".into(), "conv".into()), ("fc1".into(), "no".into())]),
    };
    seeds.envelope(&small.to_bytes().unwrap());
    spread(&seeds, EDITS, "edit", TINY.bundle.to_bytes().unwrap().len() - HEADER);
    seeds.edits(EDITS, "honest", &[]);
}

fn expanded_key() {
    let seeds = Seeds::of("expanded_key");
    // Without compiled operations it is short: everything is recomputed.
    let model = Model::from_bytes("relu.onnx", &models::relu()).unwrap();
    let graph = Graph::bind(model.into(), &BTreeMap::new()).unwrap();
    let model = CompiledModel::new(graph.into(), vec![]).unwrap();
    let key = ExpandedKey::new(&model, &VerifierKey::from_bytes([1; 32])).unwrap();
    seeds.envelope(key.as_bytes());
    spread(&seeds, EDITS, "edit", TINY.expanded.as_bytes().len() - HEADER);
    seeds.edits(EDITS, "honest", &[]);
    nomopoly::dynamic::Verifier::from_expanded(&key, &Device::Cpu).unwrap();
}

fn verify() {
    let seeds = Seeds::of("verify");
    let honest = [
        ("proof", TINY.proof.to_bytes().unwrap()),
        ("receipt", TINY.committed.receipt().to_bytes().unwrap()),
        ("whole", TINY.whole.1.to_bytes().unwrap()),
        ("parts", TINY.parts.1.to_bytes().unwrap()),
    ];
    for (which, (name, bytes)) in honest.iter().enumerate() {
        seeds.edits(which as u8, &format!("{name}_honest"), &[]);
        spread(&seeds, which as u8, name, bytes.len() - HEADER);
    }
}
