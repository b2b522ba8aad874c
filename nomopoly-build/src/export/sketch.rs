//! Sketch residuals: the contracted operation against the contracted output, in rounding units.
//! The formulas are those of [`nomopoly_runtime::operations::linear`].

use candle_core::Tensor;
use nomopoly_runtime::Result;
use nomopoly_runtime::operations::linear::{Contracted, EPSILON};
use nomopoly_runtime::operations::{Linear, Operation};

use super::graph::{GraphBuilder, Value};
use super::matrix::{Product, without_sample_axis};
use super::node::{self, Slide};

/// The secret of one operation, in the layout in which a graph uses it.
pub(super) struct Key<T> {
    /// Of a convolution `[k, C_out, 1..]`, of a product `[N, k]`.
    pub vectors: T,
    /// Of a convolution `[k, C_in, ...kernel]`, or `[C_in, k, ...kernel]` turned round where
    /// [`Slide::transposed`]; of a product `[.., K, k]`.
    pub weights: T,
}

impl Key<Tensor> {
    /// # Errors
    /// When tensor arithmetic fails.
    pub fn new(
        operation: &Operation,
        linear: &dyn Linear,
        slide: &Slide,
        contracted: &Contracted,
    ) -> Result<Self> {
        let Contracted { vectors, weights } = contracted;
        if !linear.is_channels_first() {
            return Ok(Self { vectors: vectors.clone(), weights: without_sample_axis(weights)? });
        }
        let kernel = node::kernel(operation.spec())?;
        let (features, sketches) = vectors.dims2()?;
        let channels_in = operation.spec().input_shapes[0][1];
        let vectors = vectors.t()?.contiguous()?;
        let vectors =
            vectors.reshape(with_kernel(&[sketches, features], &vec![1; kernel.len()]))?;
        let weights = match slide.transposed() {
            None => weights.reshape(with_kernel(&[sketches, channels_in], &kernel))?,
            Some(_) => {
                let turned = turned(weights)?.transpose(0, 1)?.contiguous()?;
                turned.reshape(with_kernel(&[channels_in, sketches], &kernel))?
            }
        };
        Ok(Self { vectors, weights })
    }

    /// The two as constants of a graph.
    ///
    /// # Errors
    /// When a tensor cannot be read from its device.
    pub fn bake(&self, graph: &mut GraphBuilder) -> Result<Key<Value>> {
        Ok(Key {
            vectors: graph.tensor("vectors", &self.vectors)?,
            weights: graph.tensor("contracted.weights", &self.weights)?,
        })
    }
}

/// Kernels `[.., taps]` turned round: the last tap first.
///
/// # Errors
/// When the tensor cannot be read.
pub(super) fn turned(kernels: &Tensor) -> Result<Tensor> {
    let axis = kernels.rank() - 1;
    let order: Vec<u32> = (0..kernels.dim(axis)? as u32).rev().collect();
    let order = Tensor::new(order.as_slice(), kernels.device())?;
    Ok(kernels.contiguous()?.index_select(&order, axis)?)
}

/// What a head judges of an output.
pub(super) struct Residual {
    /// In rounding units, of any shape.
    pub residual: Value,
    /// The units: a claim of which one is infinite is refused.
    pub unit: Value,
    /// Tensors that must have one shape: another would be broadcast.
    pub same_shapes: Vec<(Value, Value)>,
}

/// `|y·r - (f·r)(x)| / σ` for every sketch and position.
///
/// # Errors
/// When a tensor cannot be read from its device.
pub(super) fn residual(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    slide: &Slide,
    key: &Key<Value>,
    x: &Value,
    y: &Value,
) -> Result<Residual> {
    let Parts { predicted, observed, unit, unbiased } = if linear.is_channels_first() {
        convolution(graph, operation, linear, slide, key, x, y)?
    } else {
        product(graph, operation, linear, key, x, y)?
    };
    let difference = graph.op("Sub", &[&observed, &predicted]);
    let difference = graph.op("Abs", &[&difference]);
    let residual = graph.op("Div", &[&difference, &unit]);
    let mut same_shapes = vec![(observed, predicted)];
    same_shapes.extend(unbiased);
    Ok(Residual { residual, unit, same_shapes })
}

struct Parts {
    predicted: Value,
    observed: Value,
    unit: Value,
    /// The output as rows and without its bias, where that is a matrix which it could be spread over.
    unbiased: Option<(Value, Value)>,
}

fn convolution(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    slide: &Slide,
    key: &Key<Value>,
    x: &Value,
    y: &Value,
) -> Result<Parts> {
    let spec = operation.spec();
    let axes = slide.kernel.len();
    let channels_in = spec.input_shapes[0][1];
    let predicted = match slide.transposed() {
        Some(attributes) => graph.op_with("ConvTranspose", &[x, &key.weights], attributes),
        None => slide.conv(graph, &[x, &key.weights], 1),
    };
    // The bias is taken away before the contraction, as in `Linear::observed`.
    let shape = with_kernel(&[1, linear.features()], &vec![1; axes]);
    let y = match operation.constants().get(1) {
        Some(bias) => {
            let bias = graph.tensor_as("bias", bias, &shape)?;
            graph.op("Sub", &[y, &bias])
        }
        None => y.clone(),
    };
    // One by one: the contraction of the output's channels at every position.
    let observed = graph.op("Conv", &[&y, &key.vectors]);

    // Σ_c ‖w_c‖² over the output channels that read an input channel, by group.
    let groups = node::int(spec, "group")? as usize;
    let by_group = linear.weights().sqr()?.reshape((groups, ()))?.sum(1)?;
    let (norms, factor) = if groups == 1 {
        let frobenius = f64::from(by_group.sum_all()?.to_scalar::<f32>()?).sqrt();
        // Operations that read one tensor in one way share this.
        let name = format!("patches {x:?} {slide:?}");
        (graph.once(&name, |graph| patch_norms(graph, slide, x, None, 1))?, frobenius)
    } else {
        let scales = by_group.reshape((groups, 1))?.repeat((1, channels_in / groups))?;
        let shape = with_kernel(&[1, channels_in], &vec![1; axes]);
        let scales = graph.tensor_as("channel_norms", &scales, &shape)?;
        (patch_norms(graph, slide, x, Some(&scales), 1)?, 1.)
    };
    let unit = unit(graph, linear, &norms, factor, max_abs(operation.constants().get(1))?);
    Ok(Parts { predicted, observed, unit, unbiased: None })
}

