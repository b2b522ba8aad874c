//! Products of rows with a few vectors.

use pulp::{Arch, Simd, WithSimd};

use super::{passes, registers, with_width};

/// Vectors of weights `[k][n]`.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    k: usize,
    n: usize,
    weights: Vec<f32>,
    /// First vector and end of each pass.
    passes: Vec<(usize, usize)>,
}

/// What is taken from a row before it is multiplied: `[n]`, or `[rows, n]`.
pub(crate) type Shift<'a> = Option<&'a [f32]>;

impl Rows {
    /// `columns` are `[n, k]`, one vector per column.
    pub fn from_columns(columns: &[f32], k: usize) -> Self {
        let n = columns.len() / k.max(1);
        let mut weights = vec![0.; k * n];
        for (index, row) in columns.chunks_exact(k.max(1)).enumerate() {
            for (vector, value) in row.iter().enumerate() {
                weights[vector * n + index] = *value;
            }
        }
        Self { k, n, weights, passes: passes(k, registers()).collect() }
    }

    /// Elements of a row.
    pub fn columns(&self) -> usize {
        self.n
    }

    /// Number of vectors.
    pub fn vectors(&self) -> usize {
        self.k
    }

    /// out[row][vector] = Σ_i (x[row][i] - shift[i]) · weight[vector][i], for rows of n elements.
    pub fn contract(&self, x: &[f32], shift: Shift<'_>, out: &mut [f32]) {
        let Self { k, n, .. } = *self;
        if n == 0 || k == 0 {
            return;
        }
        let arch = Arch::new();
        for &(first, end) in &self.passes {
            let weights = &self.weights[first * n..end * n];
            with_width!(end - first, K => {
                arch.dispatch(Pass::<K> { x, n, shift, weights, first, of: k, out: &mut *out })
            });
        }
    }
}

struct Pass<'a, const K: usize> {
    x: &'a [f32],
    n: usize,
    shift: Shift<'a>,
    weights: &'a [f32],
    /// Of `of` vectors this pass takes K from `first` on.
    first: usize,
    of: usize,
    out: &'a mut [f32],
}

impl<const K: usize> WithSimd for Pass<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, n, shift, weights, first, of, out } = self;
        let weights: [&[f32]; K] = std::array::from_fn(|vector| &weights[vector * n..][..n]);
        let count = x.len() / n;
        let shift_of = |row: usize| match shift {
            Some(shift) if shift.len() > n => Some(&shift[row * n..][..n]),
            shift => shift,
        };
        let mut row = 0;
        while row < count {
            let pair = row + 1 < count;
            if pair && shift.is_none() {
                let rows = [&x[row * n..][..n], &x[(row + 1) * n..][..n]];
                let sums = products::<S, K, 2>(simd, rows, &weights);
                for (index, sums) in sums.iter().enumerate() {
                    out[(row + index) * of + first..][..K].copy_from_slice(sums);
                }
                row += 2;
                continue;
            }
            let one = &x[row * n..][..n];
            let sums = match shift_of(row) {
                None => products::<S, K, 1>(simd, [one], &weights)[0],
                Some(shift) => shifted::<S, K>(simd, one, shift, &weights),
            };
            out[row * of + first..][..K].copy_from_slice(&sums);
            row += 1;
        }
    }
}

#[inline(always)]
fn products<S: Simd, const K: usize, const R: usize>(
    simd: S,
    rows: [&[f32]; R],
    weights: &[&[f32]; K],
) -> [[f32; K]; R] {
    let split: [(&[S::f32s], &[f32]); R] = std::array::from_fn(|r| S::as_simd_f32s(rows[r]));
    let vectors: [(&[S::f32s], &[f32]); K] = std::array::from_fn(|k| S::as_simd_f32s(weights[k]));
    let blocks = split[0].0.len();
    let mut sums = [[simd.splat_f32s(0.); K]; R];
    for block in 0..blocks {
        let x: [S::f32s; R] = std::array::from_fn(|r| split[r].0[block]);
        for k in 0..K {
            let weight = vectors[k].0[block];
            for r in 0..R {
                sums[r][k] = simd.mul_add_e_f32s(weight, x[r], sums[r][k]);
            }
        }
    }
    if !split[0].1.is_empty() {
        let x: [S::f32s; R] = std::array::from_fn(|r| simd.partial_load_f32s(split[r].1));
        for k in 0..K {
            let weight = simd.partial_load_f32s(vectors[k].1);
            for r in 0..R {
                sums[r][k] = simd.mul_add_e_f32s(weight, x[r], sums[r][k]);
            }
        }
    }
    std::array::from_fn(|r| std::array::from_fn(|k| simd.reduce_sum_f32s(sums[r][k])))
}

