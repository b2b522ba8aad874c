//! How a linear operation's output falls into rows of elements that belong together.

use super::Linear;

/// An output as slices, row-major: channels of a convolution, features of one position of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slices {
    /// Elements of one.
    pub each: usize,
    /// How many follow each other in one image, or in all of a matrix.
    pub run: usize,
    /// How many such runs there are.
    pub runs: usize,
}

impl Slices {
    pub fn of(linear: &dyn Linear, output_shape: &[usize]) -> Self {
        if linear.is_channels_first() {
            let images = output_shape.first().copied().unwrap_or(1).max(1);
            let each = linear.positions() / images;
            return Self { each, run: linear.features(), runs: images };
        }
        Self { each: linear.features(), run: linear.positions(), runs: 1 }
    }
}
