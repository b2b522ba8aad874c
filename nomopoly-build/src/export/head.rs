//! The networks that judge: the monotone head on residual features, and the baseline perceptron.

use nomopoly_runtime::Result;
use nomopoly_runtime::head::{Head, UNITS};
use nomopoly_runtime::mlp::Mlp;
use nomopoly_runtime::residual::{FEATURES, MEAN_SQUARE_FLOOR};

use super::generator::concatenated;
use super::graph::{GraphBuilder, Value};
use super::sketch::Residual;

/// Scores `[n, 1, 1]` of n operations, each by its own head, from output residuals of any shape and
/// proof residuals `[n, 1, proof_dim]`; and the largest residual of each output, `[n, 1]`.
pub(super) fn judge(
    graph: &mut GraphBuilder,
    heads: &[&Head],
    output_residuals: &[Residual],
    proof_residuals: &Value,
) -> (Value, Value) {
    let (mut largest, mut squares, mut rounding) = (vec![], vec![], vec![]);
    for Residual { residual, unit, .. } in output_residuals {
        let unit = graph.flat(unit);
        rounding.push(graph.reduce_along("ReduceMax", &unit, 1));
        let flat = graph.flat(residual);
        largest.push(graph.reduce_along("ReduceMax", &flat, 1));
        let square = graph.square(&flat);
        squares.push(graph.reduce_along("ReduceMean", &square, 1));
    }
    let n = heads.len();
    let column = |graph: &mut GraphBuilder, parts: &[Value]| {
        let parts: Vec<&Value> = parts.iter().collect();
        graph.op_with("Concat", &parts, vec![super::axis(0)])
    };
    let rounding = column(graph, &rounding);
    let largest = column(graph, &largest);
    let squares = column(graph, &squares);
    let proofs = graph.reshape(proof_residuals, &[n as i64, -1]);
    let proof_largest = graph.reduce_along("ReduceMax", &proofs, 1);
    let proof_squares = graph.square(&proofs);
    let proof_squares = graph.reduce_along("ReduceMean", &proof_squares, 1);
    let [rms, proof_rms] = [squares, proof_squares].map(|mean| {
        let mean = graph.affine(&mean, 1., MEAN_SQUARE_FLOOR);
        graph.op("Sqrt", &[&mean])
    });
    let columns = [&largest, &rms, &proof_largest, &proof_rms];
    let features = graph.op_with("Concat", &columns, vec![super::axis(1)]);
    let features = graph.affine(&features, 1., 1.);
    let features = graph.op("Log", &[&features]);
    let features = graph.reshape(&features, &[n as i64, 1, FEATURES as i64]);

    let weights: Vec<f32> =
        heads.iter().flat_map(|head| head.weights.iter().flatten()).copied().collect();
    let weights = graph.floats("head.weights", &[n, FEATURES, UNITS], &weights);
    let offsets: Vec<f32> = heads.iter().flat_map(|head| head.offsets).collect();
    let offsets = graph.floats("head.offsets", &[n, 1, UNITS], &offsets);
    let units = graph.op("MatMul", &[&features, &weights]);
    let units = graph.op("Add", &[&units, &offsets]);
    let worst = graph.reduce_along("ReduceMax", &units, 2);
    let logit = graph.op("Neg", &[&worst]);
    let score = graph.op("Sigmoid", &[&logit]);
    // A maximum may skip NaN, a sum does not, of squares neither: what is not finite anywhere is a
    // rejection, and so is a unit that is larger than any number.
    let total = graph.reduce_along("ReduceSum", &features, 2);
    let rounding = graph.reshape(&rounding, &[n as i64, 1, 1]);
    let total = graph.op("Add", &[&total, &rounding]);
    let rounding = graph.reshape(&rounding, &[n as i64, 1, 1]);
    let total = graph.op("Add", &[&total, &rounding]);
    (only_finite(graph, &total, &score), largest)
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
