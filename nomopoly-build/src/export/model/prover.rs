//! `prover.onnx`: the model as it is, with the transcript and the proof vectors as further outputs.

use nomopoly_runtime::Error;
use nomopoly_runtime::exchange::{IDENTITY, proof_name};
use nomopoly_runtime::onnx::{DatumType, builder, pb};

use super::super::generator;
use super::interface::Interface;
use super::{Subject, constant_name, declare, identity_constant};

/// # Errors
/// When a weight cannot be read from its device.
pub(super) fn export(subject: &Subject, interface: &Interface) -> Result<pb::ModelProto, Error> {
    let Subject { model, graph: original, .. } = subject;
    let mut graph = subject.builder();
    graph.extend(original.node.clone(), original.initializer.clone());
    for input in declare::inputs(model, subject.size) {
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
    let constant = identity_constant(&constant_name("constant"), &subject.identity());
    let constant = graph.constant(constant);
    graph.copy_as(&constant, IDENTITY);
    graph.declared_output(builder::value_info(
        IDENTITY,
        DatumType::U8,
        &[subject.identity().len()],
    ));
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
