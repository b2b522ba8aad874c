//! Three standalone ONNX files per compiled operation, for any ONNX runtime.
//!
//! - `prover.onnx`: x to `(y, proof)`, a drop-in for the operation's node;
//! - `verifier.onnx`: `(x, y, proof)` to a score `[1, 1]`, accepted at 0.5 and above;
//! - `adversary.onnx`: x to a fake `(y, proof)`.
//!
//! The varying input is called `x`, or `x_0` and `x_1` where there are two. Shapes are those of
//! the operation, its batch dimension included; the proof is `[1, proof_dim]`. Every file holds
//! nodes of the standard domain only, and no constant that grows with an activation (except the
//! first layer of the baseline perceptron, which is one weight per element and hidden unit).

mod adversary;
mod check;
mod generator;
mod graph;
mod head;
mod matrix;
pub mod model;
mod node;
mod norms;
mod pool;
mod prover;
mod replay;
mod sketch;
#[cfg(test)]
mod tests;
mod verifier;

use nomopoly_manifest::OperationSpec;
use nomopoly_runtime::onnx::{Digest, builder, pb};
use nomopoly_runtime::{CompiledOperation, Error, VerifierKey};

use crate::training::adversary::Adversary;
pub use check::check_file;
use graph::{GraphBuilder, Value};

/// The files of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub prover: Vec<u8>,
    pub verifier: Vec<u8>,
    pub adversary: Vec<u8>,
}

/// Writes the three files; equal inputs give equal bytes.
///
/// # Errors
/// When the adversary is not one of this operation, or a tensor cannot be read from its device.
pub fn export(compiled: &CompiledOperation, adversary: &Adversary) -> Result<Exported, Error> {
    Ok(Exported {
        prover: prover::export(compiled)?,
        verifier: verifier::export(compiled)?,
        adversary: adversary::export(compiled, adversary)?,
    })
}

/// The key whose sketches an exported verifier holds. It is **public**: anyone can derive it from
/// the artefact's id and forge for it. A verifier file with a baked-in key is for conformance
/// tests and demonstrations only; an application draws its own with [`VerifierKey::random`].
pub fn export_key(id: &Digest) -> VerifierKey {
    VerifierKey::from_bytes(blake3::derive_key("nomopoly export key", id.as_bytes()))
}

/// The operation's varying inputs as graph inputs.
fn inputs(graph: &mut GraphBuilder, spec: &OperationSpec) -> Vec<Value> {
    match spec.input_shapes.as_slice() {
        [shape] => vec![graph.input("x", shape)],
        shapes => shapes
            .iter()
            .enumerate()
            .map(|(index, shape)| graph.input(&format!("x_{index}"), shape))
            .collect(),
    }
}

fn axis(axis: i64) -> pb::AttributeProto {
    builder::int_attribute("axis", axis)
}

fn cannot(spec: &OperationSpec, reason: String) -> Error {
    Error::Operation { operation: spec.stem(), reason: format!("cannot be exported: {reason}") }
}
