//! Numbers and names as both reports write them. A bound is never rounded to look better.

use nomopoly_manifest::{Certificate, CheckCost, Rate};

use crate::plots::numbers::{grouped, round_up, short_number};

/// An upper bound, rounded up to three digits.
pub fn at_most(value: f64) -> String {
    let bound = round_up(value);
    // Labels have three decimals; here that would cut a digit and so claim more than was shown.
    if (0.01..0.1).contains(&bound) { trimmed(format!("{bound:.4}")) } else { number(bound) }
}

/// A number in at most three digits; what is none is said in words.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        "not a number".into()
    } else if value.is_infinite() {
        if value > 0.0 { "infinite".into() } else { "−infinite".into() }
    } else if (0.01..0.1).contains(&value) {
        trimmed(format!("{value:.4}"))
    } else {
        short_number(value)
    }
}

fn trimmed(decimals: String) -> String {
    decimals.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// The upper 95 % bound of a rate in percent: `≤ 0.299 %`.
pub fn bound(rate: &Rate) -> String {
    // Beyond 1 a bound says nothing, and so does one that is no number.
    let share = if rate.upper_95.is_nan() { 1.0 } else { rate.upper_95.clamp(0.0, 1.0) };
    format!("≤ {} %", at_most(share * 100.0))
}

/// Observed errors of trials: `3/1,000`.
pub fn count(rate: &Rate) -> String {
    format!("{}/{}", grouped(rate.errors), grouped(rate.samples))
}

/// Errors of trials with the bound: `0/1,000 (≤ 0.299 %)`.
pub fn rate(rate: &Rate) -> String {
    if rate.samples == 0 {
        return "not measured".into();
    }
    format!("{} ({})", count(rate), bound(rate))
}

/// What a certificate says about errors of `min_deviation`: `41.2 bits`, `certain` or `none`.
pub fn certified(certificate: Option<&Certificate>) -> String {
    let Some(certificate) = certificate else { return "none".into() };
    match certificate.bits_at_min_deviation {
        // A bound of 0: replay, or a power that no float can hold.
        None => "certain".into(),
        // Rounded down: a certificate must not claim more than was shown.
        Some(bits) if bits.is_finite() && bits >= 0.1 => {
            format!("{:.1} bits", (bits * 10.0).floor() / 10.0)
        }
        Some(_) => "none".into(),
    }
}

/// The smallest deviation that a certificate covers in full.
pub fn certified_from(certificate: Option<&Certificate>) -> String {
    match certificate.map(|certificate| certificate.deviation_at_soundness_bits) {
        Some(deviation) if deviation.is_finite() => at_most(deviation),
        _ => "none".into(),
    }
}

/// Cost of a check in units of a recompute.
pub fn cost(cost: Option<&CheckCost>) -> String {
    match cost {
        Some(cost) if cost.recompute > 0 => at_most(cost.verify as f64 / cost.recompute as f64),
        _ => "–".into(),
    }
}

/// `3.4 KiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// `1 node`, `2 nodes`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count as u64), if count == 1 { one } else { many })
}

/// Text from model files and names of files in one line: nothing in it may steer a terminal or
/// turn the direction of reading.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let unsafe_char = c.is_control() || columns(c) == 0 && !is_combining(c);
            let escaped = unsafe_char.then(|| c.escape_default());
            (!unsafe_char).then_some(c).into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// At most `width` terminal columns, shortened in the middle, where names differ least.
pub fn shortened(text: &str, width: usize) -> String {
    let text = printable(text);
    if text_columns(&text) <= width {
        return text;
    }
    let room = width.saturating_sub(1);
    let end_room = room * 3 / 5;
    let end: Vec<char> = fitting(text.chars().rev(), end_room);
    let start: String = fitting(text.chars(), room - end_room).into_iter().collect();
    let end: String = end.into_iter().rev().collect();
    if width == 0 { String::new() } else { format!("{start}…{end}") }
}

fn fitting(chars: impl Iterator<Item = char>, mut room: usize) -> Vec<char> {
    chars
        .take_while(|&c| match room.checked_sub(columns(c)) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        })
        .collect()
}

/// Columns that a line of text takes in a terminal.
pub fn text_columns(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Two for the wide scripts of East Asia and for emoji, none for marks and invisible characters.
fn columns(c: char) -> usize {
    let is_invisible = matches!(
        c,
        '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E0FFF}'
    );
    if is_invisible || is_combining(c) {
        return 0;
    }
    let is_wide = matches!(
        c,
        '\u{1100}'..='\u{115F}' | '\u{2E80}'..='\u{A4CF}' | '\u{A960}'..='\u{A97F}'
            | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}' | '\u{FE30}'..='\u{FE6F}'
            | '\u{FF00}'..='\u{FF60}' | '\u{FFE0}'..='\u{FFE6}' | '\u{1F000}'..='\u{3FFFD}'
    );
    if is_wide { 2 } else { 1 }
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{20D0}'..='\u{20FF}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FE20}'..='\u{FE2F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_never_look_better_than_they_are() {
        // Three decimals would give 0.012, which is less than the bound.
        assert_eq!(at_most(0.012_38), "0.0124");
        assert_eq!(at_most(0.298_41), "0.299");
        assert_eq!(at_most(0.002_991), "3·10⁻³");
        assert_eq!(at_most(f64::INFINITY), "infinite");
        assert_eq!(at_most(f64::NAN), "not a number");
        let rate = |upper_95| Rate { errors: 1, samples: 1000, upper_95 };
        assert_eq!(bound(&rate(f64::NAN)), "≤ 100 %");
        assert_eq!(bound(&rate(0.004_733)), "≤ 0.474 %");
    }

    #[test]
    fn certificates_are_rounded_down() {
        let certificate = |sketches, bits_at_min_deviation| Certificate {
            sketches,
            threshold: 9.5,
            spread: 2e-6,
            median_spread: 1e-6,
            bits_at_min_deviation,
            deviation_at_soundness_bits: 2.0161e-4,
        };
        assert_eq!(certified(Some(&certificate(12, Some(41.29)))), "41.2 bits");
        assert_eq!(certified(Some(&certificate(0, None))), "certain");
        // A replay whose tolerance reaches beyond the asked deviation.
        assert_eq!(certified(Some(&certificate(0, Some(0.0)))), "none");
        assert_eq!(certified(Some(&certificate(4, Some(f64::NAN)))), "none");
        assert_eq!(certified(None), "none");
        assert_eq!(certified_from(Some(&certificate(12, Some(41.29)))), "2.02·10⁻⁴");
    }

    #[test]
    fn names_cannot_steer_a_terminal_and_stay_within_their_columns() {
        assert_eq!(printable("a\u{1b}[2J\nb\u{202e}"), "a\\u{1b}[2J\\nb\\u{202e}");
        assert_eq!(shortened("abcdefghij", 6), "ab…hij");
        assert_eq!(shortened("abcdef", 6), "abcdef");
        for width in 0..12 {
            assert!(text_columns(&shortened("層の出力-層の出力", width)) <= width);
        }
    }
}
