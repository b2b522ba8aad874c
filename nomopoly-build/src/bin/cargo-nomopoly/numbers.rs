//! Numbers and names as people read them. Figures are never rounded to look better.

use nomopoly_build::manifest::{Architecture, Check, Metrics, Rate};

/// A share in percent, rounded down: only 1 is `100 %`.
pub fn percent(share: f64) -> String {
    if share >= 1. {
        return "100 %".into();
    }
    // The nudge keeps 0.9999 from becoming 99.98 % by binary rounding.
    format!("{:.2} %", (share * 1e4 + 1e-6).floor() / 100.)
}

/// An upper bound in percent with two digits, rounded up.
pub fn percent_below(share: f64) -> String {
    if !(share > 0. && share < 1.) {
        return format!("{:.0} %", share * 100.);
    }
    let digits = |percent: f64| (1. - percent.log10().floor()).max(0.);
    let power = 10f64.powf(digits(share * 100.));
    let rounded = (share * 100. * power - 1e-9).ceil() / power;
    // Rounding 0.0999 up gives a figure that needs one digit less.
    format!("{rounded:.*} %", digits(rounded) as usize)
}

/// `0/1000 (< 0.30 %)`: observed errors and the upper 95 % bound.
pub fn rate(rate: &Rate) -> String {
    if rate.samples == 0 {
        return "not measured".into();
    }
    format!("{}/{} (< {})", rate.errors, rate.samples, percent_below(rate.upper_95))
}

/// A certified deviation, rounded up; infinite where nothing is certified.
pub fn deviation(deviation: f64) -> String {
    if !deviation.is_finite() {
        return "none".into();
    }
    if deviation <= 0. {
        return "0".into();
    }
    let power = 10f64.powf(1. - deviation.log10().floor());
    format!("{:.1e}", (deviation * power - 1e-9).ceil() / power)
}

/// `2^-40.1` from its exponent; none stands for a bound of 0.
pub fn power_of_two(log2: Option<f64>) -> String {
    // Rounded towards 1, the weaker claim.
    match log2.map(|log2| (log2 * 10.).ceil() / 10.) {
        None | Some(f64::NEG_INFINITY) => "0".into(),
        Some(log2) if log2 >= 0. => "1".into(),
        Some(log2) => format!("2^{log2:.1}"),
    }
}

/// `sketch k=7`, `replay` or `baseline`.
pub fn check(metrics: &Metrics) -> String {
    let certificate = metrics.figures.certificate.as_ref();
    match (metrics.options.architecture, metrics.check, certificate) {
        // The perceptron judges a revealed output; nothing is replayed.
        (Architecture::Mlp, ..) => "baseline".into(),
        (_, Check::Sketch, Some(certificate)) => format!("sketch k={}", certificate.sketches),
        (_, check, _) => check.to_string(),
    }
}

/// `3.4 KiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024. {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.;
    }
    format!("{value:.1} TiB")
}

/// `1.82 M`.
pub fn count(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{:.1} k", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", count as f64 / 1e6),
        _ => format!("{:.1} G", count as f64 / 1e9),
    }
}

/// `340 ms` or `2.5 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 0.9995 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

/// `1x3x8x8`.
pub fn shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "scalar".into();
    }
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// Names come from model files: nothing in them may steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let plain = c == '\n' || !c.is_control();
            let escaped = (!plain).then(|| c.escape_default());
            plain.then_some(c).into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// At most `length` characters, shortened in the middle, where names differ least.
pub fn shortened(text: &str, length: usize) -> String {
    let text = printable(text).replace('\n', "\\n");
    let total = text.chars().count();
    if total <= length {
        return text;
    }
    let tail = length.saturating_sub(1) * 3 / 5;
    let head = length.saturating_sub(1) - tail;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(total - tail).collect();
    format!("{start}…{end}")
}

/// `1 entry`, `2 entries`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_look_better_than_they_are() {
        assert_eq!(percent(1.), "100 %");
        assert_eq!(percent(0.999_999), "99.99 %");
        assert_eq!(percent(0.9999), "99.99 %");
        assert_eq!(percent_below(0.002_991), "0.30 %");
        assert_eq!(percent_below(0.0301), "3.1 %");
        assert_eq!(percent_below(0.26), "26 %");
        assert_eq!(percent_below(0.000_998_7), "0.10 %");
        assert_eq!(percent_below(1.), "100 %");
        assert_eq!(deviation(9.01e-5), "9.1e-5");
        assert_eq!(deviation(9.99e-5), "1.0e-4");
        assert_eq!(deviation(f64::INFINITY), "none");
        assert_eq!(power_of_two(Some(-40.19)), "2^-40.1");
        assert_eq!(power_of_two(Some(-0.01)), "1");
    }

    #[test]
    fn names_cannot_steer_a_terminal_and_stay_within_their_column() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(shortened("abcdefghij", 6).chars().count(), 6);
        assert_eq!(shortened("abcdef", 6), "abcdef");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(count(27_648), "27.6 k");
        assert_eq!(seconds(0.0123), "12 ms");
    }
}
