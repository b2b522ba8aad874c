//! The networks that judge: the monotone head on residual features, and the baseline perceptron.

use nomopoly_runtime::Result;
use nomopoly_runtime::head::{Head, UNITS};
use nomopoly_runtime::mlp::Mlp;
use nomopoly_runtime::residual::{FEATURES, MEAN_SQUARE_FLOOR};

use super::generator::concatenated;
use super::graph::{GraphBuilder, Value};

/// The score `[1, 1]` of output and proof residuals of any shape.
pub(super) fn score(
    graph: &mut GraphBuilder,
    head: &Head,
    output_residual: &Value,
    proof_residual: &Value,
) -> Value {
    let mut columns = vec![];
    for residual in [output_residual, proof_residual] {
        columns.push(graph.reduce_all("ReduceMax", residual));
        let squares = graph.square(residual);
        let mean = graph.reduce_all("ReduceMean", &squares);
        let mean = graph.affine(&mean, 1., MEAN_SQUARE_FLOOR);
        columns.push(graph.op("Sqrt", &[&mean]));
    }
    let columns: Vec<&Value> = columns.iter().collect();
    let features = graph.op_with("Concat", &columns, vec![super::axis(1)]);
    let features = graph.affine(&features, 1., 1.);
    let features = graph.op("Log", &[&features]);

    let weights: Vec<f32> = head.weights.iter().flatten().copied().collect();
    let weights = graph.floats("head.weights", &[FEATURES, UNITS], &weights);
    let offsets = graph.floats("head.offsets", &[1, UNITS], &head.offsets);
    let units = graph.op("MatMul", &[&features, &weights]);
    let units = graph.op("Add", &[&units, &offsets]);
    let largest = graph.reduce_all("ReduceMax", &units);
    let logit = graph.op("Neg", &[&largest]);
    let score = graph.op("Sigmoid", &[&logit]);

    // A maximum may skip NaN, a sum does not: what is not finite anywhere is a rejection.
    let sums = [output_residual, proof_residual, &features]
        .map(|part| graph.reduce_all("ReduceSum", part));
    let total = graph.op("Add", &[&sums[0], &sums[1]]);
    let total = graph.op("Add", &[&total, &sums[2]]);
    only_finite(graph, &total, &score)
}

/// The score `[1, 1]` of the baseline.
///
/// # Errors
/// When a weight cannot be read from its device.
pub(super) fn perceptron(
    graph: &mut GraphBuilder,
    mlp: &Mlp,
    inputs: &[Value],
    output: &Value,
    proof: &Value,
) -> Result<Value> {
    let mut parts: Vec<Value> = vec![];
    for (tensor, scale) in
        inputs.iter().map(|input| (input, mlp.x_scale)).chain([(output, mlp.y_scale)])
    {
        let scale = graph.scalar(scale);
        parts.push(graph.op("Div", &[tensor, &scale]));
    }
    parts.push(proof.clone());
    let all = concatenated(graph, &parts);
    let mut z = all.clone();
    for (index, (weights, bias)) in mlp.layers.iter().enumerate() {
        if index > 0 {
            z = graph.op("Relu", &[&z]);
        }
        let weights = graph.tensor("mlp.weights", weights)?;
        let bias = graph.tensor("mlp.bias", bias)?;
        z = graph.op("MatMul", &[&z, &weights]);
        z = graph.op("Add", &[&z, &bias]);
    }
    let score = graph.op("Sigmoid", &[&z]);
    // Relu may turn NaN into 0, so that the logit alone does not show it.
    let magnitudes = graph.op("Abs", &[&all]);
    let total = graph.reduce_all("ReduceSum", &magnitudes);
    Ok(only_finite(graph, &total, &score))
}

/// The score, or 0 when `sum`, over everything that was judged, is NaN or infinite: no comparison
/// holds for NaN. A finite sum as large as the largest number is far beyond any head's threshold.
fn only_finite(graph: &mut GraphBuilder, sum: &Value, score: &Value) -> Value {
    let largest = graph.scalar(f64::from(f32::MAX));
    let finite = graph.op("Less", &[sum, &largest]);
    let rejected = graph.scalar(0.);
    graph.op("Where", &[&finite, score, &rejected])
}
