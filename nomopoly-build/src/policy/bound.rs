//! The bound of figures that are pooled. (`statistics.rs` has the same for training, by a library
//! that a build script which only looks operations up does without.)

use nomopoly_manifest::Rate;

/// All trials of several measurements together, with the exact one-sided 95 % Clopper-Pearson
/// bound; `None` where nothing was tried.
pub fn pooled<'a>(rates: impl IntoIterator<Item = &'a Rate>) -> Option<Rate> {
    let (errors, samples) = rates.into_iter().fold((0u64, 0u64), |(errors, samples), rate| {
        // Files may claim any number.
        (errors.saturating_add(rate.errors), samples.saturating_add(rate.samples))
    });
    (samples > 0).then(|| Rate { errors, samples, upper_95: upper_95(errors, samples) })
}

/// The p at which as few errors as these have probability 5 %.
fn upper_95(errors: u64, samples: u64) -> f64 {
    // So many errors are those of no audit: summing them up would take longer than a build may.
    if errors >= samples || errors > 10_000_000 {
        return 1.;
    }
    let (mut low, mut high) = (errors as f64 / samples as f64, 1.);
    // As far as halves of an f64 go; `high` is never below the bound.
    for _ in 0..64 {
        let middle = low + (high - low) / 2.;
        if ln_tail(errors, samples, middle) > 0.05f64.ln() {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Logarithm of the probability of at most so many errors, each of probability 0 < p < 1.
fn ln_tail(errors: u64, samples: u64, p: f64) -> f64 {
    let n = samples as f64;
    let ln_odds = p.ln() - (-p).ln_1p();
    let mut term = n * (-p).ln_1p();
    let mut sum = term;
    for k in 0..errors {
        let k = k as f64;
        term += ((n - k) / (k + 1.)).ln() + ln_odds;
        // The sum of two numbers whose logarithms these are, neither of which may underflow.
        let (most, least) = if term > sum { (term, sum) } else { (sum, term) };
        sum = most + (least - most).exp().ln_1p();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(errors: u64, samples: u64) -> Rate {
        Rate { errors, samples, upper_95: 1. }
    }

    #[test]
    fn the_rule_of_three_holds() {
        let bound = pooled(&[rate(0, 20_000)]).map(|rate| rate.upper_95);
        assert!((bound.unwrap() - 1.498e-4).abs() < 1e-6);
        assert!((upper_95(0, 1000) - (1. - 0.05f64.powf(1e-3))).abs() < 1e-12);
    }

    #[test]
    fn pools_add_up_and_nothing_tried_is_nothing() {
        let all = pooled(&[rate(1, 100), rate(0, 900)]).unwrap();
        assert_eq!((all.errors, all.samples), (1, 1000));
        assert!(all.upper_95 > 0.004 && all.upper_95 < 0.005, "{}", all.upper_95);
        assert_eq!(pooled(&[]), None);
        assert_eq!(pooled(&[rate(0, 0)]), None);
        assert_eq!(pooled(&[rate(5, 5)]).unwrap().upper_95, 1.);
    }

    #[cfg(feature = "train")]
    #[test]
    fn it_is_the_bound_of_training() {
        for (errors, samples) in [(0, 100), (1, 100), (3, 1000), (50, 100), (99, 100), (7, 90_000)]
        {
            let (ours, theirs) =
                (upper_95(errors, samples), crate::statistics::rate(errors, samples).upper_95);
            assert!((ours - theirs).abs() < 1e-9, "{errors}/{samples}: {ours} and {theirs}");
        }
    }
}
