//! Sketches of parts of an output.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::operations::linear::{Contracted, Linear, Slices};

/// What one sketch looks at: some features at some positions.
pub(super) struct Look {
    /// 1 for each feature that is looked at, 0 for the others; absent: all of them.
    mask: Option<Vec<f32>>,
    /// Of a matrix any number of runs of rows; of a convolution one image.
    positions: Vec<Range<usize>>,
}

/// What a sketch of a part found.
pub(super) struct LookedAt {
    /// `[1, n]` in rounding units.
    pub residual: Tensor,
    /// Sum of the squared units over the positions.
    pub unit_square: f64,
    /// Sum of the squared elements of the part.
    pub output_square: f64,
}

/// The looks that some parts need: one per image of a convolution, one for all of a matrix.
/// `None` when a part is not of whole channels or rows.
pub(super) fn of(
    linear: &dyn Linear,
    output_shape: &[usize],
    parts: &[(usize, usize)],
) -> Option<Vec<Look>> {
    let Slices { each, run, runs } = Slices::of(linear, output_shape);
    let whole = |&(first, count): &(usize, usize)| {
        let end = first.checked_add(count)?;
        let whole = each > 0 && first.is_multiple_of(each) && count.is_multiple_of(each);
        (count > 0 && whole && end <= each * run * runs).then_some(first / each..end / each)
    };
    let parts = parts.iter().map(whole).collect::<Option<Vec<_>>>()?;
    if !linear.is_channels_first() {
        return Some(vec![Look { mask: None, positions: parts }]);
    }
    let mut images: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
    for channel in parts.into_iter().flatten() {
        images.entry(channel / run).or_insert_with(|| vec![0.; run])[channel % run] = 1.;
    }
    let look = |(image, mask)| Look {
        mask: Some(mask),
        positions: std::iter::once(image * each..(image + 1) * each).collect(),
    };
    Some(images.into_iter().map(look).collect())
}

impl Look {
    pub fn sketch(
        &self,
        linear: &dyn Linear,
        contracted: &Contracted,
        x: &Tensor,
        output: &Tensor,
    ) -> Result<LookedAt> {
        let mask = self
            .mask
            .as_ref()
            .map(|mask| Tensor::from_slice(mask, (mask.len(), 1), output.device()));
        let mask = mask.transpose()?;
        let masked = match &mask {
            Some(mask) => linear.contract(&contracted.vectors.broadcast_mul(mask)?)?,
            None => contracted.clone(),
        };
        let positions = linear.positions();
        let difference = (linear.observed(output, &masked)? - linear.predicted(x, &masked)?)?;
        let unit = linear.sketch_unit(x)?;
        // As `[images, k or 1, pixels]` or `[positions, k or 1]`, so that positions can be cut out.
        let cut = |tensor: &Tensor, across: usize| -> Result<Tensor> {
            let cuts = self.positions.iter().map(|run| {
                let len = run.len();
                if linear.is_channels_first() {
                    let images = tensor.reshape((positions / len, across, len))?;
                    images.narrow(0, run.start / len, 1)
                } else {
                    tensor.reshape((positions, across))?.narrow(0, run.start, len)
                }
            });
            Ok(Tensor::cat(&cuts.collect::<candle_core::Result<Vec<_>>>()?, 0)?)
        };
        let k = masked.vectors.dim(1)?;
        let broadcast = unit.broadcast_as({
            let mut shape = difference.dims().to_vec();
            let axis = shape.len() - if linear.is_channels_first() { 2 } else { 1 };
            shape[axis] = 1;
            shape
        })?;
        let unit = cut(&broadcast.contiguous()?, 1)?;
        let residual = cut(&difference, k)?.abs()?.broadcast_div(&unit)?;
        let mut looked_at = cut(output, linear.features())?;
        if let Some(mask) = &mask {
            looked_at = looked_at.broadcast_mul(mask)?;
        }
        Ok(LookedAt {
            residual: residual.reshape((1, ()))?,
            unit_square: square(&unit)?,
            output_square: square(&looked_at)?,
        })
    }
}

fn square(tensor: &Tensor) -> Result<f64> {
    // On the CPU: not every device has f64.
    let wide = tensor.to_device(&candle_core::Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(wide.sqr()?.sum_all()?.to_scalar()?)
}
