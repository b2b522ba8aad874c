//! The ONNX side: reading a model, knowing every tensor's shape, rewriting the graph, running it.
//!
//! [`Model`] is a checked protobuf; [`Graph`] is a model with concrete input shapes, for which
//! tract has worked out the shape and element type of every tensor; [`cut`] makes the two graphs
//! of a whole-model proof; [`Plan`] runs a graph.
//!
//! tract is written for files that an exporter made, and answers some malformed ones with a
//! panic. Everything that reads outside data is therefore checked here first, and every call into
//! tract goes through one guard.

mod attributes;
mod binding;
pub mod builder;
pub mod cut;
mod deviations;
mod digest;
mod external;
mod graph;
mod infer;
mod model;
mod names;
mod plan;
mod substitute;
mod support;
mod tensor_data;
#[cfg(test)]
mod test_models;
mod validate;

pub use cut::{CutGraph, Exposed};
pub use digest::{Digest, ParseDigestError};
pub use graph::{Graph, TensorInfo, Value};
pub use model::{MAX_OPSET, MIN_OPSET, Model};
pub use names::{dependencies, node_id};
pub use plan::Plan;
pub use substitute::round_to_int8;
pub use tract_onnx::pb;
pub use tract_onnx::prelude::DatumType;
