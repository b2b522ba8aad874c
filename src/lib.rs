//! Verifiable inference: check that a remote host ran exactly one ONNX model.
//!
//! This crate re-exports what an application needs: [`Prover`] and [`Verifier`] of the runtime and
//! the attribute [`model`]. Models are compiled by the crate `nomopoly-build` or the command
//! `cargo nomopoly`.
#![forbid(unsafe_code)]

pub use nomopoly_macros::model;
pub use nomopoly_runtime::*;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
