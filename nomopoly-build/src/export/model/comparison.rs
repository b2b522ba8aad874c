//! Outputs that the verifier recomputes and no operation's verdict is about: compared with the claim
//! as `nomopoly_runtime::dynamic::Verifier` does.

use nomopoly_runtime::onnx::pb::tensor_proto::DataType;
use nomopoly_runtime::onnx::{DatumType, builder};
use nomopoly_runtime::residual::{BOUNDED_TOLERANCE, UNTRAINED_TOLERANCE, is_bounded};

use super::super::axis;
use super::super::graph::{GraphBuilder, Value};
use super::super::sketch::SameShape;

/// Score and residual, `[1, 1]` each: 1 within the tolerance and 0 beyond, and the largest error in
/// tolerances (for what is not a float: how many elements differ).
pub(super) fn compare(
    graph: &mut GraphBuilder,
    dtype: DatumType,
    kind: &str,
    width: f64,
    claimed: &Value,
    truth: &Value,
) -> (Value, Value) {
    if !matches!(dtype, DatumType::F32 | DatumType::F64) {
        let [claimed, truth] = [claimed, truth].map(|value| cast(graph, value, DataType::Int64));
        let same = graph.op("Equal", &[&claimed, &truth]);
        let different = graph.op("Not", &[&same]);
        let different = cast(graph, &different, DataType::Float);
        let count = graph.reduce_all("ReduceSum", &different);
        let half = graph.scalar(0.5);
        let equal = graph.op("Less", &[&count, &half]);
        return (cast(graph, &equal, DataType::Float), count);
    }
    let [claimed, truth] = [claimed, truth].map(|value| match dtype {
        DatumType::F64 => cast(graph, value, DataType::Float),
        _ => value.clone(),
    });
    let magnitudes = graph.op("Abs", &[&truth]);
    let largest = graph.reduce_all("ReduceMax", &magnitudes);
    let least = if is_bounded(kind) { BOUNDED_TOLERANCE } else { f64::from(f32::MIN_POSITIVE) };
    let tolerance = graph.affine(&largest, width * UNTRAINED_TOLERANCE, 0.);
    let least = graph.scalar(width * least);
    let tolerance = graph.op("Max", &[&tolerance, &least]);
    let error = graph.op("Sub", &[&claimed, &truth]);
    let error = graph.op("Abs", &[&error]);
    // A maximum may skip NaN, a sum does not; an infinity would make the tolerance one.
    let sums = [&error, &magnitudes].map(|value| graph.reduce_all("ReduceSum", value));
    let sum = graph.op("Add", &[&sums[0], &sums[1]]);
    let most = graph.scalar(f64::from(f32::MAX));
    let finite = graph.op("Less", &[&sum, &most]);
    let error = graph.reduce_all("ReduceMax", &error);
    let within = graph.op("Less", &[&error, &tolerance]);
    let within = graph.op("And", &[&within, &finite]);
    (cast(graph, &within, DataType::Float), graph.op("Div", &[&error, &tolerance]))
}

/// Whether all of these hold, a bool `[1, 1]`.
pub(super) fn same_shapes(graph: &mut GraphBuilder, pairs: &[SameShape]) -> Value {
    let side = |graph: &mut GraphBuilder, side: fn(&SameShape) -> &Value| {
        let shapes: Vec<Value> = pairs.iter().map(|pair| graph.shape(side(pair))).collect();
        let all = graph.op_with("Concat", &shapes.iter().collect::<Vec<_>>(), vec![axis(0)]);
        cast(graph, &all, DataType::Float)
    };
    let (first, second) = (side(graph, |pair| &pair.first), side(graph, |pair| &pair.second));
    let more: Vec<f32> =
        pairs.iter().flat_map(|pair| &pair.more).map(|more| *more as f32).collect();
    let more = graph.floats("more", &[more.len()], &more);
    let first = graph.op("Add", &[&first, &more]);
    same_integers(graph, &first, &second)
}

/// Whether a tensor has one element, a bool `[1, 1]`: counted, not looked up.
pub(super) fn is_one(graph: &mut GraphBuilder, value: &Value) -> Value {
    let value = cast(graph, value, DataType::Float);
    let numbers = graph.op("Equal", &[&value, &value]);
    let numbers = cast(graph, &numbers, DataType::Float);
    let count = graph.reduce_all("ReduceSum", &numbers);
    let one = graph.scalar(1.);
    same_integers(graph, &count, &one)
}

/// Whether two byte strings are equal, a bool `[1, 1]`.
pub(super) fn same_bytes(graph: &mut GraphBuilder, a: &Value, b: &Value) -> Value {
    let [a, b] = [a, b].map(|value| cast(graph, value, DataType::Float));
    same_integers(graph, &a, &b)
}

/// Whether integers that lie in floats are equal, a bool `[1, 1]`.
fn same_integers(graph: &mut GraphBuilder, a: &Value, b: &Value) -> Value {
    let difference = graph.op("Sub", &[a, b]);
    let difference = graph.op("Abs", &[&difference]);
    let difference = graph.reduce_all("ReduceMax", &difference);
    let half = graph.scalar(0.5);
    graph.op("Less", &[&difference, &half])
}

pub(super) fn cast(graph: &mut GraphBuilder, value: &Value, to: DataType) -> Value {
    graph.op_with("Cast", &[value], vec![builder::int_attribute("to", to as i64)])
}
