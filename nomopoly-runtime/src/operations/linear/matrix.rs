//! Matrix products with a constant right operand: Gemm and MatMul.

use candle_core::{DType, Tensor};

use super::parts::{Array, Form, Weightless, unfit};
use super::plain::{PlainSketch, Sums, Units, read, scale_for};
use super::{Contracted, Cut, EPSILON, Linear, LinearPart, bias_unit, sample_scale};
use crate::Result;
use crate::kernels::{Rows, row_squares};

/// y = x W + b over rows, with x `[.., rows, K]`, W `[K, N]` (or one per batch index) and b
/// broadcastable to `[rows, N]`.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// `[K, N]`, or `[.., K, N]` where the right operand is batched.
    weights: Tensor,
    /// `[1, N]` or `[rows, N]`.
    bias: Option<Tensor>,
    /// [`bias_unit`].
    bias_unit: f64,
    /// ‖W‖_F² of each batch index, `[.., 1, 1]`.
    energy: Tensor,
    /// Batch dimensions, rows and K of the input, after `transpose`.
    x_shape: Vec<usize>,
    /// Batch dimensions, rows and N.
    y_shape: Vec<usize>,
    /// The operation's own output shape (vectors lose the dimension of size 1).
    output_shape: Vec<usize>,
    /// Whether the input comes as `[K, rows]` (Gemm's transA).
    transpose: bool,
}

impl Matrix {
    pub fn new(
        weights: Tensor,
        bias: Option<Tensor>,
        x_shape: Vec<usize>,
        y_shape: Vec<usize>,
        output_shape: Vec<usize>,
        transpose: bool,
    ) -> Result<Self> {
        let features = weights.dim(weights.rank() - 1)?;
        let (energy, bias_unit) = (energy(&weights)?, bias_unit(bias.as_ref(), features)?);
        Ok(Self { weights, bias, bias_unit, energy, x_shape, y_shape, output_shape, transpose })
    }

    pub(super) fn without_weights(
        form: &Form,
        bias: Option<Tensor>,
        energy: Tensor,
    ) -> Result<Self> {
        let Form::Matrix { x_shape, y_shape, output_shape, transpose } = form else {
            return Err(unfit("Gemm or MatMul"));
        };
        let ranks = x_shape.len() >= 2 && y_shape.len() >= 2 && energy.rank() >= 2;
        if !ranks || (*transpose && x_shape.len() != 2) {
            return Err(unfit("Gemm or MatMul"));
        }
        let mut shape = energy.dims().to_vec();
        shape.truncate(energy.rank() - 2);
        shape.extend([0, y_shape[y_shape.len() - 1]]);
        Ok(Self {
            weights: Tensor::zeros(shape, DType::F32, energy.device())?,
            bias_unit: bias_unit(bias.as_ref(), y_shape[y_shape.len() - 1])?,
            bias,
            energy,
            x_shape: x_shape.clone(),
            y_shape: y_shape.clone(),
            output_shape: output_shape.clone(),
            transpose: *transpose,
        })
    }

    /// The input as `[B, .., rows, K]`.
    fn rows_of(&self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        if self.transpose {
            let [rows, k] = [self.x_shape[0], self.x_shape[1]];
            return Ok(x.reshape((batch, k, rows))?.transpose(1, 2)?.contiguous()?);
        }
        let mut shape = vec![batch];
        shape.extend(&self.x_shape);
        Ok(x.reshape(shape)?)
    }

    fn product(&self, x: &Tensor, weights: &Tensor) -> Result<Tensor> {
        if weights.rank() == 2 {
            // One plain product over all rows is much faster than a batch of small ones.
            let mut shape = x.dims().to_vec();
            let k = shape.pop().unwrap_or(1);
            let rows = shape.iter().product::<usize>();
            shape.push(weights.dim(1)?);
            return Ok(x.reshape((rows, k))?.matmul(weights)?.reshape(shape)?);
        }
        // candle multiplies at most two batch dimensions: broadcast, then flatten them into one.
        let (xs, ws) = (x.dims(), weights.dims());
        let rank = xs.len().max(ws.len());
        let at = |dims: &[usize], axis: usize| {
            (axis + dims.len()).checked_sub(rank).map_or(1, |index| dims[index])
        };
        let batch: Vec<usize> = (0..rank - 2).map(|axis| at(xs, axis).max(at(ws, axis))).collect();
        let count: usize = batch.iter().product();
        let flat = |tensor: &Tensor| -> Result<Tensor> {
            let (rows, columns) = (tensor.dim(tensor.rank() - 2)?, tensor.dim(tensor.rank() - 1)?);
            let mut shape = batch.clone();
            shape.extend([rows, columns]);
            Ok(tensor.broadcast_as(shape)?.contiguous()?.reshape((count, rows, columns))?)
        };
        let y = flat(x)?.matmul(&flat(weights)?)?;
        let (_, rows, columns) = y.dims3()?;
        let mut shape = batch.clone();
        shape.extend([rows, columns]);
        Ok(y.reshape(shape)?)
    }