#[inline(always)]
fn shifted<S: Simd, const K: usize>(
    simd: S,
    row: &[f32],
    shift: &[f32],
    weights: &[&[f32]; K],
) -> [f32; K] {
    let (x, x_rest) = S::as_simd_f32s(row);
    let (minus, minus_rest) = S::as_simd_f32s(shift);
    let vectors: [(&[S::f32s], &[f32]); K] = std::array::from_fn(|k| S::as_simd_f32s(weights[k]));
    let mut sums = [simd.splat_f32s(0.); K];
    for block in 0..x.len() {
        let x = simd.sub_f32s(x[block], minus[block]);
        for k in 0..K {
            sums[k] = simd.mul_add_e_f32s(vectors[k].0[block], x, sums[k]);
        }
    }
    if !x_rest.is_empty() {
        let x = simd.sub_f32s(simd.partial_load_f32s(x_rest), simd.partial_load_f32s(minus_rest));
        for k in 0..K {
            sums[k] = simd.mul_add_e_f32s(simd.partial_load_f32s(vectors[k].1), x, sums[k]);
        }
    }
    std::array::from_fn(|k| simd.reduce_sum_f32s(sums[k]))
}

/// The sum of squares of each row of n elements.
pub(crate) fn row_squares(x: &[f32], n: usize, out: &mut [f32]) {
    struct Squares<'a>(&'a [f32], usize, &'a mut [f32]);
    impl WithSimd for Squares<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(x, n, out) = self;
            for (row, out) in x.chunks_exact(n).zip(out) {
                let (x, rest) = S::as_simd_f32s(row);
                let mut sum = simd.splat_f32s(0.);
                for x in x {
                    sum = simd.mul_add_e_f32s(*x, *x, sum);
                }
                let rest = simd.partial_load_f32s(rest);
                *out = simd.reduce_sum_f32s(simd.mul_add_e_f32s(rest, rest, sum));
            }
        }
    }
    if n > 0 {
        Arch::new().dispatch(Squares(x, n, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_length_gives_the_sums() {
        let number = |i: usize| ((i * 37) % 101) as f32 / 50. - 1.;
        for k in 1..=26 {
            for (rows, n) in [(1, 1), (2, 15), (3, 16), (5, 33), (4, 100)] {
                let x: Vec<f32> = (0..rows * n).map(number).collect();
                let columns: Vec<f32> = (0..n * k).map(|i| number(i + 7)).collect();
                let per_row: Vec<f32> = (0..rows * n).map(|i| number(i + 11)).collect();
                for shift in [None, Some(&per_row[..n]), Some(&per_row[..])] {
                    let mut out = vec![0.; rows * k];
                    Rows::from_columns(&columns, k).contract(&x, shift, &mut out);
                    for row in 0..rows {
                        for vector in 0..k {
                            let sum: f64 = (0..n)
                                .map(|i| {
                                    let minus = match shift {
                                        None => 0.,
                                        Some(shift) if shift.len() > n => shift[row * n + i],
                                        Some(shift) => shift[i],
                                    };
                                    f64::from(x[row * n + i] - minus)
                                        * f64::from(columns[i * k + vector])
                                })
                                .sum();
                            let got = f64::from(out[row * k + vector]);
                            assert!((got - sum).abs() < 1e-4, "{k} {rows} {n} {got} {sum}");
                        }
                    }
                }
                let mut squares = vec![0.; rows];
                row_squares(&x, n, &mut squares);
                for (row, square) in squares.iter().enumerate() {
                    let sum: f32 = x[row * n..][..n].iter().map(|v| v * v).sum();
                    assert!((square - sum).abs() < 1e-3);
                }
            }
        }
    }
}
