//! Typed models: what the attribute `#[nomopoly::model]` generates, and what it builds on.
//!
//! | file | subject |
//! | --- | --- |
//! | `shape.rs`, `element.rs`, `tensor.rs` | tensors whose shape and element type are types |
//! | `model.rs` | the trait that the attribute implements, and guarantees of operations |
//! | `ledger.rs` | what an audit measured |
//! | `prover.rs`, `verifier.rs`, `proven.rs` | proving and checking inferences of one model |
//! | `receipts.rs` | checking receipts of one model |
//! | `operation.rs` | proving and checking one operation of it |

pub(crate) mod element;
mod ledger;
mod model;
mod operation;
mod proven;
mod prover;
mod receipts;
mod shape;
mod tensor;
mod verifier;

pub use element::Element;
pub use ledger::{
    Attack, AuditedModel, AuditedOperation, CertifiedBound, Drift, HonestRuns, Ledger, NotRun,
};
pub use model::{Guarantee, Measured, Model, NamedTensors, Source, Tensors};
pub use operation::{OperationIndex, ProvedOperation, VerifiedOperation};
pub use proven::Proven;
pub use prover::Prover;
pub use receipts::ReceiptVerifier;
pub use shape::{Batch, D, Dimension, Open, Shape};
pub use tensor::Tensor;
pub use verifier::Verifier;
