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
        if c.is_alphanumeric() && c.is_ascii() {
            text.push(c.to_ascii_lowercase());
        } else if is_identifier_letter(c) {
            text.extend(c.to_lowercase());
        } else if !text.ends_with('_') {
            text.push('_');
        }
    }
    let text = text.trim_matches('_');
    match text.chars().next() {
        None => "tensor".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("tensor_{text}"),
        Some(_) => text.to_owned(),
    }
}

/// Whether a letter beyond ASCII may be part of an identifier and stays one in lower case.
fn is_identifier_letter(c: char) -> bool {
    let lower: String = c.to_lowercase().collect();
    !c.is_ascii() && syn::parse_str::<Ident>(&format!("x{lower}")).is_ok()
}

/// The identifier, raw where the text is a keyword.
fn ident(text: &str) -> Ident {
    if syn::parse_str::<Ident>(text).is_ok() {
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
        let names = [
            "image",
            "Image",
            "input.1",
            "input:1",
            "1",
            "",
            "type",
            "self",
            "pixelValues",
            "größe",
            "输入",
            "a/b//c",
            "__x__",
            "😀",
            "\n",
            "image_2",
            "r#fn",
            "IDs",
        ];
        let fields: Vec<String> = fields(names).iter().map(ToString::to_string).collect();
        assert_eq!(
            fields,
            [
                "image",
                "image_2",
                "input_1",
                "input_1_2",
                "tensor_1",
                "tensor",
                "r#type",
                "self_",
                "pixel_values",
                "größe",
                "输入",
                "a_b_c",
                "x",
                "tensor_2",
                "tensor_3",
                "image_2_2",
                "r_fn",
                "ids",
            ]
        );
        for field in fields {
            syn::parse_str::<syn::Ident>(&field).unwrap_or_else(|e| panic!("{field}: {e}"));
        }
    }
}
