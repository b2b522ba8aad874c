//! Properties of what travels: arbitrary values survive the wire bit for bit, honest openings of any
//! part are accepted, and nothing that was changed, moved, left out or taken from elsewhere is.

use std::sync::LazyLock;

use nomopoly::receipt::{
    Asked, Challenge, Committed, OpenedOutput, Opening, Part, Paths, Receipt, Strategy as Drawing,
};
use nomopoly::{Digest, NamedTensor, Proof};
use proptest::prelude::*;
use proptest::sample::Index;

#[path = "properties/arbitrary.rs"]
mod arbitrary;
#[path = "../fuzz/src/parsers.rs"]
#[allow(dead_code, reason = "tests/untrusted.rs uses the rest")]
mod parsers;
#[path = "../fuzz/src/small.rs"]
mod small;
#[path = "../fuzz/src/tiny.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod tiny;

use tiny::TINY;

/// Failures are reproduced by adding them as plain tests, not by files beside the sources.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_global_rejects: 100 * cases,
        ..ProptestConfig::default()
    }
}

/// Another inference of the same model.
static OTHER: LazyLock<(Proof, Committed)> = LazyLock::new(|| {
    let input = tiny::input(12);
    let proof = TINY.prover.prove(&input).unwrap();
    (proof.clone(), Committed::new(&input, proof).unwrap())
});

/// Elements of one channel of the tiny model's convolution.
const CHANNEL: u32 = 576;

/// A challenge as a verifier may draw it: operations by the bits of a mask, and, where its output is
/// not needed as a whole, some channels of the convolution by the bits of another.
fn challenge(root: Digest, operations: u8, channels: u16) -> Challenge {
    let asked = |index: u32| operations >> index & 1 == 1;
    // The model's output is computed from operation 1, operation 1 from operation 0.
    let needed = [asked(1), true, false];
    let parts = |index: u32| match index {
        0 if !needed[0] => runs(channels),
        _ => vec![],
    };
    let all = 0..3u32;
    Challenge {
        root,
        operations: all
            .clone()
            .filter(|index| asked(*index))
            .map(|index| Asked { index, parts: parts(index) })
            .collect(),
        producers: all.filter(|index| needed[*index as usize] && !asked(*index)).collect(),
    }
}

/// Runs of channels whose bits are set; none of them set: all of the output.
fn runs(channels: u16) -> Vec<Part> {
    let mut parts: Vec<Part> = vec![];
    for channel in (0..16u32).filter(|channel| channels >> channel & 1 == 1) {
        let first = channel * CHANNEL;
        match parts.last_mut() {
            Some(last) if last.first + last.count == first => last.count += CHANNEL,
            _ => parts.push(Part { first, count: CHANNEL }),
        }
    }
    parts
}

fn verdict(receipt: &Receipt, challenge: &Challenge, opening: &Opening) -> Result<(), String> {
    let outputs = TINY.committed.outputs();
    let verdict = TINY.receipts.verify(&TINY.input, outputs, receipt, challenge, opening);
    verdict.map(drop).map_err(|error| error.to_string())
}

/// The hashes of paths, changed.
fn change_hashes(paths: &mut Paths, change: impl FnOnce(&mut Vec<Digest>)) {
    let bytes = postcard::to_stdvec(paths).unwrap();
    let mut hashes: Vec<Digest> = postcard::from_bytes(&bytes).unwrap();
    change(&mut hashes);
    *paths = postcard::from_bytes(&postcard::to_stdvec(&hashes).unwrap()).unwrap();
}

fn damage_hashes(paths: &mut Paths, how: usize, place: Index) {
    change_hashes(paths, |hashes| {
        if hashes.is_empty() {
            hashes.push(Digest::from_bytes([1; 32]));
            return;
        }
        let at = place.index(hashes.len());
        match how % 5 {
            0 => drop(hashes.remove(at)),
            1 => hashes.insert(at, hashes[at]),
            2 => hashes[at] = Digest::from_bytes([1; 32]),
            3 => hashes.push(Digest::from_bytes([0; 32])),
            _ => hashes.rotate_left(1 + at),
        }
    });
}

