//! The proof of one inference and its wire format.
//!
//! File layout: 8 bytes `NMPPROOF`, schema as u32 little-endian, 32 bytes BLAKE3 of the body, body
//! (postcard). The hash tells damage in transit from cheating; it proves nothing.

use serde::{Deserialize, Serialize};

use crate::onnx::Digest;
use crate::tensor::NamedTensor;
use crate::{Error, Result};

/// Version of the wire format.
pub const PROOF_SCHEMA: u32 = 1;
const MAGIC: &[u8; 8] = b"NMPPROOF";
const HEADER: usize = 8 + 4 + 32;

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
        let body =
            postcard::to_stdvec(self).map_err(|error| Error::DamagedProof(error.to_string()))?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&PROOF_SCHEMA.to_le_bytes());
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Reads the wire format.
    ///
    /// # Errors
    /// [`Error::DamagedProof`] for foreign, truncated or altered bytes, [`Error::ProofSchema`] for
    /// another version's. What the proof claims is for the verifier to judge.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = |reason: &str| Error::DamagedProof(reason.to_owned());
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| damaged("it does not start as a Nomopoly proof does"))?;
        let (schema, rest) =
            rest.split_first_chunk::<4>().ok_or_else(|| damaged("it ends in the header"))?;
        let schema = u32::from_le_bytes(*schema);
        if schema != PROOF_SCHEMA {
            return Err(Error::ProofSchema { got: schema, expected: PROOF_SCHEMA });
        }
        let (hash, body) =
            rest.split_first_chunk::<32>().ok_or_else(|| damaged("it ends in the header"))?;
        if blake3::hash(body) != *hash {
            return Err(damaged("its checksum does not match: truncated or altered on the way"));
        }
        let (proof, rest) = postcard::take_from_bytes::<Self>(body)
            .map_err(|error| damaged(&format!("its body cannot be read: {error}")))?;
        if !rest.is_empty() {
            return Err(damaged("bytes follow its end"));
        }
        Ok(proof)
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
