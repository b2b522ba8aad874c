//! Rust names for ONNX names, which may be any text.

use proc_macro2::{Ident, Span};

/// One distinct field name per ONNX name, in order.
pub fn fields<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Ident> {
    let mut taken: Vec<String> = vec![];
    let mut fields = vec![];
    for name in names {
        let stem = plain(name);
        let mut text = stem.clone();
        let mut count = 1;
        while taken.contains(&text) {
            count += 1;
            text = format!("{stem}_{count}");
        }
        fields.push(ident(&text));
        taken.push(text);
    }
    fields
}

/// Lower case, everything that is not a letter or digit as `_`, and no digit in front.
fn plain(name: &str) -> String {
    let mut text = String::new();
    let mut lower = false;
    for c in name.chars() {
        if c.is_uppercase() && lower {
            // `pixelValues` is `pixel_values`.
            text.push('_');
        }
        lower = c.is_lowercase();
        for c in c.to_lowercase() {
            if c.is_ascii_alphanumeric() || is_identifier_start(c) {
                text.push(c);
            } else if !text.ends_with('_') {
                text.push('_');
            }
        }
    }
    let text = text.trim_matches('_');
    match text.chars().next() {
        None => "tensor".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("tensor_{text}"),
        Some(_) => text.to_owned(),
    }
}

/// Whether an identifier may begin with a letter beyond ASCII. What it may only go on with
/// (combining marks, other digits) is left out: rustc compares identifiers after composing them.
fn is_identifier_start(c: char) -> bool {
    !c.is_ascii() && syn::parse_str::<Ident>(&c.to_string()).is_ok()
}

/// The identifier, raw where the text is a keyword.
fn ident(text: &str) -> Ident {
    // A keyword since edition 2024, which syn does not know.
    if syn::parse_str::<Ident>(text).is_ok() && text != "gen" {
        return Ident::new(text, Span::call_site());
    }
    match text {
        // These cannot be raw.
        "self" | "super" | "crate" | "Self" => Ident::new(&format!("{text}_"), Span::call_site()),
        keyword => Ident::new_raw(keyword, Span::call_site()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_a_distinct_identifier() {
        let cases = [
            ("image", "image"),
            ("Image", "image_2"),
            ("input.1", "input_1"),
            ("input:1", "input_1_2"),
            ("1", "tensor_1"),
            ("", "tensor"),
            ("type", "r#type"),
            ("gen", "r#gen"),
            ("self", "self_"),
            ("pixelValues", "pixel_values"),
            ("größe", "größe"),
            ("输入", "输入"),
            ("a/b//c", "a_b_c"),
            ("__x__", "x"),
            ("😀", "tensor_2"),
            ("\n", "tensor_3"),
            ("image_2", "image_2_2"),
            ("r#fn", "r_fn"),
            ("IDs", "ids"),
            ("٣x", "x_2"),
            ("\u{301}a", "a"),
            // Composed and decomposed, the same letter to rustc.
            ("é", "é"),
            ("e\u{301}", "e"),
            ("İ", "i"),
        ];
        let fields: Vec<String> =
            fields(cases.map(|(name, _)| name)).iter().map(ToString::to_string).collect();
        assert_eq!(fields, cases.map(|(_, field)| field));
        for field in fields {
            syn::parse_str::<syn::Ident>(&field).unwrap_or_else(|e| panic!("{field}: {e}"));
        }
    }
}
