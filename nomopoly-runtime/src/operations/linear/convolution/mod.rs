//! Convolutions over any number of spatial axes.

mod plain;

use std::sync::OnceLock;

use candle_core::{DType, Tensor};
use plain::Plain;

use super::parts::{Array, Form, Weightless, unfit};
use super::plain::{PlainSketch, read};
use super::{Contracted, Cut, EPSILON, Linear, LinearPart, bias_unit, sample_scale};
use crate::Result;
use crate::kernels::Layout;
use crate::operations::window::{Taps, Window};

/// A grouped, strided, dilated, padded convolution with constant weights.
#[derive(Debug, Clone)]
pub struct Convolution {
    /// `[C_out, C_in / groups, taps]`.
    weights: Tensor,
    /// `[C_out]`.
    bias: Option<Tensor>,
    /// [`bias_unit`].
    bias_unit: f64,
    /// Σ ‖w_c‖² over the output channels of each group, `[groups]`.
    energy: Tensor,
    groups: usize,
    window: Window,
    /// The table for gathering on any device, made when it is first needed.
    taps: OnceLock<Taps>,
    /// How the CPU reads an image; absent for windows over more than two axes.
    layout: Option<Layout>,
    /// Batch dimension of the operation's own input.
    images: usize,
    channels_in: usize,
    channels_out: usize,
}

impl Convolution {
    /// `weights` is `[C_out, C_in / groups, ...kernel]`; `images` the operation's own batch.
    pub fn new(
        weights: Tensor,
        bias: Option<Tensor>,
        groups: usize,
        window: Window,
        images: usize,
    ) -> Result<Self> {
        let channels_out = weights.dim(0)?;
        let channels_in = weights.dim(1)? * groups;
        let weights = weights.reshape((channels_out, channels_in / groups, window.taps()))?;
        let energy = energy(&weights, groups)?;
        Ok(Self {
            weights,
            bias_unit: bias_unit(bias.as_ref(), channels_out)?,
            bias,
            energy,
            groups,
            layout: Layout::new(&window),
            window,
            taps: OnceLock::new(),
            images,
            channels_in,
            channels_out,
        })
    }

    pub(super) fn without_weights(
        form: &Form,
        bias: Option<Tensor>,
        energy: Tensor,
    ) -> Result<Self> {
        let Form::Convolution { groups, window, images, channels_in, channels_out } = form else {
            return Err(unfit("Conv"));
        };
        let (groups, channels_out) = (*groups, *channels_out);
        let fits = groups > 0
            && channels_in.is_multiple_of(groups)
            && channels_out.is_multiple_of(groups)
            && energy.dims() == [groups]
            && bias.as_ref().is_none_or(|bias| bias.dims() == [channels_out]);
        if !fits {
            return Err(unfit("Conv"));
        }
        let device = energy.device();
        Ok(Self {
            weights: Tensor::zeros((0, channels_in / groups, window.taps()), DType::F32, device)?,
            bias_unit: bias_unit(bias.as_ref(), channels_out)?,
            bias,
            taps: OnceLock::new(),
            energy,
            groups,
            layout: Layout::new(window),
            window: window.clone(),
            images: *images,
            channels_in: *channels_in,
            channels_out,
        })
    }

    fn taps(&self) -> Result<&Taps> {
        if let Some(taps) = self.taps.get() {
            return Ok(taps);
        }
        let taps = Taps::new(&self.window, self.energy.device())?;
        Ok(self.taps.get_or_init(|| taps))
    }

    fn per_group(&self) -> usize {
        self.channels_in / self.groups
    }

    /// `[B, N, C, ...]` to `[B * N, C, S]`.
    fn images_of(&self, x: &Tensor) -> Result<Tensor> {
        let images = x.dim(0)? * self.images;
        Ok(x.reshape((images, self.channels_in, self.window.input_len()))?)
    }

    /// `[B * N, C_out, P]` to `[B, N, C_out, ...]`.
    fn finish(&self, y: &Tensor, batch: usize) -> Result<Tensor> {
        let mut shape = vec![batch, self.images, self.channels_out];
        shape.extend(&self.window.output);
        Ok(y.reshape(shape)?)
    }

    /// The convolution as one product per group over gathered patches.
    fn convolve(&self, x: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let images = x.dim(0)?;
        let positions = self.window.positions();
        let outs = self.channels_out / self.groups;
        let k = self.per_group() * self.window.taps();
        let weights = weights.reshape((self.groups, outs, k))?;
        let y = by_group(&weights, &self.patches(x)?)?;
        Ok(y.reshape((images, self.channels_out, positions))?)
    }

