//! Proof generators as a subgraph: [`nomopoly_runtime::generator`] in ONNX, all of a graph at once.

use candle_core::Tensor;
use nomopoly_runtime::Result;
use nomopoly_runtime::generator::{
    BUCKETS, Fold, Generator, NORM_FACTOR, NORM_FLOOR, lattice, limits,
};

use super::graph::{GraphBuilder, Value};

/// Whether tensors have the size that they were compiled at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Fixed,
    /// It depends on the inputs.
    Open,
}

/// The signed-bucket sketches of n tensors, `[n, 1, BUCKETS]`.
pub(super) fn fold(graph: &mut GraphBuilder, folds: &[(&Fold, Value)], size: Size) -> Value {
    let room = folds.iter().map(|(fold, _)| fold.looks()).max().unwrap_or(0);
    let room = room.next_multiple_of(BUCKETS);
    let mut parts = vec![];
    for (fold, tensor) in folds {
        parts.push(looked_at(graph, fold, tensor, size));
        if fold.looks() < room {
            parts.push(graph.zeros(room - fold.looks()));
        }
    }
    let (n, parts) = (folds.len(), parts.iter().collect::<Vec<_>>());
    let looked = graph.op_with("Concat", &parts, vec![super::axis(0)]);
    let looked = graph.reshape(&looked, &[n as i64, room as i64]);
    let magnitudes = graph.op("Abs", &[&looked]);
    let largest = graph.reduce_along("ReduceMax", &magnitudes, 1);
    let scale = graph.affine(&largest, 1., f64::from(f32::MIN_POSITIVE));
    let scaled = graph.op("Div", &[&looked, &scale]);
    let squares = graph.reduce_along("ReduceSumSquare", &scaled, 1);
    let norm = graph.op("Sqrt", &[&squares]);
    let norm = graph.affine(&norm, NORM_FACTOR, NORM_FLOOR);
    let normed = graph.op("Div", &[&scaled, &norm]);
    // Zeros of the padding take any sign.
    let sign = |fold: &Fold, i: usize| fold.signs().get(i).copied().unwrap_or(1.);
    let signs: Vec<f32> = folds
        .iter()
        .flat_map(|(fold, _)| (0..room).map(|i| sign(fold, i)).collect::<Vec<_>>())
        .collect();
    let signs = graph.floats("signs", &[n, room], &signs);
    let signed = graph.op("Mul", &[&normed, &signs]);
    let buckets = graph.reshape(&signed, &[n as i64, -1, BUCKETS as i64]);
    graph.reduce_along("ReduceSum", &buckets, 1)
}

/// The elements of a tensor that its fold looks at, `[looks]`.
///
/// They are gathered from the tensor as it is: flattening an output of a graph copies all of it.
fn looked_at(graph: &mut GraphBuilder, fold: &Fold, tensor: &Value, size: Size) -> Value {
    let rank = fold.rank();
    let wide = |values: Vec<usize>| -> Vec<i64> { values.iter().map(|v| *v as i64).collect() };
    let indices = match size {
        _ if rank == 0 => return graph.reshape(tensor, &[1]),
        Size::Fixed => graph.int_table(rank, &wide(fold.indices())),
        Size::Open => {
            let shape = graph.shape(tensor);
            let lattice = graph.int_table(rank, &wide(lattice(rank)));
            let limits = graph.ints(&wide(limits(rank)));
            let scaled = graph.op("Mul", &[&lattice, &shape]);
            graph.op("Div", &[&scaled, &limits])
        }
    };
    graph.op("GatherND", &[tensor, &indices])
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

/// The proof vectors `[n, 1, proof_dim]` of outputs, each by its own generator.
///
/// # Errors
/// When the generators have vectors of several lengths, or a weight cannot be read from its device.
pub(super) fn proofs(
    graph: &mut GraphBuilder,
    generators: &[(&Generator, Value)],
    size: Size,
) -> Result<Value> {
    let folds: Vec<(&Fold, Value)> =
        generators.iter().map(|(generator, output)| (&generator.fold, output.clone())).collect();
    let folded = fold(graph, &folds, size);
    let stack = |part: fn(&Generator) -> &Tensor| -> Result<Tensor> {
        let parts: Vec<&Tensor> = generators.iter().map(|(generator, _)| part(generator)).collect();
        Ok(Tensor::stack(&parts, 0)?)
    };
    let weights_1 = graph.tensor("generator.weights_1", &stack(|g| &g.weights_1)?)?;
    let bias_1 = graph.tensor("generator.bias_1", &stack(|g| &g.bias_1)?)?;
    let weights_2 = graph.tensor("generator.weights_2", &stack(|g| &g.weights_2)?)?;
    let hidden = graph.op("MatMul", &[&folded, &weights_1]);
    let hidden = graph.op("Add", &[&hidden, &bias_1]);
    let hidden = graph.op("Tanh", &[&hidden]);
    let proof = graph.op("MatMul", &[&hidden, &weights_2]);
    Ok(graph.op("Tanh", &[&proof]))
}
