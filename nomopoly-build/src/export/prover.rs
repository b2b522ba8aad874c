//! `prover.onnx`: x to `(y, proof)`, a drop-in for the operation's node.

use nomopoly_runtime::{CompiledOperation, Result};

use super::graph::GraphBuilder;
use super::{generator, inputs, node};

/// # Errors
/// When a tensor cannot be read from its device.
pub(super) fn export(compiled: &CompiledOperation) -> Result<Vec<u8>> {
    let (operation, generator) = (compiled.operation.as_ref(), &compiled.artefact.generator);
    let mut graph = GraphBuilder::default();
    let x = inputs(&mut graph, operation.spec());
    let y = node::apply(&mut graph, operation, &x)?;
    let y = graph.output(&y, "y", &operation.spec().output_shape);
    let proof = generator::proofs(&mut graph, &[(generator, y)], generator::Size::Fixed)?;
    let proof = graph.flat(&proof);
    graph.output(&proof, "proof", &[1, generator.proof_dim()]);
    Ok(graph.finish("prover", &compiled.artefact.header, &[]))
}
