//! What a host commits to, and what it keeps to open later.

use serde::{Deserialize, Serialize};

use super::challenge::Challenge;
use super::merkle::{Paths, Tree, leaf};
use crate::onnx::Digest;
use crate::proof::Proof;
use crate::tensor::NamedTensor;
use crate::wire::{Fault, Format};
use crate::{Error, Result};

/// Version of receipts, challenges and openings on the wire.
pub const RECEIPT_SCHEMA: u32 = 1;
const RECEIPT: Format = Format { magic: b"NMPRCEPT", schema: RECEIPT_SCHEMA };
const OPENING: Format = Format { magic: b"NMPOPENG", schema: RECEIPT_SCHEMA };

/// Elements of one chunk of a committed tensor.
const CHUNK: usize = 1 << 14;

/// A commitment to one inference: what was computed for which input, all of it, in a few hundred
/// bytes. It depends on no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Digest of the model that the host claims to have run.
    pub model: Digest,
    /// Digest of the inputs.
    pub inputs: Digest,
    /// Digest of the outputs.
    pub outputs: Digest,
    /// Number of committed operations.
    pub operations: u32,
    /// Merkle root over them: name, artefact, output and proof vector of each.
    pub root: Digest,
}

/// An inference that a host committed to, with all that it takes to open it.
#[derive(Debug, Clone)]
pub struct Committed {
    receipt: Receipt,
    proof: Proof,
    tree: Tree,
}

/// One operation that was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenedOperation {
    /// Its place among the committed ones.
    pub index: u32,
    /// Content id of the artefact whose generator made the vector.
    pub artefact: Digest,
    /// Its output.
    pub output: NamedTensor,
    pub vector: OpenedVector,
}

/// The proof vector of an opened operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OpenedVector {
    /// Of an operation that was asked for.
    Shown(Vec<f32>),
    /// Of one that only produces what another was computed from.
    Hidden(Digest),
}

/// What a host answers a challenge: the operations that were asked for, those that they were computed
/// from, and the paths from all of them to the receipt's root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Root of the receipt.
    pub root: Digest,
    /// In ascending order of their places.
    pub operations: Vec<OpenedOperation>,
    pub paths: Paths,
}

impl Committed {
    /// Commits to an inference of `inputs`, in the model's order.
    ///
    /// # Errors
    /// [`Error::DamagedProof`] when a proof vector is of an operation whose output it does not hold.
    pub fn new(inputs: &[NamedTensor], proof: Proof) -> Result<Self> {
        let mut leaves = vec![];
        for index in 0..proof.operations.len() {
            let opened = opened(&proof, index, true)?;
            leaves.push(opened.leaf());
        }
        let tree = Tree::new(leaves);
        let receipt = Receipt {
            model: proof.model,
            inputs: digest_of(inputs),
            outputs: digest_of(&proof.outputs),
            operations: proof.operations.len() as u32,
            root: tree.root(),
        };
        Ok(Self { receipt, proof, tree })
    }

    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The outputs, which the host sends with the receipt.
    pub fn outputs(&self) -> &[NamedTensor] {
        &self.proof.outputs
    }

    /// Bytes that it takes in memory, about.
    pub fn size(&self) -> usize {
        let tensors = self.proof.outputs.iter().chain(&self.proof.transcript);
        let elements: usize = tensors.map(|tensor| tensor.data.len()).sum();
        let vectors: usize = self.proof.operations.iter().map(|op| op.vector.len()).sum();
        8 * elements + 4 * vectors + 64 * self.tree.len()
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// [`Error::Challenge`] when it asks for operations that there are none of.
    pub fn open(&self, challenge: &Challenge) -> Result<Opening> {
        let indices = challenge.opened();
        let count = self.proof.operations.len();
        if challenge.root != self.receipt.root {
            return Err(Error::Challenge("it is of another receipt".into()));
        }
        if let Some(index) = indices.iter().find(|index| **index as usize >= count) {
            return Err(Error::Challenge(format!("operation {index} of {count} is none")));
        }
        let operations = indices
            .iter()
            .map(|&index| {
                opened(&self.proof, index as usize, challenge.operations.contains(&index))
            })
            .collect::<Result<_>>()?;
        let places: Vec<usize> = indices.iter().map(|index| *index as usize).collect();
        Ok(Opening { root: self.receipt.root, operations, paths: self.tree.paths(&places) })
    }
}

fn opened(proof: &Proof, index: usize, shown: bool) -> Result<OpenedOperation> {
    let operation = &proof.operations[index];
    let tensors = proof.transcript.iter().chain(&proof.outputs);
    let output = tensors.clone().find(|tensor| tensor.name == operation.operation);
    let output = output.cloned().ok_or_else(|| {
        Error::DamagedProof(format!("it lacks the output of `{}`", operation.operation))
    })?;
    let vector = if shown {
        OpenedVector::Shown(operation.vector.clone())
    } else {
        OpenedVector::Hidden(vector_digest(&operation.vector))
    };
    Ok(OpenedOperation { index: index as u32, artefact: operation.artefact, output, vector })
}

impl OpenedOperation {
    /// The leaf that it is.
    pub(super) fn leaf(&self) -> Digest {
        let vector = match &self.vector {
            OpenedVector::Shown(vector) => vector_digest(vector),
            OpenedVector::Hidden(digest) => *digest,
        };
        let mut contents = vec![];
        for digest in [tensor_digest(&self.output), self.artefact, vector] {
            contents.extend_from_slice(digest.as_bytes());
        }
        leaf(&contents)
    }
}

fn vector_digest(vector: &[f32]) -> Digest {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    leaf(&bytes)
}

/// The digest of a tensor: its name, shape and element type, and a Merkle root over its chunks, so
/// that a part of it can be opened alone.
pub fn tensor_digest(tensor: &NamedTensor) -> Digest {
    let len = tensor.data.len();
    let parts = (0..len.div_ceil(CHUNK)).filter_map(|chunk| {
        let start = chunk * CHUNK;
        tensor.data.part(start, CHUNK.min(len - start))
    });
    // Plain data in memory.
    let chunks = parts.map(|part| leaf(&postcard::to_stdvec(&part).unwrap_or_default()));
    let root = Tree::new(chunks.collect()).root();
    let head = (&tensor.name, &tensor.shape, tensor.data.dtype(), root);
    leaf(&postcard::to_stdvec(&head).unwrap_or_default())
}

/// The digest of some tensors in their order.
pub fn digest_of(tensors: &[NamedTensor]) -> Digest {
    Tree::new(tensors.iter().map(tensor_digest).collect()).root()
}

macro_rules! on_the_wire {
    ($type:ident, $format:ident, $what:literal) => {
        impl $type {
            /// The wire format.
            ///
            /// # Errors
            /// Never in practice: serialising plain data into memory.
            pub fn to_bytes(&self) -> Result<Vec<u8>> {
                $format.seal(self).map_err(|reason| Error::Stored { what: $what, reason })
            }

            /// Reads the wire format.
            ///
            /// # Errors
            /// [`Error::Stored`] for foreign, truncated or altered bytes, or another version's.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
                $format.open(bytes).map_err(|fault| stored(fault, $what))
            }
        }
    };
}

on_the_wire!(Receipt, RECEIPT, "the receipt");
on_the_wire!(Opening, OPENING, "the opening");

pub(super) fn stored(fault: Fault, what: &'static str) -> Error {
    let reason = match fault {
        Fault::Damaged(reason) => reason,
        Fault::Schema(got) => {
            format!("it has schema {got}, this version reads {RECEIPT_SCHEMA}")
        }
    };
    Error::Stored { what, reason }
}
