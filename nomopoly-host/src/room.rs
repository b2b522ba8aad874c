//! Room for inferences: reserving it, and making it where there is none.

use std::mem;

use nomopoly_runtime::Digest;
use nomopoly_runtime::receipt::Committed;

use crate::folder::{Folder, Stored};
use crate::index::{Index, Tier};
use crate::keep::Kept;
use crate::{Store, StoreError};

/// Room for an inference that is yet to be run. It is free again when this is dropped.
#[derive(Debug)]
#[must_use = "the room is free again when the reservation is dropped"]
pub struct Reservation<'a> {
    pub(crate) store: &'a Store,
    pub(crate) tier: Tier,
    pub(crate) bytes: u64,
}

impl Reservation<'_> {
    /// The bytes that are reserved.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps an inference in this room. What it needs beyond that is asked for, and what it does not
    /// need is free again.
    ///
    /// # Errors
    /// Those of [`Store::keep`]; none for want of room when the reservation was large enough.
    pub fn keep(self, committed: Committed) -> Result<Kept, StoreError> {
        let store = self.store;
        store.keep_in(Some(self), committed)
    }

    /// Makes it one of so many bytes, at least.
    pub(crate) fn fit(&mut self, tier: Tier, bytes: u64) -> Result<(), StoreError> {
        if tier != self.tier {
            *self = self.store.room(tier, bytes, 0)?;
        } else if bytes > self.bytes {
            let mut more = self.store.room(tier, bytes, self.bytes)?;
            self.bytes += mem::take(&mut more.bytes);
        }
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.store.lock().release(self.tier, self.bytes);
    }
}

/// Counts its thread as in flight, and an entry as being written, until it is dropped.
pub(crate) struct Flight<'a> {
    store: &'a Store,
    writes: Option<Digest>,
}

impl<'a> Flight<'a> {
    /// Where the entry must not be written by another thread.
    pub fn start(store: &'a Store, index: &mut Index, writes: Option<Digest>) -> Self {
        index.in_flight += 1;
        if let Some(entry) = writes.and_then(|root| index.get_mut(&root)) {
            entry.writing = true;
        }
        Self { store, writes }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut index = self.store.lock();
        index.in_flight = index.in_flight.saturating_sub(1);
        if let Some(entry) = self.writes.and_then(|root| index.get_mut(&root)) {
            entry.writing = false;
        }
        drop(index);
        self.store.landed.notify_all();
    }
}

impl Store {
    /// Where an inference of this size goes at first.
    pub(crate) fn tier(&self, size: u64) -> Tier {
        let too_large = size > self.limits.memory && self.limits.disk > 0;
        let to_disk = self.disk_first() || too_large;
        if self.folder.is_some() && to_disk { Tier::Disk } else { Tier::Memory }
    }

    /// Reserves what `needed` bytes lack when `held` are there already. It spills what is in memory
    /// when that is full, and waits for other threads that make room; it waits for nothing else.
    pub(crate) fn room(
        &self,
        tier: Tier,
        needed: u64,
        held: u64,
    ) -> Result<Reservation<'_>, StoreError> {
        let bytes = needed.saturating_sub(held);
        let reserved = |index: &mut Index| {
            // Only then: dropping one releases it, and locks the index.
            index.reserve(tier, bytes).then(|| Reservation { store: self, tier, bytes })
        };
        let mut index = self.lock();
        loop {
            if let Some(reservation) = reserved(&mut index) {
                return Ok(reservation);
            }
            let spills = tier == Tier::Memory && needed <= self.limits.memory;
            if let Some(folder) = self.folder.as_ref().filter(|_| spills)
                && index.next_to_spill().is_some()
            {
                drop(index);
                let spilled = self.spill(folder);
                index = self.lock();
                if let Err(error) = spilled {
                    // Another thread may have made the room.
                    return reserved(&mut index).ok_or(error);
                }
            } else if index.in_flight > 0 {
                index = self.wait(index);
            } else {
                drop(index);
                let now = self.now();
                return Err(self.lock().full(tier, needed, held, now));
            }
        }
    }

    /// Writes to disk what is in memory alone, as far as there is room for it: before a planned end
    /// of the process. Returns how many inferences are in memory alone afterwards.
    pub fn flush(&self) -> u64 {
        self.tidy();
        if let Some(folder) = &self.folder {
            // Each turn writes one, or finds that the oldest does not fit.
            while self.lock().next_to_spill().is_some() && self.spill(folder).is_ok() {}
        }
        self.lock().only_in_memory()
    }

    /// Writes the oldest inference in memory to disk, if there is one that fits.
    fn spill(&self, folder: &Folder) -> Result<(), StoreError> {
        // Before anything is marked: who is in flight must not wait.
        let _pass = self.gate.enter();
        let mut index = self.lock();
        let Some((root, until, committed)) = index.next_to_spill() else { return Ok(()) };
        let flight = Flight::start(self, &mut index, Some(root));
        drop(index);

        let bytes = committed.to_bytes().map_err(StoreError::Proof)?;
        let len = bytes.len() as u64;
        let mut index = self.lock();
        index.encoded(&root, len);
        if !index.reserve(Tier::Disk, len) {
            return Ok(());
        }
        let mut room = Reservation { store: self, tier: Tier::Disk, bytes: len };
        drop(index);
        let file = folder.write(root, until, &bytes).inspect_err(|error| {
            tracing::warn!(%root, %error, "an inference stays in memory: it cannot be written");
        })?;
        let left = self.lock().spilled(&root, file);
        room.bytes = 0;
        drop((flight, left));
        tracing::debug!(%root, bytes = len, "spilled an inference to disk");
        Ok(())
    }

    /// Removes what expired, and files that no entry has any more. Returns how many expired.
    pub(crate) fn tidy(&self) -> usize {
        let now = self.now();
        let mut index = self.lock();
        let (expired, dropped) = index.expire(now);
        let doomed = mem::take(&mut index.doomed);
        let flight = (!doomed.is_empty()).then(|| Flight::start(self, &mut index, None));
        drop(index);

        drop(dropped);
        if let Some(folder) = &self.folder {
            self.remove(folder, doomed);
        }
        drop(flight);
        if expired > 0 {
            tracing::debug!(expired, "inferences expired");
        }
        expired
    }

    /// Removes files, and counts them as gone one by one, so that others may use their room.
    fn remove(&self, folder: &Folder, doomed: Vec<Stored>) {
        let mut doomed = doomed.into_iter();
        while let Some(file) = doomed.next() {
            match folder.remove(&file) {
                Ok(()) => self.lock().gone(&file),
                Err(error) => {
                    // Most likely the others fail as well: all of them are for the next time.
                    tracing::warn!(%error, "an expired inference cannot be removed from disk");
                    let mut index = self.lock();
                    index.doomed.push(file);
                    index.doomed.extend(doomed);
                    return;
                }
            }
        }
    }
}
