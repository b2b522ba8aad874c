//! Arbitrary values of every format, and that they survive being written and read.

use std::collections::{BTreeMap, BTreeSet};

use nomopoly::bundle::Bundle;
use nomopoly::receipt::{
    Asked, Challenge, Committed, OpenedChunk, OpenedOperation, OpenedOutput, OpenedParts,
    OpenedVector, Opening, Part, Paths, Receipt,
};
use nomopoly::{Digest, NamedTensor, OperationProof, Proof, TensorData};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;

use super::config;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

/// Any bits: infinities, signalling NaNs, subnormal numbers.
fn float() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits)
}

fn data() -> impl Strategy<Value = TensorData> {
    let double = any::<u64>().prop_map(f64::from_bits);
    prop_oneof![
        vec(float(), 0..20).prop_map(|v| TensorData::F32(v.into())),
        vec(double, 0..20).prop_map(|v| TensorData::F64(v.into())),
        vec(any::<i8>(), 0..20).prop_map(|v| TensorData::I8(v.into())),
        vec(any::<i16>(), 0..20).prop_map(|v| TensorData::I16(v.into())),
        vec(any::<i32>(), 0..20).prop_map(|v| TensorData::I32(v.into())),
        vec(any::<i64>(), 0..20).prop_map(|v| TensorData::I64(v.into())),
        vec(any::<u8>(), 0..20).prop_map(|v| TensorData::U8(v.into())),
        vec(any::<u16>(), 0..20).prop_map(|v| TensorData::U16(v.into())),
        vec(any::<u32>(), 0..20).prop_map(|v| TensorData::U32(v.into())),
        vec(any::<u64>(), 0..20).prop_map(|v| TensorData::U64(v.into())),
        vec(any::<bool>(), 0..20).prop_map(|v| TensorData::Bool(v.into())),
    ]
}

fn shape() -> impl Strategy<Value = Vec<usize>> {
    vec(any::<usize>(), 0..5)
}

fn tensor() -> impl Strategy<Value = NamedTensor> {
    (".{0,8}", shape(), data()).prop_map(|(name, shape, data)| NamedTensor { name, shape, data })
}

fn vector() -> impl Strategy<Value = Vec<f32>> {
    vec(float(), 0..20)
}

fn proof() -> impl Strategy<Value = Proof> {
    let operation = (".{0,8}", digest(), vector())
        .prop_map(|(operation, artefact, vector)| OperationProof { operation, artefact, vector });
    let inputs = vec((".{0,8}", shape()), 0..4);
    let tensors = || vec(tensor(), 0..4);
    (digest(), inputs, tensors(), tensors(), vec(operation, 0..4)).prop_map(
        |(model, inputs, outputs, transcript, operations)| Proof {
            model,
            inputs,
            outputs,
            transcript,
            operations,
        },
    )
}

/// Proofs whose operations have their outputs among the tensors, each another.
fn whole_proof() -> impl Strategy<Value = Proof> {
    (proof(), vec(any::<Index>(), 4)).prop_map(|(mut proof, places)| {
        let tensors = proof.outputs.iter().chain(&proof.transcript);
        let names: Vec<String> = tensors.map(|tensor| tensor.name.clone()).collect();
        if names.is_empty() {
            proof.operations.clear();
        }
        for (operation, place) in proof.operations.iter_mut().zip(places) {
            operation.operation = names[place.index(names.len())].clone();
        }
        let mut proved = BTreeSet::new();
        proof.operations.retain(|operation| proved.insert(operation.operation.clone()));
        proof
    })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    (digest(), digest(), digest(), any::<u32>(), digest()).prop_map(
        |(model, inputs, outputs, operations, root)| Receipt {
            model,
            inputs,
            outputs,
            operations,
            root,
        },
    )
}

fn challenge() -> impl Strategy<Value = Challenge> {
    let part = any::<(u32, u32)>().prop_map(|(first, count)| Part { first, count });
    let asked = (any::<u32>(), vec(part, 0..4)).prop_map(|(index, parts)| Asked { index, parts });
    (digest(), vec(asked, 0..5), vec(any::<u32>(), 0..5))
        .prop_map(|(root, operations, producers)| Challenge { root, operations, producers })
}

