//! Provers and verifiers of models that are known at run time only: tensors have names instead of
//! types. What the attribute `#[nomopoly::model]` generates is built on these.

mod expanded;
pub(crate) mod judging;
mod prover;
mod shapes;
mod stream;
mod verifier;

pub use expanded::ExpandedKey;
pub use prover::Prover;
pub use verifier::{Verifier, cut_graph};
