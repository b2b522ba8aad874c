//! What a host commits to, and what it keeps to open later.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::challenge::{Asked, Challenge};
use super::merkle::{Paths, Tree, leaf};
use super::tensors::{OpenedParts, digest_of, tensor_digest};
use super::wire::{format, on_the_wire, stored};
use crate::onnx::Digest;
use crate::proof::{OperationProof, Proof};
use crate::tensor::NamedTensor;
use crate::wire::Format;
use crate::{Error, Result};

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
    pub output: OpenedOutput,
    pub vector: OpenedVector,
}

/// The output of an opened operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OpenedOutput {
    Whole(NamedTensor),
    Parts(OpenedParts),
}

/// The proof vector of an opened operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OpenedVector {
    /// Of an operation that was asked for.
    Shown(Vec<f32>),
    /// Of one that only produces what another was computed from, or that was asked for in parts.
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

on_the_wire!(Receipt, b"NMPRCEPT", "the receipt");
on_the_wire!(Opening, b"NMPOPENG", "the opening");

impl Committed {
    /// Commits to an inference of `inputs`, in the model's order.
    ///
    /// # Errors
    /// [`Error::DamagedProof`] when a proof vector is of an operation whose output it does not hold,
    /// or two are of one operation.
    pub fn new(inputs: &[NamedTensor], proof: Proof) -> Result<Self> {
        let tree = tree(&proof)?;
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

    /// The full proof: what a verifier who asks for everything could be sent instead of openings.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Bytes that it takes in memory, about.
    pub fn size(&self) -> usize {
        let tensors = self.proof.outputs.iter().chain(&self.proof.transcript);
        let tensors: usize = tensors.map(|t| 128 + t.name.len() + t.data.size()).sum();
        let vector = |op: &OperationProof| 128 + op.operation.len() + 4 * op.vector.len();
        tensors + self.proof.operations.iter().map(vector).sum::<usize>() + 64 * self.tree.len()
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// [`Error::Challenge`] when it is of another receipt, or asks for operations or elements that
    /// there are none of.
    pub fn open(&self, challenge: &Challenge) -> Result<Opening> {
        if challenge.root != self.receipt.root {
            return Err(Error::Challenge("it is of another receipt".into()));
        }
        let by_name = by_name(&self.proof);
        let asked = challenge.opened();
        let operations = asked
            .iter()
            .map(|(&index, asked)| self.open_one(&by_name, index, *asked))
            .collect::<Result<_>>()?;
        let places: Vec<usize> = asked.keys().map(|index| *index as usize).collect();
        Ok(Opening { root: self.receipt.root, operations, paths: self.tree.paths(&places) })
    }

    fn open_one(
        &self,
        by_name: &HashMap<&str, &NamedTensor>,
        index: u32,
        asked: Option<&Asked>,
    ) -> Result<OpenedOperation> {
        let operation = self.proof.operations.get(index as usize).ok_or_else(|| {
            let count = self.proof.operations.len();
            Error::Challenge(format!("there is no operation {index}, only {count}"))
        })?;
        let output = output_of(by_name, operation)?;
        let parts = asked.map_or(&[][..], |asked| &asked.parts);
        let opened = if parts.is_empty() {
            OpenedOutput::Whole(output.clone())
        } else {
            let opened = OpenedParts::new(output, parts).ok_or_else(|| {
                Error::Challenge(format!(
                    "it asks for elements that `{}` of {} elements does not have, or for some twice",
                    operation.operation,
                    output.data.len()
                ))
            })?;
            OpenedOutput::Parts(opened)
        };
        let vector = if asked.is_some() && parts.is_empty() {
            OpenedVector::Shown(operation.vector.clone())
        } else {
            OpenedVector::Hidden(vector_digest(&operation.vector))
        };
        Ok(OpenedOperation { index, artefact: operation.artefact, output: opened, vector })
    }

    /// What a host stores: receipt and proof, not the inputs.
    ///
    /// # Errors
    /// Never in practice: serialising plain data into memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let stored = (&self.receipt, &self.proof);
        COMMITTED.seal(&stored).map_err(|reason| Error::Stored { what: STORED, reason })
    }

    /// Reads what [`Committed::to_bytes`] wrote, and hashes all of it anew.
    ///
    /// # Errors
    /// [`Error::Stored`] for foreign, truncated or altered bytes, another version's, or a proof that
    /// is not the one of its receipt.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let opened = COMMITTED.open(bytes);
        let (receipt, proof): (Receipt, Proof) = opened.map_err(|fault| stored(fault, STORED))?;
        let inconsistent = |reason: String| Error::Stored { what: STORED, reason };
        let tree = tree(&proof).map_err(|error| inconsistent(error.to_string()))?;
        let found = Receipt {
            model: proof.model,
            inputs: receipt.inputs,
            outputs: digest_of(&proof.outputs),
            operations: proof.operations.len() as u32,
            root: tree.root(),
        };
        if found != receipt {
            return Err(inconsistent("its receipt is of another inference".into()));
        }
        Ok(Self { receipt, proof, tree })
    }
}

const COMMITTED: Format = format(b"NMPCOMIT");
const STORED: &str = "the stored inference";

/// The tensors that operations give, by their names.
fn by_name(proof: &Proof) -> HashMap<&str, &NamedTensor> {
    let tensors = proof.outputs.iter().chain(&proof.transcript);
    tensors.map(|tensor| (tensor.name.as_str(), tensor)).collect()
}

fn output_of<'a>(
    by_name: &HashMap<&str, &'a NamedTensor>,
    operation: &OperationProof,
) -> Result<&'a NamedTensor> {
    by_name.get(operation.operation.as_str()).copied().ok_or_else(|| {
        Error::DamagedProof(format!("it lacks the output of `{}`", operation.operation))
    })
}

fn tree(proof: &Proof) -> Result<Tree> {
    let by_name = by_name(proof);
    // A hostile proof could have one large tensor hashed, and later opened, many times.
    let mut named = HashSet::new();
    let leaves = proof.operations.iter().map(|operation| {
        let name = operation.operation.as_str();
        if !named.insert(name) {
            return Err(Error::DamagedProof(format!("it proves `{name}` twice")));
        }
        let output = tensor_digest(output_of(&by_name, operation)?);
        Ok(operation_leaf(output, operation.artefact, vector_digest(&operation.vector)))
    });
    Ok(Tree::new(leaves.collect::<Result<_>>()?))
}

impl OpenedOperation {
    /// The leaf that it is; `None` when chunks do not lead to a tensor.
    pub(super) fn leaf(&self) -> Option<Digest> {
        let output = match &self.output {
            OpenedOutput::Whole(tensor) => tensor_digest(tensor),
            OpenedOutput::Parts(parts) => parts.digest()?,
        };
        let vector = match &self.vector {
            OpenedVector::Shown(vector) => vector_digest(vector),
            OpenedVector::Hidden(digest) => *digest,
        };
        Some(operation_leaf(output, self.artefact, vector))
    }
}

fn operation_leaf(output: Digest, artefact: Digest, vector: Digest) -> Digest {
    let mut contents = [0; 96];
    for (room, digest) in
        contents.as_chunks_mut::<32>().0.iter_mut().zip([output, artefact, vector])
    {
        *room = *digest.as_bytes();
    }
    leaf(&contents)
}

fn vector_digest(vector: &[f32]) -> Digest {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    leaf(&bytes)
}
