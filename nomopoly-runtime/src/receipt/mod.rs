//! Receipts: a host commits to an inference in a few hundred bytes, and opens what the verifier
//! then asks for.
//!
//! The verifier draws its challenge after it has the receipt, with its own randomness, so a host
//! cannot know beforehand which operations will be looked at. Nothing in a receipt depends on a
//! verifier's key.
//!
//! | file | subject |
//! | --- | --- |
//! | `commit.rs`, `tensors.rs`, `merkle.rs` | what a host commits to, keeps and opens |
//! | `challenge.rs`, `strategy.rs` | what is asked for, how it is drawn, how likely it catches a cheat |
//! | `checker.rs` | the verifier's side |
//! | `wire.rs` | their bytes |

mod challenge;
mod checker;
mod commit;
mod merkle;
mod strategy;
mod tensors;
mod wire;

pub use challenge::{Asked, Challenge, Part};
pub use checker::ReceiptVerifier;
pub use commit::{Committed, OpenedOperation, OpenedOutput, OpenedVector, Opening, Receipt};
pub use merkle::Paths;
pub use strategy::{Detection, Strategy};
pub use tensors::{OpenedChunk, OpenedParts, tensor_digest};
pub use wire::RECEIPT_SCHEMA;