    fn finish(&self, y: Tensor) -> Result<Tensor> {
        let mut shape = vec![y.dim(0)?];
        shape.extend(&self.output_shape);
        Ok(y.reshape(shape)?)
    }

    fn add_bias(y: Tensor, bias: &Option<Tensor>) -> Result<Tensor> {
        Ok(match bias {
            Some(bias) => y.broadcast_add(&bias.to_dtype(y.dtype())?)?,
            None => y,
        })
    }

    /// ‖x_row‖, `[B, .., rows, 1]`.
    fn row_norms(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.rows_of(x)?;
        let scale = sample_scale(&x)?;
        let norm = x.broadcast_div(&scale)?.sqr()?.sum_keepdim(x.rank() - 1)?.sqrt()?;
        Ok(norm.broadcast_mul(&scale)?)
    }

    fn batch_of_y(&self) -> usize {
        self.y_shape[..self.y_shape.len() - 2].iter().product()
    }
}

fn energy(weights: &Tensor) -> Result<Tensor> {
    let rank = weights.rank();
    Ok(weights.sqr()?.sum_keepdim(rank - 1)?.sum_keepdim(rank - 2)?)
}

impl Linear for Matrix {
    fn features(&self) -> usize {
        self.y_shape[self.y_shape.len() - 1]
    }

    fn reduction(&self) -> usize {
        self.x_shape[self.x_shape.len() - 1]
    }

    fn positions(&self) -> usize {
        self.batch_of_y() * self.y_shape[self.y_shape.len() - 2]
    }

    fn is_channels_first(&self) -> bool {
        false
    }

    fn weights(&self) -> &Tensor {
        &self.weights
    }

    fn with_weights(&self, weights: Tensor) -> Result<Box<dyn Linear>> {
        let weights = weights.reshape(self.weights.shape())?;
        let energy = energy(&weights)?;
        Ok(Box::new(Self { weights, energy, ..self.clone() }))
    }

