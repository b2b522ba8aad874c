//! Verifiable inference: check that a remote host ran exactly one ONNX model.
//!
//! The attribute [`model`] turns an ONNX file into a type with a [`Prover`] and a [`Verifier`]; the
//! crate's `build.rs` compiles the file with `nomopoly_build::compile_referenced()`:
//!
//! ```ignore
//! #[nomopoly::model("models/digits.onnx")]
//! pub struct Digits;
//!
//! let proven = Digits::prover()?.prove(&input)?;
//! let report = Digits::verifier(VerifierKey::random()?)?.verify(&input, &proven)?;
//! ```
//!
//! [`dynamic`] has the same for models that are known at run time only. This crate holds no logic
//! of its own: it re-exports `nomopoly-runtime` and `nomopoly-macros`.
#![forbid(unsafe_code)]

pub use nomopoly_macros::model;
pub use nomopoly_runtime::*;
