//! The crate's one error type. Variants name the thing, what was expected and what came.

use std::path::PathBuf;

use crate::report::Report;

/// Short form used across the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong when a model is loaded, proved or checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{model} is not an ONNX model: {reason}")]
    NotOnnx { model: String, reason: String },
    #[error("{model} uses operator set {got}; {expected} are supported")]
    UnknownOpset { model: String, got: i64, expected: String },
    #[error("{model}: external data of tensor `{tensor}`: {reason}")]
    ExternalData { model: String, tensor: String, reason: String },
    #[error("{model}: invalid graph: {reason}")]
    InvalidGraph { model: String, reason: String },
    /// Every node that cannot run is named, one per line.
    #[error("{model}: {} node(s) cannot run:\n  {}", nodes.len(), nodes.join("\n  "))]
    UnsupportedNodes { model: String, nodes: Vec<String> },
    #[error("{model}: tensor `{tensor}` holds {what}; verifiable inference needs finite weights")]
    NonFiniteWeights { model: String, tensor: String, what: &'static str },
    #[error(
        "{model}: dimension `{symbol}` of input `{input}` is not bound; bind it with `--input {input}={example}`"
    )]
    UnboundDimension { model: String, input: String, symbol: String, example: String },
    #[error("{model} has no input `{got}`; its inputs are {}", expected.join(", "))]
    UnknownInput { model: String, got: String, expected: Vec<String> },
    #[error("input `{input}` is missing")]
    MissingInput { input: String },
    #[error("`{tensor}` has shape {got:?}, expected {expected:?}")]
    Shape { tensor: String, got: Vec<usize>, expected: Vec<usize> },
    #[error("`{tensor}` has element type {got}, expected {expected}")]
    DType { tensor: String, got: String, expected: String },
    #[error("`{tensor}` holds a value that is not finite (NaN or infinity)")]
    NonFinite { tensor: String },
    #[error("{model}: the runtime cannot run this model: {reason}")]
    Execution { model: String, reason: String },
    #[error("operation `{operation}`: {reason}")]
    Operation { operation: String, reason: String },
    #[error("artefact {artefact} is damaged or foreign: {reason}")]
    Artefact { artefact: String, reason: String },
    #[error("the proof is damaged: {0}")]
    DamagedProof(String),
    #[error("the challenge cannot be answered: {0}")]
    Challenge(String),
    #[error("the opening proves nothing: {0}")]
    Opening(String),
    #[error("the proof has schema {got}, this version reads schema {expected}")]
    ProofSchema { got: u32, expected: u32 },
    #[error("the proof is of another model: it names digest {got}, this model has {expected}")]
    OtherModel { got: String, expected: String },
    #[error(
        "this verifier of {model} was made from an expanded key and has no weights to contract \
         with another one; get another expanded key from the party that holds them"
    )]
    CannotRotate { model: String },
    #[error("{what} is damaged or of another version: {reason}")]
    Stored { what: &'static str, reason: String },
    #[error(
        "{model} is not the model that this program was built for: its digest is {got}, expected {expected}; put the file back or build again"
    )]
    ModelChanged { model: String, got: String, expected: String },
    #[error("{model} cannot be proved or checked by this build: {reason}")]
    NotBuilt { model: &'static str, reason: &'static str },
    #[error("{model} has no operation {got}; it has {expected}")]
    UnknownOperation { model: String, got: String, expected: String },
    #[error("device `{device}`: {reason}")]
    Device { device: &'static str, reason: String },
    #[error("no random bytes from the operating system: {0}")]
    Random(String),
    #[error("a verifier key is 32 bytes (64 hexadecimal digits): {0}")]
    Key(String),
    #[error("tensor arithmetic failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The inference was checked and found wanting; the report says where.
    #[error("rejected: {}", .0.reason())]
    Rejected(Box<Report>),
}
