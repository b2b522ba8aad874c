//! Contractions of channels where each channel is a plane of positions.

use pulp::{Arch, Simd, WithSimd};

use super::{passes, registers, with_width};

/// Vectors of weights `[k][channels][taps]`, arranged for [`Planes::contract`].
#[derive(Debug, Clone)]
pub(crate) struct Planes {
    k: usize,
    taps: usize,
    /// First vector, width, and weights `[channels][taps][width]` of each pass.
    passes: Vec<(usize, usize, Vec<f32>)>,
}

/// Where the channels lie and what is taken from each element before it is multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub x: &'a [f32],
    /// Elements from one channel to the next.
    pub plane: usize,
    /// Where each tap starts within a plane.
    pub offsets: &'a [usize],
    /// One value per channel.
    pub shift: Option<&'a [f32]>,
}

impl Planes {
    /// `weights` are `[k, channels, taps]`.
    pub fn new(weights: &[f32], k: usize, taps: usize) -> Self {
        let reduction = weights.len() / k.max(1);
        let arrange = |(first, end): (usize, usize)| {
            let width = end - first;
            let mut arranged = vec![0.; reduction * width];
            for vector in 0..width {
                let row = &weights[(first + vector) * reduction..][..reduction];
                for (weight, place) in row.iter().zip(arranged[vector..].iter_mut().step_by(width))
                {
                    *place = *weight;
                }
            }
            (first, width, arranged)
        };
        Self { k, taps, passes: passes(k, registers()).map(arrange).collect() }
    }

    /// Number of vectors.
    pub fn vectors(&self) -> usize {
        self.k
    }

    /// out[vector][position] = Σ_channel Σ_tap weight · (x[channel][offset of tap + position] - shift),
    /// for the first `out.len() / k` positions.
    pub fn contract(&self, source: Source<'_>, out: &mut [f32]) {
        let positions = out.len() / self.k.max(1);
        if positions == 0 || source.offsets.len() != self.taps {
            return;
        }
        let arch = Arch::new();
        for (first, width, weights) in &self.passes {
            let out = &mut out[first * positions..][..width * positions];
            with_width!(*width, K => arch.dispatch(Pass::<K> { source, weights, positions, out }));
        }
    }
}

struct Pass<'a, const K: usize> {
    source: Source<'a>,
    weights: &'a [f32],
    positions: usize,
    out: &'a mut [f32],
}

impl<const K: usize> WithSimd for Pass<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { source, weights, positions, out } = self;
        let step = 2 * S::F32_LANES;
        let weights = weights.as_chunks::<K>().0;
        let mut at = 0;
        while at + step <= positions {
            let sums = match source.shift {
                None => block::<S, K, false>(simd, source, weights, at),
                Some(_) => block::<S, K, true>(simd, source, weights, at),
            };
            for (vector, sums) in sums.iter().enumerate() {
                let (out, _) = S::as_mut_simd_f32s(&mut out[vector * positions + at..][..step]);
                out.copy_from_slice(sums);
            }
            at += step;
        }
        while at < positions {
            let len = S::F32_LANES.min(positions - at);
            let sums = tail::<S, K>(simd, source, weights, at, len);
            for (vector, sum) in sums.iter().enumerate() {
                simd.partial_store_f32s(&mut out[vector * positions + at..][..len], *sum);
            }
            at += len;
        }
    }
}

#[inline(always)]
fn block<S: Simd, const K: usize, const SHIFT: bool>(
    simd: S,
    source: Source<'_>,
    weights: &[[f32; K]],
    at: usize,
) -> [[S::f32s; 2]; K] {
    let Source { x, plane, offsets, shift } = source;
    let zero = simd.splat_f32s(0.);
    let mut sums = [[zero; 2]; K];
    let mut shifts = shift.unwrap_or_default().iter();
    for (channel, weights) in weights.chunks_exact(offsets.len()).enumerate() {
        let x = &x[channel * plane + at..];
        let minus = match shifts.next() {
            Some(shift) if SHIFT => simd.splat_f32s(*shift),
            _ => zero,
        };
        for (offset, weights) in offsets.iter().zip(weights) {
            let (x, _) = S::as_simd_f32s(&x[*offset..][..2 * S::F32_LANES]);
            let mut x = [x[0], x[1]];
            if SHIFT {
                x = [simd.sub_f32s(x[0], minus), simd.sub_f32s(x[1], minus)];
            }
            for vector in 0..K {
                let weight = simd.splat_f32s(weights[vector]);
                sums[vector][0] = simd.mul_add_e_f32s(weight, x[0], sums[vector][0]);
                sums[vector][1] = simd.mul_add_e_f32s(weight, x[1], sums[vector][1]);
            }
        }
    }
    sums
}