    fn weightless(&self) -> Result<Weightless> {
        Ok(Weightless {
            form: Form::Matrix {
                x_shape: self.x_shape.clone(),
                y_shape: self.y_shape.clone(),
                output_shape: self.output_shape.clone(),
                transpose: self.transpose,
            },
            bias: self.bias.as_ref().map(Array::from_tensor).transpose()?,
            energy: Array::from_tensor(&self.energy)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.product(&self.rows_of(x)?, &self.weights)?;
        self.finish(Self::add_bias(y, &self.bias)?)
    }

    fn forward_low_rank(&self, x: &Tensor, down: &Tensor, up: &Tensor) -> Result<Tensor> {
        let inner = self.product(&self.rows_of(x)?, down)?;
        let y = self.product(&inner, up)?;
        // A right operand of several batches spreads a single one.
        let mut shape = vec![x.dim(0)?];
        shape.extend(&self.y_shape);
        let y = y.broadcast_as(shape)?.contiguous()?;
        self.finish(Self::add_bias(y, &self.bias)?)
    }

    fn forward_reordered(&self, x: &Tensor) -> Result<Tensor> {
        // The reduction in two halves, the second first, the bias first of all.
        let x = self.rows_of(x)?;
        let (k, axis) = (self.reduction(), x.rank() - 1);
        let first = k / 2;
        let weights_axis = self.weights.rank() - 2;
        if first == 0 {
            return self.forward_f64(&x);
        }
        let part = |start: usize, len: usize| -> Result<Tensor> {
            let x = x.narrow(axis, start, len)?.contiguous()?;
            self.product(&x, &self.weights.narrow(weights_axis, start, len)?.contiguous()?)
        };
        let second = Self::add_bias(part(first, k - first)?, &self.bias)?;
        self.finish((second + part(0, first)?)?)
    }

    fn forward_f64(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.rows_of(x)?.to_dtype(DType::F64)?;
        let y = self.product(&x, &self.weights.to_dtype(DType::F64)?)?;
        self.finish(Self::add_bias(y, &self.bias)?.to_dtype(DType::F32)?)
    }

    fn contract(&self, vectors: &Tensor) -> Result<Contracted> {
        let weights = self.product(&self.weights, vectors)?;
        Ok(Contracted { vectors: vectors.clone(), weights })
    }

    fn predicted(&self, x: &Tensor, contracted: &Contracted) -> Result<Tensor> {
        if let Some(plain) = self.plain_part(contracted)?
            && let Some(z) = read(x, |x| plain.predicted(x))?
        {
            return Ok(Tensor::from_vec(z, self.sketch_shape(x.dim(0)?, plain.k()), x.device())?);
        }
        self.product(&self.rows_of(x)?, &contracted.weights)
    }

    fn observed(&self, y: &Tensor, contracted: &Contracted) -> Result<Tensor> {
        if let Some(plain) = self.plain_part(contracted)?
            && let Some(z) = read(y, |y| plain.observed(y))?
        {
            return Ok(Tensor::from_vec(z, self.sketch_shape(y.dim(0)?, plain.k()), y.device())?);
        }
        let mut shape = vec![y.dim(0)?];
        shape.extend(&self.y_shape);
        let y = y.reshape(shape)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_sub(bias)?,
            None => y,
        };
        self.product(&y, &contracted.vectors)
    }

    fn sketch_unit(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(units) = self.plain_units()?
            && let Some(units) = read(x, |x| units.of(x))?
        {
            return Ok(Tensor::from_vec(units, self.sketch_shape(x.dim(0)?, 1), x.device())?);
        }
        let k = self.reduction() as f64;
        let norms = self.row_norms(x)?.broadcast_mul(&self.energy.sqrt()?)?;
        let floor = f64::from(f32::MIN_POSITIVE) * k.sqrt();
        Ok(norms.affine(EPSILON * k.powf(0.25), EPSILON * self.bias_unit + floor)?)
    }

    fn element_unit(&self, x: &Tensor) -> Result<Tensor> {
        let k = self.reduction() as f64;
        let columns = self.weights.sqr()?.sum_keepdim(self.weights.rank() - 2)?.sqrt()?;
        let norms = self.row_norms(x)?.broadcast_mul(&columns)?;
        let floor = f64::from(f32::MIN_POSITIVE) * k.sqrt();
        let unit = norms.affine(EPSILON * k.powf(0.25), floor)?;
        self.finish(match &self.bias {
            Some(bias) => unit.broadcast_add(&bias.abs()?.affine(EPSILON, 0.)?)?,
            None => unit,
        })
    }

    fn on_part(&self, positions: usize) -> Result<Option<LinearPart>> {
        let rows = self.positions();
        let one_bias = self.bias.as_ref().is_none_or(|bias| bias.elem_count() == self.features());
        if self.transpose || self.weights.rank() != 2 || !one_bias || positions >= rows {
            return Ok(None);
        }
        let (k, n) = (self.reduction(), self.features());
        let (x_shape, y_shape) = (vec![positions, k], vec![positions, n]);
        Ok(Some(LinearPart {
            input_shape: x_shape.clone(),
            output_shape: y_shape.clone(),
            cut: Cut::Rows { rows: positions, of: rows, each: k },
            linear: Box::new(Self {
                x_shape,
                output_shape: y_shape.clone(),
                y_shape,
                ..self.clone()
            }),
        }))
    }

    fn plain(&self, contracted: &Contracted) -> Result<Option<Box<dyn PlainSketch>>> {
        let (Some(sketch), Some(units)) = (self.plain_part(contracted)?, self.plain_units()?)
        else {
            return Ok(None);
        };
        Ok(Some(Box::new(Plain { sketch, units })))
    }

    fn cost(&self, sketches: usize) -> (u64, u64) {
        let (p, k, n) = (self.positions() as u64, self.reduction() as u64, self.features() as u64);
        let s = sketches as u64;
        // The contracted product, the contraction of y, and the norm of each row.
        (p * k * n, p * (k * s + n * s + k))
    }
}

impl Matrix {
    /// Whether the input lies in memory row by row and has one matrix for all rows.
    fn is_plain(&self) -> bool {
        !self.transpose && self.weights.rank() == 2 && self.energy.device().is_cpu()
    }

