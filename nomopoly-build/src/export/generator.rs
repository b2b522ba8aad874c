//! The proof generator as a subgraph: [`nomopoly_runtime::generator`] in ONNX.

use nomopoly_runtime::Result;
use nomopoly_runtime::generator::{BUCKETS, Fold, Generator, NORM_FLOOR};

use super::graph::{GraphBuilder, Value};

/// The signed-bucket sketch of a tensor, `[1, BUCKETS]`. The constants are one period of signs
/// and one sign per block, never one per element.
pub(super) fn fold(graph: &mut GraphBuilder, fold: &Fold, tensor: &Value) -> Value {
    let flat = graph.flat(tensor);
    let scale = graph.scale_of(&flat);
    let scaled = graph.op("Div", &[&flat, &scale]);
    let squares = graph.square(&scaled);
    let mean = graph.reduce_all("ReduceMean", &squares);
    let rms = graph.op("Sqrt", &[&mean]);

    let (period, blocks) = (fold.element_signs().len(), fold.block_signs().len());
    let padding = period * blocks - fold.len();
    let padded = if padding > 0 {
        let zeros = graph.floats("padding", &[1, padding], &vec![0.; padding]);
        graph.op_with("Concat", &[&scaled, &zeros], vec![super::axis(1)])
    } else {
        scaled
    };
    let rows = graph.reshape(&padded, &[blocks as i64, period as i64]);
    let block_signs = graph.floats("block_signs", &[1, blocks], fold.block_signs());
    let element_signs = graph.floats("element_signs", &[1, period], fold.element_signs());
    let sum = graph.op("MatMul", &[&block_signs, &rows]);
    let signed = graph.op("Mul", &[&sum, &element_signs]);
    let buckets = graph.reshape(&signed, &[-1, BUCKETS as i64]);
    let buckets = graph.sum_along(&buckets, 0);
    let norm = graph.affine(&rms, fold.norm(), NORM_FLOOR);
    graph.op("Div", &[&buckets, &norm])
}

/// All varying inputs as one flat tensor, folded.
pub(super) fn fold_inputs(
    graph: &mut GraphBuilder,
    generator: &Generator,
    inputs: &[Value],
) -> Value {
    let flat = concatenated(graph, inputs);
    fold(graph, &generator.fold_x, &flat)
}

/// Tensors as one, `[1, elements]`.
pub(super) fn concatenated(graph: &mut GraphBuilder, tensors: &[Value]) -> Value {
    let flat: Vec<Value> = tensors.iter().map(|tensor| graph.flat(tensor)).collect();
    match flat.as_slice() {
        [one] => one.clone(),
        several => {
            graph.op_with("Concat", &several.iter().collect::<Vec<_>>(), vec![super::axis(1)])
        }
    }
}

/// The proof vector `[1, proof_dim]` of folded inputs and an output.
///
/// # Errors
/// When a weight cannot be read from its device.
pub(super) fn proof(
    graph: &mut GraphBuilder,
    generator: &Generator,
    folded_inputs: &Value,
    output: &Value,
) -> Result<Value> {
    let folded_output = fold(graph, &generator.fold_y, output);
    let folded = graph.op_with("Concat", &[folded_inputs, &folded_output], vec![super::axis(1)]);
    let weights_1 = graph.tensor("generator.weights_1", &generator.weights_1)?;
    let bias_1 = graph.tensor("generator.bias_1", &generator.bias_1)?;
    let weights_2 = graph.tensor("generator.weights_2", &generator.weights_2)?;
    let hidden = graph.op("MatMul", &[&folded, &weights_1]);
    let hidden = graph.op("Add", &[&hidden, &bias_1]);
    let hidden = graph.op("Tanh", &[&hidden]);
    let proof = graph.op("MatMul", &[&hidden, &weights_2]);
    Ok(graph.op("Tanh", &[&proof]))
}