/// The last `len` positions, fewer than a register has lanes.
#[inline(always)]
fn tail<S: Simd, const K: usize>(
    simd: S,
    source: Source<'_>,
    weights: &[[f32; K]],
    at: usize,
    len: usize,
) -> [S::f32s; K] {
    let Source { x, plane, offsets, shift } = source;
    let zero = simd.splat_f32s(0.);
    let mut sums = [zero; K];
    for (channel, weights) in weights.chunks_exact(offsets.len()).enumerate() {
        let x = &x[channel * plane + at..];
        let minus = shift.and_then(|shift| shift.get(channel)).copied().unwrap_or(0.);
        for (offset, weights) in offsets.iter().zip(weights) {
            let x = simd.partial_load_f32s(&x[*offset..][..len]);
            let x = simd.sub_f32s(x, simd.splat_f32s(minus));
            for vector in 0..K {
                let weight = simd.splat_f32s(weights[vector]);
                sums[vector] = simd.mul_add_e_f32s(weight, x, sums[vector]);
            }
        }
    }
    sums
}

/// sums[i] += Σ_channel energy[channel] · x[channel][i]², for `sums.len()` elements of each plane.
pub(crate) fn weighted_squares(x: &[f32], plane: usize, energy: &[f32], sums: &mut [f32]) {
    struct Squares<'a>(&'a [f32], usize, &'a [f32], &'a mut [f32]);
    impl WithSimd for Squares<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(x, plane, energies, sums) = self;
            for (channel, energy) in energies.iter().enumerate() {
                let x = &x[channel * plane..][..sums.len()];
                let (x, x_rest) = S::as_simd_f32s(x);
                let (head, rest) = S::as_mut_simd_f32s(sums);
                let factor = simd.splat_f32s(*energy);
                for (sum, x) in head.iter_mut().zip(x) {
                    *sum = simd.mul_add_e_f32s(simd.mul_f32s(*x, *x), factor, *sum);
                }
                for (sum, x) in rest.iter_mut().zip(x_rest) {
                    *sum += x * x * energy;
                }
            }
        }
    }
    Arch::new().dispatch(Squares(x, plane, energy, sums));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: u64) -> Vec<f32> {
        let mix = |i: u64| (i + 1).wrapping_mul(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1) >> 40;
        (0..len as u64).map(|i| mix(i) as f32 / (1u64 << 23) as f32 - 1.).collect()
    }

    #[test]
    fn every_width_and_length_gives_the_sums() {
        for k in 1..=30 {
            for positions in [1, 5, 16, 31, 32, 33, 70] {
                let (channels, offsets) = (3, [0usize, 2, 9]);
                let plane = positions + 9;
                let x = numbers(channels * plane, 1);
                let weights = numbers(k * channels * 3, 2);
                let shift = numbers(channels, 3);
                for shift in [None, Some(shift.as_slice())] {
                    let mut out = vec![0.; k * positions];
                    let source = Source { x: &x, plane, offsets: &offsets, shift };
                    Planes::new(&weights, k, 3).contract(source, &mut out);
                    for vector in 0..k {
                        for at in 0..positions {
                            let mut sum = 0f64;
                            for c in 0..channels {
                                for (tap, offset) in offsets.iter().enumerate() {
                                    let x = x[c * plane + at + offset] - shift.map_or(0., |s| s[c]);
                                    let w = weights[(vector * channels + c) * 3 + tap];
                                    sum += f64::from(x) * f64::from(w);
                                }
                            }
                            let got = f64::from(out[vector * positions + at]);
                            assert!((got - sum).abs() < 1e-5, "{k} {positions} {got} {sum}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn squares_are_weighted_by_channel() {
        let x = numbers(2 * 37, 4);
        let mut sums = vec![0.; 37];
        weighted_squares(&x, 37, &[2., 3.], &mut sums);
        for (i, sum) in sums.iter().enumerate() {
            let expected = 2. * x[i] * x[i] + 3. * x[37 + i] * x[37 + i];
            assert!((sum - expected).abs() < 1e-6);
        }
    }
}