    /// What each position sees, `[images, groups, C_in / groups * taps, positions]`.
    fn patches(&self, x: &Tensor) -> Result<Tensor> {
        let k = self.per_group() * self.window.taps();
        let shape = (x.dim(0)?, self.groups, k, self.window.positions());
        Ok(self.taps()?.apply(x, 0.)?.reshape(shape)?)
    }

    fn add_bias(y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let Some(bias) = bias else { return Ok(y) };
        let bias = bias.to_dtype(y.dtype())?.reshape((1, bias.elem_count(), 1))?;
        Ok(y.broadcast_add(&bias)?)
    }

    /// Squared norms of the patches, weighted: `scales` `[R, C_in]` gives R outputs
    /// `[B * N, R, P]` of Σ_c scales[c] Σ_taps x_c², and the scale that x was divided by.
    fn patch_norms(&self, x: &Tensor, scales: &Tensor) -> Result<(Tensor, Tensor)> {
        let scale = sample_scale(x)?;
        let x = self.images_of(&x.broadcast_div(&scale)?)?.sqr()?;
        let (images, _, s) = x.dims3()?;
        let rows = scales.dim(0)?;
        let by_pixel = scales.broadcast_left(images)?.contiguous()?.matmul(&x)?;
        let norms = self.taps()?.apply(&by_pixel.reshape((images, rows, s))?, 0.)?.sum(2)?;
        let batch = scale.dim(0)?;
        let scale = scale.reshape((batch, 1, 1))?.repeat((1, self.images, 1))?;
        Ok((norms.sqrt()?, scale.reshape((images, 1, 1))?))
    }
}

/// `[groups, M, K]` times `[images, groups, K, P]`: `[images, groups, M, P]`.
fn by_group(weights: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (images, groups, k, positions) = x.dims4()?;
    let m = weights.dim(1)?;
    if images == 1 {
        return Ok(weights.matmul(&x.squeeze(0)?)?.unsqueeze(0)?);
    }
    // All images side by side: one large product, and the weights are not copied for each of them.
    let x = x.permute((1, 2, 0, 3))?.contiguous()?.reshape((groups, k, images * positions))?;
    let y = weights.matmul(&x)?.reshape((groups, m, images, positions))?;
    Ok(y.permute((2, 0, 1, 3))?.contiguous()?)
}

fn energy(weights: &Tensor, groups: usize) -> Result<Tensor> {
    Ok(weights.sqr()?.reshape((groups, ()))?.sum(1)?)
}

impl Linear for Convolution {
    fn features(&self) -> usize {
        self.channels_out
    }

    fn reduction(&self) -> usize {
        self.per_group() * self.window.taps()
    }

    fn positions(&self) -> usize {
        self.images * self.window.positions()
    }

    fn is_channels_first(&self) -> bool {
        true
    }

    fn weights(&self) -> &Tensor {
        &self.weights
    }

    fn with_weights(&self, weights: Tensor) -> Result<Box<dyn Linear>> {
        let weights = weights.reshape(self.weights.shape())?;
        let energy = energy(&weights, self.groups)?;
        Ok(Box::new(Self { weights, energy, ..self.clone() }))
    }

