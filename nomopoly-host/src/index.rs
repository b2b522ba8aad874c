//! What is where, and how much of it. Plain data: no file, no lock and no clock in here, and nothing
//! that takes longer than the inferences that are touched are many.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use nomopoly_runtime::Digest;
use nomopoly_runtime::receipt::Committed;

use crate::clock::{later, time};
use crate::folder::Stored;
use crate::tombstones::Tombstones;
use crate::usage::{Share, Usage};
use crate::{Limits, StoreError};

/// So many expired roots are remembered: a few MiB.
const TOMBSTONES: usize = 1 << 16;

/// Where an inference takes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Memory,
    Disk,
}

/// One inference.
pub(crate) struct Entry {
    /// Milliseconds since 1970.
    pub until: u64,
    /// Its bytes in memory; 0 when it was found on disk and was never there.
    size: u64,
    pub memory: Option<Arc<Committed>>,
    /// Its name tells the same `until`.
    pub file: Option<Stored>,
    /// A thread writes or renames its file: hands off.
    pub writing: bool,
    /// Bytes of its file, once it was serialised for one.
    encoded: Option<u64>,
    /// Its place in `Index::by_age` while it is in memory.
    place: u64,
}

pub(crate) struct Index {
    pub limits: Limits,
    entries: HashMap<Digest, Entry>,
    by_expiry: BTreeSet<(u64, Digest)>,
    /// Those in memory, least recently kept first.
    by_age: BTreeMap<u64, Digest>,
    next_place: u64,
    tombstones: Tombstones,
    /// Files that no entry has any more and that are still there. They count until they are gone.
    pub doomed: Vec<Stored>,
    /// Threads that write, rename or remove files. None of them waits for another.
    pub in_flight: usize,
    pub usage: Usage,
}