/// Norms of the patches times 2⁻²⁴, each input channel weighted: `scales` `[R, C_in / groups, 1..]`, or ones,
/// gives `[N, R, ...positions]` of 2⁻²⁴ √(Σ_c scales[c] Σ_taps x_c²). Pixels are summed over channels
/// before the window slides over them: the constants do not grow with the image.
pub(super) fn patch_norms(
    graph: &mut GraphBuilder,
    slide: &Slide,
    x: &Value,
    scales: Option<&Value>,
    groups: usize,
) -> Result<Value> {
    let shape = with_kernel(&[groups, 1], &slide.kernel);
    let ones = graph.floats("box", &shape, &vec![1.; shape.iter().product()]);
    norms(graph, x, |graph, x| {
        let by_pixel = match scales {
            None => graph.reduce_along("ReduceSumSquare", x, 1),
            Some(scales) => {
                let squares = graph.square(x);
                graph.op_with("Conv", &[&squares, scales], vec![node::group(groups)])
            }
        };
        if slide.is_pointwise() {
            return by_pixel;
        }
        slide.conv(graph, &[&by_pixel, &ones], groups)
    })
}

/// 2⁻²⁴ times the root of what `sums` makes of `x`, sums of squares: where those overflow or vanish, of
/// `x` divided by its largest element. The factor comes first: the norm of numbers may be larger than any.
fn norms(
    graph: &mut GraphBuilder,
    x: &Value,
    sums: impl Fn(&mut GraphBuilder, &Value) -> Value,
) -> Result<Value> {
    let plain = sums(graph, x);
    let largest = graph.reduce_all("ReduceMax", &plain);
    let (most, least) = (graph.scalar(1e30), graph.scalar(1e-12));
    let below = graph.op("Less", &[&largest, &most]);
    let above = graph.op("Greater", &[&largest, &least]);
    let in_range = graph.op("And", &[&below, &above]);
    let in_range = graph.reshape(&in_range, &[1]);
    graph.branch(
        &in_range,
        |graph| {
            let norms = graph.op("Sqrt", &[&plain]);
            Ok(graph.affine(&norms, EPSILON, 0.))
        },
        |graph| {
            let scale = graph.scale_of(x);
            let scaled = graph.op("Div", &[x, &scale]);
            let sums = sums(graph, &scaled);
            let norms = graph.op("Sqrt", &[&sums]);
            let scale = graph.affine(&scale, EPSILON, 0.);
            Ok(graph.op("Mul", &[&norms, &scale]))
        },
    )
}

fn product(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    key: &Key<Value>,
    x: &Value,
    y: &Value,
) -> Result<Parts> {
    let product = Product::new(operation, linear)?;
    let rows = product.rows_of_x(graph, x);
    let predicted = graph.op("MatMul", &[&rows, &key.weights]);
    let mut rows_of_y = product.rows_of_y(graph, y);
    let mut unbiased = None;
    if let Some(bias) = &product.bias {
        let matrix = bias.rank() > 1;
        let bias = graph.tensor("bias", bias)?;
        let without = graph.op("Sub", &[&rows_of_y, &bias]);
        let rows = std::mem::replace(&mut rows_of_y, without.clone());
        unbiased = matrix.then_some((rows, without));
    }
    let observed = graph.op("MatMul", &[&rows_of_y, &key.vectors]);

    // ‖W‖_F of each batch index, `[.., 1, 1]`.
    let rank = product.weights.rank();
    let frobenius = product.weights.sqr()?.sum_keepdim(rank - 1)?.sum_keepdim(rank - 2)?.sqrt()?;
    let norms = graph.once(&format!("rows {rows:?}"), |graph| row_norms(graph, &rows))?;
    let (norms, factor) = if frobenius.elem_count() == 1 {
        (norms, f64::from(frobenius.flatten_all()?.to_vec1::<f32>()?[0]))
    } else {
        let frobenius = graph.tensor("frobenius", &frobenius)?;
        (graph.op("Mul", &[&norms, &frobenius]), 1.)
    };
    let unit = unit(graph, linear, &norms, factor, max_abs(product.bias.as_ref())?);
    Ok(Parts { predicted, observed, unit, unbiased })
}

/// 2⁻²⁴ ‖x_row‖, `[.., rows, 1]`.
pub(super) fn row_norms(graph: &mut GraphBuilder, rows: &Value) -> Result<Value> {
    norms(graph, rows, |graph, rows| graph.reduce_along("ReduceSumSquare", rows, -1))
}

/// σ = 2⁻²⁴ (‖W‖_F ‖x_patch‖ K^¼ + √features max|b|), from `factor * norms`, 2⁻²⁴ times the product of
/// the two norms.
fn unit(
    graph: &mut GraphBuilder,
    linear: &dyn Linear,
    norms: &Value,
    factor: f64,
    max_bias: f64,
) -> Value {
    let k = linear.reduction() as f64;
    let bias = (linear.features() as f64).sqrt() * max_bias;
    graph.affine(norms, factor * k.powf(0.25), EPSILON * bias + floor(linear))
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
