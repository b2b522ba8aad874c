//! Many threads at one store with tiny limits: no promise is lost, no limit passed, nobody waits for
//! ever.

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use nomopoly_host::{Durability, Limits, Store, StoreError};
use nomopoly_runtime::receipt::Committed;
use support::{Hands, answers, bytes_in, files, inference, limits, sizes};

const THREADS: u32 = 8;
const ROUNDS: u32 = 300;
const AGE: u64 = 400;
/// Elements in the transcripts.
const LENGTHS: [usize; 3] = [1, 20, 90];

/// Bytes of an inference in memory and on disk, on average.
fn mean() -> (u64, u64) {
    let all = LENGTHS.map(|elements| sizes(&inference(0, elements)));
    let count = all.len() as u64;
    (
        all.iter().map(|(size, _)| size).sum::<u64>() / count,
        all.iter().map(|(_, len)| len).sum::<u64>() / count,
    )
}

/// A stream of numbers that look random enough to mix threads.
struct Mix(u64);

impl Mix {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % end
    }
}

/// Everything that was promised to anyone.
#[derive(Default)]
struct Promises(Mutex<Vec<(Committed, SystemTime)>>);

impl Promises {
    fn add(&self, committed: Committed, until: SystemTime) {
        self.0.lock().unwrap().push((committed, until));
    }

    /// One of the latest.
    fn pick(&self, mix: &mut Mix) -> Option<(Committed, SystemTime)> {
        let all = self.0.lock().unwrap();
        let latest = &all[all.len().saturating_sub(40)..];
        (!latest.is_empty()).then(|| latest[mix.below(latest.len())].clone())
    }
}

/// Opens an inference that was promised: it must be there, or its time must be over.
fn challenge(store: &Store, hands: &Hands, (committed, until): &(Committed, SystemTime)) {
    match answers(store, committed) {
        Ok(()) => {}
        Err(StoreError::Expired { .. }) => {
            assert!(hands.latest() >= *until, "gone before its time")
        }
        Err(error) => panic!("{error}"),
    }
}

/// One thread: keeps, with and without reservation, inferences of its own and shared ones.
fn work(store: &Store, hands: &Hands, promises: &Promises, thread: u32, refused: &AtomicUsize) {
    let mut mix = Mix(u64::from(thread) + 1);
    for round in 0..ROUNDS {
        let shared = mix.below(4) == 0;
        let id = if shared { round / 4 } else { (thread + 1) * 10_000 + round };
        let committed = inference(id, LENGTHS[id as usize % 3]);
        let kept = match mix.below(3) {
            0 => store.reserve(mix.below(900) as u64).and_then(|room| room.keep(committed.clone())),
            1 => store.reserve(mix.below(900) as u64).and_then(|room| {
                drop(room);
                store.keep(committed.clone())
            }),
            _ => store.keep(committed.clone()),
        };
        match kept {
            Ok(kept) => promises.add(committed, kept.until),
            Err(StoreError::Full { .. }) => {
                refused.fetch_add(1, Ordering::Relaxed);
                hands.turn(5);
            }
            Err(error) => panic!("{error}"),
        }
        if let Some(promise) = promises.pick(&mut mix) {
            challenge(store, hands, &promise);
        }
        match mix.below(20) {
            0 => drop(store.expire()),
            1..6 => hands.turn(1),
            6 => hands.turn(-2),
            _ => {}
        }
    }
}

fn torture(store: &Store, hands: &Hands, limits: Limits) {
    let (promises, refused, done) =
        (Promises::default(), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (promises, refused) = (&promises, &refused);
                scope.spawn(move || work(store, hands, promises, thread, refused))
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let usage = store.usage();
                let memory = usage.memory.bytes + usage.reserved_memory.bytes;
                let disk = usage.disk.bytes + usage.reserved_disk.bytes;
                assert!(memory <= limits.memory && disk <= limits.disk, "{usage:?}");
                std::thread::yield_now();
            }
        });
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    for promise in &*promises.0.lock().unwrap() {
        challenge(store, hands, promise);
    }
    let usage = store.usage();
    assert_eq!((usage.reserved_memory, usage.reserved_disk), Default::default());
    let kept = promises.0.lock().unwrap().len() as u64;
    assert_eq!(usage.kept, kept);
    assert_eq!(usage.refused, refused.load(Ordering::Relaxed) as u64);
    // Limits that refuse nothing, or everything, would show nothing.
    assert!(usage.refused > 0 && kept > u64::from(ROUNDS), "{usage:?}");
    hands.turn(AGE as i64 * 1000);
    store.expire();
    let usage = store.usage();
    assert_eq!((usage.memory, usage.disk), Default::default());
}