impl Index {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            by_expiry: BTreeSet::new(),
            by_age: BTreeMap::new(),
            next_place: 0,
            tombstones: Tombstones::new(TOMBSTONES),
            doomed: vec![],
            in_flight: 0,
            usage: Usage::default(),
        }
    }

    // Room.

    fn shares(&mut self, tier: Tier) -> (&mut Share, &mut Share) {
        let usage = &mut self.usage;
        match tier {
            Tier::Memory => (&mut usage.memory, &mut usage.reserved_memory),
            Tier::Disk => (&mut usage.disk, &mut usage.reserved_disk),
        }
    }

    fn limit(&self, tier: Tier) -> u64 {
        match tier {
            Tier::Memory => self.limits.memory,
            Tier::Disk => self.limits.disk,
        }
    }

    /// Bytes that may be taken. What was found on disk may be above a limit that is new.
    pub fn free(&mut self, tier: Tier) -> u64 {
        let (held, reserved) = self.shares(tier);
        let taken = held.bytes.saturating_add(reserved.bytes);
        self.limit(tier).saturating_sub(taken)
    }

    /// Reserves so many bytes, if they are free.
    pub fn reserve(&mut self, tier: Tier, bytes: u64) -> bool {
        let fits = bytes <= self.free(tier);
        if fits {
            let (_, reserved) = self.shares(tier);
            reserved.count += 1;
            reserved.bytes += bytes;
        }
        fits
    }

    /// Gives a reservation back, or what is left of it.
    pub fn release(&mut self, tier: Tier, bytes: u64) {
        let (_, reserved) = self.shares(tier);
        reserved.count = reserved.count.saturating_sub(1);
        reserved.bytes = reserved.bytes.saturating_sub(bytes);
    }

    /// Turns so many reserved bytes into bytes that are held.
    fn fill(&mut self, tier: Tier, bytes: u64) {
        let (held, reserved) = self.shares(tier);
        reserved.bytes = reserved.bytes.saturating_sub(bytes);
        held.count += 1;
        held.bytes += bytes;
    }

    fn clear(&mut self, tier: Tier, bytes: u64) {
        let (held, _) = self.shares(tier);
        held.count = held.count.saturating_sub(1);
        held.bytes = held.bytes.saturating_sub(bytes);
    }

    /// Why `needed` bytes cannot be had by one who has `held` of them already.
    pub fn full(&mut self, tier: Tier, needed: u64, held: u64, now: u64) -> StoreError {
        let (free, limit) = (self.free(tier).saturating_add(held), self.limit(tier));
        let next = self.by_expiry.first().filter(|_| needed <= limit);
        let retry_after = next.map(|(until, _)| Duration::from_millis(until.saturating_sub(now)));
        StoreError::Full { needed, free, limit, retry_after }
    }

    // Entries.

    /// When an inference expires that is kept now.
    pub fn until(&self, now: u64) -> u64 {
        later(now, self.limits.age)
    }

    pub fn get(&self, root: &Digest) -> Option<&Entry> {
        self.entries.get(root)
    }

    pub fn get_mut(&mut self, root: &Digest) -> Option<&mut Entry> {
        self.entries.get_mut(root)
    }

    /// The entry of a root that may be challenged.
    pub fn find(&self, root: &Digest, now: u64) -> Result<&Entry, StoreError> {
        let expired = |since| StoreError::Expired { root: *root, since: time(since) };
        match (self.entries.get(root), self.tombstones.since(root)) {
            (Some(entry), _) if entry.until > now => Ok(entry),
            (Some(entry), _) => Err(expired(entry.until)),
            (None, Some(since)) => Err(expired(since)),
            (None, None) => Err(StoreError::Unknown { root: *root }),
        }
    }

    fn insert(&mut self, root: Digest, entry: Entry) {
        self.tombstones.remove(&root);
        self.by_expiry.insert((entry.until, root));
        self.entries.insert(root, entry);
    }

    /// Keeps an inference in memory, in room that was reserved for it. It must not be there yet.
    pub fn insert_in_memory(&mut self, root: Digest, until: u64, committed: Arc<Committed>) {
        let size = committed.size() as u64;
        let place = self.place(root);
        self.fill(Tier::Memory, size);
        let memory = Some(committed);
        let entry = Entry { until, size, memory, file: None, writing: false, encoded: None, place };
        self.insert(root, entry);
    }

    /// Keeps an inference on disk, in room that was reserved for it. It must not be there yet.
    pub fn insert_on_disk(&mut self, file: Stored) {
        self.fill(Tier::Disk, file.bytes);
        let (root, until) = (file.name.root, file.name.until);
        let (encoded, file) = (Some(file.bytes), Some(file));
        let entry = Entry { until, size: 0, memory: None, file, writing: false, encoded, place: 0 };
        self.insert(root, entry);
    }

    /// Files that an earlier process left; nothing may be reserved yet. Of two for one inference
    /// (two threads kept it at once, and the process ended before one file was removed) the later
    /// counts.
    pub fn adopt(&mut self, mut found: Vec<Stored>, now: u64) {
        found.sort_unstable_by_key(|file| (file.name.until, file.name.generation));
        while let Some(file) = found.pop() {
            let root = file.name.root;
            if file.name.until > now && !self.entries.contains_key(&root) {
                self.insert_on_disk(file);
            } else {
                if !self.entries.contains_key(&root) && self.tombstones.since(&root).is_none() {
                    self.tombstones.bury(root, file.name.until);
                }
                self.doom(file);
            }
        }
    }

    /// A file that is in reserved room and that no entry is to have.
    pub fn doom(&mut self, file: Stored) {
        self.fill(Tier::Disk, file.bytes);
        self.doomed.push(file);
    }

    /// A doomed file is gone.
    pub fn gone(&mut self, file: &Stored) {
        self.clear(Tier::Disk, file.bytes);
    }

    /// Promises an inference for longer.
    pub fn prolong(&mut self, root: &Digest, until: u64) {
        let Some(entry) = self.entries.get_mut(root) else { return };
        self.by_expiry.remove(&(entry.until, *root));
        self.by_expiry.insert((until, *root));
        entry.until = until;
        if entry.memory.is_some() {
            let place = mem::replace(&mut entry.place, self.next_place);
            self.by_age.remove(&place);
            self.by_age.insert(self.next_place, *root);
            self.next_place += 1;
        }
    }

    /// The inference was written to disk, in room that was reserved for it, and leaves memory.
    /// To be dropped where the index is not locked.
    pub fn spilled(&mut self, root: &Digest, file: Stored) -> Option<Arc<Committed>> {
        self.fill(Tier::Disk, file.bytes);
        self.usage.spilled += 1;
        self.entries.get_mut(root)?.file = Some(file);
        self.leave_memory(root)
    }

    /// How long its file is, so that the next who looks for room need not serialise it.
    pub fn encoded(&mut self, root: &Digest, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(root) {
            entry.encoded = Some(bytes);
        }
    }

    /// The oldest inference in memory that nobody writes, if its file may fit on disk.
    pub fn next_to_spill(&mut self) -> Option<(Digest, u64, Arc<Committed>)> {
        let mut oldest = self.by_age.values().filter_map(|root| self.entries.get_key_value(root));
        let (root, entry) = oldest.find(|(_, entry)| !entry.writing && entry.file.is_none())?;
        let found = (*root, entry.until, entry.memory.clone()?);
        let least = entry.encoded.unwrap_or(1);
        (least <= self.free(Tier::Disk)).then_some(found)
    }

    /// How many inferences are in no file.
    pub fn only_in_memory(&self) -> u64 {
        self.entries.values().filter(|entry| entry.file.is_none()).count() as u64
    }

    /// Puts a copy of what is on disk into memory, in place of the least recently kept copies.
    /// Returns what is to be dropped where the index is not locked.
    pub fn cache(&mut self, root: &Digest, committed: Arc<Committed>) -> Vec<Arc<Committed>> {
        let size = committed.size() as u64;
        let mut left = vec![];
        let wanted = |entry: &Entry| entry.file.is_some() && entry.memory.is_none();
        if size > self.limits.memory || !self.entries.get(root).is_some_and(wanted) {
            return vec![committed];
        }
        while size > self.free(Tier::Memory) {
            let oldest = self.by_age.values().next().copied();
            let copy = oldest.filter(|root| self.get(root).is_some_and(|e| e.file.is_some()));
            match copy.and_then(|root| self.leave_memory(&root)) {
                Some(copy) => left.push(copy),
                None => return vec![committed],
            }
        }
        let place = self.place(*root);
        if let Some(entry) = self.entries.get_mut(root) {
            (entry.memory, entry.size, entry.place) = (Some(committed), size, place);
        }
        self.usage.memory.count += 1;
        self.usage.memory.bytes += size;
        left
    }

    fn place(&mut self, root: Digest) -> u64 {
        let place = self.next_place;
        self.next_place += 1;
        self.by_age.insert(place, root);
        place
    }

    fn leave_memory(&mut self, root: &Digest) -> Option<Arc<Committed>> {
        let entry = self.entries.get_mut(root)?;
        let committed = entry.memory.take()?;
        let (size, place) = (entry.size, entry.place);
        self.by_age.remove(&place);
        self.clear(Tier::Memory, size);
        Some(committed)
    }

    /// Removes an entry; its file is doomed. Returns what is to be dropped where the index is not
    /// locked.
    pub fn remove(&mut self, root: &Digest) -> Option<Arc<Committed>> {
        let committed = self.leave_memory(root);
        let entry = self.entries.remove(root)?;
        self.by_expiry.remove(&(entry.until, *root));
        // It keeps its room until it is gone.
        self.doomed.extend(entry.file);
        committed
    }

    /// Forgets that an inference expired.
    pub fn forget_expired(&mut self, root: &Digest) {
        self.tombstones.remove(root);
    }

    /// Removes what expired. What is being written is left for the next time. Returns how many,
    /// and what is to be dropped where the index is not locked.
    pub fn expire(&mut self, now: u64) -> (usize, Vec<Arc<Committed>>) {
        let expired = self.by_expiry.iter().take_while(|(until, _)| *until <= now);
        let idle = |root: &Digest| self.entries.get(root).is_some_and(|entry| !entry.writing);
        let expired: Vec<_> = expired.filter(|(_, root)| idle(root)).copied().collect();
        let mut dropped = vec![];
        for (until, root) in &expired {
            dropped.extend(self.remove(root));
            self.tombstones.bury(*root, *until);
        }
        self.usage.expired += expired.len() as u64;
        (expired.len(), dropped)
    }
}
