//! The attribute `#[nomopoly::model]`. Use it through the crate `nomopoly`.
//!
//! The macro reads what the crate's build script left in `OUT_DIR/nomopoly/manifest.json`; it never
//! opens the ONNX file itself.
//!
//! | file | subject |
//! | --- | --- |
//! | `parse.rs` | what the user wrote |
//! | `check.rs` | what the build script says about it, or what is wrong and the way out |
//! | `expand.rs`, `names.rs` | the code that is generated |
#![forbid(unsafe_code)]

mod check;
mod expand;
mod names;
mod parse;

use proc_macro::TokenStream;

/// Makes a unit struct stand for a compiled ONNX model:
///
/// ```ignore
/// #[nomopoly::model("models/digits.onnx")]
/// pub struct Digits;
/// ```
///
/// The path is relative to the crate's `Cargo.toml`; the crate's `build.rs` compiles the model with
/// `nomopoly_build::compile_referenced()`. Generated are
///
/// - `DigitsInput` and `DigitsOutput`: one named, typed field per input and output of the model;
/// - `Digits::prover()`, `Digits::verifier(key)`, and `Digits::op(name or position)` for the
///   guarantee of one operation;
/// - `impl nomopoly::Model for Digits`, with the model's digest, the guarantees of all operations
///   and, where the model was audited, its ledger as constants.
///
/// Options after the path:
///
/// - `embed = false`: the model file is not part of the program; it is read when a prover or verifier
///   is made, from its path at build time or another one, and checked against the digest;
/// - `device = "auto"`, `"cpu"` (default), `"cuda"` or `"metal"`: where tensors are computed.
#[proc_macro_attribute]
pub fn model(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let input = match parse::Input::parse(arguments.into(), item.clone().into()) {
        Ok(input) => input,
        Err(error) => {
            // The item stays, so that nothing else fails for want of it.
            let mut tokens = TokenStream::from(error.into_compile_error());
            tokens.extend(item);
            return tokens;
        }
    };
    let checked = check::check(&input, &check::Environment::from_cargo());
    expand::expand(&input, &checked).into()
}
