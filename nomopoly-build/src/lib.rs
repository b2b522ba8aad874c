//! Compiles the operations of an ONNX model into provers, verifiers and adversaries.
#![forbid(unsafe_code)]

pub mod arrays;
mod calibration;
mod error;
pub mod plots;
mod random;
pub mod registry;
mod samples;
mod statistics;
pub mod training;

pub use calibration::Calibration;
pub use error::{Error, Result};
