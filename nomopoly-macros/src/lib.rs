//! The attribute `#[nomopoly::model]`. Use it through the crate `nomopoly`.
//!
//! The macro never opens the ONNX file: it only makes the compiler embed it.
#![forbid(unsafe_code)]

mod expand;
mod parse;

use proc_macro::TokenStream;

/// Embeds an ONNX model in the program: `#[nomopoly::model("models/digits.onnx")]` on a unit
/// struct implements `nomopoly::EmbeddedModel` for it. The path is relative to the crate's
/// `Cargo.toml`.
#[proc_macro_attribute]
pub fn model(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").map(Into::into);
    match parse::Input::parse(arguments.into(), item.clone().into(), folder) {
        Ok(input) => expand::expand(&input).into(),
        Err(error) => {
            // The item stays, so that nothing else fails for want of it.
            let mut tokens = TokenStream::from(error.into_compile_error());
            tokens.extend(item);
            tokens
        }
    }
}
