//! Roots that expired lately, so that a late challenge is told so.

use std::collections::{HashMap, VecDeque};

use nomopoly_runtime::Digest;

/// The last roots that expired, up to a number of them.
pub(crate) struct Tombstones {
    most: usize,
    next: u64,
    /// When a root expired, and which burial it was: a root may be kept and expire again.
    since: HashMap<Digest, (u64, u64)>,
    order: VecDeque<(Digest, u64)>,
}

impl Tombstones {
    pub fn new(most: usize) -> Self {
        Self { most, next: 0, since: HashMap::new(), order: VecDeque::new() }
    }

    pub fn bury(&mut self, root: Digest, since: u64) {
        self.since.insert(root, (since, self.next));
        self.order.push_back((root, self.next));
        self.next += 1;
        if self.order.len() > self.most
            && let Some((oldest, burial)) = self.order.pop_front()
            && self.since.get(&oldest).is_some_and(|(_, latest)| *latest == burial)
        {
            self.since.remove(&oldest);
        }
    }

    /// It was kept anew, or is to be forgotten altogether.
    pub fn remove(&mut self, root: &Digest) {
        self.since.remove(root);
    }

    /// When it expired, in milliseconds since 1970.
    pub fn since(&self, root: &Digest) -> Option<u64> {
        self.since.get(root).map(|(since, _)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_memory_is_bounded() {
        let root = |byte| Digest::from_bytes([byte; 32]);
        let mut tombstones = Tombstones::new(3);
        tombstones.bury(root(1), 10);
        tombstones.remove(&root(1));
        assert_eq!(tombstones.since(&root(1)), None);
        tombstones.bury(root(1), 20);
        tombstones.bury(root(2), 30);
        // The first burial of root 1 is the one that leaves.
        tombstones.bury(root(3), 40);
        assert_eq!(tombstones.since(&root(1)), Some(20));
        tombstones.bury(root(4), 50);
        assert_eq!(tombstones.since(&root(1)), None);
        assert_eq!(tombstones.since(&root(2)), Some(30));
        for _ in 0..100 {
            tombstones.bury(root(5), 60);
        }
        assert!(tombstones.order.len() <= 3 && tombstones.since.len() == 1);
    }
}
