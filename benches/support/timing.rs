//! Times of calls, and how they scatter.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Shortest time that one measurement spans: calls of microseconds are repeated until it is over,
/// so that neither the clock nor a cache that another program emptied decides.
pub const LEAST: Duration = Duration::from_millis(2);

/// Seconds of a call, the mean of as many in a row as span [`LEAST`], and the last one's result.
/// Results are dropped outside.
pub fn timed<T>(mut call: impl FnMut() -> T) -> (f64, T) {
    let (mut total, mut calls) = (Duration::ZERO, 0);
    loop {
        let start = Instant::now();
        let result = black_box(call());
        total += start.elapsed();
        calls += 1;
        if total >= LEAST {
            return (total.as_secs_f64() / f64::from(calls), result);
        }
    }
}

/// Seconds of a call, as [`timed`].
pub fn seconds<T>(call: impl FnMut() -> T) -> f64 {
    timed(call).0
}

/// How numbers scatter.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub smallest: f64,
    /// 10th percentile.
    pub low: f64,
    pub median: f64,
    /// 90th percentile.
    pub high: f64,
    pub largest: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let last = numbers.len() - 1;
        let at = |share: f64| numbers[(share * last as f64).round() as usize];
        Self {
            smallest: numbers[0],
            low: at(0.1),
            median: at(0.5),
            high: at(0.9),
            largest: numbers[last],
        }
    }

    /// Of `a` over `b`, pair by pair: what slows a moment down slows both.
    pub fn of_ratios(a: &[f64], b: &[f64]) -> Self {
        Self::of(a.iter().zip(b).map(|(a, b)| a / b))
    }

    /// Median, 10th and 90th percentile.
    pub fn show(&self, format: impl Fn(f64) -> String) -> String {
        written(format(self.median), format(self.low), format(self.high))
    }

    /// Median, smallest and largest.
    pub fn show_all(&self, format: impl Fn(f64) -> String) -> String {
        written(format(self.median), format(self.smallest), format(self.largest))
    }
}

/// A number and its range, if it has one.
fn written(middle: String, low: String, high: String) -> String {
    if low == middle && high == middle { middle } else { format!("{middle} ({low} to {high})") }
}

/// Three significant digits, without an exponent.
pub fn digits(number: f64) -> String {
    // Rounded first: 9.996 has two digits before the point once it is written with three.
    let rounded: f64 = format!("{number:.2e}").parse().unwrap_or(number);
    if rounded == 0. {
        return "0".into();
    }
    let decimals = (2 - rounded.abs().log10().floor() as i32).clamp(0, 12) as usize;
    format!("{rounded:.decimals$}")
}

/// Seconds, in the unit that suits them.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1. => format!("{} s", digits(s)),
        s if s >= 1e-3 => format!("{} ms", digits(s * 1e3)),
        s => format!("{} µs", digits(s * 1e6)),
    }
}

/// Bytes, in the decimal unit that suits them.
pub fn bytes(count: f64) -> String {
    match count {
        n if n >= 1e6 => format!("{} MB", digits(n / 1e6)),
        n if n >= 1e3 => format!("{} kB", digits(n / 1e3)),
        n => format!("{n:.0} B"),
    }
}

/// A share, in percent.
pub fn percent(share: f64) -> String {
    format!("{} %", digits(100. * share))
}

/// A probability in percent, which is certain only where it is 1.
pub fn chance(probability: f64) -> String {
    if probability < 1. && probability > 0.9995 {
        "over 99.9 %".into()
    } else {
        percent(probability)
    }
}
