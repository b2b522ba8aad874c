//! Keeping an inference: in memory or on disk, for the first time or again.

use std::sync::Arc;
use std::time::SystemTime;

use nomopoly_runtime::Digest;
use nomopoly_runtime::receipt::Committed;

use crate::clock::time;
use crate::folder::Folder;
use crate::index::Tier;
use crate::room::{Flight, Reservation};
use crate::{Store, StoreError};

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Root of the receipt.
    pub root: Digest,
    /// Until then it can be challenged.
    pub until: SystemTime,
    /// Whether that holds if the process ends. When it does not, it may still come to be written to
    /// disk later.
    pub survives_restart: bool,
}

impl Store {
    /// Keeps an inference until [`Limits::age`](crate::Limits::age) from now. The same inference
    /// (one root) that is kept again takes no more room; the later time counts.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room, [`StoreError::Folder`] when it cannot be written
    /// where it must be. What was promised before stays so.
    pub fn keep(&self, committed: Committed) -> Result<Kept, StoreError> {
        self.keep_in(None, committed)
    }

    pub(crate) fn keep_in(
        &self,
        room: Option<Reservation<'_>>,
        committed: Committed,
    ) -> Result<Kept, StoreError> {
        self.tidy();
        let committed = Arc::new(committed);
        let kept = match (self.tier(committed.size() as u64), &self.folder) {
            (Tier::Disk, Some(folder)) => self.keep_on_disk(folder, room, committed),
            _ => self.keep_in_memory(room, committed),
        };
        match &kept {
            Ok(_) => self.lock().usage.kept += 1,
            Err(error) => self.refused(error),
        }
        kept
    }

    fn keep_in_memory<'a>(
        &'a self,
        mut room: Option<Reservation<'a>>,
        committed: Arc<Committed>,
    ) -> Result<Kept, StoreError> {
        let (root, size) = (committed.receipt().root, committed.size() as u64);
        loop {
            if let Some(kept) = self.keep_again(&root)? {
                return Ok(kept);
            }
            let mut room_here = self.fitted(room.take(), Tier::Memory, size)?;
            let now = self.now();
            let mut index = self.lock();
            if index.get(&root).is_none() {
                let until = index.until(now);
                index.insert_in_memory(root, until, committed);
                room_here.bytes -= size;
                drop(index);
                return Ok(Kept { root, until: time(until), survives_restart: false });
            }
            drop(index);
            room = Some(room_here);
        }
    }

    fn keep_on_disk<'a>(
        &'a self,
        folder: &Folder,
        mut room: Option<Reservation<'a>>,
        committed: Arc<Committed>,
    ) -> Result<Kept, StoreError> {
        let root = committed.receipt().root;
        loop {
            if let Some(kept) = self.keep_again(&root)? {
                self.cache(&root, committed);
                return Ok(kept);
            }
            let pass = self.gate.enter();
            let bytes = committed.to_bytes().map_err(StoreError::Proof)?;
            let len = bytes.len() as u64;
            let mut room_here = self.fitted(room.take(), Tier::Disk, len)?;
            let now = self.now();
            let until = self.lock().until(now);
            let file = folder.write(root, until, &bytes)?;
            drop((pass, bytes));

            let mut index = self.lock();
            room_here.bytes -= len;
            if index.get(&root).is_none() {
                index.insert_on_disk(file);
                drop(index);
                self.cache(&root, committed);
                return Ok(Kept { root, until: time(until), survives_restart: true });
            }
            // Another thread kept the same inference meanwhile: one file is enough.
            index.doom(file);
            drop(index);
            self.tidy();
            room = Some(room_here);
        }
    }

    fn fitted<'a>(
        &'a self,
        room: Option<Reservation<'a>>,
        tier: Tier,
        bytes: u64,
    ) -> Result<Reservation<'a>, StoreError> {
        let Some(mut room) = room else { return self.room(tier, bytes, 0) };
        room.fit(tier, bytes)?;
        Ok(room)
    }

    /// Promises an inference for longer, if it is kept.
    fn keep_again(&self, root: &Digest) -> Result<Option<Kept>, StoreError> {
        loop {
            let now = self.now();
            let mut index = self.lock();
            let until = index.until(now);
            let (before, file) = match index.get(root) {
                None => return Ok(None),
                Some(entry) if entry.writing => {
                    drop(self.wait(index));
                    continue;
                }
                Some(entry) if entry.until <= now => {
                    drop(index);
                    self.tidy();
                    continue;
                }
                Some(entry) => (entry.until, entry.file),
            };
            // The clock may have stepped back: what was promised stays.
            let until = until.max(before);
            if let (Some(folder), Some(file)) = (&self.folder, file)
                && until > before
            {
                let flight = Flight::start(self, &mut index, Some(*root));
                drop(index);
                let prolonged = folder.prolong(&file, until)?;
                index = self.lock();
                if let Some(entry) = index.get_mut(root) {
                    entry.file = Some(prolonged);
                }
                index.prolong(root, until);
                drop(index);
                drop(flight);
            } else {
                index.prolong(root, until);
            }
            let survives_restart = file.is_some();
            return Ok(Some(Kept { root: *root, until: time(until), survives_restart }));
        }
    }

    /// Copies what is on disk into memory, where memory is a cache.
    fn cache(&self, root: &Digest, committed: Arc<Committed>) {
        if self.disk_first() {
            let dropped = self.lock().cache(root, committed);
            // Here the index is not locked any more.
            drop(dropped);
        }
    }
}