#[test]
fn in_memory() {
    let (hands, limits) = (Hands::new(), limits(AGE, 46 * mean().0, 0));
    torture(&Store::in_memory_with_clock(limits, hands.clock()), &hands, limits);
}

#[test]
fn memory_first() {
    let (hands, limits) = (Hands::new(), limits(AGE, 14 * mean().0, 40 * mean().1));
    let folder = tempfile::tempdir().unwrap();
    let durability = Durability::MemoryFirst;
    let store = Store::open_with_clock(folder.path(), limits, durability, hands.clock()).unwrap();
    torture(&store, &hands, limits);
    assert!(store.usage().spilled > 0 && store.usage().read_back > 0);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn disk_first() {
    let (hands, limits) = (Hands::new(), limits(AGE, 7 * mean().0, 40 * mean().1));
    let folder = tempfile::tempdir().unwrap();
    let durability = Durability::DiskFirst;
    let store = Store::open_with_clock(folder.path(), limits, durability, hands.clock()).unwrap();
    torture(&store, &hands, limits);
    assert!(store.usage().read_back > 0);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn one_root_from_many_threads_is_one_entry() {
    for durability in [Durability::MemoryFirst, Durability::DiskFirst] {
        let hands = Hands::new();
        let folder = tempfile::tempdir().unwrap();
        let committed = inference(7, 20);
        let (size, len) = sizes(&committed);
        // Each thread needs room of its own until it sees that it is not the first. Memory for one
        // less than that makes some of them spill the entry that the others prolong.
        let each = u64::from(THREADS);
        let limits = limits(1 << 30, size * (each - 1), len * each);
        let store =
            Store::open_with_clock(folder.path(), limits, durability, hands.clock()).unwrap();
        for _ in 0..20 {
            let last = Mutex::new(hands.now());
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        for _ in 0..60 {
                            hands.turn(1);
                            match store.keep(committed.clone()) {
                                Ok(kept) => {
                                    let mut last = last.lock().unwrap();
                                    *last = kept.until.max(*last);
                                }
                                Err(StoreError::Full { .. }) => continue,
                                Err(error) => panic!("{error}"),
                            }
                            answers(&store, &committed).unwrap();
                        }
                    });
                }
            });
            let usage = store.usage();
            let once = if durability == Durability::DiskFirst { 2 } else { 1 };
            assert_eq!(usage.memory.count + usage.disk.count, once);
            assert_eq!(usage.disk.bytes, bytes_in(folder.path()));
            assert_eq!((usage.reserved_memory, usage.reserved_disk), Default::default());
            // The latest time counts.
            let until = store.keep(committed.clone()).unwrap().until;
            assert!(until >= *last.lock().unwrap());
            assert!(store.forget(&committed.receipt().root));
            assert!(files(folder.path()).is_empty());
        }
    }
}

#[test]
fn what_expires_while_its_file_is_written_leaves_nothing_behind() {
    for durability in [Durability::MemoryFirst, Durability::DiskFirst] {
        let (hands, folder) = (Hands::new(), tempfile::tempdir().unwrap());
        let (size, len) = sizes(&inference(0, 20));
        let limits = limits(3, 2 * size, 20 * len);
        let store =
            Store::open_with_clock(folder.path(), limits, durability, hands.clock()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, hands) = (&store, &hands);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let id = if thread % 2 == 0 { round } else { thread * 10_000 + round };
                        match store.keep(inference(id, 20)) {
                            Ok(_) | Err(StoreError::Full { .. }) => hands.turn(1),
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        hands.turn(3);
        store.expire();
        let usage = store.usage();
        assert_eq!((usage.memory, usage.disk), Default::default());
        assert!(files(folder.path()).is_empty());
    }
}

#[test]
fn room_that_another_thread_is_freeing_is_waited_for() {
    const FILES: u32 = 500;
    let (hands, folder) = (Hands::new(), tempfile::tempdir().unwrap());
    let (_, len) = sizes(&inference(0, 1));
    let limits = limits(AGE, 0, u64::from(FILES) * len);
    let durability = Durability::DiskFirst;
    let store = Store::open_with_clock(folder.path(), limits, durability, hands.clock()).unwrap();
    for _ in 0..5 {
        for id in 0..FILES {
            store.keep(inference(id, 1)).unwrap();
        }
        hands.turn(AGE as i64);
        // All of it has expired. Whoever comes first removes it; the other needs more than what is
        // free by the time it asks.
        std::thread::scope(|scope| {
            for id in [1000, 1001] {
                let store = &store;
                let elements = (limits.disk / 3 / 4) as usize;
                scope.spawn(move || store.keep(inference(id, elements)).unwrap());
            }
        });
        hands.turn(AGE as i64);
        assert_eq!(store.expire(), 2);
    }
}
