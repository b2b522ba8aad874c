//! What bounds a store.

use std::time::Duration;

/// How long inferences are kept, and how much room they may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From being kept until it expires, in whole milliseconds.
    pub age: Duration,
    /// Bytes in memory, by [`Committed::size`](nomopoly_runtime::receipt::Committed::size).
    pub memory: u64,
    /// Bytes of files. Without a folder it does not matter.
    pub disk: u64,
}

impl Default for Limits {
    /// Ten minutes, 1 GiB of memory, no disk.
    fn default() -> Self {
        Self { age: Duration::from_secs(600), memory: 1 << 30, disk: 0 }
    }
}

/// Where a store with a folder puts an inference at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Into memory. When that is full, the oldest in it are written to disk and leave it. Those in
    /// memory are lost when the process ends. An inference that all of the memory has no room for
    /// goes to disk at once.
    #[default]
    MemoryFirst,
    /// To disk, before it counts as kept. Memory holds copies of the latest, as many as fit.
    DiskFirst,
}
