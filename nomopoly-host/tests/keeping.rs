//! Keeping, refusing, spilling and expiring, one case each.

mod support;

use std::time::Duration;

use nomopoly_host::{Durability, Store, StoreError, Usage};
use nomopoly_runtime::{Digest, Error};
use support::{Hands, answers, bytes_in, challenge, files, inference, limits, sizes};

const AGE: u64 = 1000;

fn in_folder(
    folder: &tempfile::TempDir,
    (memory, disk): (u64, u64),
    durability: Durability,
    hands: &Hands,
) -> Store {
    let limits = limits(AGE, memory, disk);
    Store::open_with_clock(folder.path(), limits, durability, hands.clock()).unwrap()
}

#[test]
fn a_receipt_is_answered_until_its_time_and_then_told_to_be_expired() {
    let hands = Hands::new();
    let store = Store::in_memory_with_clock(limits(AGE, 1 << 20, 0), hands.clock());
    let committed = inference(1, 8);
    let root = committed.receipt().root;
    assert!(matches!(answers(&store, &committed), Err(StoreError::Unknown { .. })));
    let kept = store.keep(committed.clone()).unwrap();
    assert_eq!((kept.root, kept.survives_restart), (root, false));
    assert_eq!(kept.until, hands.now() + Duration::from_millis(AGE));
    hands.turn(AGE as i64 - 1);
    answers(&store, &committed).unwrap();
    assert_eq!(store.expire(), 0);
    hands.turn(1);
    // Whether it was swept already makes no difference.
    for swept in [0, 1] {
        let error = answers(&store, &committed).unwrap_err();
        assert!(matches!(error, StoreError::Expired { since, .. } if since == kept.until));
        assert!(error.to_string().contains("expired at unix time 1001:"), "{error}");
        assert_eq!(store.expire(), 1 - swept);
    }
    assert_eq!(store.usage(), {
        let mut usage = Usage::default();
        (usage.kept, usage.expired, usage.answered) = (1, 1, 1);
        usage
    });
    // Kept anew it is as good as any.
    store.keep(committed.clone()).unwrap();
    answers(&store, &committed).unwrap();
    assert!(store.forget(&root) && !store.forget(&root));
    let error = answers(&store, &committed).unwrap_err();
    assert!(error.to_string().contains("never given here, or lost with a restart"), "{error}");
}

#[test]
fn the_store_passes_on_why_a_challenge_does_not_fit() {
    let store = Store::in_memory(limits(AGE * 1000, 1 << 20, 0));
    let root = store.keep(inference(1, 8)).unwrap().root;
    let mut challenge = challenge(root);
    challenge.operations[0].index = 9;
    let error = store.answer(&challenge).unwrap_err();
    assert!(matches!(error, StoreError::Proof(Error::Challenge(_))), "{error}");
    assert_eq!(store.usage().answered, 0);
}

#[test]
fn without_room_the_numbers_are_told() {
    let hands = Hands::new();
    let (size, _) = sizes(&inference(0, 8));
    let store = Store::in_memory_with_clock(limits(AGE, 2 * size + 5, 0), hands.clock());
    store.keep(inference(1, 8)).unwrap();
    hands.turn(300);
    store.keep(inference(2, 8)).unwrap();
    let error = store.keep(inference(3, 8)).unwrap_err();
    let StoreError::Full { needed, free, limit, retry_after } = error else { panic!("{error}") };
    assert_eq!((needed, free, limit), (size, 5, 2 * size + 5));
    assert_eq!(retry_after, Some(Duration::from_millis(700)));
    assert!(error.to_string().contains("expires in 1 s"), "{error}");
    hands.turn(700);
    store.keep(inference(3, 8)).unwrap();
    // What can never fit is not worth another try.
    let error = store.reserve(3 * size).unwrap_err();
    assert!(matches!(error, StoreError::Full { retry_after: None, .. }));
    assert!(error.to_string().contains("never fit"), "{error}");
    let usage = store.usage();
    assert_eq!((usage.refused, usage.kept, usage.memory.count), (2, 3, 2));
}

