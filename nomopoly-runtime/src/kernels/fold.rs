//! Signed sums by bucket, and the sum of squares, in one pass.

use pulp::{Arch, Simd, WithSimd};

/// Buckets of a fold.
pub(crate) const LANES: usize = 64;
/// One number per bucket.
pub(crate) type Lanes = [f32; LANES];

/// Σ x · sign and Σ x², bucket by bucket: element i of `x` goes to bucket i % 64 with the i-th of
/// `signs`. `x` is multiplied by `scale` before.
pub(crate) fn signed_sums(x: &[f32], signs: &[f32], scale: f32) -> (Lanes, Lanes) {
    struct Sums<'a>(&'a [Lanes], &'a [Lanes], f32);
    impl WithSimd for Sums<'_> {
        type Output = (Lanes, Lanes);
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(rows, signs, scale) = self;
            let (mut sums, mut squares) = ([0.; LANES], [0.; LANES]);
            let scale = simd.splat_f32s(scale);
            // Four registers at a time, so that the additions do not wait for each other.
            let width = 4 * S::F32_LANES;
            let mut at = 0;
            while at < LANES {
                let zero = simd.splat_f32s(0.);
                let (mut sum, mut square) = ([zero; 4], [zero; 4]);
                let len = width.min(LANES - at);
                for (row, signs) in rows.iter().zip(signs) {
                    let (x, _) = S::as_simd_f32s(&row[at..at + len]);
                    let (signs, _) = S::as_simd_f32s(&signs[at..at + len]);
                    for lane in 0..4 {
                        if let (Some(x), Some(sign)) = (x.get(lane), signs.get(lane)) {
                            let x = simd.mul_f32s(*x, scale);
                            sum[lane] = simd.mul_add_e_f32s(x, *sign, sum[lane]);
                            square[lane] = simd.mul_add_e_f32s(x, x, square[lane]);
                        }
                    }
                }
                let (to, _) = S::as_mut_simd_f32s(&mut sums[at..at + len]);
                to.iter_mut().zip(sum).for_each(|(to, sum)| *to = sum);
                let (to, _) = S::as_mut_simd_f32s(&mut squares[at..at + len]);
                to.iter_mut().zip(square).for_each(|(to, square)| *to = square);
                at += len;
            }
            (sums, squares)
        }
    }
    let (rows, rest) = x.as_chunks::<LANES>();
    let (signs, _) = signs.as_chunks::<LANES>();
    let (mut sums, mut squares) = Arch::new().dispatch(Sums(rows, signs, scale));
    if let (false, Some(signs)) = (rest.is_empty(), signs.get(rows.len())) {
        for (((value, sign), sum), square) in
            rest.iter().zip(signs).zip(&mut sums).zip(&mut squares)
        {
            let value = value * scale;
            *sum += value * sign;
            *square += value * value;
        }
    }
    (sums, squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_go_to_their_buckets() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let x: Vec<f32> = (0..len).map(|i| (i % 7) as f32 - 3.).collect();
            let signs: Vec<f32> =
                (0..1024).map(|i| if (i * i) % 3 == 0 { 1. } else { -1. }).collect();
            let (sums, squares) = signed_sums(&x, &signs, 2.);
            for bucket in 0..LANES {
                let of = || (bucket..len).step_by(LANES);
                assert_eq!(sums[bucket], of().map(|i| 2. * x[i] * signs[i]).sum::<f32>());
                assert_eq!(squares[bucket], of().map(|i| 4. * x[i] * x[i]).sum::<f32>());
            }
        }
    }
}
