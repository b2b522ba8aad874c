//! Sketches of convolutions on plain memory: no tensors, one pass over an image.

use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;

use super::super::plain::{PlainSketch, Sums, Units, scale_for};
use super::super::{Contracted, EPSILON, Linear as _};
use super::Convolution;
use crate::Result;
use crate::kernels::{Layout, Planes, Source, weighted_squares};

impl Convolution {
    pub(super) fn plain_part(&self, contracted: &Contracted) -> Result<Option<Sketch>> {
        let (Some(layout), true) = (&self.layout, contracted.vectors.device().is_cpu()) else {
            return Ok(None);
        };
        let k = contracted.vectors.dim(1)?;
        let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let weights = flat(&contracted.weights)?;
        let vectors = flat(&contracted.vectors.t()?.contiguous()?)?;
        Ok(Some(Sketch {
            layout: layout.clone(),
            predict: Planes::new(&weights, k, self.window.taps()),
            observe: Planes::new(&vectors, k, 1),
            bias: self.bias.as_ref().map(flat).transpose()?,
            channels_in: self.channels_in,
            channels_out: self.channels_out,
            pixels: self.window.input_len(),
            positions: self.window.positions(),
        }))
    }

    pub(super) fn plain_units(&self) -> Result<Option<PlainUnits>> {
        let (Some(layout), true) = (&self.layout, self.energy.device().is_cpu()) else {
            return Ok(None);
        };
        // Σ_c ‖w_c‖² over the output channels that read an input channel, by input channel.
        let energy = self.energy.to_vec1::<f32>()?;
        let energy =
            energy.iter().flat_map(|e| std::iter::repeat_n(*e, self.per_group())).collect();
        let k = self.reduction() as f64;
        Ok(Some(PlainUnits {
            layout: layout.clone(),
            energy,
            pixels: self.window.input_len(),
            positions: self.window.positions(),
            factor: EPSILON * k.powf(0.25),
            floor: EPSILON * self.bias_unit + f64::from(f32::MIN_POSITIVE) * k.sqrt(),
        }))
    }
}

/// Both sides of a sketch on plain memory.
pub(super) struct Sketch {
    layout: Layout,
    predict: Planes,
    observe: Planes,
    bias: Option<Vec<f32>>,
    channels_in: usize,
    channels_out: usize,
    pixels: usize,
    positions: usize,
}

impl Sketch {
    pub(super) fn k(&self) -> usize {
        self.observe.vectors()
    }

    /// The images of any number of samples to `[.., k, positions]`.
    pub(super) fn predicted(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![];
        for image in x.chunks_exact((self.channels_in * self.pixels).max(1)) {
            let arranged = self.layout.arrange(image);
            self.predict(arranged.as_deref().unwrap_or(image), &mut out);
        }
        out
    }

    /// The prediction of one image in the layout, behind what `out` has.
    fn predict(&self, arranged: &[f32], out: &mut Vec<f32>) {
        let layout = &self.layout;
        let (plane, offsets) = (layout.plane(), layout.offsets());
        let mut wide = vec![0.; self.k() * layout.positions()];
        self.predict.contract(Source { x: arranged, plane, offsets, shift: None }, &mut wide);
        if layout.positions() == self.positions {
            out.append(&mut wide);
            return;
        }
        for row in wide.chunks_exact(layout.positions()) {
            for line in row.chunks(layout.pitch()) {
                out.extend_from_slice(&line[..layout.columns()]);
            }
        }
    }

    pub(super) fn observed(&self, y: &[f32]) -> Vec<f32> {
        let mut out = vec![];
        let size = self.channels_out * self.positions;
        for image in y.chunks_exact(size.max(1)) {
            let start = out.len();
            out.resize(start + self.k() * self.positions, 0.);
            self.observe.contract(
                Source {
                    x: image,
                    plane: self.positions,
                    offsets: &[0],
                    shift: self.bias.as_deref(),
                },
                &mut out[start..],
            );
        }
        out
    }
}

/// Rounding units of one sketch at each position, on plain memory.
pub(super) struct PlainUnits {
    layout: Layout,
    /// By input channel.
    energy: Vec<f32>,
    pixels: usize,
    positions: usize,
    factor: f64,
    floor: f64,
}

impl PlainUnits {
    /// The images of any number of samples to `[.., positions]`.
    pub(super) fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![];
        for image in x.chunks_exact((self.energy.len() * self.pixels).max(1)) {
            let arranged = self.layout.arrange(image);
            self.of_image(arranged.as_deref().unwrap_or(image), &mut out);
        }
        out
    }

    fn of_image(&self, arranged: &[f32], out: &mut Vec<f32>) {
        let layout = &self.layout;
        let mut squares = vec![0.; layout.plane()];
        weighted_squares(arranged, layout.plane(), &self.energy, &mut squares);
        let mut scale = 1.;
        if let Some(factor) = scale_for(&squares, arranged) {
            let scaled: Vec<f32> = arranged.iter().map(|x| x * factor).collect();
            squares.fill(0.);
            weighted_squares(&scaled, layout.plane(), &self.energy, &mut squares);
            scale = 1. / f64::from(factor);
        }
        let (first, rest) = layout.offsets().split_first().map_or((0, &[][..]), |(a, b)| (*a, b));
        let mut sums = squares[first..first + layout.positions()].to_vec();
        for offset in rest {
            let squares = &squares[*offset..];
            sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
        }
        let factor = (self.factor * scale) as f32;
        let unit = |sum: &f32| sum.sqrt() * factor + self.floor as f32;
        out.reserve(self.positions);
        for line in sums.chunks(layout.pitch()) {
            out.extend(line[..layout.columns()].iter().map(unit));
        }
    }
}

/// Sketch and units in one look.
pub(super) struct Plain {
    sketch: Sketch,
    units: PlainUnits,
    /// Arranged images of earlier looks, for the next ones: their padding is in place.
    arranged: Mutex<Vec<Vec<f32>>>,
}

impl Plain {
    pub(super) fn new(sketch: Sketch, units: PlainUnits) -> Self {
        Self { sketch, units, arranged: Mutex::default() }
    }
}

impl PlainSketch for Plain {
    fn look(&self, x: &[f32], y: &[f32]) -> Sums {
        let Self { sketch, units, .. } = self;
        let kept = || self.arranged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = kept().pop().unwrap_or_default();
        let image = (sketch.channels_in * sketch.pixels).max(1);
        let output = (sketch.channels_out * sketch.positions).max(1);
        let mut sums = Sums::default();
        for (x, y) in x.chunks_exact(image).zip(y.chunks_exact(output)) {
            let arranged = match sketch.layout.arrange_into(x, &mut buffer) {
                true => &buffer,
                false => x,
            };
            let (mut predicted, mut unit) = (vec![], vec![]);
            sketch.predict(arranged, &mut predicted);
            units.of_image(arranged, &mut unit);
            sums.add(Units::ByPosition(&unit), &sketch.observed(y), &predicted);
        }
        kept().push(buffer);
        sums
    }
}
