//! Numbers as words on a plot: short, with raised exponents.

/// `10` with the exponent raised; 1 and 10 as they are.
pub(crate) fn power_of_ten(exponent: i32) -> String {
    match exponent {
        0 => "1".into(),
        1 => "10".into(),
        _ => format!("10{}", superscript(exponent)),
    }
}

/// A number in raised digits.
pub(crate) fn superscript(number: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    number
        .to_string()
        .chars()
        .filter_map(|c| match c.to_digit(10) {
            Some(digit) => DIGITS.get(digit as usize).copied(),
            None => Some('⁻'),
        })
        .collect()
}

/// A positive number for a label, in at most three digits: `0.25`, `10⁻³`, `2.5·10⁻³`.
pub(crate) fn short_number(value: f64) -> String {
    if !value.is_finite() || value <= 0.0 || (0.01..1000.0).contains(&value) {
        // Three digits are enough for a label; the exact figures are in the metrics file.
        let rounded = format!("{value:.3}");
        let trimmed = rounded.trim_end_matches('0').trim_end_matches('.');
        return trimmed.to_string();
    }
    let scientific = format!("{value:.2e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power = power_of_ten(exponent.parse().unwrap_or(0));
    match digits.trim_end_matches('0').trim_end_matches('.') {
        "1" => power,
        digits => format!("{digits}·{power}"),
    }
}

/// The next number with three significant digits, for bounds: rounding down would claim more
/// than was shown.
pub(crate) fn round_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return value;
    }
    let unit = 10_f64.powf(value.log10().floor() - 2.0);
    // The slack keeps a number that has three digits up to rounding.
    let rounded = (value / unit - 1e-6).ceil() * unit;
    if rounded.is_finite() { rounded } else { value }
}

/// A count with its thousands apart: `12,345`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(short_number(1e-3), "10⁻³");
        assert_eq!(short_number(2.5e-7), "2.5·10⁻⁷");
        assert_eq!(short_number(0.25), "0.25");
        assert_eq!(short_number(100.0), "100");
        assert_eq!(short_number(0.0), "0");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(power_of_ten(-13), "10⁻¹³");
    }

    #[test]
    fn bounds_are_rounded_up() {
        assert_eq!(short_number(round_up(0.298_41)), "0.299");
        assert_eq!(short_number(round_up(2.0161e-4)), "2.02·10⁻⁴");
        assert_eq!(short_number(round_up(0.3)), "0.3");
        assert_eq!(short_number(round_up(100.0)), "100");
        assert_eq!(round_up(0.0), 0.0);
        for value in [5e-324, f64::MIN_POSITIVE, f64::MAX] {
            assert!(round_up(value).is_finite());
        }
    }
}
