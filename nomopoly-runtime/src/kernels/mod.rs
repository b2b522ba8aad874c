//! The arithmetic of sketches on plain memory, with the vector instructions that the processor has.
//!
//! A sketch contracts many channels (or columns) with a few vectors. That is a matrix product with
//! one very short side, for which general kernels move more memory than they compute on. Here up to
//! [`WIDEST`] sums stay in registers while the input streams past once.
//!
//! | file | subject |
//! | --- | --- |
//! | `planes.rs` | channels before positions: convolutions, and contractions of their outputs |
//! | `rows.rs` | positions before features: matrix products |
//! | `padded.rs` | images laid out so that every tap of a window reads consecutive elements |
//! | `squares.rs` | sums of squares |

mod padded;
mod planes;
mod rows;
mod squares;

pub(crate) use padded::Layout;
pub(crate) use planes::{Planes, Source, weighted_squares};
pub(crate) use rows::{Rows, row_squares};
use squares::LANES;
pub(crate) use squares::sum_of_squares;

/// Most vectors that one pass contracts with: twice as many sums, a loaded element and a broadcast
/// weight fit into 32 registers.
const WIDEST: usize = 12;
/// The same for processors with 16 registers.
const NARROW: usize = 6;

/// How k vectors are divided into passes of nearly equal width.
fn passes(k: usize, registers: usize) -> impl Iterator<Item = (usize, usize)> {
    let widest = if registers >= 32 { WIDEST } else { NARROW };
    let count = k.div_ceil(widest).max(1);
    (0..count).map(move |pass| (pass * k / count, (pass + 1) * k / count))
}

/// Calls a generic function with a width that is known at run time.
macro_rules! with_width {
    ($width:expr, $name:ident => $call:expr) => {
        match $width {
            1 => {
                const $name: usize = 1;
                $call
            }
            2 => {
                const $name: usize = 2;
                $call
            }
            3 => {
                const $name: usize = 3;
                $call
            }
            4 => {
                const $name: usize = 4;
                $call
            }
            5 => {
                const $name: usize = 5;
                $call
            }
            6 => {
                const $name: usize = 6;
                $call
            }
            7 => {
                const $name: usize = 7;
                $call
            }
            8 => {
                const $name: usize = 8;
                $call
            }
            9 => {
                const $name: usize = 9;
                $call
            }
            10 => {
                const $name: usize = 10;
                $call
            }
            11 => {
                const $name: usize = 11;
                $call
            }
            12 => {
                const $name: usize = 12;
                $call
            }
            _ => {}
        }
    };
}
use with_width;

/// Clears the upper halves of the vector registers of this thread.
///
/// Some of tract's kernels leave them in use, after which every plain floating-point instruction waits
/// for them: a decoder with Tanh and Pow ran 3.5 times slower for it. Where a function used wide
/// registers, the compiler ends it with the instruction that clears them.
pub(crate) fn clear_registers() {
    struct Clear<'a>(&'a mut [f32; LANES]);
    impl pulp::WithSimd for Clear<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, simd: S) {
            // From memory and back: what the compiler knows it would not compute in wide registers.
            let (wide, _) = S::as_mut_simd_f32s(self.0);
            for wide in wide {
                *wide = simd.mul_f32s(*wide, *wide);
            }
        }
    }
    let mut numbers = std::hint::black_box([1.; LANES]);
    pulp::Arch::new().dispatch(Clear(&mut numbers));
    std::hint::black_box(numbers);
}

/// Registers that the processor has for vectors.
fn registers() -> usize {
    struct Count;
    impl pulp::WithSimd for Count {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
            S::REGISTER_COUNT
        }
    }
    pulp::Arch::new().dispatch(Count)
}
