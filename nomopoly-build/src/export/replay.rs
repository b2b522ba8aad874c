//! Replay residuals: the recomputed output against the claimed one, in rounding units by element.
//! The formulas are those of [`nomopoly_runtime::operations`], one per kind.

use candle_core::Tensor;
use nomopoly_manifest::OperationKind;
use nomopoly_runtime::Result;
use nomopoly_runtime::operations::linear::EPSILON;
use nomopoly_runtime::operations::{Linear, Operation};

use super::graph::{GraphBuilder, Value};
use super::matrix::Product;
use super::node::{self, Slide};
use super::norms;
use super::sketch::{self, Residual, SameShape};

/// `|y - f(x)| / unit` for every element, from `expected`, which is f(x).
///
/// # Errors
/// When a tensor cannot be read from its device.
pub(super) fn residual(
    graph: &mut GraphBuilder,
    operation: &Operation,
    slide: &Slide,
    inputs: &[Value],
    expected: &Value,
    y: &Value,
) -> Result<Residual> {
    let unit = match operation.linear() {
        Some(linear) if linear.is_channels_first() => {
            convolution_unit(graph, operation, linear, slide, &inputs[0])?
        }
        Some(linear) => product_unit(graph, operation, linear, &inputs[0])?,
        None => unit(graph, operation, slide, inputs, expected)?,
    };
    let difference = graph.op("Sub", &[y, expected]);
    let residual = graph.op("Div", &[&difference, &unit]);
    let same_shapes = vec![SameShape::new(expected, y, operation.spec().output_shape.len())];
    Ok(Residual { residual, units: unit.into(), is_matrix: false, same_shapes })
}

/// Units of the kinds that are not linear.
fn unit(
    graph: &mut GraphBuilder,
    operation: &Operation,
    slide: &Slide,
    inputs: &[Value],
    expected: &Value,
) -> Result<Value> {
    let least = f64::from(f32::MIN_POSITIVE);
    let spec = operation.spec();
    Ok(match spec.kind {
        OperationKind::Add => {
            let first = graph.op("Abs", &[&inputs[0]]);
            let second = match (inputs.get(1), operation.constants().first()) {
                (Some(second), _) => graph.op("Abs", &[second]),
                (None, Some(constant)) => graph.tensor("constant_abs", &constant.abs()?)?,
                (None, None) => return Err(super::cannot(spec, "an operand is missing".into())),
            };
            let sum = graph.op("Add", &[&first, &second]);
            graph.affine(&sum, EPSILON, least)
        }
        OperationKind::AveragePool => {
            let taps = node::kernel(spec)?.iter().product::<usize>() as f64;
            let magnitudes = graph.op("Abs", &[&inputs[0]]);
            let mean = graph.op_with("AveragePool", &[&magnitudes], slide.pooling.clone());
            graph.affine(&mean, EPSILON * taps.powf(0.25), least)
        }
        OperationKind::BatchNormalization => {
            let terms = normalised_terms(graph, operation, &inputs[0])?;
            graph.affine(&terms, 2. * EPSILON, least)
        }
        OperationKind::Relu => copied(graph, &inputs[0]),
        _ => copied(graph, expected),
    })
}

/// Unit of an operation that copies or selects values: one rounding of the value itself.
fn copied(graph: &mut GraphBuilder, value: &Value) -> Value {
    let magnitudes = graph.op("Abs", &[value]);
    graph.affine(&magnitudes, EPSILON, f64::from(f32::MIN_POSITIVE))
}

/// |scale| (|x| + |mean|) + |bias| by channel.
fn normalised_terms(graph: &mut GraphBuilder, operation: &Operation, x: &Value) -> Result<Value> {
    let spec = operation.spec();
    let [scale, bias, mean, variance] = operation.constants() else {
        return Err(super::cannot(spec, "a statistic is missing".into()));
    };
    let deviation = (variance + node::float(spec, "epsilon")?)?.sqrt()?;
    let scale = scale.div(&deviation)?;
    // Against `[N, C, ...]`.
    let mut shape = vec![scale.elem_count()];
    shape.resize(spec.output_shape.len() - 1, 1);
    let mean = graph.tensor_as("mean_abs", &mean.abs()?, &shape)?;
    let scale = graph.tensor_as("scale_abs", &scale.abs()?, &shape)?;
    let bias = graph.tensor_as("bias_abs", &bias.abs()?, &shape)?;
    let terms = graph.op("Abs", &[x]);
    let terms = graph.op("Add", &[&terms, &mean]);
    let terms = graph.op("Mul", &[&terms, &scale]);
    Ok(graph.op("Add", &[&terms, &bias]))
}

/// 2⁻²⁴ (‖w_c‖ ‖x_patch‖ K^¼ + |b_c|), `[N, C_out, ...positions]`.
fn convolution_unit(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    slide: &Slide,
    x: &Value,
) -> Result<Value> {
    let spec = operation.spec();
    let (groups, channels_in) = (node::int(spec, "group")? as usize, spec.input_shapes[0][1]);
    let features = linear.features();
    let axes = vec![1; slide.kernel.len()];
    let (norms, over) = norms::of_patches(graph, slide, x, &vec![1.; channels_in], groups);
    // Each output channel reads the norm of its group, times its kernel's.
    let kernels = linear.weights().sqr()?.reshape((features, ()))?.sum(1)?.sqrt()?;
    let shape = sketch::with_kernel(&[features, 1], &axes);
    let kernels = graph.tensor_as("kernel_norms", &kernels, &shape)?;
    let products = graph.op_with("Conv", &[&norms, &kernels], vec![node::group(groups)]);
    let unit = element_unit(graph, linear, over, &products);
    let bias = operation.constants().get(1);
    let shape = sketch::with_kernel(&[features], &axes);
    let bias = bias.map(|bias| bias.reshape(shape)).transpose()?;
    with_bias(graph, unit, bias.as_ref())
}

/// 2⁻²⁴ (‖w_c‖ ‖x_row‖ K^¼ + |b_c|), in the shape of the output.
fn product_unit(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    x: &Value,
) -> Result<Value> {
    let product = Product::new(operation, linear)?;
    let rows = product.rows_of_x(graph, x);
    let columns = product.weights.sqr()?.sum_keepdim(product.weights.rank() - 2)?.sqrt()?;
    let columns = graph.tensor("column_norms", &columns)?;
    let norms = norms::of_rows(graph, &rows);
    let products = graph.op("Mul", &[&norms, &columns]);
    let unit = element_unit(graph, linear, 1., &products);
    let unit = with_bias(graph, unit, product.bias.as_ref())?;
    Ok(product.finish(graph, &unit))
}

fn element_unit(
    graph: &mut GraphBuilder,
    linear: &dyn Linear,
    factor: f64,
    products: &Value,
) -> Value {
    let growth = (linear.reduction() as f64).powf(0.25);
    graph.affine(products, EPSILON * factor * growth, sketch::floor(linear))
}

fn with_bias(graph: &mut GraphBuilder, unit: Value, bias: Option<&Tensor>) -> Result<Value> {
    let Some(bias) = bias else { return Ok(unit) };
    let bias = graph.tensor("bias_unit", &bias.abs()?.affine(EPSILON, 0.)?)?;
    Ok(graph.op("Add", &[&unit, &bias]))
}
