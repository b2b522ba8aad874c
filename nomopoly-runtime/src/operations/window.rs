//! Sliding windows over any number of spatial axes: the index arithmetic that convolution and
//! pooling share.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::Result;

/// How a window slides over the spatial axes of a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    /// Padding before each axis. What the end needs follows from the output size.
    pub pads_begin: Vec<usize>,
    pub pads_end: Vec<usize>,
    pub input: Vec<usize>,
    pub output: Vec<usize>,
}

/// A window position that lies outside the input.
pub const OUTSIDE: u32 = u32::MAX;

impl Window {
    /// Number of window positions.
    pub fn positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Number of taps of the window.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Number of spatial input elements.
    pub fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Whether every window is exactly one input element in order, so that no gathering is
    /// needed (1x1 convolutions).
    pub fn is_identity(&self) -> bool {
        self.taps() == 1
            && self.input == self.output
            && self.strides.iter().all(|&s| s == 1)
            && self.pads_begin.iter().all(|&p| p == 0)
    }

    /// The flat input index of tap `t` at position `p`, at `[t * positions + p]`; [`OUTSIDE`]
    /// where the tap lies in the padding.
    pub fn indices(&self) -> Vec<u32> {
        self.gather(|coordinates| {
            let mut flat = 0;
            for (axis, &coordinate) in coordinates.iter().enumerate() {
                if coordinate < 0 || coordinate >= self.input[axis] as i64 {
                    return OUTSIDE;
                }
                flat = flat * self.input[axis] + coordinate as usize;
            }
            flat as u32
        })
    }

    /// Number of taps at each position that average pooling divides by: those inside the input,
    /// or, with `include_pad`, those inside the padded input (a window that `ceil_mode` lets
    /// hang over the end counts neither way beyond it).
    pub fn tap_counts(&self, include_pad: bool) -> Vec<f32> {
        let inside = self.gather(|coordinates| {
            coordinates.iter().enumerate().all(|(axis, &c)| {
                let (low, high) = if include_pad {
                    let begin = self.pads_begin[axis] as i64;
                    (-begin, (self.input[axis] + self.pads_end[axis]) as i64)
                } else {
                    (0, self.input[axis] as i64)
                };
                c >= low && c < high
            })
        });
        let positions = self.positions();
        (0..positions)
            .map(|p| inside.iter().skip(p).step_by(positions.max(1)).filter(|&&x| x).count() as f32)
            .collect()
    }

    /// Calls `f` with the input coordinates of every (tap, position), taps outermost.
    fn gather<T>(&self, mut f: impl FnMut(&[i64]) -> T) -> Vec<T> {
        let axes = self.kernel.len();
        let mut out = Vec::with_capacity(self.taps() * self.positions());
        let mut coordinates = vec![0; axes];
        let mut tap = vec![0; axes];
        for _ in 0..self.taps() {
            let mut position = vec![0; axes];
            for _ in 0..self.positions() {
                for a in 0..axes {
                    coordinates[a] = (position[a] * self.strides[a] + tap[a] * self.dilations[a])
                        as i64
                        - self.pads_begin[a] as i64;
                }
                out.push(f(&coordinates));
                advance(&mut position, &self.output);
            }
            advance(&mut tap, &self.kernel);
        }
        out
    }
}

/// Counts `index` up by one in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for axis in (0..index.len()).rev() {
        index[axis] += 1;
        if index[axis] < shape[axis] {
            return;
        }
        index[axis] = 0;
    }
}

/// The gather table of a [`Window`] on a device.
#[derive(Debug, Clone)]
pub struct Taps {
    /// `[taps * positions]`; padding points at the extra element behind the input. Absent for
    /// the identity window.
    indices: Option<Tensor>,
    taps: usize,
    positions: usize,
}

impl Taps {
    pub fn new(window: &Window, device: &Device) -> Result<Self> {
        let (taps, positions) = (window.taps(), window.positions());
        let indices = if window.is_identity() {
            None
        } else {
            let padding = window.input_len() as u32;
            let indices: Vec<u32> = window
                .indices()
                .into_iter()
                .map(|index| if index == OUTSIDE { padding } else { index })
                .collect();
            let len = indices.len();
            Some(Tensor::from_vec(indices, len, device)?)
        };
        Ok(Self { indices, taps, positions })
    }

    /// `[M, C, S]` to `[M, C, taps, positions]`, with `padding` in place of what lies outside.
    pub fn apply(&self, x: &Tensor, padding: f32) -> Result<Tensor> {
        let (m, c, _) = x.dims3()?;
        let Some(indices) = &self.indices else {
            return Ok(x.reshape((m, c, 1, self.positions))?);
        };
        let pad = Tensor::full(padding, (m, c, 1), x.device())?.to_dtype(x.dtype())?;
        let padded = Tensor::cat(&[x, &pad], 2)?.contiguous()?;
        Ok(padded.index_select(indices, 2)?.reshape((m, c, self.taps, self.positions))?)
    }

    /// Sums shifted products: `[M, k * taps, S]`, taps innermost, to `[M, k, positions]`. The
    /// transpose of [`Taps::apply`] for contractions with fewer output than input channels.
    pub fn sum_shifted(&self, z: &Tensor) -> Result<Tensor> {
        let (m, kt, s) = z.dims3()?;
        let k = kt / self.taps;
        let Some(indices) = &self.indices else {
            return Ok(z.clone());
        };
        let z = z.reshape((m, k, self.taps, s))?;
        let mut sum: Option<Tensor> = None;
        for tap in 0..self.taps {
            let shifted = z.narrow(2, tap, 1)?.reshape((m, k, s))?;
            let pad = Tensor::zeros((m, k, 1), z.dtype(), z.device())?;
            let padded = Tensor::cat(&[&shifted, &pad], 2)?.contiguous()?;
            let here = indices.narrow(0, tap * self.positions, self.positions)?;
            let part = padded.index_select(&here, 2)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        Ok(sum.unwrap_or(Tensor::zeros((m, k, self.positions), z.dtype(), z.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(pads: usize, stride: usize) -> Window {
        Window {
            kernel: vec![3],
            strides: vec![stride],
            dilations: vec![1],
            pads_begin: vec![pads],
            pads_end: vec![pads],
            input: vec![4],
            output: vec![(4 + 2 * pads - 3) / stride + 1],
        }
    }

    #[test]
    fn indices_mark_the_padding() {
        let w = window(1, 1);
        let o = OUTSIDE;
        assert_eq!(w.indices(), vec![o, 0, 1, 2, 0, 1, 2, 3, 1, 2, 3, o]);
        assert_eq!(w.tap_counts(false), vec![2., 3., 3., 2.]);
        assert_eq!(w.tap_counts(true), vec![3.; 4]);
    }

    #[test]
    fn gathering_before_and_after_a_product_agree() {
        let w = window(1, 2);
        let taps = Taps::new(&w, &Device::Cpu).unwrap();
        let x = Tensor::new(&[[[1f32, 2., 3., 4.]]], &Device::Cpu).unwrap();
        let kernel = [2f32, 3., 5.];
        let kernel_column = Tensor::new(&kernel, &Device::Cpu).unwrap().reshape((1, 3, 1)).unwrap();
        let before = taps.apply(&x, 0.).unwrap().reshape((1, 3, 2)).unwrap();
        let before = before.broadcast_mul(&kernel_column).unwrap().sum_keepdim(1).unwrap();
        let after = taps.sum_shifted(&kernel_column.broadcast_mul(&x).unwrap()).unwrap();
        assert_eq!(before.to_vec3::<f32>().unwrap(), after.to_vec3::<f32>().unwrap());
    }
}
