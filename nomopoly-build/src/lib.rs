//! Compiles the operations of an ONNX model into provers, verifiers and adversaries.
//!
//! In `build.rs`, [`compile`] and [`compile_referenced`] prepare the models of a crate for the
//! attribute `#[nomopoly::model]`; [`Config`] has their options. Elsewhere, [`Compiler`] takes a
//! model to registered artefacts and [`load_compiled`] loads them for the runtime's dynamic prover
//! and verifier.
//!
//! Feature `train` (on by default) holds training, export and plots. Without it a build script
//! only looks compiled operations up.
#![forbid(unsafe_code)]

#[cfg(feature = "train")]
pub mod arrays;
#[cfg(feature = "train")]
pub mod audit;
mod build_script;
#[cfg(feature = "train")]
mod calibration;
pub mod cargo_project;
mod command_line;
#[cfg(feature = "train")]
mod compiler;
#[cfg(feature = "train")]
pub mod demo;
mod error;
#[cfg(feature = "train")]
pub mod export;
#[cfg(feature = "train")]
mod parts;
mod plan;
#[cfg(feature = "train")]
pub mod plots;
mod policy;
#[cfg(feature = "train")]
mod random;
pub mod registry;
#[cfg(feature = "train")]
mod rehearsal;
#[cfg(feature = "train")]
mod samples;
mod scan;
#[cfg(feature = "train")]
mod statistics;
#[cfg(feature = "train")]
mod training;
#[cfg(feature = "train")]
#[doc(hidden)]
pub mod whole_file;

pub use build_script::{
    Config, DEFAULT_BUDGET, Directives, Environment, Mode, Outcome, cache_folder, compile,
    compile_referenced,
};
#[cfg(feature = "train")]
pub use calibration::Calibration;
#[cfg(feature = "train")]
pub use compiler::{Compilation, CompiledNode, Compiler, Event, Observer, Silent};
pub use error::{Error, Result};
pub use nomopoly_manifest as manifest;
pub use nomopoly_runtime as runtime;
pub use nomopoly_runtime::DeviceChoice;
pub use plan::{ModelPlan, PlannedNode, load_compiled};
pub use policy::{Breach, POLICY_FILE, Policy, Violation};
pub use prost;
#[cfg(feature = "train")]
pub use rehearsal::{Rehearsal, rehearse};
pub use scan::{ScannedNode, scan};
#[cfg(feature = "train")]
pub use statistics::rate;
