//! Makes and checks proofs that a host ran exactly one ONNX model.
//!
//! A host proves an inference with [`Prover`], an application checks it with [`Verifier`] and a
//! fresh [`VerifierKey`]. What a proof is worth is stated by each operation's certificate and
//! measured figures; see the repository's README. Proofs are not zero-knowledge and not publicly
//! verifiable.
#![forbid(unsafe_code)]

pub mod artefact;
pub mod certificate;
mod embedded;
mod error;
pub mod generator;
pub mod head;
mod key;
pub mod mlp;
mod model;
pub mod onnx;
mod operation_check;
pub mod operations;
mod proof;
mod prover;
mod report;
pub mod residual;
mod tensor;
mod verifier;

pub use embedded::EmbeddedModel;
pub use error::{Error, Result};
pub use key::VerifierKey;
pub use model::CompiledModel;
pub use operation_check::{CompiledOperation, OperationVerifier, Verdict, secret_vectors};
pub use proof::{OperationProof, PROOF_SCHEMA, Proof};
pub use prover::Prover;
pub use report::{CheckedBy, OperationReport, Report};
pub use tensor::{NamedTensor, TensorData};
pub use verifier::Verifier;

pub use candle_core;
