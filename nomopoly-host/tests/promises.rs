//! Random sequences of operations, with a clock that steps both ways, against a simple model: what
//! was promised, until when.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nomopoly_host::{Durability, Kept, Reservation, Store, StoreError};
use nomopoly_runtime::receipt::Committed;
use proptest::prelude::*;
use support::{Hands, answers, bytes_in, files, inference, limits, sizes};

const AGE: u64 = 1000;
const INFERENCES: usize = 9;

#[derive(Debug, Clone, Copy)]
enum Kind {
    InMemory,
    Folder(Durability),
}

#[derive(Debug, Clone)]
enum Step {
    Keep(usize),
    Reserve(u64),
    KeepReserved(usize),
    Release,
    Forget(usize),
    Expire,
    Turn(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..INFERENCES).prop_map(Step::Keep),
        3 => (0u64..1500).prop_map(Step::Reserve),
        3 => (0..INFERENCES).prop_map(Step::KeepReserved),
        1 => Just(Step::Release),
        1 => (0..INFERENCES).prop_map(Step::Forget),
        1 => Just(Step::Expire),
        3 => (-700i64..900).prop_map(Step::Turn),
        1 => Just(Step::Restart),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::InMemory),
        Just(Kind::Folder(Durability::MemoryFirst)),
        Just(Kind::Folder(Durability::DiskFirst)),
    ]
}

struct Run {
    kind: Kind,
    memory: u64,
    disk: u64,
    hands: Hands,
    folder: tempfile::TempDir,
    inferences: Vec<Committed>,
    /// Until when, and whether a restart must not matter.
    promised: BTreeMap<usize, (SystemTime, bool)>,
}

impl Run {
    fn open(&self) -> Store {
        let limits = limits(AGE, self.memory, self.disk);
        match self.kind {
            Kind::InMemory => Store::in_memory_with_clock(limits, self.hands.clock()),
            Kind::Folder(durability) => {
                let clock = self.hands.clock();
                Store::open_with_clock(self.folder.path(), limits, durability, clock).unwrap()
            }
        }
    }

    /// What the store does at the start of whatever keeps, reserves or forgets.
    fn swept(&mut self) {
        let now = self.hands.now();
        self.promised.retain(|_, (until, _)| *until > now);
    }

    /// Bytes where an inference goes at first, and the limit there.
    fn need(&self, id: usize) -> (u64, u64) {
        let (size, len) = sizes(&self.inferences[id]);
        match self.kind {
            Kind::Folder(Durability::DiskFirst) => (len, self.disk),
            _ => (size, self.memory),
        }
    }

