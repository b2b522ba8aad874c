//! Shapes as types: a tuple of dimensions, `(D<1>, D<3>, D<8>, D<8>)`.

use std::fmt;

/// A dimension of exactly N elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct D<const N: usize>;

/// A dimension that counts samples and is known at run time only: a symbolic first dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch;

/// A dimension that the model leaves open and only the tensor knows: the length of a sequence, the
/// side of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open;

/// [`D`], [`Batch`] or [`Open`].
pub trait Dimension: fmt::Debug + Clone + Copy + PartialEq + Send + Sync + 'static {
    /// The number of elements, unless only the tensor knows it.
    const SIZE: Option<usize>;
}

impl<const N: usize> Dimension for D<N> {
    const SIZE: Option<usize> = Some(N);
}

impl Dimension for Batch {
    const SIZE: Option<usize> = None;
}

impl Dimension for Open {
    const SIZE: Option<usize> = None;
}

/// A tuple of up to eight dimensions; at most the first is [`Batch`].
pub trait Shape: fmt::Debug + Clone + Copy + PartialEq + Send + Sync + 'static {
    /// Sizes of the dimensions, outermost first.
    const SIZES: &'static [Option<usize>];
}

macro_rules! shapes {
    ($(($($dimension:ident),*),)*) => {
        $(impl<$($dimension: Dimension),*> Shape for ($($dimension,)*) {
            const SIZES: &'static [Option<usize>] = &[$($dimension::SIZE),*];
        })*
    };
}

shapes! {
    (),
    (A),
    (A, B),
    (A, B, C),
    (A, B, C, E),
    (A, B, C, E, F),
    (A, B, C, E, F, G),
    (A, B, C, E, F, G, H),
    (A, B, C, E, F, G, H, I),
}
