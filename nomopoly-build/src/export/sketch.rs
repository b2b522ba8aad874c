//! Sketch residuals: the contracted operation against the contracted output, in rounding units.
//! The formulas are those of [`nomopoly_runtime::operations::linear`].

use candle_core::Tensor;
use nomopoly_runtime::Result;
use nomopoly_runtime::onnx::builder;
use nomopoly_runtime::operations::linear::{Contracted, EPSILON, bias_unit};
use nomopoly_runtime::operations::{Linear, Operation};

use super::graph::{GraphBuilder, Value};
use super::matrix::{Product, without_sample_axis};
use super::node::{self, Slide};
use super::norms;

/// The secret of one operation, in the layout in which a graph uses it.
pub(super) struct Key<T> {
    /// k.
    pub sketches: usize,
    /// Of a convolution `[k, C_out]`, of a product `[N, k]`.
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
        let sketches = vectors.dim(1)?;
        if !linear.is_channels_first() {
            let weights = without_sample_axis(weights)?;
            return Ok(Self { sketches, vectors: vectors.clone(), weights });
        }
        let kernel = node::kernel(operation.spec())?;
        let channels_in = operation.spec().input_shapes[0][1];
        let vectors = vectors.t()?.contiguous()?;
        let weights = match slide.transposed() {
            None => weights.reshape(with_kernel(&[sketches, channels_in], &kernel))?,
            Some(_) => {
                let turned = turned(weights)?.transpose(0, 1)?.contiguous()?;
                turned.reshape(with_kernel(&[channels_in, sketches], &kernel))?
            }
        };
        Ok(Self { sketches, vectors, weights })
    }

    /// The two as constants of a graph.
    ///
    /// # Errors
    /// When a tensor cannot be read from its device.
    pub fn bake(&self, graph: &mut GraphBuilder) -> Result<Key<Value>> {
        Ok(Key {
            sketches: self.sketches,
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
    /// In rounding units, signed.
    pub residual: Value,
    /// Of which the largest is infinite, that claim is refused.
    pub units: Units,
    /// Whether these two have two axes, and not any number.
    pub is_matrix: bool,
    /// Tensors that must have one shape: another would be broadcast.
    pub same_shapes: Vec<SameShape>,
}

/// `factor * of + summand`, in any order.
pub(super) struct Units {
    pub of: Value,
    pub factor: f64,
    pub summand: f64,
}

impl From<Value> for Units {
    fn from(of: Value) -> Self {
        Self { of, factor: 1., summand: 0. }
    }
}

/// Two tensors of as many axes, of which the extents of the first and `more` are those of the second.
#[derive(Debug, Clone)]
pub(super) struct SameShape {
    pub first: Value,
    pub more: Vec<i64>,
    pub second: Value,
}

impl SameShape {
    pub fn new(first: &Value, second: &Value, rank: usize) -> Self {
        Self { first: first.clone(), more: vec![0; rank], second: second.clone() }
    }
}

/// An operation that is checked by sketches.
pub(super) struct Sketched<'a> {
    pub operation: &'a Operation,
    pub linear: &'a dyn Linear,
    pub slide: &'a Slide,
    pub key: &'a Key<Value>,
}

/// `((f·r)(x) - y·r) / σ` for every sketch and position.
///
/// The bias is contracted like the rest: taking it from the output first, as `Linear::observed` does,
/// is a pass over the output here. Units have room for its rounding.
///
/// # Errors
/// When a tensor cannot be read from its device.
pub(super) fn residual(
    graph: &mut GraphBuilder,
    sketched: &Sketched,
    x: &Value,
    y: &Value,
) -> Result<Residual> {
    if sketched.linear.is_channels_first() {
        convolution(graph, sketched, x, y)
    } else {
        product(graph, sketched, x, y)
    }
}

fn convolution(
    graph: &mut GraphBuilder,
    sketched: &Sketched,
    x: &Value,
    y: &Value,
) -> Result<Residual> {
    let Sketched { operation, linear, slide, key } = *sketched;
    let (spec, features) = (operation.spec(), linear.features());
    let bias = operation.constants().get(1);
    let contracted = match bias {
        Some(bias) => {
            let bias = graph.tensor("bias", bias)?;
            Some(graph.op("MatMul", &[&key.vectors, &bias]))
        }
        None => None,
    };
    let inputs: Vec<&Value> = [x, &key.weights].into_iter().chain(&contracted).collect();
    let predicted = match slide.transposed() {
        Some(attributes) => graph.op_with("ConvTranspose", &inputs, attributes),
        None => slide.conv(graph, &inputs, 1),
    };
    // One position after the other.
    let flat = |graph: &mut GraphBuilder, tensor: &Value| graph.reshape(tensor, &[0, 0, -1]);
    let flat_y = flat(graph, y);
    let observed = graph.op("MatMul", &[&key.vectors, &flat_y]);
    let flat_predicted = flat(graph, &predicted);
    let difference = graph.op("Sub", &[&flat_predicted, &observed]);

    // Σ_c ‖w_c‖² over the output channels that read an input channel, by group.
    let groups = node::int(spec, "group")? as usize;
    let channels_in = spec.input_shapes[0][1];
    let by_group = linear.weights().sqr()?.reshape((groups, ()))?.sum(1)?;
    let (scales, factor) = if groups == 1 {
        // Operations that read one tensor in one way share its norms.
        let frobenius = f64::from(by_group.sum_all()?.to_scalar::<f32>()?).sqrt();
        (vec![1.; channels_in], frobenius)
    } else {
        let scales = by_group.reshape((groups, 1))?.repeat((1, channels_in / groups))?;
        (scales.flatten_all()?.to_vec1::<f32>()?, 1.)
    };
    let (norms, over) = norms::of_patches(graph, slide, x, &scales, 1);
    let (factor, summand) = scale(linear, factor * over, bias)?;
    let flat_norms = flat(graph, &norms);
    let unit = graph.affine(&flat_norms, factor, summand);
    let mut more = vec![0; spec.output_shape.len()];
    more[1] = features as i64 - key.sketches as i64;
    Ok(Residual {
        residual: graph.op("Div", &[&difference, &unit]),
        units: Units { of: norms, factor, summand },
        is_matrix: false,
        same_shapes: vec![SameShape { first: predicted, more, second: y.clone() }],
    })
}

fn product(
    graph: &mut GraphBuilder,
    sketched: &Sketched,
    x: &Value,
    y: &Value,
) -> Result<Residual> {
    let Sketched { operation, linear, key, .. } = *sketched;
    let product = Product::new(operation, linear)?;
    let bias = product.bias.as_ref();
    let (columns, features) = (linear.reduction() as i64, linear.features());
    let rows = product.rows_of_x(graph, x);
    let rows_of_y = product.rows_of_y(graph, y);
    let rank = product.rank();
    // A bias of one row is contracted; one of several is taken away first.
    let row = bias.filter(|bias| bias.elem_count() == bias.dims().last().copied().unwrap_or(1));
    if product.weights.rank() == 2 && row.is_some() == bias.is_some() {
        let name = format!("rows {rows:?}");
        let flat = graph.once(&name, |graph| graph.reshape(&rows, &[-1, columns]));
        let mut inputs = vec![graph.reshape(&rows_of_y, &[-1, features as i64])];
        inputs.push(key.vectors.clone());
        if let Some(row) = row {
            let row = row.flatten_all()?.broadcast_as(features)?.contiguous()?;
            let row = graph.tensor_as("bias", &row, &[1, features])?;
            inputs.push(graph.op("MatMul", &[&row, &key.vectors]));
        }
        let minus = || vec![builder::float_attribute("beta", -1.)];
        let inputs: Vec<&Value> = inputs.iter().collect();
        let observed = graph.op_with("Gemm", &inputs, minus());
        let difference = graph.op_with("Gemm", &[&flat, &key.weights, &observed], minus());
        let frobenius = f64::from(product.weights.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt();
        let norms = norms::of_rows(graph, &flat);
        let (factor, summand) = scale(linear, frobenius, bias)?;
        let unit = graph.affine(&norms, factor, summand);
        let mut more = vec![0; rank];
        more[rank - 1] = features as i64 - columns;
        return Ok(Residual {
            residual: graph.op("Div", &[&difference, &unit]),
            units: Units { of: norms, factor, summand },
            is_matrix: true,
            same_shapes: vec![SameShape { first: rows, more, second: rows_of_y }],
        });
    }
    let predicted = graph.op("MatMul", &[&rows, &key.weights]);
    let mut unbiased = rows_of_y.clone();
    if let Some(bias) = bias {
        let bias = graph.tensor("bias", bias)?;
        unbiased = graph.op("Sub", &[&rows_of_y, &bias]);
    }
    let observed = graph.op("MatMul", &[&unbiased, &key.vectors]);
    let difference = graph.op("Sub", &[&predicted, &observed]);

    // ‖W‖_F of each batch index, `[.., 1, 1]`.
    let axes = product.weights.rank();
    let frobenius = product.weights.sqr()?.sum_keepdim(axes - 1)?.sum_keepdim(axes - 2)?.sqrt()?;
    let frobenius = graph.tensor("frobenius", &frobenius)?;
    let norms = norms::of_rows(graph, &rows);
    let norms = graph.op("Mul", &[&norms, &frobenius]);
    let (factor, summand) = scale(linear, 1., bias)?;
    let unit = graph.affine(&norms, factor, summand);
    Ok(Residual {
        residual: graph.op("Div", &[&difference, &unit]),
        units: unit.into(),
        is_matrix: false,
        same_shapes: vec![
            SameShape::new(&predicted, &observed, rank),
            SameShape::new(&unbiased, &rows_of_y, rank),
        ],
    })
}

/// Factor and summand that make units of norms:
/// σ = 2⁻²⁴ (‖W‖_F ‖x_patch‖ K^¼ + √features (max|b| + ‖b‖₂ / √6)). `factor` is what the norms lack of ‖W‖_F.
fn scale(linear: &dyn Linear, factor: f64, bias: Option<&Tensor>) -> Result<(f64, f64)> {
    let k = linear.reduction() as f64;
    let bias = bias_unit(bias, linear.features())?;
    Ok((EPSILON * factor * k.powf(0.25), EPSILON * bias + floor(linear)))
}

/// What keeps a unit above zero where the input is zero.
pub(super) fn floor(linear: &dyn Linear) -> f64 {
    f64::from(f32::MIN_POSITIVE) * (linear.reduction() as f64).sqrt()
}

pub(super) fn with_kernel(channels: &[usize], kernel: &[usize]) -> Vec<usize> {
    channels.iter().chain(kernel).copied().collect()
}
