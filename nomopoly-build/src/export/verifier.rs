//! `verifier.onnx`: `(x, y, proof)` to a score, [`nomopoly_runtime::OperationVerifier`] in ONNX.

use candle_core::Device;
use nomopoly_runtime::artefact::{Artefact, Network};
use nomopoly_runtime::generator::Generator;
use nomopoly_runtime::{CompiledOperation, OperationVerifier, Result};

use super::generator::Size;
use super::graph::{GraphBuilder, Value};
use super::node::Slide;
use super::sketch::{Key, Sketched};
use super::{export_key, generator, head, inputs, node, replay, sketch};

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
            let slide = Slide::of(operation.spec());
            let residual = match (operation.linear(), verifier.contracted()) {
                (Some(linear), Some(contracted)) => {
                    let key = Key::new(operation, linear, &slide, contracted)?.bake(&mut graph)?;
                    let sketched = Sketched { operation, linear, slide: &slide, key: &key };
                    sketch::residual(&mut graph, &sketched, &x[0], &y)?
                }
                _ => {
                    let expected = node::apply(&mut graph, operation, &x)?;
                    replay::residual(&mut graph, operation, &slide, &x, &expected, &y)?
                }
            };
            let difference = proof_residuals(&mut graph, &[(generator, y)], &proof, Size::Fixed)?;
            let score = head::judge(&mut graph, &[network], &[residual], &difference).0;
            graph.flat(&score)
        }
    };
    graph.output(&score, "score", &[1, 1]);
    Ok(graph.finish("verifier", header, &[("nomopoly.key", "export-only, public")]))
}

/// `|proof - expected| / unit` of proof vectors `[n, 1, proof_dim]`, or `[1, proof_dim]` of one.
///
/// # Errors
/// As [`generator::proofs`].
pub(super) fn proof_residuals(
    graph: &mut GraphBuilder,
    generators: &[(&Generator, Value)],
    proofs: &Value,
    size: Size,
) -> Result<Value> {
    let expected = generator::proofs(graph, generators, size)?;
    let difference = graph.op("Sub", &[proofs, &expected]);
    let difference = graph.op("Abs", &[&difference]);
    let units: Vec<f32> = generators.iter().map(|(g, _)| g.proof_unit() as f32).collect();
    let units = graph.floats("proof_units", &[generators.len(), 1, 1], &units);
    Ok(graph.op("Div", &[&difference, &units]))
}
