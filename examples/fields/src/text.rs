//! A string as the two inputs of the model.

/// How many characters the model reads; the rest of a longer string is cut off.
pub const LENGTH: usize = 24;

/// What a field can be, in the order of the model's logits.
pub const KINDS: [&str; 6] = ["date", "time", "email", "url", "number", "text"];

/// Input `characters`, int64 `[1, 24]`: 1 to 95 for ' ' to '~', 0 behind the end of the string.
/// Any other character becomes '?'.
pub fn characters(text: &str) -> [i64; LENGTH] {
    let mut codes = [0; LENGTH];
    for (code, character) in codes.iter_mut().zip(text.chars()) {
        let printable = if matches!(character, ' '..='~') { character } else { '?' };
        *code = i64::from(u32::from(printable)) - i64::from(u32::from(' ')) + 1;
    }
    codes
}

/// Input `layout`, float32 `[1, 3]`, each from 0 to 1: how much of [`LENGTH`] is used, and which
/// share of the characters read are ASCII digits and ASCII upper-case letters.
pub fn layout(text: &str) -> [f32; 3] {
    let count = |wanted: fn(&char) -> bool| text.chars().take(LENGTH).filter(wanted).count() as f32;
    let used = count(|_| true);
    // An empty string has no share of anything: zero, not zero by zero.
    let of = used.max(1.0);
    [used / LENGTH as f32, count(char::is_ascii_digit) / of, count(char::is_ascii_uppercase) / of]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_characters_count_from_one() {
        let codes = characters(" ~A9");
        assert_eq!(codes[..4], [1, 95, 34, 26]);
        assert_eq!(codes[4..], [0; LENGTH - 4]);
        assert_eq!(characters(""), [0; LENGTH]);
    }

    #[test]
    fn other_characters_become_question_marks() {
        // One code for a character, however many bytes it has.
        assert_eq!(characters("é\t€\u{7f}x"), characters("????x"));
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let text = "a23456789 123456789 1234";
        assert_eq!(text.len(), LENGTH);
        let longer = format!("{text}5X");
        assert_eq!(characters(&longer), characters(text));
        assert_eq!(layout(&longer), layout(text));
    }

    #[test]
    fn layout_is_length_digits_and_upper_case() {
        assert_eq!(layout("AB-1"), [4.0 / 24.0, 0.25, 0.5]);
        // Characters are counted, not bytes, and only ASCII ones as digits and capitals.
        assert_eq!(layout("É٣"), [2.0 / 24.0, 0.0, 0.0]);
        assert_eq!(layout(""), [0.0; 3]);
        assert_eq!(layout(&"9".repeat(100)), [1.0, 1.0, 0.0]);
    }

    #[test]
    fn held_out_lines_are_fifty_of_every_kind() {
        let lines = include_str!("../data/test_fields.tsv").lines();
        let fields: Vec<_> = lines.map(|line| line.split_once('\t').unwrap()).collect();
        assert_eq!(fields.len(), 300);
        for kind in KINDS {
            assert_eq!(fields.iter().filter(|field| field.0 == kind).count(), 50, "{kind}");
        }
    }
}
