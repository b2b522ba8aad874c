//! `$OUT_DIR/nomopoly/manifest.json`: what a build script leaves for the attribute
//! `#[nomopoly::model]`.

use serde::{Deserialize, Serialize};

use crate::{Check, Rate};

/// Version of [`BuildManifest`].
pub const MANIFEST_SCHEMA: u32 = 2;
/// Where the manifest is, relative to `OUT_DIR`.
pub const MANIFEST_PATH: &str = "nomopoly/manifest.json";

/// Everything that a build script found out about a crate's models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildManifest {
    /// [`MANIFEST_SCHEMA`] of the writer.
    pub schema: u32,
    /// Version of the crate `nomopoly-build` that wrote it.
    pub version: String,
    pub models: Vec<BuiltModel>,
}

/// One model of a crate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuiltModel {
    /// Path of the model file as the crate gives it, relative to its `Cargo.toml`.
    pub path: String,
    pub status: BuildStatus,
    /// Absent when the model could not even be read.
    pub interface: Option<ModelInterface>,
}

/// Whether a model can be proved and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum BuildStatus {
    /// Every operation is compiled.
    Ready {
        /// Absolute path of the model file.
        model: String,
        /// Absolute path of the compiled operations.
        bundle: String,
        /// External data files: location as the model names it, absolute path.
        external: Vec<(String, String)>,
        /// Absolute path of a file that holds the model's guarantee ledger as one Rust expression;
        /// absent for models that were never audited.
        #[serde(default)]
        ledger: Option<String>,
    },
    /// Only the types were asked for.
    Stub { reason: String },
    /// Some operations are not compiled.
    Missing {
        /// Names of the operations, with what is wrong where it is more than absence.
        operations: Vec<String>,
        /// Why they were not compiled now.
        reason: String,
        /// The command that compiles them.
        command: String,
    },
    /// The model cannot be compiled at all.
    Failed { reason: String },
}

/// What a program sees of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelInterface {
    /// File name of the model.
    pub name: String,
    /// BLAKE3 of the model, 64 hexadecimal digits.
    pub digest: String,
    pub inputs: Vec<TensorInterface>,
    pub outputs: Vec<TensorInterface>,
    /// Every node in the model's order.
    pub operations: Vec<OperationInterface>,
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInterface {
    pub name: String,
    /// Name of the element type, for example `f32`.
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Whether the first dimension counts samples: the model leaves it open.
    pub batch: bool,
    /// The other dimensions that the model leaves open, by their places.
    pub open: Vec<usize>,
}

/// One node of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationInterface {
    /// Name of the node's output.
    pub name: String,
    /// ONNX `op_type`.
    pub kind: String,
    pub output_shape: Vec<usize>,
    /// Absent for nodes that the verifier recomputes without an artefact, and for those that are
    /// not compiled.
    pub artefact: Option<ArtefactInterface>,
}

/// What is known of a node's artefact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtefactInterface {
    /// Registry entry.
    pub entry: String,
    pub check: Check,
    /// Whether the verifier is the baseline perceptron, which certifies nothing.
    pub baseline: bool,
    /// Whether a proof holds a vector for this node, and its length.
    pub proof_dim: Option<usize>,
    pub sketches: u32,
    pub certified_bits: Option<f64>,
    pub certified_deviation: Option<f64>,
    pub completeness_error: Rate,
    pub soundness_error: Rate,
}