fn paths() -> impl Strategy<Value = Paths> {
    let of = |hashes: Vec<Digest>| postcard::to_stdvec(&hashes).unwrap();
    vec(digest(), 0..5).prop_map(move |hashes| postcard::from_bytes(&of(hashes)).unwrap())
}

fn opening() -> impl Strategy<Value = Opening> {
    let chunk = (any::<u32>(), data()).prop_map(|(place, data)| OpenedChunk { place, data });
    let parts = (".{0,8}", shape(), vec(chunk, 0..3), paths())
        .prop_map(|(name, shape, chunks, paths)| OpenedParts { name, shape, chunks, paths });
    let output =
        prop_oneof![tensor().prop_map(OpenedOutput::Whole), parts.prop_map(OpenedOutput::Parts)];
    let shown = prop_oneof![
        vector().prop_map(OpenedVector::Shown),
        digest().prop_map(OpenedVector::Hidden)
    ];
    let operation =
        (any::<u32>(), digest(), output, shown).prop_map(|(index, artefact, output, vector)| {
            OpenedOperation { index, artefact, output, vector }
        });
    (digest(), vec(operation, 0..3), paths()).prop_map(|(root, operations, paths)| Opening {
        root,
        operations,
        paths,
    })
}

fn bundle() -> impl Strategy<Value = Bundle> {
    let artefacts = btree_map(".{0,8}", vec(any::<u8>(), 0..40), 0..4);
    (digest(), btree_map(".{0,8}", shape(), 0..4), artefacts, btree_map(".{0,8}", ".{0,8}", 0..4))
        .prop_map(|(model, inputs, artefacts, operations)| Bundle {
            model,
            inputs,
            artefacts,
            operations,
        })
}

