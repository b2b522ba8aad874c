//! Compiles the operations of an ONNX model into provers, verifiers and adversaries.
//!
//! [`Compiler`] takes a model to registered artefacts; [`load_compiled`] loads them for the
//! runtime's prover and verifier.
#![forbid(unsafe_code)]

pub mod arrays;
mod calibration;
mod compiler;
pub mod demo;
mod error;
pub mod export;
pub mod plots;
mod random;
pub mod registry;
mod samples;
mod scan;
mod statistics;
mod training;

pub use calibration::Calibration;
pub use compiler::{
    Compilation, CompiledNode, Compiler, DeviceChoice, Event, Observer, Silent, load_compiled,
};
pub use error::{Error, Result};
pub use nomopoly_manifest as manifest;
pub use nomopoly_runtime as runtime;
pub use prost;
pub use scan::{ScannedNode, scan};
pub use statistics::rate;
