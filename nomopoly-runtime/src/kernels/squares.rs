//! The sum of squares in one pass.

use pulp::{Arch, Simd, WithSimd};

/// Sums that are kept apart.
pub(crate) const LANES: usize = 64;
/// Rows of [`LANES`] elements that are summed in f32: a lane of many equal elements would round one
/// way.
const ROWS: usize = 64;

/// Σ x², finite if and only if every element is.
pub(crate) fn sum_of_squares(x: &[f32]) -> f64 {
    // Squares of f32 overflow and vanish where the numbers themselves do not. That is rare, and
    // looking for the largest element first costs as much as all the rest.
    let squares = scaled(x, 1.);
    if (1e-20..1e30).contains(&squares) {
        return squares;
    }
    let largest = x.iter().fold(0f32, |a, b| a.max(b.abs()));
    let scale = 1. / (largest + f32::MIN_POSITIVE);
    scaled(x, scale) / f64::from(scale).powi(2)
}

fn scaled(x: &[f32], scale: f32) -> f64 {
    struct Sums<'a>(&'a [[f32; LANES]], f32);
    impl WithSimd for Sums<'_> {
        type Output = f64;
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(rows, scale) = self;
            let scale = simd.splat_f32s(scale);
            let mut total = 0f64;
            for rows in rows.chunks(ROWS) {
                // Four registers at a time, so that the additions do not wait for each other.
                let mut sums = [simd.splat_f32s(0.); 4];
                for row in rows {
                    let (row, _) = S::as_simd_f32s(row);
                    for (at, x) in row.iter().enumerate() {
                        let x = simd.mul_f32s(*x, scale);
                        sums[at % 4] = simd.mul_add_e_f32s(x, x, sums[at % 4]);
                    }
                }
                total += sums.iter().map(|sum| f64::from(simd.reduce_sum_f32s(*sum))).sum::<f64>();
            }
            total
        }
    }
    let (rows, rest) = x.as_chunks::<LANES>();
    let rest: f64 = rest.iter().map(|x| f64::from(x * scale).powi(2)).sum();
    Arch::new().dispatch(Sums(rows, scale)) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_counts_at_every_scale() {
        for len in [0, 1, 63, 64, 65, 1000, 9999] {
            for scale in [1., 1e-25, 1e25] {
                let x: Vec<f32> = (0..len).map(|i| ((i % 7) as f32 - 3.) * scale).collect();
                let exact: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
                let error = (sum_of_squares(&x) - exact).abs();
                assert!(error <= 1e-6 * exact, "{len} {scale} {error} {exact}");
            }
        }
        for wrong in [f32::NAN, f32::INFINITY] {
            for at in [0, 64, 129] {
                let mut x = vec![1.; 130];
                x[at] = wrong;
                assert!(!sum_of_squares(&x).is_finite(), "{wrong} at {at}");
            }
        }
    }
}