/// An opening with one change, which may be none.
fn damaged(honest: &Opening, other: &Opening, how: usize, at: Index, to: Index) -> Opening {
    let mut opening = honest.clone();
    let operations = &mut opening.operations;
    let (from, into) = (at.index(operations.len()), to.index(operations.len()));
    match how {
        0 => operations.swap(from, into),
        1 => operations[into].output = honest.operations[from].output.clone(),
        2 => operations[into].vector = honest.operations[from].vector.clone(),
        3 => operations[into].artefact = honest.operations[from].artefact,
        4 => operations[into].index = honest.operations[from].index,
        5 => operations[into] = other.operations[into].clone(),
        6 => operations[into].output = other.operations[into].output.clone(),
        7 => operations[into].vector = other.operations[into].vector.clone(),
        8 => drop(operations.remove(from)),
        9 => operations.insert(into, honest.operations[from].clone()),
        10 => opening.root = other.root,
        11 => opening.paths = other.paths.clone(),
        12..=16 => damage_hashes(&mut opening.paths, how, at),
        _ => {
            let OpenedOutput::Parts(parts) = &mut operations[0].output else { return opening };
            let OpenedOutput::Parts(others) = &other.operations[0].output else { return opening };
            let (from, into) = (at.index(parts.chunks.len()), to.index(parts.chunks.len()));
            match how {
                17 => parts.chunks.swap(from, into),
                18 => drop(parts.chunks.remove(from)),
                19 => parts.chunks.insert(into, parts.chunks[from].clone()),
                20 => parts.chunks[into].data = parts.chunks[from].data.clone(),
                21 => parts.chunks[into].place = parts.chunks[from].place + 1,
                22 => parts.chunks[into] = others.chunks[into].clone(),
                23 => parts.shape.swap(1, 2),
                24 => parts.name = "fc1".into(),
                _ => damage_hashes(&mut parts.paths, how, at),
            }
        }
    }
    opening
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn honest_openings_are_accepted_whatever_is_asked(
        operations in 0u8..8, channels: u16, seed in 0u32..1000,
    ) {
        let input = tiny::input(seed);
        let committed = Committed::new(&input, TINY.prover.prove(&input).unwrap()).unwrap();
        let committed = Committed::from_bytes(&committed.to_bytes().unwrap()).unwrap();
        let challenge = challenge(committed.receipt().root, operations, channels);
        let challenge = Challenge::from_bytes(&challenge.to_bytes().unwrap()).unwrap();
        let opening = committed.open(&challenge).unwrap();
        let opening = Opening::from_bytes(&opening.to_bytes().unwrap()).unwrap();
        let (receipt, outputs) = (committed.receipt(), committed.outputs());
        TINY.receipts.verify(&input, outputs, receipt, &challenge, &opening).unwrap();
    }

    #[test]
    fn honest_openings_are_accepted_however_they_are_drawn(draws in 0u32..6, elements in 0u32..10_000) {
        let receipt = TINY.committed.receipt();
        for strategy in [
            Drawing::Random { draws },
            Drawing::Parts { draws, elements },
            Drawing::Linear,
            Drawing::Everything,
        ] {
            let challenge = TINY.receipts.challenge(receipt, strategy).unwrap();
            let opening = TINY.committed.open(&challenge).unwrap();
            prop_assert_eq!(verdict(receipt, &challenge, &opening), Ok(()), "{}", strategy);
        }
    }

    #[test]
    fn other_parts_than_asked_are_refused(asked: u16, opened: u16) {
        prop_assume!(runs(asked) != runs(opened));
        let receipt = TINY.committed.receipt();
        let opening = TINY.committed.open(&challenge(receipt.root, 1, opened)).unwrap();
        let challenge = challenge(receipt.root, 1, asked);
        let verdict = verdict(receipt, &challenge, &opening);
        // A verifier looks at the chunks that hold the parts: those may be the same for two asks,
        // and then the one opening answers both.
        let chunks = |opening: &Opening| match &opening.operations[0].output {
            OpenedOutput::Parts(parts) => parts.chunks.iter().map(|chunk| chunk.place).collect(),
            OpenedOutput::Whole(_) => vec![],
        };
        let right = TINY.committed.open(&challenge).unwrap();
        prop_assert_eq!(verdict.is_ok(), chunks(&right) == chunks(&opening));
    }

    #[test]
    fn parts_that_there_are_none_of_are_not_opened(first: u32, count: u32) {
        let root = TINY.committed.receipt().root;
        let operations = vec![Asked { index: 0, parts: vec![Part { first, count }] }];
        let challenge = Challenge { root, operations, producers: vec![1] };
        let fits = count > 0 && u64::from(first) + u64::from(count) <= u64::from(16 * CHANNEL);
        prop_assert_eq!(TINY.committed.open(&challenge).is_ok(), fits);
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_changed_opening_is_refused(how in 0usize..30, at: Index, to: Index, parts: bool) {
        let (challenge, honest) = if parts { &TINY.parts } else { &TINY.whole };
        let others = Challenge { root: OTHER.1.receipt().root, ..challenge.clone() };
        let other = OTHER.1.open(&others).unwrap();
        let opening = damaged(honest, &other, how, at, to);
        prop_assume!(opening != *honest);
        let receipt = TINY.committed.receipt();
        prop_assert!(verdict(receipt, challenge, &opening).is_err(), "{how}");
    }

    #[test]
    fn a_changed_receipt_is_refused(how in 0usize..6, number: u32, byte in 0usize..32, bit in 0u8..8) {
        let honest = *TINY.committed.receipt();
        let flipped = |digest: Digest| {
            let mut bytes = *digest.as_bytes();
            bytes[byte] ^= 1 << bit;
            Digest::from_bytes(bytes)
        };
        let mut receipt = honest;
        match how {
            0 => receipt.model = flipped(receipt.model),
            1 => receipt.inputs = flipped(receipt.inputs),
            2 => receipt.outputs = flipped(receipt.outputs),
            3 => receipt.root = flipped(receipt.root),
            4 => receipt.operations = number,
            _ => receipt = *OTHER.1.receipt(),
        }
        prop_assume!(receipt != honest);
        let (challenge, opening) = TINY.whole.clone();
        prop_assert!(verdict(&receipt, &challenge, &opening).is_err());
        // Nor with a challenge and an opening that name its root.
        let challenge = Challenge { root: receipt.root, ..challenge };
        let opening = Opening { root: receipt.root, ..opening };
        prop_assert!(verdict(&receipt, &challenge, &opening).is_err());
    }

    #[test]
    fn a_changed_proof_is_refused(how in 0usize..12, at: Index, to: Index) {
        let (honest, other) = (&TINY.proof, &OTHER.0);
        let mut proof = honest.clone();
        let pick = |tensors: &[NamedTensor]| (at.index(tensors.len()), to.index(tensors.len()));
        let (from, into) = pick(&honest.transcript);
        let (vector, onto) = (at.index(honest.operations.len()), to.index(honest.operations.len()));
        match how {
            0 => proof.transcript.swap(from, into),
            1 => proof.transcript[into].data = honest.transcript[from].data.clone(),
            2 => proof.transcript[into] = other.transcript[into].clone(),
            3 => proof.outputs = other.outputs.clone(),
            4 => drop(proof.transcript.remove(from)),
            5 => proof.transcript.insert(into, honest.transcript[from].clone()),
            6 => proof.operations.swap(vector, onto),
            7 => proof.operations[onto].vector = honest.operations[vector].vector.clone(),
            8 => proof.operations[onto] = other.operations[onto].clone(),
            9 => proof.operations[onto].artefact = honest.operations[vector].artefact,
            10 => proof.model = Digest::from_bytes([at.index(256) as u8; 32]),
            _ => proof.inputs[0].1.swap(1, 2),
        }
        prop_assume!(proof != *honest);
        prop_assert!(TINY.verifier.verify(&TINY.input, &proof).is_err(), "{how}");
    }

    /// What the fuzz target `verify` checks, from random edits.
    #[test]
    fn edited_bytes_are_refused_or_within_rounding(
        which in 0u8..4, edits in prop::collection::vec(any::<[u8; 5]>(), 1..5),
    ) {
        parsers::verify(&[&[which][..], &edits.concat()].concat());
    }

    #[test]
    fn a_flipped_bit_of_a_shown_value_is_refused_or_within_rounding(at: Index, bit in 0u8..32) {
        let mut proof = TINY.proof.clone();
        let sizes = proof.transcript.iter().map(|tensor| tensor.data.len());
        let mut place = at.index(sizes.sum());
        for tensor in &mut proof.transcript {
            let nomopoly::TensorData::F32(values) = &mut tensor.data else { unreachable!() };
            match values.get_mut(place) {
                Some(value) => {
                    *value = f32::from_bits(value.to_bits() ^ 1 << bit);
                    break;
                }
                None => place -= values.len(),
            }
        }
        if TINY.verifier.verify(&TINY.input, &proof).is_ok() {
            parsers::assert_honest(&proof);
        }
    }
}
