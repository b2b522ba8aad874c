//! An inference with its proof.

use std::fmt;
use std::marker::PhantomData;

use super::model::{Model, NamedTensors, Tensors};
use crate::onnx::Digest;
use crate::proof::Proof;
use crate::receipt::Committed;
use crate::{Error, Result};

/// The outputs of one inference of the model M, as a host claims them, with the proof.
///
/// A proof of another model is a compile error where types can tell, and a clear error where it
/// arrives as bytes. [`crate::Verifier::verify`] says whether it is true.
pub struct Proven<M: Model> {
    output: M::Output,
    proof: Proof,
    marker: PhantomData<fn() -> M>,
}

impl<M: Model> Proven<M> {
    /// The claimed outputs. Whether the model gave them is for a verifier to say.
    pub fn output(&self) -> &M::Output {
        &self.output
    }

    /// The proof, with outputs and transcript.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// The outputs alone.
    pub fn into_output(self) -> M::Output {
        self.output
    }

    /// The proof alone.
    pub fn into_proof(self) -> Proof {
        self.proof
    }

    /// Commits to this inference of `input`: the receipt to send with the outputs, and all that it
    /// takes to open it later.
    ///
    /// # Errors
    /// Never in practice: a proof of M holds the outputs of its operations.
    pub fn commit(self, input: &M::Input) -> Result<Committed> {
        Committed::new(&input.to_named(), self.proof)
    }

    /// An untyped proof, checked for model, names, sizes and finiteness.
    ///
    /// # Errors
    /// [`Error::OtherModel`], [`Error::DamagedProof`], [`Error::Shape`], [`Error::DType`],
    /// [`Error::NonFinite`].
    pub fn from_proof(proof: Proof) -> Result<Self> {
        of_model::<M>(proof.model)?;
        let damaged = |reason: String| Err(Error::DamagedProof(reason));
        let revealed: Vec<_> = M::OPERATIONS.iter().filter(|g| g.revealed).collect();
        if proof.transcript.len() != revealed.len() {
            return damaged(format!(
                "it reveals {} operations, expected {}",
                proof.transcript.len(),
                revealed.len()
            ));
        }
        for (tensor, guarantee) in proof.transcript.iter().zip(revealed) {
            if tensor.name != guarantee.operation {
                return damaged(format!(
                    "it reveals `{}` where `{}` is expected",
                    tensor.name, guarantee.operation
                ));
            }
            // Its shape follows from those of the inputs, which the verifier knows.
            tensor.check(tract_onnx::prelude::DatumType::F32, &tensor.shape)?;
        }
        let proved: Vec<_> = M::OPERATIONS.iter().filter(|g| g.proof_dim > 0).collect();
        if proof.operations.len() != proved.len() {
            return damaged(format!(
                "it has {} proof vectors, expected {}",
                proof.operations.len(),
                proved.len()
            ));
        }
        for (vector, guarantee) in proof.operations.iter().zip(proved) {
            let tensor = || format!("proof vector of {}", guarantee.operation);
            if vector.operation != guarantee.operation {
                return damaged(format!(
                    "it has a proof vector of `{}` where `{}` is expected",
                    vector.operation, guarantee.operation
                ));
            }
            if vector.vector.len() != guarantee.proof_dim {
                let (got, expected) = (vec![vector.vector.len()], vec![guarantee.proof_dim]);
                return Err(Error::Shape { tensor: tensor(), got, expected });
            }
            if vector.vector.iter().any(|value| !value.is_finite()) {
                return Err(Error::NonFinite { tensor: tensor() });
            }
        }
        if let Some(tensor) = proof.outputs.iter().find(|tensor| !tensor.is_finite()) {
            return Err(Error::NonFinite { tensor: tensor.name.clone() });
        }
        let names = proof.outputs.iter().map(|tensor| tensor.name.as_str());
        if !names.eq(M::Output::FIELDS.iter().copied()) {
            return damaged(format!(
                "its outputs are {:?}, expected {:?}",
                proof.outputs.iter().map(|tensor| &tensor.name).collect::<Vec<_>>(),
                M::Output::FIELDS
            ));
        }
        let output = M::Output::from_named(NamedTensors(proof.outputs.clone()))?;
        Ok(Self { output, proof, marker: PhantomData })
    }

    /// The wire format.
    ///
    /// # Errors
    /// Never in practice: serialising plain data into memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.proof.to_bytes()
    }

    /// Reads the wire format. Schema and model digest are checked before anything else is read,
    /// then the checksum, then names, sizes and finiteness.
    ///
    /// # Errors
    /// [`Error::ProofSchema`], [`Error::OtherModel`], [`Error::DamagedProof`], and those of
    /// [`Proven::from_proof`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        of_model::<M>(Proof::peek_model(bytes)?)?;
        Self::from_proof(Proof::from_bytes(bytes)?)
    }
}

fn of_model<M: Model>(got: Digest) -> Result<()> {
    if got == M::DIGEST {
        Ok(())
    } else {
        Err(Error::OtherModel { got: got.to_string(), expected: M::DIGEST.to_string() })
    }
}

impl<M: Model> Clone for Proven<M> {
    fn clone(&self) -> Self {
        Self { output: self.output.clone(), proof: self.proof.clone(), marker: PhantomData }
    }
}

impl<M: Model> fmt::Debug for Proven<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proven").field("model", &M::NAME).field("output", &self.output).finish()
    }
}