    fn weightless(&self) -> Result<Weightless> {
        Ok(Weightless {
            form: Form::Convolution {
                groups: self.groups,
                window: self.window.clone(),
                images: self.images,
                channels_in: self.channels_in,
                channels_out: self.channels_out,
            },
            bias: self.bias.as_ref().map(Array::from_tensor).transpose()?,
            energy: Array::from_tensor(&self.energy)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.convolve(&self.images_of(x)?, &self.weights)?;
        self.finish(&Self::add_bias(y, self.bias.as_ref())?, x.dim(0)?)
    }

    fn forward_low_rank(&self, x: &Tensor, down: &Tensor, up: &Tensor) -> Result<Tensor> {
        let images = self.images_of(x)?;
        let (rank, k) = down.dims2()?;
        let outs = self.channels_out / self.groups;
        let down =
            down.reshape((1, rank, k))?.broadcast_as((self.groups, rank, k))?.contiguous()?;
        let inner = by_group(&down, &self.patches(&images)?)?;
        let y = by_group(&up.reshape((self.groups, outs, rank))?, &inner)?;
        let y = y.reshape((images.dim(0)?, self.channels_out, self.window.positions()))?;
        self.finish(&Self::add_bias(y, self.bias.as_ref())?, x.dim(0)?)
    }

    fn forward_reordered(&self, x: &Tensor) -> Result<Tensor> {
        // The channels of each group in two halves, the second first, the bias first of all.
        let per_group = self.per_group();
        if per_group < 2 {
            return self.forward_f64(x);
        }
        let half = per_group / 2;
        let mask: Vec<f32> = (0..per_group).map(|c| f32::from(c < half)).collect();
        let mask = Tensor::from_vec(mask, (1, per_group, 1), x.device())?;
        let low = self.weights.broadcast_mul(&mask)?;
        let high = (&self.weights - &low)?;
        let images = self.images_of(x)?;
        let second = Self::add_bias(self.convolve(&images, &high)?, self.bias.as_ref())?;
        self.finish(&(second + self.convolve(&images, &low)?)?, x.dim(0)?)
    }

    fn forward_f64(&self, x: &Tensor) -> Result<Tensor> {
        let images = self.images_of(x)?.to_dtype(DType::F64)?;
        let y = self.convolve(&images, &self.weights.to_dtype(DType::F64)?)?;
        let y = Self::add_bias(y, self.bias.as_ref())?.to_dtype(DType::F32)?;
        self.finish(&y, x.dim(0)?)
    }

    fn contract(&self, vectors: &Tensor) -> Result<Contracted> {
        let k = vectors.dim(1)?;
        let outs = self.channels_out / self.groups;
        let columns = self.per_group() * self.window.taps();
        // Each group's channels contract to k kernels over that group's inputs; side by side
        // they are k kernels over all inputs.
        let weights = self.weights.reshape((self.groups, outs, columns))?;
        let by_group = vectors.reshape((self.groups, outs, k))?.transpose(1, 2)?.contiguous()?;
        let weights = by_group.matmul(&weights)?;
        let weights = weights.transpose(0, 1)?.contiguous()?;
        let weights = weights.reshape((k, self.channels_in, self.window.taps()))?;
        Ok(Contracted { vectors: vectors.clone(), weights })
    }

    fn predicted(&self, x: &Tensor, contracted: &Contracted) -> Result<Tensor> {
        if let Some(plain) = self.plain_part(contracted)?
            && let Some(z) = read(x, |x| plain.predicted(x))?
        {
            let shape = (x.dim(0)?, self.images, plain.k(), self.window.positions());
            return Ok(Tensor::from_vec(z, shape, x.device())?);
        }
        let (batch, images) = (x.dim(0)?, self.images_of(x)?);
        let (count, _, pixels) = images.dims3()?;
        let k = contracted.weights.dim(0)?;
        let (taps, positions) = (self.window.taps(), self.window.positions());
        // Gather on whichever side has fewer elements to gather.
        let z = if k * pixels < self.channels_in * positions {
            let weights = contracted.weights.transpose(1, 2)?.contiguous()?;
            let weights = weights.reshape((k * taps, self.channels_in))?;
            let weights = weights.broadcast_left(count)?.contiguous()?;
            self.taps()?.sum_shifted(&weights.matmul(&images)?)?
        } else {
            let patches = self.taps()?.apply(&images, 0.)?;
            let patches = patches.reshape((count, self.channels_in * taps, positions))?;
            let weights = contracted.weights.reshape((k, self.channels_in * taps))?;
            weights.broadcast_left(count)?.contiguous()?.matmul(&patches)?
        };
        Ok(z.reshape((batch, self.images, k, positions))?)
    }

    fn observed(&self, y: &Tensor, contracted: &Contracted) -> Result<Tensor> {
        let batch = y.dim(0)?;
        let k = contracted.vectors.dim(1)?;
        let positions = self.window.positions();
        if let Some(plain) = self.plain_part(contracted)?
            && let Some(z) = read(y, |y| plain.observed(y))?
        {
            return Ok(Tensor::from_vec(z, (batch, self.images, k, positions), y.device())?);
        }
        let count = batch * self.images;
        let y = y.reshape((count, self.channels_out, positions))?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_sub(&bias.reshape((1, self.channels_out, 1))?)?,
            None => y,
        };
        let vectors = contracted.vectors.t()?.broadcast_left(count)?.contiguous()?;
        Ok(vectors.matmul(&y)?.reshape((batch, self.images, k, positions))?)
    }

    fn sketch_unit(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(units) = self.plain_units()?
            && let Some(units) = read(x, |x| units.of(x))?
        {
            let shape = (x.dim(0)?, self.images, 1, self.window.positions());
            return Ok(Tensor::from_vec(units, shape, x.device())?);
        }
        // Σ_c ‖w_c‖² over the output channels that read an input channel, by input channel.
        let scales = self.energy.reshape((self.groups, 1))?.repeat((1, self.per_group()))?;
        let (norms, scale) = self.patch_norms(x, &scales.reshape((1, self.channels_in))?)?;
        let k = self.reduction() as f64;
        let floor = f64::from(f32::MIN_POSITIVE) * k.sqrt();
        let unit = norms.broadcast_mul(&scale)?;
        let unit = unit.affine(EPSILON * k.powf(0.25), EPSILON * self.bias_unit + floor)?;
        Ok(unit.reshape((x.dim(0)?, self.images, 1, self.window.positions()))?)
    }

    fn element_unit(&self, x: &Tensor) -> Result<Tensor> {
        let (groups, per_group) = (self.groups, self.per_group());
        let mut scales = vec![0f32; groups * self.channels_in];
        for group in 0..groups {
            let start = group * self.channels_in + group * per_group;
            scales[start..start + per_group].fill(1.);
        }
        let scales = Tensor::from_vec(scales, (groups, self.channels_in), x.device())?;
        let (norms, scale) = self.patch_norms(x, &scales)?;
        let (images, _, positions) = norms.dims3()?;
        let outs = self.channels_out / groups;
        let norms = norms.broadcast_mul(&scale)?.reshape((images, groups, 1, positions))?;
        let kernels = self.weights.sqr()?.reshape((self.channels_out, ()))?.sum(1)?.sqrt()?;
        let unit = norms.broadcast_mul(&kernels.reshape((1, groups, outs, 1))?)?;
        let unit = unit.reshape((images, self.channels_out, positions))?;
        let k = self.reduction() as f64;
        let unit = unit.affine(EPSILON * k.powf(0.25), f64::from(f32::MIN_POSITIVE) * k.sqrt())?;
        let unit = match &self.bias {
            Some(bias) => Self::add_bias(unit, Some(&bias.abs()?.affine(EPSILON, 0.)?))?,
            None => unit,
        };
        self.finish(&unit, x.dim(0)?)
    }

    fn on_part(&self, positions: usize) -> Result<Option<LinearPart>> {
        let window = &self.window;
        // A box as near to a cube as the image allows.
        let axes = window.output.len();
        let mut output = vec![1; axes];
        let (mut left, mut axes_left) = (positions.max(1) as f64, axes as f64);
        let mut order: Vec<usize> = (0..axes).collect();
        order.sort_by_key(|&axis| window.output[axis]);
        for axis in order {
            let side = left.powf(1. / axes_left).round().max(1.) as usize;
            output[axis] = side.min(window.output[axis]);
            (left, axes_left) = (left / output[axis] as f64, axes_left - 1.);
        }
        if output == window.output && self.images == 1 {
            return Ok(None);
        }
        let span = |axis: usize| {
            (output[axis] - 1) * window.strides[axis]
                + (window.kernel[axis] - 1) * window.dilations[axis]
                + 1
        };
        let input: Vec<usize> = (0..axes).map(span).collect();
        let cut = Cut::Box {
            images: self.images,
            channels: self.channels_in,
            image: window.input.clone(),
            extents: input.clone(),
            places: (0..axes).map(|axis| window.output[axis] - output[axis] + 1).collect(),
            strides: window.strides.clone(),
            pads: window.pads_begin.clone(),
        };
        let shape = |channels: usize, extents: &[usize]| [&[1, channels], extents].concat();
        let part = Window {
            pads_begin: vec![0; axes],
            pads_end: vec![0; axes],
            input,
            output,
            ..window.clone()
        };
        Ok(Some(LinearPart {
            input_shape: shape(self.channels_in, &part.input),
            output_shape: shape(self.channels_out, &part.output),
            cut,
            linear: Box::new(Self {
                taps: OnceLock::new(),
                layout: Layout::new(&part),
                window: part,
                images: 1,
                ..self.clone()
            }),
        }))
    }

    fn plain(&self, contracted: &Contracted) -> Result<Option<Box<dyn PlainSketch>>> {
        let (Some(sketch), Some(units)) = (self.plain_part(contracted)?, self.plain_units()?)
        else {
            return Ok(None);
        };
        Ok(Some(Box::new(Plain::new(sketch, units))))
    }

    fn cost(&self, sketches: usize) -> (u64, u64) {
        let p = self.positions() as u64;
        let pixels = (self.images * self.window.input_len()) as u64;
        let (taps, c_in) = (self.window.taps() as u64, self.channels_in as u64);
        let (c_out, s) = (self.channels_out as u64, sketches as u64);
        let recompute = p * c_out * self.reduction() as u64;
        // The contracted convolution over all input channels, the contraction of y, and the
        // patch norms (squares by channel, then one box filter).
        let verify = p * c_in * taps * s + p * c_out * s + pixels * c_in + p * taps;
        (recompute, verify)
    }
}
