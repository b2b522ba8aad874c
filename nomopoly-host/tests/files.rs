//! The folder: what is in it, what happens when it is damaged, shared or not to be written to.

mod support;

use std::fs;
use std::path::PathBuf;

use nomopoly_host::{Durability, Store, StoreError};
use support::{answers, bytes_in, files, inference, limits, sizes};
use tempfile::{TempDir, tempdir};

const HOUR: u64 = 3_600_000;

fn open(folder: &TempDir, memory: u64, durability: Durability) -> Store {
    Store::open(folder.path(), limits(HOUR, memory, 1 << 20), durability).unwrap()
}

/// The only file of a store.
fn only_file(folder: &TempDir) -> PathBuf {
    let files = files(folder.path());
    assert_eq!(files.len(), 1, "{files:?}");
    folder.path().join(&files[0])
}

#[test]
fn a_folder_is_of_one_store_at_a_time() {
    let folder = tempdir().unwrap();
    let store = open(&folder, 0, Durability::DiskFirst);
    let again = || Store::open(folder.path(), limits(HOUR, 0, 0), Durability::DiskFirst);
    let error = again().unwrap_err();
    let StoreError::Locked { path } = &error else { panic!("{error}") };
    assert!(path.starts_with(folder.path()) && error.to_string().contains("locked by another"));
    drop(store);
    again().unwrap();
}

#[test]
fn what_was_half_written_goes_and_what_is_foreign_stays() {
    let folder = tempdir().unwrap();
    let store = open(&folder, 0, Durability::DiskFirst);
    let committed = inference(1, 8);
    store.keep(committed.clone()).unwrap();
    drop(store);
    let kept = only_file(&folder).file_name().unwrap().to_str().unwrap().to_owned();
    let foreign = ["notes.txt", "x.committed", ".nomopoly-host-notes", &format!("{kept}.bak")];
    for name in foreign {
        fs::write(folder.path().join(name), "mine").unwrap();
    }
    // A folder with the name of a file, and one with that of a temporary file.
    let other = kept.replace(&kept[..4], "0000");
    fs::create_dir(folder.path().join(&other)).unwrap();
    fs::create_dir(folder.path().join(".nomopoly-host-folder.tmp")).unwrap();
    let mut before = files(folder.path());
    fs::write(folder.path().join(".nomopoly-host-abcdef.tmp"), "half").unwrap();
    let store = open(&folder, 0, Durability::DiskFirst);
    assert_eq!(files(folder.path()), before);
    assert_eq!(store.usage().disk.count, 1);
    answers(&store, &committed).unwrap();
    assert!(store.forget(&committed.receipt().root));
    before.retain(|name| *name != kept);
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_damaged_file_is_named_and_not_served() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("bytes when written", |bytes| bytes.truncate(bytes.len() - 1)),
        ("bytes when written", |bytes| bytes.push(0)),
        ("bytes when written", Vec::clear),
        ("", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("", |bytes| bytes[0] ^= 1),
    ];
    for (reason, damage) in damages {
        for restart in [false, true] {
            let folder = tempdir().unwrap();
            let mut store = open(&folder, 0, Durability::DiskFirst);
            let committed = inference(1, 8);
            store.keep(committed.clone()).unwrap();
            let path = only_file(&folder);
            let sound = fs::read(&path).unwrap();
            let mut bytes = sound.clone();
            damage(&mut bytes);
            fs::write(&path, bytes).unwrap();
            if restart {
                drop(store);
                store = open(&folder, 0, Durability::DiskFirst);
            }
            let error = answers(&store, &committed).unwrap_err();
            assert!(matches!(&error, StoreError::Damaged { path: at, .. } if *at == path));
            let text = error.to_string();
            assert!(restart || text.contains(reason), "{text}");
            if !restart {
                fs::write(&path, sound).unwrap();
                answers(&store, &committed).unwrap();
                fs::remove_file(&path).unwrap();
                let error = answers(&store, &committed).unwrap_err();
                assert!(error.to_string().contains("it is not there"), "{error}");
            }
            // It can be forgotten, and its room is free.
            assert!(store.forget(&committed.receipt().root));
            assert_eq!((store.usage().disk.bytes, bytes_in(folder.path())), (0, 0));
        }
    }
}

#[test]
fn a_file_of_another_inference_is_damaged() {
    let folder = tempdir().unwrap();
    let store = open(&folder, 0, Durability::DiskFirst);
    let (one, two) = (inference(1, 8), inference(2, 8));
    store.keep(one.clone()).unwrap();
    let path = only_file(&folder);
    store.keep(two.clone()).unwrap();
    fs::write(&path, two.to_bytes().unwrap()).unwrap();
    let error = answers(&store, &one).unwrap_err().to_string();
    assert!(error.contains(&two.receipt().root.to_string()), "{error}");
    assert!(error.contains(&path.display().to_string()), "{error}");
    answers(&store, &two).unwrap();
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    for path in [path.clone(), path.join("below")] {
        let error = Store::open(&path, limits(HOUR, 0, 0), Durability::DiskFirst).unwrap_err();
        assert!(matches!(error, StoreError::Folder { path: at, .. } if at == path));
    }
}

