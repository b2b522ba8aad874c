//! Keeps the inferences that a host of Nomopoly committed to until they may be challenged no more.
//!
//! A receipt is a promise: for some time the host can open any operation of that inference. This
//! crate's [`Store`] keeps what it takes, within bounds of time, memory and disk. What was kept is
//! never thrown away before its time; when there is no room, new inferences are refused instead
//! ([`StoreError::Full`]). A host that asks for room before it runs an inference
//! ([`Store::reserve`]) never runs one in vain.
//!
//! ```
//! use nomopoly_host::{Limits, Store, StoreError};
//! use nomopoly_runtime::receipt::{Asked, Challenge, Committed};
//! # use nomopoly_runtime::{Digest, NamedTensor, OperationProof, Proof};
//! # fn inference() -> nomopoly_runtime::Result<Committed> {
//! #     let fc1 = NamedTensor::from_f32("fc1", &[1, 2], vec![0.5, 0.25]);
//! #     let artefact = Digest::from_bytes([2; 32]);
//! #     let vector = OperationProof { operation: "fc1".into(), artefact, vector: vec![0.; 16] };
//! #     Committed::new(
//! #         &[NamedTensor::from_f32("x", &[1, 2], vec![1., 2.])],
//! #         Proof {
//! #             model: Digest::from_bytes([1; 32]),
//! #             inputs: vec![("x".into(), vec![1, 2])],
//! #             outputs: vec![fc1.clone()],
//! #             transcript: vec![fc1],
//! #             operations: vec![vector],
//! #         },
//! #     )
//! # }
//!
//! # fn main() -> Result<(), StoreError> {
//! let store = Store::in_memory(Limits::default());
//!
//! // A request: room first, then the inference, then the promise.
//! let room = store.reserve(1 << 20)?;
//! let committed: Committed = inference().map_err(StoreError::Proof)?;
//! let receipt = *committed.receipt();
//! let kept = room.keep(committed)?;
//! assert_eq!(kept.root, receipt.root);
//!
//! // A challenge, from whoever got the receipt.
//! let operations = vec![Asked { index: 0, parts: vec![] }];
//! let challenge = Challenge { root: receipt.root, operations, producers: vec![] };
//! let opening = store.answer(&challenge)?;
//! assert_eq!(opening.root, receipt.root);
//! # Ok(())
//! # }
//! ```
//!
//! # What survives
//!
//! With a folder ([`Store::open`]) inferences are also kept on disk: under
//! [`Durability::MemoryFirst`] those for which there was no room in memory, under
//! [`Durability::DiskFirst`] each of them before [`Store::keep`] returns. [`Kept::survives_restart`]
//! says which it was. What is on disk survives the end of the process, `kill -9` included. It need
//! not survive a power cut or a crash of the operating system: files are not synced one by one,
//! which would cost more than most inferences.
//!
//! # What it takes beyond its limits
//!
//! Memory that answers hold while they are computed, and up to four inferences that are being
//! written or read back, twice each: as bytes and as tensors. The index takes a few hundred bytes
//! per inference.
//!
//! # Where things are
//!
//! | file | what it holds |
//! | --- | --- |
//! | `store.rs` | the store: opening, answering, forgetting |
//! | `keep.rs` | keeping an inference, in memory or on disk, once or again |
//! | `room.rs` | reservations, and making room: spilling, removing what expired |
//! | `index.rs` | what is where and how much of it, without any file or lock |
//! | `tombstones.rs` | roots that expired lately |
//! | `folder.rs` | the files: names, lock, writing, reading |
//! | `gate.rs` | how many transfers to and from the disk run at once |
//! | `limits.rs`, `usage.rs`, `error.rs`, `clock.rs` | what their names say |
//!
//! # Invariants
//!
//! - The index's mutex is never held while a file is touched or an operation opened.
//! - An entry of the index is in memory, or in a file, or both. While one thread changes its file
//!   (`writing`), no other thread does, and nobody removes the entry.
//! - Whoever is counted as in flight waits for nobody; so whoever waits for those in flight, waits
//!   for a bounded time.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod clock;
mod error;
mod folder;
mod gate;
mod index;
mod keep;
mod limits;
mod room;
mod store;
mod tombstones;
mod usage;

pub use error::StoreError;
pub use keep::Kept;
pub use limits::{Durability, Limits};
pub use room::Reservation;
pub use store::Store;
pub use usage::{Share, Usage};