/// A tensor with floats as bits, which are equal only when they are the same.
fn bits(tensor: &NamedTensor) -> (&str, &[usize], String) {
    let data = match &tensor.data {
        TensorData::F32(values) => {
            format!("f32 {:?}", values.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        }
        TensorData::F64(values) => {
            format!("f64 {:?}", values.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    };
    (&tensor.name, &tensor.shape, data)
}

fn vector_bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}

/// Every flipped bit of some, and every truncation of some, is refused.
fn damage_is_refused<T, E>(
    bytes: &[u8],
    places: &[Index],
    read: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<(), TestCaseError> {
    for place in places {
        let bit = place.index(bytes.len() * 8);
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read(&flipped).is_err(), "bit {}", bit);
        prop_assert!(read(&bytes[..place.index(bytes.len())]).is_err());
    }
    let longer = [bytes, &[0]].concat();
    prop_assert!(read(&longer).is_err());
    Ok(())
}

fn places() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 16)
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn proofs_survive_the_wire(proof in proof(), places in places()) {
        let bytes = proof.to_bytes().unwrap();
        let read = Proof::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.to_bytes().unwrap(), bytes.clone());
        prop_assert_eq!((read.model, &read.inputs), (proof.model, &proof.inputs));
        let tensors = |proof: &Proof| -> Vec<(String, Vec<usize>, String)> {
            let all = [&proof.outputs[..], &proof.transcript[..]];
            let all = all.into_iter().flat_map(|tensors| tensors.iter().map(bits));
            all.map(|(name, shape, data)| (name.to_owned(), shape.to_vec(), data)).collect()
        };
        prop_assert_eq!(tensors(&read), tensors(&proof));
        for (read, sent) in read.operations.iter().zip(&proof.operations) {
            prop_assert_eq!(&read.operation, &sent.operation);
            prop_assert_eq!(read.artefact, sent.artefact);
            prop_assert_eq!(vector_bits(&read.vector), vector_bits(&sent.vector));
        }
        damage_is_refused(&bytes, &places, Proof::from_bytes)?;
    }

    #[test]
    fn receipts_survive_the_wire(receipt in receipt(), places in places()) {
        let bytes = receipt.to_bytes().unwrap();
        prop_assert_eq!(Receipt::from_bytes(&bytes).unwrap(), receipt);
        let json = serde_json::to_string(&receipt).unwrap();
        prop_assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), receipt);
        damage_is_refused(&bytes, &places, Receipt::from_bytes)?;
    }

    #[test]
    fn challenges_survive_the_wire(challenge in challenge(), places in places()) {
        let bytes = challenge.to_bytes().unwrap();
        prop_assert_eq!(Challenge::from_bytes(&bytes).unwrap(), challenge);
        damage_is_refused(&bytes, &places, Challenge::from_bytes)?;
    }

    #[test]
    fn openings_survive_the_wire(opening in opening(), places in places()) {
        let bytes = opening.to_bytes().unwrap();
        let read = Opening::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.to_bytes().unwrap(), bytes.clone());
        prop_assert_eq!((read.root, &read.paths), (opening.root, &opening.paths));
        prop_assert_eq!(read.operations.len(), opening.operations.len());
        for (read, sent) in read.operations.iter().zip(&opening.operations) {
            prop_assert_eq!((read.index, read.artefact), (sent.index, sent.artefact));
            match (&read.output, &sent.output) {
                (OpenedOutput::Whole(read), OpenedOutput::Whole(sent)) => {
                    prop_assert_eq!(bits(read), bits(sent));
                }
                (OpenedOutput::Parts(read), OpenedOutput::Parts(sent)) => {
                    prop_assert_eq!(&read.paths, &sent.paths);
                    prop_assert_eq!(read.chunks.len(), sent.chunks.len());
                }
                _ => prop_assert!(false, "parts are not the whole"),
            }
            match (&read.vector, &sent.vector) {
                (OpenedVector::Shown(read), OpenedVector::Shown(sent)) => {
                    prop_assert_eq!(vector_bits(read), vector_bits(sent));
                }
                (read, sent) => prop_assert_eq!(read, sent),
            }
        }
        damage_is_refused(&bytes, &places, Opening::from_bytes)?;
    }

    #[test]
    fn bundles_survive_the_wire(bundle in bundle(), places in places()) {
        let bytes = bundle.to_bytes().unwrap();
        prop_assert_eq!(Bundle::from_bytes(&bytes).unwrap(), bundle);
        damage_is_refused(&bytes, &places, Bundle::from_bytes)?;
    }

    #[test]
    fn stored_inferences_survive(
        proof in whole_proof(), inputs in vec(tensor(), 0..3), places in places(),
    ) {
        let committed = Committed::new(&inputs, proof.clone()).unwrap();
        let bytes = committed.to_bytes().unwrap();
        let read = Committed::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.receipt(), committed.receipt());
        prop_assert_eq!(read.to_bytes().unwrap(), bytes.clone());
        let count = committed.receipt().operations;
        let operations = (0..count).map(|index| Asked { index, parts: vec![] }).collect();
        let root = committed.receipt().root;
        let challenge = Challenge { root, operations, producers: vec![] };
        let opened = |committed: &Committed| committed.open(&challenge).unwrap().to_bytes().unwrap();
        prop_assert_eq!(opened(&read), opened(&committed));
        damage_is_refused(&bytes, &places, Committed::from_bytes)?;
        // Another proof under this receipt.
        let mut other = proof;
        other.outputs.push(NamedTensor::from_f32("added", &[1], vec![0.]));
        let body = postcard::to_stdvec(&(committed.receipt(), other)).unwrap();
        let forged = super::parsers::resealed(&bytes, |_| body);
        prop_assert!(Committed::from_bytes(&forged).is_err());
    }

    #[test]
    fn a_commitment_depends_on_every_bit(proof in whole_proof(), at: Index, bit in 0u32..32) {
        prop_assume!(!proof.operations.is_empty());
        let receipt = |proof: &Proof| *Committed::new(&[], proof.clone()).unwrap().receipt();
        let mut other = proof.clone();
        let operation = at.index(other.operations.len());
        let operation = &mut other.operations[operation];
        prop_assume!(!operation.vector.is_empty());
        let element = at.index(operation.vector.len());
        let value = &mut operation.vector[element];
        *value = f32::from_bits(value.to_bits() ^ 1 << bit);
        prop_assert_ne!(receipt(&proof).root, receipt(&other).root);
    }
}

/// Equal maps give equal bytes whatever order they were filled in.
#[test]
fn equal_bundles_are_equal_bytes() {
    let bundle = |names: [&str; 2]| Bundle {
        model: Digest::from_bytes([1; 32]),
        inputs: BTreeMap::new(),
        artefacts: names.map(|name| (name.to_owned(), vec![1])).into(),
        operations: BTreeMap::new(),
    };
    let bytes = |names| bundle(names).to_bytes().unwrap();
    assert_eq!(bytes(["a", "b"]), bytes(["b", "a"]));
}