    fn kept(&mut self, id: usize, reserved: Option<u64>, kept: Result<Kept, StoreError>) {
        self.swept();
        let (need, limit) = self.need(id);
        let before = self.promised.get(&id).copied();
        let until = self.hands.now() + Duration::from_millis(AGE);
        match kept {
            Ok(kept) => {
                assert_eq!(kept.until, before.map_or(until, |(before, _)| before.max(until)));
                assert!(kept.survives_restart >= before.is_some_and(|(_, survives)| survives));
                self.promised.insert(id, (kept.until, kept.survives_restart));
            }
            Err(StoreError::Full { needed, free, .. }) => {
                assert!(needed > free, "{needed} {free}");
                assert!(before.is_none(), "what is kept takes no more room");
                let enough = reserved.is_some_and(|reserved| reserved >= need && reserved <= limit);
                assert!(!enough || need > limit, "reserved room was not there");
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Every promise is kept, no limit is passed, and the numbers are right.
    fn check(&self, store: &Store, rooms: &[Reservation<'_>]) {
        let now = self.hands.now();
        for (id, committed) in self.inferences.iter().enumerate() {
            match (self.promised.get(&id), answers(store, committed)) {
                (Some((until, _)), answer) if *until > now => answer.unwrap(),
                (Some((until, _)), Err(StoreError::Expired { since, .. })) => {
                    assert_eq!(since, *until);
                }
                (None, Err(StoreError::Expired { .. } | StoreError::Unknown { .. })) => {}
                (promised, answer) => panic!("{promised:?} {answer:?}"),
            }
        }
        let usage = store.usage();
        let reserved = usage.reserved_memory.bytes + usage.reserved_disk.bytes;
        assert!(usage.memory.bytes + usage.reserved_memory.bytes <= self.memory, "{usage:?}");
        assert!(usage.disk.bytes + usage.reserved_disk.bytes <= self.disk, "{usage:?}");
        assert_eq!(reserved, rooms.iter().map(Reservation::bytes).sum::<u64>());
        let count = usage.reserved_memory.count + usage.reserved_disk.count;
        assert_eq!(count, rooms.len() as u64);
        let promised = self.promised.len() as u64;
        match self.kind {
            Kind::Folder(Durability::DiskFirst) => assert_eq!(usage.disk.count, promised),
            _ => assert_eq!(usage.memory.count + usage.disk.count, promised),
        }
        if let Kind::InMemory = self.kind {
            let held = self.promised.keys().map(|id| sizes(&self.inferences[*id]).0);
            assert_eq!(usage.memory.bytes, held.sum::<u64>());
        } else {
            let path: &Path = self.folder.path();
            assert_eq!(usage.disk.bytes, bytes_in(path));
            assert_eq!(usage.disk.count, files(path).len() as u64);
        }
    }

    /// Runs until the next restart.
    fn run(&mut self, store: &Store, steps: &mut impl Iterator<Item = Step>) {
        let mut rooms: Vec<Reservation<'_>> = vec![];
        for step in steps {
            match step {
                Step::Keep(id) => {
                    let kept = store.keep(self.inferences[id].clone());
                    self.kept(id, None, kept);
                }
                Step::Reserve(bytes) => {
                    self.swept();
                    match store.reserve(bytes) {
                        Ok(room) => rooms.push(room),
                        Err(StoreError::Full { needed, free, .. }) => assert!(needed > free),
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::KeepReserved(id) => {
                    if let Some(room) = rooms.pop() {
                        let bytes = room.bytes();
                        let kept = room.keep(self.inferences[id].clone());
                        self.kept(id, Some(bytes), kept);
                    }
                }
                Step::Release => drop(rooms.pop()),
                Step::Forget(id) => {
                    self.swept();
                    let forgot = store.forget(&self.inferences[id].receipt().root);
                    assert_eq!(forgot, self.promised.remove(&id).is_some());
                }
                Step::Expire => {
                    let before = self.promised.len();
                    self.swept();
                    assert_eq!(store.expire(), before - self.promised.len());
                }
                Step::Turn(by) => self.hands.turn(by),
                Step::Restart => return,
            }
            self.check(store, &rooms);
        }
    }

    /// What the next process must find; it may find what was spilled since it was kept as well.
    fn restarted(&mut self, store: &Store) {
        self.swept();
        let inferences = &self.inferences;
        self.promised.retain(|id, (_, survives)| {
            let found = answers(store, &inferences[*id]).is_ok();
            assert!(found || !*survives, "{id} was lost");
            *survives = found;
            found
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn promises_are_kept_within_the_limits(
        kind in kind(),
        memory in 0u64..4000,
        disk in 0u64..4000,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let inferences = (0..INFERENCES).map(|id| inference(id as u32, [1, 20, 90][id % 3]));
        let mut run = Run {
            kind,
            memory,
            disk,
            hands: Hands::new(),
            folder: tempfile::tempdir().unwrap(),
            inferences: inferences.collect(),
            promised: BTreeMap::new(),
        };
        let mut steps = steps.into_iter().peekable();
        while steps.peek().is_some() {
            let store = run.open();
            run.restarted(&store);
            run.check(&store, &[]);
            run.run(&store, &mut steps);
        }
        // In the end everything is free again.
        run.hands.turn(1 << 40);
        let store = run.open();
        let usage = store.usage();
        assert_eq!((usage.memory, usage.disk), Default::default());
        assert!(files(run.folder.path()).is_empty());
    }
}
