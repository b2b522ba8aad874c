//! Sketches of parts of an output.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::{DType, Tensor};

use crate::Result;
use crate::operations::linear::{Contracted, Linear};

/// What one sketch looks at: some features at some positions.
pub(super) struct Look {
    features: Features,
    /// Of a matrix any number of runs of rows; of a convolution one image.
    positions: Vec<Range<usize>>,
}

enum Features {
    All,
    /// Those that are set, of one image.
    Some(Vec<bool>),
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
    let len: usize = output_shape.iter().product();
    let whole = |each: usize| {
        let fits = |&(first, count): &(usize, usize)| {
            let end = first.checked_add(count)?;
            let whole = each > 0 && first.is_multiple_of(each) && count.is_multiple_of(each);
            (count > 0 && end <= len && whole).then_some(first / each..end / each)
        };
        parts.iter().map(fits).collect::<Option<Vec<_>>>()
    };
    if !linear.is_channels_first() {
        let positions = whole(linear.features())?;
        return Some(vec![Look { features: Features::All, positions }]);
    }
    let channels = linear.features();
    let pixels = len / channels.max(1) / output_shape.first().copied().unwrap_or(1).max(1);
    let mut images: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    for channel in whole(pixels)?.into_iter().flatten() {
        let looked_at = images.entry(channel / channels).or_insert_with(|| vec![false; channels]);
        looked_at[channel % channels] = true;
    }
    let look = |(image, looked_at)| Look {
        features: Features::Some(looked_at),
        positions: std::iter::once(image * pixels..(image + 1) * pixels).collect(),
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
        let masked = match &self.features {
            Features::All => contracted.clone(),
            Features::Some(looked_at) => {
                let mask: Vec<f32> = looked_at.iter().map(|&set| f32::from(set)).collect();
                let mask = Tensor::from_vec(mask, (looked_at.len(), 1), output.device())?;
                linear.contract(&contracted.vectors.broadcast_mul(&mask)?)?
            }
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
        let looked_at = cut(output, linear.features())?;
        let looked_at = match &self.features {
            Features::All => looked_at,
            Features::Some(set) => {
                let mask: Vec<f32> = set.iter().map(|&set| f32::from(set)).collect();
                looked_at.broadcast_mul(&Tensor::from_vec(
                    mask,
                    (1, set.len(), 1),
                    output.device(),
                )?)?
            }
        };
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