#[test]
fn what_cannot_be_written_stays_in_memory() {
    let outer = tempdir().unwrap();
    let (path, away) = (outer.path().join("store"), outer.path().join("away"));
    let (one, two) = (inference(1, 8), inference(2, 8));
    let (size, _) = sizes(&one);
    let limits = limits(HOUR, size, 1 << 20);
    let store = Store::open(&path, limits, Durability::MemoryFirst).unwrap();
    store.keep(one.clone()).unwrap();
    fs::rename(&path, &away).unwrap();
    let error = store.keep(two.clone()).unwrap_err();
    assert!(matches!(&error, StoreError::Folder { path: at, .. } if at.starts_with(&path)));
    assert!(error.to_string().contains("must be there, writable"), "{error}");
    answers(&store, &one).unwrap();
    let usage = store.usage();
    assert_eq!((usage.memory.bytes, usage.disk.bytes), (size, 0));
    assert_eq!((usage.reserved_memory, usage.reserved_disk), Default::default());
    fs::rename(&away, &path).unwrap();
    store.keep(two.clone()).unwrap();
    answers(&store, &one).unwrap();
    answers(&store, &two).unwrap();
}

#[test]
fn disk_first_promises_nothing_that_it_cannot_write() {
    let outer = tempdir().unwrap();
    let (path, away) = (outer.path().join("store"), outer.path().join("away"));
    let limits = limits(HOUR, 1 << 20, 1 << 20);
    let store = Store::open(&path, limits, Durability::DiskFirst).unwrap();
    let (one, two) = (inference(1, 8), inference(2, 8));
    store.keep(one.clone()).unwrap();
    let before = store.usage();
    fs::rename(&path, &away).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2)); // A later time, so the file is renamed.
    for committed in [&one, &two] {
        let error = store.keep(committed.clone()).unwrap_err();
        assert!(matches!(error, StoreError::Folder { .. }), "{error}");
    }
    assert!(matches!(answers(&store, &two), Err(StoreError::Unknown { .. })));
    answers(&store, &one).unwrap();
    let after = store.usage();
    assert_eq!((after.memory, after.disk), (before.memory, before.disk));
    assert_eq!(after.reserved_disk, Default::default());
    fs::rename(&away, &path).unwrap();
    store.keep(one.clone()).unwrap();
    store.keep(two).unwrap();
}

#[test]
fn above_smaller_limits_what_was_promised_is_kept_and_nothing_new() {
    let folder = tempdir().unwrap();
    let store = open(&folder, 0, Durability::DiskFirst);
    let all: Vec<_> = (0..3).map(|id| inference(id, 8)).collect();
    for committed in &all {
        store.keep(committed.clone()).unwrap();
    }
    drop(store);
    let (_, len) = sizes(&all[0]);
    let limits = limits(HOUR, 0, 2 * len);
    let store = Store::open(folder.path(), limits, Durability::DiskFirst).unwrap();
    assert_eq!(store.usage().disk.bytes, 3 * len);
    for committed in &all {
        answers(&store, committed).unwrap();
    }
    let error = store.keep(inference(9, 8)).unwrap_err();
    assert!(matches!(error, StoreError::Full { free: 0, retry_after: Some(_), .. }), "{error}");
    // Kept again it needs no room.
    store.keep(all[0].clone()).unwrap();
    store.forget(&all[0].receipt().root);
    store.keep(inference(9, 8)).unwrap_err();
    store.forget(&all[1].receipt().root);
    store.keep(inference(9, 8)).unwrap();
}

#[test]
fn of_two_files_of_one_inference_the_later_counts() {
    let folder = tempdir().unwrap();
    let store = open(&folder, 0, Durability::DiskFirst);
    let committed = inference(1, 8);
    store.keep(committed.clone()).unwrap();
    drop(store);
    let path = only_file(&folder);
    let name = path.file_name().unwrap().to_str().unwrap();
    let parts: Vec<&str> = name.split('-').collect();
    let earlier: u64 = parts[1].parse::<u64>().unwrap() - 1;
    fs::copy(&path, folder.path().join(format!("{}-{earlier}-9.committed", parts[0]))).unwrap();
    let store = open(&folder, 0, Durability::DiskFirst);
    assert_eq!(only_file(&folder), path);
    assert_eq!(store.usage().disk.count, 1);
    answers(&store, &committed).unwrap();
}
