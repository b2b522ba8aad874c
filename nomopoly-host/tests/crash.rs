//! A process that keeps inferences is killed at any moment; the next one finds what was promised.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nomopoly_host::{Durability, Store, StoreError};
use nomopoly_runtime::Digest;
use nomopoly_runtime::receipt::Committed;
use support::{answers, challenge, files, inference, limits, sizes};

/// Tells the child what to do: a folder and `memory` or `disk`.
const FOLDER: &str = "NOMOPOLY_HOST_CRASH_FOLDER";
const FIRST: &str = "NOMOPOLY_HOST_CRASH_FIRST";
const HOUR: u64 = 3_600_000;
const THREADS: u32 = 4;

fn open(folder: &str, first: &str) -> Store {
    let durability = if first == "disk" { Durability::DiskFirst } else { Durability::MemoryFirst };
    Store::open(folder, limits(HOUR, 60_000, 1 << 28), durability).unwrap()
}

/// Every tenth has no room in memory, and goes to disk at once.
fn kept(id: u32) -> Committed {
    inference(id, if id.is_multiple_of(10) { 20_000 } else { 300 })
}

/// Not a test by itself: the process that is killed.
#[test]
fn child() {
    let (Ok(folder), Ok(first)) = (std::env::var(FOLDER), std::env::var(FIRST)) else { return };
    let store = open(&folder, &first);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for round in 0.. {
                    let id = round * THREADS + thread;
                    let survives = store.keep(kept(id)).unwrap().survives_restart;
                    println!("\nkept {id} {survives} {}", store.usage().spilled);
                }
            });
        }
    });
}

/// Runs the child until it has said so many lines. Returns who was kept, who of them is to survive,
/// and how many were spilled.
fn crash(folder: &str, first: &str, lines: usize) -> (BTreeSet<u32>, BTreeSet<u32>, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let (mut all, mut survive, mut most_spilled) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        let words: Vec<&str> = line.split(' ').collect();
        // The last line may be cut off.
        if let ["kept", id, survives, spilled] = words[..]
            && line.ends_with('\n')
        {
            let id = id.parse().unwrap();
            all.insert(id);
            if survives == "true" {
                survive.insert(id);
            }
            most_spilled = spilled.trim().parse::<u64>().unwrap().max(most_spilled);
        }
        line.clear();
        if all.len() == lines {
            // SIGKILL on Unix. What it said before is still to be read.
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    (all, survive, most_spilled)
}

fn crash_and_reopen(first: &str) {
    for lines in [1, 37, 150] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let (all, survive, spilled) = crash(path, first, lines);
        assert!(all.len() >= lines);
        // As a process leaves it that is killed while it writes.
        std::fs::write(folder.path().join(".nomopoly-host-Xy12ab.tmp"), [0; 100]).unwrap();

        let store = open(path, first);
        let usage = store.usage();
        assert_eq!(usage.disk.count, files(folder.path()).len() as u64, "half-written files");
        assert!(usage.disk.count >= spilled + survive.len() as u64);
        for id in &all {
            match answers(&store, &kept(*id)) {
                Ok(()) => {}
                Err(StoreError::Unknown { .. }) => assert!(!survive.contains(id), "{id} lost"),
                Err(error) => panic!("{error}"),
            }
        }
        if first == "disk" {
            assert_eq!(survive, all);
        } else {
            // As many as memory holds are lost at most, and those that were not said to be kept.
            let in_memory = 60_000 / sizes(&kept(1)).0;
            let lost = |id: &&u32| answers(&store, &kept(**id)).is_err();
            assert!(all.iter().filter(lost).count() as u64 <= in_memory);
        }
        // And it goes on.
        store.keep(kept(1_000_001)).unwrap();
        let never = Digest::from_bytes([3; 32]);
        assert!(matches!(store.answer(&challenge(never)), Err(StoreError::Unknown { .. })));
    }
}

#[test]
fn memory_first_loses_only_what_was_in_memory() {
    crash_and_reopen("memory");
}

#[test]
fn disk_first_loses_nothing() {
    crash_and_reopen("disk");
}
