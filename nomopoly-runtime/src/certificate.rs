//! The bound on accepting a wrong output of a linear operation.
//!
//! Let σ_p be the rounding unit at position p, t the head's threshold, and δ_p the error of the
//! claimed output at p. Sketch j sees δ_p·r_j, which for a secret standard Gaussian r_j has
//! standard deviation ‖δ_p‖, so it stays within t σ_p with probability 2Φ(t σ_p/‖δ_p‖) - 1, and
//! all k sketches with its k-th power. (Honest rounding shifts the interval; by Anderson's
//! inequality a shifted interval of the same width is never likelier.) However an attacker
//! spreads an error of relative size d over the positions, some position has
//! ‖δ_p‖/σ_p >= d ‖f(x)‖ / √Σσ²: with `spread` = √Σσ² / ‖f(x)‖, the bound is
//! (2Φ(t·spread/d) - 1)^k = erf(t·spread/(d√2))^k.
//!
//! Freivalds 1977 (probabilistic machines can use less running time) is the check over a finite
//! field; this is its form over Gaussian vectors and floats.

/// `log2` of the probability, over the key, that a wrong output of relative deviation
/// `deviation` is accepted. Minus infinity for replay (`sketches` 0) when the deviation must show.
pub fn log2_bound(sketches: u32, threshold: f64, spread: f64, deviation: f64) -> f64 {
    let z = threshold * spread / deviation;
    if sketches == 0 {
        // Replay compares every element: an error of at most t units everywhere has norm at
        // most t √Σσ².
        return if z < 1. { f64::NEG_INFINITY } else { 0. };
    }
    if !z.is_finite() {
        return 0.;
    }
    f64::from(sketches) * libm::erf(z / std::f64::consts::SQRT_2).log2()
}

/// The smallest relative deviation whose bound is at most 2^-`bits`; infinity if there is none.
pub fn deviation_at(sketches: u32, threshold: f64, spread: f64, bits: f64) -> f64 {
    let scale = threshold * spread;
    if !scale.is_finite() {
        return f64::INFINITY;
    }
    if sketches == 0 {
        return scale;
    }
    // z with erf(z/√2)^k = 2^-bits, by bisection of an increasing function.
    let target = 2f64.powf(-bits / f64::from(sketches));
    let (mut low, mut high) = (0f64, 40f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if libm::erf(middle / std::f64::consts::SQRT_2) > target {
            high = middle;
        } else {
            low = middle;
        }
    }
    // Rounded up a hair, so that the bound at the deviation itself is on the safe side.
    if low == 0. { f64::INFINITY } else { scale / low * (1. + 1e-12) }
}

/// The number of sketches that certify `bits` at `deviation`; `None` if no number up to
/// `most` does.
pub fn sketches_for(
    threshold: f64,
    spread: f64,
    deviation: f64,
    bits: f64,
    most: u32,
) -> Option<u32> {
    let per_sketch = -log2_bound(1, threshold, spread, deviation);
    if per_sketch.is_nan() || per_sketch <= 0. {
        return None;
    }
    let needed = (bits / per_sketch).ceil().max(1.);
    (needed <= f64::from(most)).then_some(needed as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_and_its_inverse_agree() {
        for sketches in [1, 4, 12, 64] {
            for bits in [1., 20., 40., 128.] {
                let deviation = deviation_at(sketches, 10., 1e-5, bits);
                let log2 = log2_bound(sketches, 10., 1e-5, deviation);
                assert!((log2 + bits).abs() < 1e-3 * bits, "{sketches} {bits} {log2}");
            }
        }
    }

    #[test]
    fn the_bound_matches_a_hand_computation() {
        // 2Φ(1) - 1 = 0.682689492...
        let log2 = log2_bound(2, 10., 0.1, 1.);
        assert!((log2 - 2. * 0.682_689_492_137_085_9_f64.log2()).abs() < 1e-12);
    }

    #[test]
    fn sketches_are_enough_and_one_fewer_is_not() {
        let k = sketches_for(10., 1e-5, 1e-3, 40., 64).unwrap();
        assert!(log2_bound(k, 10., 1e-5, 1e-3) <= -40.);
        assert!(log2_bound(k - 1, 10., 1e-5, 1e-3) > -40.);
        assert_eq!(sketches_for(f64::INFINITY, 1e-5, 1e-3, 40., 64), None);
        assert_eq!(sketches_for(10., 1., 1e-3, 40., 64), None);
    }

    #[test]
    fn replay_is_certain_above_its_tolerance() {
        assert_eq!(log2_bound(0, 10., 1e-7, 1e-3), f64::NEG_INFINITY);
        assert_eq!(log2_bound(0, 10., 1e-3, 1e-3), 0.);
    }
}
