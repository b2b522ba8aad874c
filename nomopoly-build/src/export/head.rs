//! The networks that judge: the monotone head on residual features, and the baseline perceptron.

use nomopoly_runtime::Result;
use nomopoly_runtime::head::{Head, UNITS};
use nomopoly_runtime::mlp::Mlp;
use nomopoly_runtime::residual::{FEATURES, MEAN_SQUARE_FLOOR};

use super::generator::concatenated;
use super::graph::{GraphBuilder, Value};
use super::norms::Norms;
use super::sketch::{LargestUnit, Residual};

/// Scores `[n, 1, 1]` of n operations, each by its own head, from output residuals and proof residuals
/// `[n, 1, proof_dim]`; and the largest residual of each output, `[n, 1]`.
pub(super) fn judge(
    graph: &mut GraphBuilder,
    heads: &[&Head],
    output_residuals: &[Residual],
    norms: &Norms,
    proof_residuals: &Value,
) -> (Value, Value) {
    let n = heads.len();
    let Measured { largest, means, rounding } = measure(graph, output_residuals, norms);
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
fn measure(graph: &mut GraphBuilder, residuals: &[Residual], norms: &Norms) -> Measured {
    let n = residuals.len();
    let mut of_norms = vec![None; norms.count()];
    let (mut numbers, mut units) = (vec![], vec![]);
    for Residual { residual, is_matrix, largest_unit, .. } in residuals.iter().rev() {
        match largest_unit {
            LargestUnit::OfNorms { place, .. } => {
                of_norms[*place].get_or_insert_with(|| norms.largest(graph, *place));
            }
            LargestUnit::Of(unit) => {
                let largest = graph.reduce_all("ReduceMax", unit);
                units.push(graph.square(&largest));
            }
        }
        // Squares alone: they have no sign.
        let mut squares = graph.square(residual);
        if !is_matrix {
            squares = graph.flat(&squares);
        }
        numbers.push(graph.reduce_matrix("ReduceMean", &squares));
        numbers.push(graph.reduce_matrix("ReduceMax", &squares));
    }
    // 2 n numbers, the largest and the mean of each operation in order, then units.
    numbers.reverse();
    units.reverse();
    let mut known = 2 * n;
    let (mut places, mut factors, mut summands) = (vec![], vec![], vec![]);
    let mut place_of = vec![0; norms.count()];
    for (place, largest) in of_norms.into_iter().enumerate() {
        if let Some(largest) = largest {
            numbers.push(largest);
            place_of[place] = known;
            known += 1;
        }
    }
    for residual in residuals {
        let (place, factor, summand) = match residual.largest_unit {
            LargestUnit::OfNorms { place, factor, summand } => (place_of[place], factor, summand),
            LargestUnit::Of(_) => {
                known += 1;
                (known - 1, 1., 0.)
            }
        };
        places.push(place as i64);
        factors.push(factor as f32);
        summands.push(summand as f32);
    }
    numbers.extend(units);
    let numbers: Vec<&Value> = numbers.iter().collect();
    let numbers = graph.op_with("Concat", &numbers, vec![super::axis(0)]);
    let mut take = |places: &[i64]| {
        let places = graph.ints(places);
        graph.op_with("Gather", &[&numbers, &places], vec![super::axis(0)])
    };
    let every_second = |first: i64| (0..n as i64).map(|i| 2 * i + first).collect::<Vec<_>>();
    let (largest, means) = (take(&every_second(0)), take(&every_second(1)));
    let rounding = take(&places);
    let [largest, rounding] = [largest, rounding].map(|squares| graph.op("Sqrt", &[&squares]));
    let factors = graph.floats("unit_factors", &[n, 1], &factors);
    let summands = graph.floats("unit_summands", &[n, 1], &summands);
    let rounding = graph.op("Mul", &[&rounding, &factors]);
    let rounding = graph.op("Add", &[&rounding, &summands]);
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