#[test]
fn reserved_room_is_there_and_comes_back() {
    let (size, _) = sizes(&inference(0, 8));
    let store = Store::in_memory(limits(AGE * 1000, 2 * size, 0));
    let room = store.reserve(size + 3).unwrap();
    let error = store.keep(inference(1, 8)).unwrap_err();
    assert!(matches!(error, StoreError::Full { free, .. } if free == size - 3));
    // What is left of it is free again.
    room.keep(inference(1, 8)).unwrap();
    let usage = store.usage();
    assert_eq!((usage.memory.bytes, usage.reserved_memory), (size, Default::default()));
    drop(store.reserve(size).unwrap());
    // One that is too small grows, and tells all that it needed when it cannot.
    store.reserve(1).unwrap().keep(inference(2, 8)).unwrap();
    let error = store.reserve(0).unwrap().keep(inference(3, 1)).unwrap_err();
    let (small, _) = sizes(&inference(3, 1));
    assert!(matches!(error, StoreError::Full { needed, free: 0, .. } if needed == small));
    assert_eq!(store.usage().reserved_memory, Default::default());
    assert!(store.reserve(u64::MAX).is_err());
}

#[test]
fn the_same_root_takes_no_more_room_and_the_later_time_counts() {
    for durability in [Durability::MemoryFirst, Durability::DiskFirst] {
        let (hands, folder) = (Hands::new(), tempfile::tempdir().unwrap());
        let committed = inference(1, 8);
        let (size, len) = sizes(&committed);
        let store = in_folder(&folder, (size, len), durability, &hands);
        let first = store.keep(committed.clone()).unwrap();
        let before = store.usage();
        hands.turn(400);
        let room = store.reserve(0).unwrap();
        let again = room.keep(committed.clone()).unwrap();
        assert_eq!(again.until, first.until + Duration::from_millis(400));
        // A clock that steps back takes nothing away.
        hands.turn(-5000);
        assert_eq!(store.keep(committed.clone()).unwrap().until, again.until);
        hands.turn(5000);
        let after = store.usage();
        assert_eq!((after.memory, after.disk), (before.memory, before.disk));
        assert_eq!(after.reserved_memory, Default::default());
        hands.turn(AGE as i64 - 1);
        answers(&store, &committed).unwrap();
        hands.turn(1);
        assert_eq!(store.expire(), 1);
        assert!(files(folder.path()).is_empty());
    }
}

#[test]
fn memory_first_spills_the_oldest_and_reads_it_back() {
    let (hands, folder) = (Hands::new(), tempfile::tempdir().unwrap());
    let all: Vec<_> = (0..5).map(|id| inference(id, 8)).collect();
    let (size, len) = sizes(&all[0]);
    let store = in_folder(&folder, (2 * size, 3 * len), Durability::MemoryFirst, &hands);
    for committed in &all {
        assert!(!store.keep(committed.clone()).unwrap().survives_restart);
    }
    let usage = store.usage();
    assert_eq!((usage.memory.count, usage.disk.count, usage.spilled), (2, 3, 3));
    assert_eq!(usage.disk.bytes, bytes_in(folder.path()));
    assert!(matches!(store.keep(inference(9, 8)), Err(StoreError::Full { .. })));
    for committed in &all {
        answers(&store, committed).unwrap();
    }
    assert_eq!(store.usage().read_back, 3);
    // Kept again, what is on disk is there for as long as was promised anew.
    hands.turn(500);
    assert!(store.keep(all[0].clone()).unwrap().survives_restart);
    hands.turn(500);
    assert_eq!(store.expire(), 4);
    drop(store);
    let store = in_folder(&folder, (0, 0), Durability::MemoryFirst, &hands);
    answers(&store, &all[0]).unwrap();
}

#[test]
fn a_reservation_spills_before_the_inference_is_run() {
    let (hands, folder) = (Hands::new(), tempfile::tempdir().unwrap());
    let (size, len) = sizes(&inference(0, 8));
    let store = in_folder(&folder, (size, len), Durability::MemoryFirst, &hands);
    store.keep(inference(0, 8)).unwrap();
    let room = store.reserve(size).unwrap();
    let usage = store.usage();
    assert_eq!((usage.memory.count, usage.disk.count), (0, 1));
    assert_eq!(usage.reserved_memory.bytes, size);
    room.keep(inference(1, 8)).unwrap();
}

