//! Proof generators as a subgraph: [`nomopoly_runtime::generator`] in ONNX, all of a graph at once.

use candle_core::Tensor;
use nomopoly_runtime::Result;
use nomopoly_runtime::generator::{
    BUCKETS, Fold, Generator, LOOKS, NORM_FACTOR, NORM_FLOOR, limit,
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
    let room = |(fold, _): &(&Fold, Value)| match size {
        Size::Fixed => fold.looks(),
        Size::Open => limit(fold.steps().len()).pow(fold.steps().len() as u32).min(LOOKS),
    };
    let room = folds.iter().map(room).max().unwrap_or(0).next_multiple_of(BUCKETS);
    let rows: Vec<Value> =
        folds.iter().map(|(fold, tensor)| looked_at(graph, fold, tensor, size, room)).collect();
    let looked = graph.op_with("Concat", &rows.iter().collect::<Vec<_>>(), vec![super::axis(0)]);
    let magnitudes = graph.op("Abs", &[&looked]);
    let largest = graph.reduce_along("ReduceMax", &magnitudes, 1);
    let scale = graph.affine(&largest, 1., f64::from(f32::MIN_POSITIVE));
    let scaled = graph.op("Div", &[&looked, &scale]);
    let squares = graph.reduce_along("ReduceSumSquare", &scaled, 1);
    let norm = graph.op("Sqrt", &[&squares]);
    let norm = graph.affine(&norm, NORM_FACTOR, NORM_FLOOR);
    let normed = graph.op("Div", &[&scaled, &norm]);
    let signs: Vec<f32> =
        folds.iter().flat_map(|(fold, _)| &fold.signs()[..room]).copied().collect();
    let signs = graph.floats("signs", &[folds.len(), room], &signs);
    let signed = graph.op("Mul", &[&normed, &signs]);
    let buckets = graph.reshape(&signed, &[folds.len() as i64, -1, BUCKETS as i64]);
    graph.reduce_along("ReduceSum", &buckets, 1)
}

/// The elements of a tensor that its fold looks at and zeros, `[1, room]`.
fn looked_at(
    graph: &mut GraphBuilder,
    fold: &Fold,
    tensor: &Value,
    size: Size,
    room: usize,
) -> Value {
    let rank = fold.steps().len();
    let looked = match size {
        _ if rank == 0 => tensor.clone(),
        Size::Fixed if fold.steps().iter().all(|step| *step == 1) => tensor.clone(),
        // Not a slice with steps: tract fails to pull that through a reshape before it.
        Size::Fixed => {
            let places = graph.int_table("places", rank, &fold.places());
            graph.op("GatherND", &[tensor, &places])
        }
        Size::Open => {
            let limit = limit(rank) as i64;
            let (limit, less) = (graph.ints(&[limit]), graph.ints(&[limit - 1]));
            let shape = graph.op("Shape", &[tensor]);
            let up = graph.op("Add", &[&shape, &less]);
            let steps = graph.op("Div", &[&up, &limit]);
            let (first, last) = (graph.ints(&vec![0; rank]), graph.ints(&vec![i64::MAX; rank]));
            let axes = graph.ints(&(0..rank as i64).collect::<Vec<_>>());
            graph.op("Slice", &[tensor, &first, &last, &axes, &steps])
        }
    };
    let row = graph.flat(&looked);
    let looks = fold.looks();
    match size {
        Size::Fixed if looks == room => row,
        Size::Fixed => {
            let zeros = graph.zeros(room - looks);
            graph.op_with("Concat", &[&row, &zeros], vec![super::axis(1)])
        }
        Size::Open => {
            let zeros = graph.zeros(room);
            let padded = graph.op_with("Concat", &[&row, &zeros], vec![super::axis(1)]);
            let (first, axis) = (graph.ints(&[0]), graph.ints(&[1]));
            let end = graph.ints(&[room as i64]);
            graph.op("Slice", &[&padded, &first, &end, &axis])
        }
    }
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
