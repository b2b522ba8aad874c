//! What a store holds and has done.

use serde::Serialize;

/// A number of inferences and the bytes that they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Share {
    pub count: u64,
    pub bytes: u64,
}

/// What a store holds, and what it has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Inferences in memory, copies of what is on disk included.
    pub memory: Share,
    /// Files, those included that expired and are yet to be removed.
    pub disk: Share,
    /// Room in memory that is reserved; with `memory` it is never above the limit.
    pub reserved_memory: Share,
    /// Room on disk that is reserved or being written to.
    pub reserved_disk: Share,
    /// Inferences that were kept, those kept again included.
    pub kept: u64,
    /// Inferences that were written to disk to make room in memory.
    pub spilled: u64,
    /// Inferences that were removed because their time was over.
    pub expired: u64,
    /// Times that there was no room ([`StoreError::Full`](crate::StoreError::Full)).
    pub refused: u64,
    /// Challenges that were answered.
    pub answered: u64,
    /// Inferences that were read from disk for a challenge.
    pub read_back: u64,
}
