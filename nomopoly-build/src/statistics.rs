//! Exact binomial intervals.

use nomopoly_manifest::Rate;
use statrs::function::beta::inv_beta_reg;

/// An error rate with its one-sided 95 % upper bound after Clopper and Pearson (1934, The use of
/// confidence or fiducial limits illustrated in the case of the binomial): the p at which as few
/// errors as observed have probability 5 %, the 0.95 quantile of Beta(errors + 1, rest).
pub fn rate(errors: u64, samples: u64) -> Rate {
    let upper_95 = if errors >= samples {
        1.
    } else if errors == 0 {
        // The same in closed form: (1 - p)^n = 0.05.
        1. - 0.05f64.powf(1. / samples as f64)
    } else {
        inv_beta_reg(errors as f64 + 1., (samples - errors) as f64, 0.95)
    };
    Rate { errors, samples, upper_95 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(X <= errors) for a binomial, summed directly.
    fn tail(errors: u64, samples: u64, p: f64) -> f64 {
        let mut term = (1. - p).powi(samples as i32);
        let mut sum = term;
        for k in 0..errors {
            term *= (samples - k) as f64 / (k + 1) as f64 * p / (1. - p);
            sum += term;
        }
        sum
    }

    #[test]
    fn the_bound_leaves_five_percent_below() {
        for (errors, samples) in [(0, 100), (1, 100), (3, 1000), (50, 100)] {
            let bound = rate(errors, samples).upper_95;
            assert!((tail(errors, samples, bound) - 0.05).abs() < 1e-6, "{errors}/{samples}");
        }
    }

    #[test]
    fn nothing_sampled_bounds_nothing() {
        assert_eq!(rate(0, 0).upper_95, 1.);
        assert_eq!(rate(5, 5).upper_95, 1.);
        // The rule of three.
        assert!((rate(0, 20_000).upper_95 - 1.498e-4).abs() < 1e-6);
    }
}
