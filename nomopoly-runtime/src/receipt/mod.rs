//! Receipts: a host commits to an inference in a few hundred bytes, and opens what the verifier
//! then asks for.
//!
//! The verifier draws its challenge after it has the receipt, with its own randomness, so a host
//! cannot know beforehand which operations will be looked at. Nothing in a receipt depends on a
//! verifier's key.

mod challenge;
mod checker;
mod commit;
mod merkle;

pub use challenge::{Challenge, Detection, Strategy};
pub use checker::ReceiptVerifier;
pub use commit::{
    Committed, OpenedOperation, OpenedVector, Opening, RECEIPT_SCHEMA, Receipt, tensor_digest,
};
pub use merkle::Paths;
