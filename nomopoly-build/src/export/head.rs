//! The networks that judge: the monotone head on residual features, and the baseline perceptron.

use nomopoly_runtime::Result;
use nomopoly_runtime::head::{Head, UNITS};
use nomopoly_runtime::mlp::Mlp;
use nomopoly_runtime::residual::{FEATURES, MEAN_SQUARE_FLOOR};

use super::generator::concatenated;
use super::graph::{GraphBuilder, Value};
use super::sketch::{Residual, Units};

/// Scores `[n, 1, 1]` of n operations, each by its own head, from output residuals and proof residuals
/// `[n, 1, proof_dim]`; and the largest residual of each output, `[n, 1]`.
pub(super) fn judge(
    graph: &mut GraphBuilder,
    heads: &[&Head],
    output_residuals: &[Residual],
    proof_residuals: &Value,
) -> (Value, Value) {
    let n = heads.len();
    let Measured { largest, means, rounding } = measure(graph, output_residuals);
    let proofs = graph.reshape(proof_residuals, &[n as i64, -1]);
    let proof_largest = graph.reduce_along("ReduceMax", &proofs, 1);
    let proof_squares = graph.square(&proofs);
    let proof_squares = graph.reduce_along("ReduceMean", &proof_squares, 1);
    let [rms, proof_rms] = [means, proof_squares].map(|mean| {
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
    (only_finite(graph, &total, &score), largest)
}

/// What is known of each output, `[n, 1]`.
struct Measured {
    /// The largest residual.
    largest: Value,
    /// The mean of their squares.
    means: Value,
    /// The largest unit.
    rounding: Value,
}

/// Reduces every operation's residuals to numbers.
///
/// They come together in one node, and the nodes before it are in the order of the operations turned
/// round: ONNX Runtime goes back from a node to what it needs, from the youngest first, so that it checks
/// one operation after the other, each while its tensors are in the processor's caches.
fn measure(graph: &mut GraphBuilder, residuals: &[Residual]) -> Measured {
    let n = residuals.len();
    let mut numbers = vec![];
    for Residual { residual, units, is_matrix, .. } in residuals.iter().rev() {
        let matrix = |graph: &mut GraphBuilder, tensor: &Value| {
            if *is_matrix { tensor.clone() } else { graph.flat(tensor) }
        };
        // Several operations may have units of one tensor.
        numbers.push(graph.once(&format!("largest of {:?}", units.of), |graph| {
            let units = matrix(graph, &units.of);
            graph.reduce_matrix("ReduceMax", &units)
        }));
        // Squares alone: they have no sign.
        let squares = graph.square(residual);
        let squares = matrix(graph, &squares);
        numbers.push(graph.reduce_matrix("ReduceMean", &squares));
        numbers.push(graph.reduce_matrix("ReduceMax", &squares));
    }
    let numbers: Vec<&Value> = numbers.iter().rev().collect();
    let numbers = graph.op_with("Concat", &numbers, vec![super::axis(0)]);
    // Three of each operation.
    let mut every_third = |first: i64| {
        let places: Vec<i64> = (0..n as i64).map(|i| 3 * i + first).collect();
        let places = graph.ints(&places);
        graph.op_with("Gather", &[&numbers, &places], vec![super::axis(0)])
    };
    let [largest, means, units] = [0, 1, 2].map(&mut every_third);
    let largest = graph.op("Sqrt", &[&largest]);
    let mut column = |name: &str, part: fn(&Units) -> f64| {
        let parts: Vec<f32> = residuals.iter().map(|r| part(&r.units) as f32).collect();
        graph.floats(name, &[n, 1], &parts)
    };
    let factors = column("unit_factors", |units| units.factor);
    let summands = column("unit_summands", |units| units.summand);
    let units = graph.op("Mul", &[&units, &factors]);
    let rounding = graph.op("Add", &[&units, &summands]);
    Measured { largest, means, rounding }
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
