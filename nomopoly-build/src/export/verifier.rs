//! `verifier.onnx`: `(x, y, proof)` to a score, [`nomopoly_runtime::OperationVerifier`] in ONNX.

use candle_core::Device;
use nomopoly_runtime::artefact::{Artefact, Network};
use nomopoly_runtime::{CompiledOperation, OperationVerifier, Result};

use super::graph::GraphBuilder;
use super::{export_key, generator, head, inputs, replay, sketch};

/// # Errors
/// When the artefact asks for a sketch of an operation that has none, or a tensor cannot be read.
pub(super) fn export(compiled: &CompiledOperation) -> Result<Vec<u8>> {
    let Artefact { id, header, generator, network } = compiled.artefact.as_ref();
    let operation = compiled.operation.as_ref();
    let mut graph = GraphBuilder::default();
    let x = inputs(&mut graph, operation.spec());
    let y = graph.input("y", &operation.spec().output_shape);
    let proof = graph.input("proof", &[1, generator.proof_dim()]);
    let score = match network {
        Network::Mlp(mlp) => head::perceptron(&mut graph, mlp, &x, &y, &proof)?,
        Network::Residual(network) => {
            let device =
                operation.linear().map_or(Device::Cpu, |linear| linear.weights().device().clone());
            let verifier = OperationVerifier::new(compiled.clone(), &export_key(id), &device)?;
            let residual = match (operation.linear(), verifier.contracted()) {
                (Some(linear), Some(contracted)) => {
                    sketch::residual(&mut graph, operation, linear, contracted, &x[0], &y)?
                }
                _ => replay::residual(&mut graph, operation, &x, &y)?,
            };
            let folded = generator::fold_inputs(&mut graph, generator, &x);
            let expected = generator::proof(&mut graph, generator, &folded, &y)?;
            let difference = graph.op("Sub", &[&proof, &expected]);
            let difference = graph.op("Abs", &[&difference]);
            let unit = graph.scalar(generator.proof_unit());
            let proof_residual = graph.op("Div", &[&difference, &unit]);
            head::score(&mut graph, network, &residual, &proof_residual)
        }
    };
    graph.output(&score, "score", &[1, 1]);
    Ok(graph.finish("verifier", header, &[("nomopoly.key", "export-only, public")]))
}
