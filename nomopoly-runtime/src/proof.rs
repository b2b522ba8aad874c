//! The proof of one inference and its wire format: `NMPPROOF` in the envelope of `wire.rs`.

use serde::{Deserialize, Serialize};

use crate::onnx::Digest;
use crate::tensor::NamedTensor;
use crate::wire::{Fault, Format};
use crate::{Error, Result};

/// Version of the wire format.
pub const PROOF_SCHEMA: u32 = 1;
const FORMAT: Format = Format { magic: b"NMPPROOF", schema: PROOF_SCHEMA };

/// What a host returns beside the outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// Digest of the model that the host claims to have run.
    pub model: Digest,
    /// Names and shapes of the inputs of this inference.
    pub inputs: Vec<(String, Vec<usize>)>,
    /// The model's outputs.
    pub outputs: Vec<NamedTensor>,
    /// Outputs of the sketched operations, in the model's order.
    pub transcript: Vec<NamedTensor>,
    /// Proof vectors of the sketched operations and of those that produce outputs.
    pub operations: Vec<OperationProof>,
}

/// The proof vector of one operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationProof {
    /// Name of the operation's output in the model.
    pub operation: String,
    /// Content id of the artefact whose generator made the vector.
    pub artefact: Digest,
    pub vector: Vec<f32>,
}

impl Proof {
    /// The wire format.
    ///
    /// # Errors
    /// Never in practice: serialising plain data into memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        FORMAT.seal(self).map_err(Error::DamagedProof)
    }

    /// Reads the wire format.
    ///
    /// # Errors
    /// [`Error::DamagedProof`] for foreign, truncated or altered bytes, [`Error::ProofSchema`] for
    /// another version's. What the proof claims is for the verifier to judge.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut proof: Self = FORMAT.open(bytes).map_err(error)?;
        // However often it is checked.
        proof.transcript.iter_mut().for_each(NamedTensor::share);
        Ok(proof)
    }

    /// The model digest that encoded proof claims, before anything else in it is looked at.
    ///
    /// # Errors
    /// [`Error::DamagedProof`], [`Error::ProofSchema`] from its header.
    pub fn peek_model(bytes: &[u8]) -> Result<Digest> {
        let (_, body) = FORMAT.body(bytes).map_err(error)?;
        // Postcard writes the first field first, and 32 bytes as they are.
        let digest = body.first_chunk::<32>().copied();
        let ends = || Error::DamagedProof("it ends before the model's digest".into());
        digest.map(Digest::from_bytes).ok_or_else(ends)
    }
}

fn error(fault: Fault) -> Error {
    match fault {
        Fault::Damaged(reason) => Error::DamagedProof(reason),
        Fault::Schema(got) => Error::ProofSchema { got, expected: PROOF_SCHEMA },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Proof {
        Proof {
            model: Digest::from_bytes([7; 32]),
            inputs: vec![("x".into(), vec![1, 2])],
            outputs: vec![NamedTensor::from_f32("y", &[2], vec![1., 2.])],
            transcript: vec![],
            operations: vec![OperationProof {
                operation: "y".into(),
                artefact: Digest::from_bytes([1; 32]),
                vector: vec![0.5; 16],
            }],
        }
    }

    #[test]
    fn bytes_round_trip() {
        let bytes = example().to_bytes().unwrap();
        assert_eq!(Proof::from_bytes(&bytes).unwrap(), example());
        assert_eq!(Proof::peek_model(&bytes).unwrap(), example().model);
    }

    #[test]
    fn shapes_that_no_memory_holds_are_left_to_the_verifier() {
        for shape in [vec![0, 1 << 63], vec![0, 1 << 62, 4], vec![1 << 63, 2], vec![3]] {
            let mut proof = example();
            proof.transcript.push(NamedTensor::from_f32("y", &shape, vec![]));
            let read = Proof::from_bytes(&proof.to_bytes().unwrap()).unwrap();
            assert_eq!(read, proof);
            assert!(read.transcript[0].to_tract().is_err());
        }
    }

    #[test]
    fn any_flipped_bit_and_any_truncation_is_named() {
        let bytes = example().to_bytes().unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Proof::from_bytes(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Proof::from_bytes(&bytes[..len]).is_err(), "length {len}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Proof::from_bytes(&longer).is_err());
    }
}
