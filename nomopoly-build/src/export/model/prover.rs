//! `prover.onnx`: the model as it is, with the transcript and the proof vectors as further outputs.

use nomopoly_runtime::Error;
use nomopoly_runtime::exchange::{IDENTITY, proof_name};
use nomopoly_runtime::onnx::pb;

use super::super::generator;
use super::interface::Interface;
use super::{Subject, declare};

/// # Errors
/// When a weight cannot be read from its device.
pub(super) fn export(subject: &Subject, interface: &Interface) -> Result<pb::ModelProto, Error> {
    let Subject { model, graph: original, .. } = subject;
    let mut graph = subject.builder();
    graph.extend(original.node.clone(), original.initializer.clone());
    for input in declare::inputs(model) {
        graph.declared_input(input);
    }
    declare::outputs(model, subject.size)
        .into_iter()
        .for_each(|output| graph.declared_output(output));
    for compiled in model.transcript() {
        let name = compiled.operation.output();
        if !declare::is_output(model, name) {
            graph.declared_output(declare::transcript(compiled, subject.size));
        }
    }
    let generators = subject.generators();
    if !generators.is_empty() {
        let proofs = generator::proofs(&mut graph, &generators, subject.size)?;
        let all = graph.reshape(&proofs, &[-1]);
        let parts = subject.proved.iter().map(|compiled| {
            let dim = compiled.artefact.generator.proof_dim();
            (proof_name(compiled.operation.output()), dim)
        });
        graph.split_as(&all, &parts.collect::<Vec<_>>());
    }
    subject.give_identity(&mut graph, IDENTITY);
    let file = subject.finish("prover", interface, false, graph);
    // What says how to read the model's own tensors stays.
    let value_info = original.value_info.clone();
    let annotations = original.quantization_annotation.clone();
    let graph = file.graph.map(|graph| pb::GraphProto {
        value_info,
        quantization_annotation: annotations,
        ..graph
    });
    Ok(pb::ModelProto { graph, ..file })
}
