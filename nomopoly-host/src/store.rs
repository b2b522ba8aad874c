//! The store: opening, answering, forgetting.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use nomopoly_runtime::Digest;
use nomopoly_runtime::receipt::{Challenge, Opening};

use crate::clock::{Clock, millis, wall};
use crate::folder::Folder;
use crate::gate::Gate;
use crate::index::Index;
use crate::{Durability, Limits, Reservation, StoreError, Usage};

/// So many inferences are written or read back at once.
const TRANSFERS: usize = 4;

/// The inferences that a host committed to and may be challenged for, shared between threads by
/// reference or in an `Arc`.
///
/// With a folder the methods read and write files, so call them where a thread may block. A method
/// that does so keeps no other from answering out of memory.
pub struct Store {
    pub(crate) limits: Limits,
    durability: Durability,
    pub(crate) folder: Option<Folder>,
    index: Mutex<Index>,
    /// A thread that was in flight is so no longer.
    pub(crate) landed: Condvar,
    pub(crate) gate: Gate,
    clock: Clock,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Store");
        fields.field("limits", &self.limits).field("durability", &self.durability);
        fields.finish_non_exhaustive()
    }
}

impl Store {
    /// A store without a folder: what it holds is lost when the process ends.
    pub fn in_memory(limits: Limits) -> Self {
        Self::in_memory_with_clock(limits, wall())
    }

    #[doc(hidden)]
    pub fn in_memory_with_clock(limits: Limits, clock: Clock) -> Self {
        Self::new(limits, Durability::MemoryFirst, None, Index::new(limits), clock)
    }

    /// A store with a folder, which is made if it is not there and which no other store may use at
    /// the same time. It holds what an earlier process left there, even above the limits: what was
    /// promised is kept, and new inferences are refused until there is room. What expired and what
    /// was half written is removed; other files are left alone.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another store has the folder, [`StoreError::Folder`] when it
    /// cannot be used.
    pub fn open(
        folder: impl Into<PathBuf>,
        limits: Limits,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        Self::open_with_clock(folder, limits, durability, wall())
    }

    #[doc(hidden)]
    pub fn open_with_clock(
        folder: impl Into<PathBuf>,
        limits: Limits,
        durability: Durability,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let (folder, found) = Folder::open(folder.into())?;
        tracing::debug!(files = found.len(), "opened a store");
        let mut index = Index::new(limits);
        index.adopt(found, millis(clock()));
        let store = Self::new(limits, durability, Some(folder), index, clock);
        store.tidy();
        Ok(store)
    }

    fn new(
        limits: Limits,
        durability: Durability,
        folder: Option<Folder>,
        index: Index,
        clock: Clock,
    ) -> Self {
        let (index, landed) = (Mutex::new(index), Condvar::new());
        Self { limits, durability, folder, index, landed, gate: Gate::new(TRANSFERS), clock }
    }

    /// Asks for room before an inference is run. `bytes` is a guess: the
    /// [`Committed::size`](nomopoly_runtime::receipt::Committed::size) of an earlier inference of
    /// the model, for one. Under [`Durability::DiskFirst`] it is room on disk.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room, [`StoreError::Folder`] when there would be if
    /// the folder could be written to.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation<'_>, StoreError> {
        self.tidy();
        let room = self.room(self.tier(bytes), bytes, 0);
        room.inspect_err(|error| self.refused(error))
    }

    /// Opens what a challenge asks for.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] and [`StoreError::Expired`] when the inference is not kept,
    /// [`StoreError::Damaged`] when its file is not as it was written, [`StoreError::Proof`] when
    /// the challenge does not fit it.
    pub fn answer(&self, challenge: &Challenge) -> Result<Opening, StoreError> {
        let root = &challenge.root;
        let mut missing = None;
        let committed = loop {
            let now = self.now();
            let index = self.lock();
            let entry = index.find(root, now)?;
            if let Some(committed) = &entry.memory {
                break committed.clone();
            }
            // An entry is in memory or in a file.
            let (Some(folder), Some(file)) = (&self.folder, entry.file) else {
                return Err(StoreError::Unknown { root: *root });
            };
            if missing == Some(file) {
                if entry.writing {
                    // It is being renamed.
                    drop(self.wait(index));
                    continue;
                }
                drop(index);
                return Err(folder.missing(&file));
            }
            drop(index);
            let pass = self.gate.enter();
            let read = folder.read(&file)?;
            drop(pass);
            match read {
                Some(committed) => {
                    self.lock().usage.read_back += 1;
                    break committed.into();
                }
                // Renamed or removed since, unless the index still has it under this name.
                None => missing = Some(file),
            }
        };
        let opening = committed.open(challenge).map_err(StoreError::Proof)?;
        self.lock().usage.answered += 1;
        Ok(opening)
    }

    /// Throws an inference away before its time, which breaks the promise. Returns whether it was
    /// kept.
    pub fn forget(&self, root: &Digest) -> bool {
        self.tidy();
        let mut index = self.lock();
        while index.get(root).is_some_and(|entry| entry.writing) {
            index = self.wait(index);
        }
        let kept = index.get(root).is_some();
        let dropped = index.remove(root);
        index.forget_expired(root);
        drop(index);
        drop(dropped);
        if kept {
            self.tidy();
        }
        kept
    }

    /// Throws away what expired, as keeping and reserving do, too; a host without requests calls it
    /// now and then. Returns how many they were.
    pub fn expire(&self) -> usize {
        self.tidy()
    }

    /// What is held, and what was done.
    pub fn usage(&self) -> Usage {
        self.lock().usage
    }

    pub(crate) fn disk_first(&self) -> bool {
        self.durability == Durability::DiskFirst
    }

    /// Counts a refusal for want of room.
    pub(crate) fn refused(&self, error: &StoreError) {
        if matches!(error, StoreError::Full { .. }) {
            self.lock().usage.refused += 1;
            tracing::debug!(%error, "refused an inference");
        }
    }

    /// Milliseconds since 1970. Not to be called where the index is locked: tests tell the time
    /// themselves.
    pub(crate) fn now(&self) -> u64 {
        millis((self.clock)())
    }

    /// The index. It is whole even if a thread that had it panicked: its methods do not panic half
    /// way.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a thread lands that is in flight.
    pub(crate) fn wait<'a>(&self, index: MutexGuard<'a, Index>) -> MutexGuard<'a, Index> {
        self.landed.wait(index).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn shared<T: Send + Sync>() {}
    const _: () = shared::<Store>();
    const _: () = shared::<StoreError>();

    #[test]
    fn a_panic_elsewhere_does_not_end_the_store() {
        let store = Store::in_memory(Limits { memory: 100, ..Limits::default() });
        std::thread::scope(|scope| {
            let panicked = scope.spawn(|| {
                let _room = store.reserve(60);
                let _index = store.lock();
                panic!("on purpose");
            });
            assert!(panicked.join().is_err());
        });
        assert!(store.index.is_poisoned());
        // The room is free again, and all of it can be had.
        let room = store.reserve(100).unwrap();
        assert_eq!(store.usage().reserved_memory.bytes, room.bytes());
        assert!(matches!(store.reserve(1), Err(StoreError::Full { needed: 1, free: 0, .. })));
    }
}
