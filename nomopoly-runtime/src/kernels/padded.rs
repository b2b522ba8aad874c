//! Images laid out so that every tap of a sliding window reads consecutive elements.

use crate::operations::window::Window;

/// Where the elements of an image go for one window over one or two spatial axes: each axis is
/// padded, and split by the remainder of the coordinate and the stride, so that the windows of
/// neighbouring positions are neighbours in memory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    input: [usize; 2],
    output: [usize; 2],
    strides: [usize; 2],
    pads: [usize; 2],
    /// Remainders that some tap reads, as `[vertical, horizontal]`.
    phases: Vec<[usize; 2]>,
    rows: usize,
    pitch: usize,
    offsets: Vec<usize>,
    /// Whether the image can be read as it is.
    identity: bool,
}

impl Layout {
    /// `None` for windows over more than two axes.
    pub fn new(window: &Window) -> Option<Self> {
        let pair = |values: &[usize], fill: usize| match *values {
            [x] => Some([fill, x]),
            [y, x] => Some([y, x]),
            _ => None,
        };
        let (kernel, strides) = (pair(&window.kernel, 1)?, pair(&window.strides, 1)?);
        let (dilations, pads) = (pair(&window.dilations, 1)?, pair(&window.pads_begin, 0)?);
        let (input, output) = (pair(&window.input, 1)?, pair(&window.output, 1)?);
        let (mut phases, mut taps) = (vec![], vec![]);
        let mut reach = [0, 0];
        for y in 0..kernel[0] {
            for x in 0..kernel[1] {
                let at = [y * dilations[0], x * dilations[1]];
                let phase = [at[0] % strides[0], at[1] % strides[1]];
                let step = [at[0] / strides[0], at[1] / strides[1]];
                let index = phases.iter().position(|other| *other == phase).unwrap_or_else(|| {
                    phases.push(phase);
                    phases.len() - 1
                });
                reach = [reach[0].max(step[0]), reach[1].max(step[1])];
                taps.push((index, step));
            }
        }
        let (rows, pitch) = (output[0] + reach[0], output[1] + reach[1]);
        let offset =
            |(phase, step): (usize, [usize; 2])| (phase * rows + step[0]) * pitch + step[1];
        let offsets = taps.into_iter().map(offset).collect();
        let identity = window.is_identity();
        Some(Self { input, output, strides, pads, phases, rows, pitch, offsets, identity })
    }

    /// Elements of one channel.
    pub fn plane(&self) -> usize {
        self.phases.len() * self.rows * self.pitch
    }

    /// Where each tap starts within a plane.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Positions that are computed: whole rows of [`Layout::pitch`], of which the first columns are
    /// the window's. The last row ends with its last column.
    pub fn positions(&self) -> usize {
        (self.output[0].max(1) - 1) * self.pitch + self.output[1]
    }

    /// Elements from one row of positions to the next.
    pub fn pitch(&self) -> usize {
        self.pitch
    }

    /// Columns of the output.
    pub fn columns(&self) -> usize {
        self.output[1]
    }

    /// `x` `[channels, ...input]` in this layout; `None` where it is in this layout already.
    pub fn arrange(&self, x: &[f32]) -> Option<Vec<f32>> {
        let mut arranged = vec![];
        self.arrange_into(x, &mut arranged).then_some(arranged)
    }

    /// As [`Layout::arrange`], in the place of what the same layout arranged before, whose padding is
    /// there already; whether `x` had to be arranged.
    pub fn arrange_into(&self, x: &[f32], arranged: &mut Vec<f32>) -> bool {
        if self.identity {
            return false;
        }
        let area = self.input[0] * self.input[1];
        let channels = x.len() / area.max(1);
        arranged.resize(channels * self.plane(), 0.);
        let planes = arranged.chunks_exact_mut(self.plane().max(1));
        for (image, plane) in x.chunks_exact(area.max(1)).zip(planes) {
            for (phase, part) in
                self.phases.iter().zip(plane.chunks_exact_mut(self.rows * self.pitch))
            {
                self.copy(image, *phase, part);
            }
        }
        true
    }

    fn copy(&self, image: &[f32], phase: [usize; 2], part: &mut [f32]) {
        let [height, width] = self.input;
        for (row, part) in part.chunks_exact_mut(self.pitch).enumerate() {
            let y = (row * self.strides[0] + phase[0]).wrapping_sub(self.pads[0]);
            if y >= height {
                continue;
            }
            let line = &image[y * width..][..width];
            let stride = self.strides[1];
            // The first column that lies in the image.
            let first = self.pads[1].saturating_sub(phase[1]).div_ceil(stride);
            let start = first * stride + phase[1] - self.pads[1];
            let (Some(part), Some(line)) = (part.get_mut(first..), line.get(start..)) else {
                continue;
            };
            if stride == 1 {
                let len = part.len().min(line.len());
                part[..len].copy_from_slice(&line[..len]);
            } else {
                part.iter_mut().zip(line.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::window::OUTSIDE;

    #[test]
    fn every_tap_reads_what_the_window_does() {
        for (kernel, stride, dilation, pad, input) in [
            (vec![3], 1, 1, 1, vec![7]),
            (vec![4], 3, 1, 2, vec![11]),
            (vec![3, 3], 1, 1, 1, vec![5, 6]),
            (vec![7, 7], 2, 1, 3, vec![12, 13]),
            (vec![1, 1], 2, 1, 0, vec![6, 6]),
            (vec![3, 2], 2, 3, 2, vec![9, 10]),
            (vec![5, 5], 1, 1, 4, vec![2, 2]),
        ] {
            let axes = kernel.len();
            let output: Vec<usize> = (0..axes)
                .map(|a| (input[a] + 2 * pad - (kernel[a] - 1) * dilation - 1) / stride + 1)
                .collect();
            let window = Window {
                kernel,
                strides: vec![stride; axes],
                dilations: vec![dilation; axes],
                pads_begin: vec![pad; axes],
                pads_end: vec![pad; axes],
                input,
                output,
            };
            let layout = Layout::new(&window).unwrap();
            let len = window.input_len();
            let x: Vec<f32> = (0..2 * len).map(|i| i as f32 + 1.).collect();
            let arranged = layout.arrange(&x).unwrap();
            let indices = window.indices();
            for channel in 0..2 {
                for (tap, offset) in layout.offsets().iter().enumerate() {
                    for position in 0..window.positions() {
                        let index = indices[tap * window.positions() + position];
                        let expected =
                            if index == OUTSIDE { 0. } else { x[channel * len + index as usize] };
                        let (row, column) =
                            (position / layout.columns(), position % layout.columns());
                        let at = row * layout.pitch() + column;
                        assert!(at < layout.positions());
                        let got = arranged[channel * layout.plane() + offset + at];
                        assert_eq!(got, expected, "{window:?} tap {tap} position {position}");
                    }
                }
            }
        }
    }
}
