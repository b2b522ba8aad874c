//! Proofs as tensors with names: what a host sends that runs an exported prover in any ONNX runtime.
//!
//! | name | tensor |
//! | --- | --- |
//! | those of the model | its outputs, and the transcript: the outputs of its sketched operations |
//! | `nomopoly.proof/<operation>` | f32 `[proof_dim]`, the proof vector of an operation |
//! | `nomopoly.identity` | u8 `[64]`, of which model and of which compilation this is |

use std::collections::BTreeMap;

use crate::onnx::{DatumType, Digest};
use crate::operation_check::CompiledOperation;
use crate::outline::Outline;
use crate::proof::{OperationProof, Proof};
use crate::tensor::{NamedTensor, TensorData};
use crate::{Error, Result};

/// Names of ours start with this; no tensor of a model that is exported may.
pub const PREFIX: &str = "nomopoly.";
/// Name of the identity among the tensors of a proof.
pub const IDENTITY: &str = "nomopoly.identity";
/// Bytes of an identity: digest of the model, digest of the compiled operations.
pub const IDENTITY_LEN: usize = 64;

/// Name of an operation's proof vector.
pub fn proof_name(operation: &str) -> String {
    format!("nomopoly.proof/{operation}")
}

/// The identity of a compiled model, from the operations that a proof has a vector for, in the
/// model's order: the model's digest, then BLAKE3 of their names and artefacts, which depend on
/// weights, options and schema.
pub fn identity<'a>(
    model: &Digest,
    proved: impl Iterator<Item = &'a CompiledOperation>,
) -> [u8; IDENTITY_LEN] {
    let mut hasher = blake3::Hasher::new();
    for compiled in proved {
        let name = compiled.operation.output();
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(compiled.artefact.id.as_bytes());
    }
    let mut identity = [0; IDENTITY_LEN];
    identity[..32].copy_from_slice(model.as_bytes());
    identity[32..].copy_from_slice(hasher.finalize().as_bytes());
    identity
}

/// The tensors of a proof, as an exported prover gives them.
pub fn tensors<'a>(
    proof: &Proof,
    proved: impl Iterator<Item = &'a CompiledOperation>,
) -> Vec<NamedTensor> {
    let revealed = |name: &str| proof.transcript.iter().any(|tensor| tensor.name == name);
    // A sketched operation may give an output of the model: one tensor for both.
    let outputs = proof.outputs.iter().filter(|output| !revealed(&output.name));
    let mut tensors: Vec<NamedTensor> = outputs.chain(&proof.transcript).cloned().collect();
    tensors.extend(proof.operations.iter().map(|OperationProof { operation, vector, .. }| {
        NamedTensor::from_f32(&proof_name(operation), &[vector.len()], vector.clone())
    }));
    tensors.push(NamedTensor {
        name: IDENTITY.to_owned(),
        shape: vec![IDENTITY_LEN],
        data: TensorData::U8(identity(&proof.model, proved).to_vec().into()),
    });
    tensors
}

/// The proof that tensors in any order are.
///
/// # Errors
/// [`Error::OtherModel`] and [`Error::DamagedProof`] with the name of what is missing, foreign, of
/// another type, or of another compilation. Shapes and values are for the verifier to judge.
pub(crate) fn proof<'a>(
    outline: &Outline,
    proved: impl Iterator<Item = &'a CompiledOperation> + Clone,
    inputs: &[NamedTensor],
    tensors: Vec<NamedTensor>,
) -> Result<Proof> {
    let damaged = |reason: String| Error::DamagedProof(reason);
    let mut by_name: BTreeMap<String, NamedTensor> = BTreeMap::new();
    for tensor in tensors {
        if let Some(twice) = by_name.insert(tensor.name.clone(), tensor) {
            return Err(damaged(format!("tensor `{}` comes twice", twice.name)));
        }
    }
    let missing = |name: &str| damaged(format!("tensor `{name}` is missing"));
    let given = by_name.remove(IDENTITY).ok_or_else(|| missing(IDENTITY))?;
    given.check_form(DatumType::U8, &[IDENTITY_LEN])?;
    let TensorData::U8(bytes) = &given.data else { return Err(missing(IDENTITY)) };
    let expected = identity(&outline.digest, proved.clone());
    let Some((model, rest)) = bytes.split_first_chunk::<32>() else {
        return Err(missing(IDENTITY));
    };
    if model != outline.digest.as_bytes() {
        let got = Digest::from_bytes(*model).to_string();
        return Err(Error::OtherModel { got, expected: outline.digest.to_string() });
    }
    if rest != &expected[32..] {
        return Err(damaged(
            "its prover was exported from other compiled operations (other options, or another \
             version): export prover and verifier from one registry"
                .into(),
        ));
    }
    let take = |by_name: &mut BTreeMap<String, NamedTensor>, name: &str| {
        by_name.remove(name).ok_or_else(|| missing(name))
    };
    let mut operations = vec![];
    for compiled in proved {
        let operation = compiled.operation.output().to_owned();
        let tensor = take(&mut by_name, &proof_name(&operation))?;
        tensor.check_form(DatumType::F32, &[compiled.artefact.generator.proof_dim()])?;
        let TensorData::F32(vector) = tensor.data else { return Err(missing(&tensor.name)) };
        let (artefact, vector) = (compiled.artefact.id, vector.into_vec());
        operations.push(OperationProof { operation, artefact, vector });
    }
    // A sketched operation may give an output of the model: one tensor for both.
    let mut outputs = vec![];
    for info in &outline.outputs {
        let shared = outline.transcript.iter().any(|(name, _)| *name == info.name);
        outputs.push(match by_name.get(&info.name) {
            Some(tensor) if shared => tensor.clone(),
            _ => take(&mut by_name, &info.name)?,
        });
    }
    let transcript = outline.transcript.iter().map(|(name, _)| take(&mut by_name, name));
    let transcript = transcript.collect::<Result<Vec<_>>>()?;
    if let Some(unknown) = by_name.keys().next() {
        return Err(damaged(format!("`{unknown}` is no tensor of a proof of this model")));
    }
    let inputs = outline.order_inputs(inputs)?;
    let inputs = inputs.iter().map(|input| (input.name.clone(), input.shape.clone()));
    let (model, inputs) = (outline.digest, inputs.collect());
    Ok(Proof { model, inputs, outputs, transcript, operations })
}