#[test]
fn what_memory_has_no_room_for_at_all_goes_to_disk() {
    let (hands, folder) = (Hands::new(), tempfile::tempdir().unwrap());
    let (small, large) = (inference(0, 1), inference(1, 500));
    let (size, _) = sizes(&small);
    let store = in_folder(&folder, (size, 1 << 20), Durability::MemoryFirst, &hands);
    store.keep(small.clone()).unwrap();
    assert!(store.keep(large.clone()).unwrap().survives_restart);
    let usage = store.usage();
    assert_eq!((usage.memory.count, usage.disk.count, usage.spilled), (1, 1, 0));
    // A reservation that was made for the one holds the other.
    store.reserve(1).unwrap().keep(inference(2, 500)).unwrap();
    store.reserve(4000).unwrap().keep(inference(3, 1)).unwrap();
    let usage = store.usage();
    assert_eq!((usage.reserved_memory, usage.reserved_disk), Default::default());
    answers(&store, &large).unwrap();
    answers(&store, &small).unwrap();
}

#[test]
fn disk_first_is_on_disk_and_memory_is_a_cache() {
    let (hands, folder) = (Hands::new(), tempfile::tempdir().unwrap());
    let all: Vec<_> = (0..3).map(|id| inference(id, 8)).collect();
    let (size, len) = sizes(&all[0]);
    let store = in_folder(&folder, (2 * size, 3 * len), Durability::DiskFirst, &hands);
    for committed in &all {
        assert!(store.keep(committed.clone()).unwrap().survives_restart);
    }
    assert_eq!(files(folder.path()).len(), 3);
    let error = store.reserve(1).unwrap_err();
    assert!(matches!(error, StoreError::Full { free: 0, limit, .. } if limit == 3 * len));
    // The least recently kept left memory.
    for (committed, read_back) in all.iter().zip([1, 1, 1]) {
        answers(&store, committed).unwrap();
        assert_eq!(store.usage().read_back, read_back);
    }
    // Kept again it comes back, in place of the next.
    store.keep(all[0].clone()).unwrap();
    answers(&store, &all[0]).unwrap();
    assert_eq!(store.usage().read_back, 1);
    answers(&store, &all[1]).unwrap();
    assert_eq!(store.usage().read_back, 2);
    let usage = store.usage();
    assert_eq!((usage.memory.count, usage.memory.bytes, usage.disk.count), (2, 2 * size, 3));
    drop(store);
    let store = in_folder(&folder, (0, 3 * len), Durability::DiskFirst, &hands);
    for committed in &all {
        answers(&store, committed).unwrap();
        store.keep(committed.clone()).unwrap();
    }
    assert_eq!(store.usage().memory.count, 0);
}

#[test]
fn expired_roots_are_remembered_over_a_restart_that_found_their_files() {
    let (hands, folder) = (Hands::new(), tempfile::tempdir().unwrap());
    let store = in_folder(&folder, (0, 1 << 20), Durability::DiskFirst, &hands);
    let kept = store.keep(inference(1, 8)).unwrap();
    drop(store);
    hands.turn(AGE as i64);
    let store = in_folder(&folder, (0, 1 << 20), Durability::DiskFirst, &hands);
    assert!(files(folder.path()).is_empty());
    assert_eq!(store.usage().disk, Default::default());
    let answer = store.answer(&challenge(kept.root));
    assert!(matches!(answer, Err(StoreError::Expired { since, .. }) if since == kept.until));
    let never = Digest::from_bytes([9; 32]);
    assert!(matches!(store.answer(&challenge(never)), Err(StoreError::Unknown { .. })));
}

#[test]
fn before_a_planned_end_what_fits_goes_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<_> = (0..4).map(|id| inference(id, 50)).collect();
    let (_, bytes) = sizes(&all[0]);
    let open = || {
        let limits = limits(60_000, 1 << 20, 3 * bytes);
        Store::open(folder.path(), limits, Durability::MemoryFirst).unwrap()
    };
    let store = open();
    for committed in &all {
        assert!(!store.keep(committed.clone()).unwrap().survives_restart);
    }
    // There is room for three of four, and the oldest go first.
    assert_eq!(store.flush(), 1);
    assert_eq!(store.flush(), 1);
    all.iter().for_each(|committed| answers(&store, committed).unwrap());
    drop(store);
    let store = open();
    all[..3].iter().for_each(|committed| answers(&store, committed).unwrap());
    assert!(matches!(answers(&store, &all[3]), Err(StoreError::Unknown { .. })));
    assert_eq!(Store::in_memory(limits(60_000, 1 << 20, 0)).flush(), 0);
}
