//! Makes and checks proofs that a host ran exactly one ONNX model.
//!
//! A host proves an inference with [`Prover`], an application checks it with [`Verifier`] and a
//! fresh [`VerifierKey`]; both are made for a model by the attribute `#[nomopoly::model]`. What a
//! proof is worth is stated by each operation's [`Guarantee`]; see the repository's README. Proofs
//! are not zero-knowledge and not publicly verifiable.
#![forbid(unsafe_code)]

pub mod artefact;
pub mod bundle;
pub mod certificate;
mod device;
pub mod dynamic;
mod elements;
mod error;
pub mod exchange;
pub mod generator;
pub mod head;
mod kernels;
mod key;
pub mod mlp;
mod model;
pub mod onnx;
mod operation_check;
pub mod operations;
mod outline;
mod proof;
pub mod receipt;
mod report;
pub mod residual;
mod tensor;
mod typed;
mod wire;

pub use device::DeviceChoice;
pub use dynamic::ExpandedKey;
pub use elements::Elements;
pub use error::{Error, Result};
pub use key::VerifierKey;
pub use model::CompiledModel;
pub use nomopoly_manifest::{Attacker, CheckCost, Family};
pub use onnx::Digest;
pub use operation_check::{
    CompiledOperation, OperationVerifier, PreparedInputs, Verdict, secret_vectors,
};
pub use outline::{Outline, OutlineNode};
pub use proof::{OperationProof, PROOF_SCHEMA, Proof};
pub use report::{CheckedBy, OperationReport, Report};
pub use tensor::{NamedTensor, TensorData, typed_dtype};
pub use typed::{
    Attack, AuditedModel, AuditedOperation, Batch, CertifiedBound, D, Dimension, Drift, Element,
    Guarantee, HonestRuns, Ledger, Measured, Model, NamedTensors, NotRun, Open, OperationIndex,
    ProvedOperation, Proven, Prover, ReceiptVerifier, Shape, Source, Tensor, Tensors,
    VerifiedOperation, Verifier,
};

pub use candle_core;

/// Version of the code that `#[nomopoly::model]` generates against this crate.
pub const GENERATED_SCHEMA: u32 = 4;
