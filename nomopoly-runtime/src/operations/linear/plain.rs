//! Sketches of samples in the CPU's memory.

use candle_core::{CpuStorage, DType, Storage, Tensor};

use crate::Result;

/// A sketch whose weights lie in plain memory.
pub trait PlainSketch: Send + Sync {
    /// Looks at one sample: its input and the claimed output, row-major and of the operation's
    /// sizes.
    fn look(&self, x: &[f32], y: &[f32]) -> Sums;
}

/// What a sketch found, over all vectors and positions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sums {
    /// Largest residual in rounding units.
    pub largest: f32,
    /// Sum of the squared residuals; no number when any of them is none.
    pub squares: f64,
    /// How many residuals there are.
    pub count: usize,
    /// Sum over positions of the squared rounding unit.
    pub unit_squares: f64,
}

/// Units, and how residuals lie beside them.
pub(super) enum Units<'a> {
    /// `[positions]` beside `[k, positions]`.
    ByPosition(&'a [f32]),
    /// `[rows]` beside `[rows, k]`.
    ByRow(&'a [f32]),
}

impl Sums {
    pub(super) fn add(&mut self, units: Units<'_>, observed: &[f32], predicted: &[f32]) {
        let squares = |values: &[f32]| -> f64 { values.iter().map(|v| f64::from(v * v)).sum() };
        match units {
            Units::ByPosition(units) => {
                self.unit_squares += unit_squares(units);
                let inverse: Vec<f32> = units.iter().map(|unit| 1. / unit).collect();
                let pairs = observed.chunks_exact(units.len().max(1));
                for (observed, predicted) in pairs.zip(predicted.chunks_exact(units.len().max(1))) {
                    let residual = observed.iter().zip(predicted).zip(&inverse);
                    let residual: Vec<f32> =
                        residual.map(|((o, p), inverse)| (o - p).abs() * inverse).collect();
                    self.largest = residual.iter().fold(self.largest, |a, b| a.max(*b));
                    self.squares += squares(&residual);
                }
            }
            Units::ByRow(units) => {
                self.unit_squares += unit_squares(units);
                let k = observed.len() / units.len().max(1);
                let rows = observed.chunks_exact(k.max(1)).zip(predicted.chunks_exact(k.max(1)));
                for ((observed, predicted), unit) in rows.zip(units) {
                    let inverse = 1. / unit;
                    let (mut sum, mut largest) = (0., self.largest);
                    for (o, p) in observed.iter().zip(predicted) {
                        let residual = (o - p).abs() * inverse;
                        largest = largest.max(residual);
                        sum += residual * residual;
                    }
                    self.largest = largest;
                    self.squares += f64::from(sum);
                }
            }
        }
        self.count += observed.len();
    }
}

fn unit_squares(units: &[f32]) -> f64 {
    units.iter().map(|unit| f64::from(*unit) * f64::from(*unit)).sum()
}

/// By what to multiply `x` before it is squared, where squares of its own would overflow or vanish.
pub(super) fn scale_for(squares: &[f32], x: &[f32]) -> Option<f32> {
    let largest = squares.iter().fold(0f32, |a, b| a.max(*b));
    // A NaN among the squares is one of the input: no scale helps.
    if (1e-24..1e30).contains(&largest) {
        return None;
    }
    let largest = x.iter().fold(0f32, |a, b| a.max(b.abs()));
    (largest > 0. && largest.is_finite()).then(|| 1. / (largest + f32::MIN_POSITIVE))
}

/// Calls `f` with the elements of a tensor that lies in the CPU's memory and through which no
/// gradient is asked for; `None` for others.
pub(super) fn read<T>(x: &Tensor, f: impl FnOnce(&[f32]) -> T) -> Result<Option<T>> {
    if x.track_op() || !x.device().is_cpu() || x.dtype() != DType::F32 {
        return Ok(None);
    }
    let x = x.contiguous()?;
    let (storage, layout) = x.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    else {
        return Ok(None);
    };
    Ok(Some(f(&values[start..end])))
}