    /// `[batch, ..., rows, k]`.
    fn sketch_shape(&self, batch: usize, k: usize) -> Vec<usize> {
        let mut shape = vec![batch];
        shape.extend(&self.y_shape);
        if let Some(last) = shape.last_mut() {
            *last = k;
        }
        shape
    }

    fn plain_part(&self, contracted: &Contracted) -> Result<Option<Sketch>> {
        if !self.is_plain() {
            return Ok(None);
        }
        let k = contracted.vectors.dim(1)?;
        let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let (features, rows) = (self.features(), self.y_shape[self.y_shape.len() - 2]);
        // One bias for every row, or one for each.
        let bias = self.bias.as_ref().map(flat).transpose()?;
        if bias.as_ref().is_some_and(|bias| bias.len() != features && bias.len() != rows * features)
        {
            return Ok(None);
        }
        Ok(Some(Sketch {
            predict: Rows::from_columns(&flat(&contracted.weights)?, k),
            observe: Rows::from_columns(&flat(&contracted.vectors)?, k),
            bias,
            rows,
            features,
        }))
    }

    fn plain_units(&self) -> Result<Option<PlainUnits>> {
        if !self.is_plain() {
            return Ok(None);
        }
        let k = self.reduction() as f64;
        let energy = f64::from(self.energy.flatten_all()?.to_vec1::<f32>()?[0]);
        Ok(Some(PlainUnits {
            n: self.reduction(),
            factor: EPSILON * k.powf(0.25) * energy.sqrt(),
            floor: EPSILON * self.bias_unit + f64::from(f32::MIN_POSITIVE) * k.sqrt(),
        }))
    }
}

/// Both sides of a sketch on plain memory.
struct Sketch {
    predict: Rows,
    observe: Rows,
    /// `[features]` or `[rows, features]`.
    bias: Option<Vec<f32>>,
    rows: usize,
    features: usize,
}

impl Sketch {
    fn k(&self) -> usize {
        self.observe.vectors()
    }

    fn predicted(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.predict.columns().max(1);
        let mut out = vec![0.; rows * self.k()];
        self.predict.contract(x, None, &mut out);
        out
    }

    fn observed(&self, y: &[f32]) -> Vec<f32> {
        let rows = y.len() / self.features.max(1);
        let mut out = vec![0.; rows * self.k()];
        match &self.bias {
            Some(bias) if bias.len() > self.features => {
                let each = self.rows * self.features;
                let parts = y.chunks_exact(each).zip(out.chunks_exact_mut(self.rows * self.k()));
                for (y, out) in parts {
                    self.observe.contract(y, Some(bias), out);
                }
            }
            bias => self.observe.contract(y, bias.as_deref(), &mut out),
        }
        out
    }
}

/// Rounding units of one sketch at each row, on plain memory.
struct PlainUnits {
    n: usize,
    factor: f64,
    floor: f64,
}

impl PlainUnits {
    fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut squares = vec![0.; x.len() / self.n.max(1)];
        row_squares(x, self.n, &mut squares);
        let mut scale = 1.;
        if let Some(factor) = scale_for(&squares, x) {
            let scaled: Vec<f32> = x.iter().map(|x| x * factor).collect();
            row_squares(&scaled, self.n, &mut squares);
            scale = 1. / f64::from(factor);
        }
        let factor = (self.factor * scale) as f32;
        squares.iter().map(|square| square.sqrt() * factor + self.floor as f32).collect()
    }
}

struct Plain {
    sketch: Sketch,
    units: PlainUnits,
}

impl PlainSketch for Plain {
    fn look(&self, x: &[f32], y: &[f32]) -> Sums {
        let mut sums = Sums::default();
        let (observed, predicted) = (self.sketch.observed(y), self.sketch.predicted(x));
        sums.add(Units::ByRow(&self.units.of(x)), &observed, &predicted);
        sums
    }
}
