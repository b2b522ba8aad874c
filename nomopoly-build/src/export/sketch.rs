//! Sketch residuals: the contracted operation against the contracted output, in rounding units.
//! The formulas are those of [`nomopoly_runtime::operations::linear`].

use candle_core::Tensor;
use nomopoly_manifest::OperationSpec;
use nomopoly_runtime::Result;
use nomopoly_runtime::operations::linear::{Contracted, EPSILON};
use nomopoly_runtime::operations::{Linear, Operation};

use super::graph::{GraphBuilder, Value};
use super::matrix::{Product, without_sample_axis};
use super::node;

/// `|y·r - (f·r)(x)| / σ` for every sketch and position.
///
/// # Errors
/// When a tensor cannot be read from its device.
pub(super) fn residual(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    contracted: &Contracted,
    x: &Value,
    y: &Value,
) -> Result<Value> {
    let (predicted, observed, unit) = if linear.is_channels_first() {
        convolution(graph, operation, linear, contracted, x, y)?
    } else {
        product(graph, operation, linear, contracted, x, y)?
    };
    let difference = graph.op("Sub", &[&observed, &predicted]);
    let difference = graph.op("Abs", &[&difference]);
    Ok(graph.op("Div", &[&difference, &unit]))
}

type Parts = (Value, Value, Value);

fn convolution(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    contracted: &Contracted,
    x: &Value,
    y: &Value,
) -> Result<Parts> {
    let spec = operation.spec();
    let kernel = node::kernel(spec)?;
    let (features, sketches) = contracted.vectors.dims2()?;
    let channels_in = spec.input_shapes[0][1];
    let shape = with_kernel(&[sketches, channels_in], &kernel);
    let weights = graph.tensor_as("contracted.weights", &contracted.weights, &shape)?;
    let predicted = node::sliding_conv(graph, spec, &[x, &weights], 1);
    // The bias is taken away before the contraction, as in `Linear::observed`.
    let shape = with_kernel(&[1, features], &vec![1; kernel.len()]);
    let y = match operation.constants().get(1) {
        Some(bias) => {
            let bias = graph.tensor_as("bias", bias, &shape)?;
            graph.op("Sub", &[y, &bias])
        }
        None => y.clone(),
    };
    // One by one: the contraction of the output's channels at every position.
    let shape = with_kernel(&[sketches, features], &vec![1; kernel.len()]);
    let vectors = graph.tensor_as("vectors", &contracted.vectors.t()?.contiguous()?, &shape)?;
    let observed = graph.op("Conv", &[&y, &vectors]);

    // Σ_c ‖w_c‖² over the output channels that read an input channel, by input channel.
    let groups = node::int(spec, "group")? as usize;
    let by_group = linear.weights().sqr()?.reshape((groups, ()))?.sum(1)?;
    let scales = by_group.reshape((groups, 1))?.repeat((1, channels_in / groups))?;
    let shape = with_kernel(&[1, channels_in], &vec![1; kernel.len()]);
    let scales = graph.tensor_as("channel_norms", &scales, &shape)?;
    let norms = patch_norms(graph, spec, x, &scales, 1)?;
    let unit = unit(graph, linear, &norms, max_abs(operation.constants().get(1))?);
    Ok((predicted, observed, unit))
}

/// Norms of the patches, each input channel weighted: `scales` `[R, C_in / groups, 1..]` gives
/// `[N, R, ...positions]` of √(Σ_c scales[c] Σ_taps x_c²). Pixels are summed over channels before
/// the window slides over them: the constants do not grow with the image.
pub(super) fn patch_norms(
    graph: &mut GraphBuilder,
    spec: &OperationSpec,
    x: &Value,
    scales: &Value,
    groups: usize,
) -> Result<Value> {
    let kernel = node::kernel(spec)?;
    let scale = graph.scale_of(x);
    let scaled = graph.op("Div", &[x, &scale]);
    let squares = graph.square(&scaled);
    let attributes = vec![nomopoly_runtime::onnx::builder::int_attribute("group", groups as i64)];
    let by_pixel = graph.op_with("Conv", &[&squares, scales], attributes);
    let shape = with_kernel(&[groups, 1], &kernel);
    let ones = graph.floats("box", &shape, &vec![1.; shape.iter().product()]);
    let sums = node::sliding_conv(graph, spec, &[&by_pixel, &ones], groups);
    let norms = graph.op("Sqrt", &[&sums]);
    Ok(graph.op("Mul", &[&norms, &scale]))
}

fn product(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    contracted: &Contracted,
    x: &Value,
    y: &Value,
) -> Result<Parts> {
    let product = Product::new(operation, linear)?;
    let rows = product.rows_of_x(graph, x);
    let weights = without_sample_axis(&contracted.weights)?;
    let weights = graph.tensor("contracted.weights", &weights)?;
    let predicted = graph.op("MatMul", &[&rows, &weights]);
    let mut rows_of_y = product.rows_of_y(graph, y);
    if let Some(bias) = &product.bias {
        let bias = graph.tensor("bias", bias)?;
        rows_of_y = graph.op("Sub", &[&rows_of_y, &bias]);
    }
    let vectors = graph.tensor("vectors", &contracted.vectors)?;
    let observed = graph.op("MatMul", &[&rows_of_y, &vectors]);

    // ‖W‖_F of each batch index, `[.., 1, 1]`.
    let rank = product.weights.rank();
    let frobenius = product.weights.sqr()?.sum_keepdim(rank - 1)?.sum_keepdim(rank - 2)?.sqrt()?;
    let frobenius = graph.tensor("frobenius", &frobenius)?;
    let norms = row_norms(graph, &rows);
    let norms = graph.op("Mul", &[&norms, &frobenius]);
    let unit = unit(graph, linear, &norms, max_abs(product.bias.as_ref())?);
    Ok((predicted, observed, unit))
}

/// ‖x_row‖, `[.., rows, 1]`.
pub(super) fn row_norms(graph: &mut GraphBuilder, rows: &Value) -> Value {
    let scale = graph.scale_of(rows);
    let scaled = graph.op("Div", &[rows, &scale]);
    let squares = graph.square(&scaled);
    let sums = graph.sum_along(&squares, -1);
    let norms = graph.op("Sqrt", &[&sums]);
    graph.op("Mul", &[&norms, &scale])
}

/// σ = 2⁻²⁴ (‖W‖_F ‖x_patch‖ K^¼ + √features max|b|), from the product of the two norms.
fn unit(graph: &mut GraphBuilder, linear: &dyn Linear, norms: &Value, max_bias: f64) -> Value {
    let k = linear.reduction() as f64;
    let bias = (linear.features() as f64).sqrt() * max_bias;
    graph.affine(norms, EPSILON * k.powf(0.25), EPSILON * bias + floor(linear))
}

/// What keeps a unit above zero where the input is zero.
pub(super) fn floor(linear: &dyn Linear) -> f64 {
    f64::from(f32::MIN_POSITIVE) * (linear.reduction() as f64).sqrt()
}

fn max_abs(bias: Option<&Tensor>) -> Result<f64> {
    Ok(match bias {
        Some(bias) => f64::from(bias.abs()?.max_all()?.to_scalar::<f32>()?),
        None => 0.,
    })
}

pub(super) fn with_kernel(channels: &[usize], kernel: &[usize]) -> Vec<usize> {
    channels.iter().chain(kernel).copied().collect()
}
