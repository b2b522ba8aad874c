//! Processes that die, anywhere. The child process is this test binary, asked to run
//! `child_writer` alone.

use std::env;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use super::*;

const ROOT: &str = "NOMOPOLY_TEST_REGISTRY";
const WRITER: &str = "NOMOPOLY_TEST_WRITER";
const ROUNDS: &str = "NOMOPOLY_TEST_ROUNDS";
/// Entries that a child replaces again and again.
const ENTRIES: usize = 4;

/// Not a test by itself: without the variables it does nothing.
#[test]
fn child_writer() {
    let (Ok(root), Ok(writer), Ok(rounds)) = (env::var(ROOT), env::var(WRITER), env::var(ROUNDS))
    else {
        return;
    };
    let registry = Registry::open(root);
    for round in 0..rounds.parse::<usize>().unwrap() {
        let content = format!("{writer}/{}", round % ENTRIES);
        let entry = entry_name("conv_1x3x8x8", &content);
        let transaction = registry.begin(&entry).unwrap();
        // Other bytes in each round, so that a record of one round fits no other round.
        fill(transaction.path(), &entry, &format!("{content} in round {round}"));
        transaction.commit_replacing(new_entry(&content)).unwrap();
    }
}

fn spawn(root: &Path, writer: usize, rounds: usize) -> Child {
    let test = format!("{}::child_writer", module_path!().split_once("::").unwrap().1);
    Command::new(env::current_exe().unwrap())
        .args([test.as_str(), "--exact", "--test-threads=1"])
        .env(ROOT, root)
        .env(WRITER, writer.to_string())
        .env(ROUNDS, rounds.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn processes_that_commit_at_once_lose_nothing() {
    let fixture = Fixture::new();
    let children: Vec<Child> = (0..3).map(|i| spawn(fixture.root(), i, 2 * ENTRIES)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let compiled = fixture.registry.compiled().unwrap();
    assert_eq!(compiled.len(), 3 * ENTRIES);
    for entry in compiled {
        fixture.registry.verify_entry(&entry.name).unwrap();
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_valid_registry() {
    let fixture = Fixture::new();
    let start = Instant::now();
    assert!(spawn(fixture.root(), 0, 2 * ENTRIES).wait().unwrap().success());
    // However slow the machine is, half of the kills hit a child that is writing.
    let whole = start.elapsed();
    let mut seen = 0;
    for kill in 0..25 {
        let mut child = spawn(fixture.root(), 0, usize::MAX);
        thread::sleep(whole * kill / 12);
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever is recorded with all its files has the recorded contents.
        for entry in fixture.registry.compiled().unwrap() {
            fixture.registry.verify_entry(&entry.name).unwrap();
            seen += 1;
        }
    }
    assert!(seen > 0, "the children never got to commit");
    fixture.registry.remove_incomplete().unwrap();
    for entry in fixture.registry.entries().unwrap() {
        assert_eq!(entry.state, State::Compiled, "{}", entry.name);
    }
    let temporary = |name: &String| name.starts_with('.') && name.len() > 40;
    assert!(!fixture.listing().iter().any(temporary), "{:?}", fixture.listing());
    fixture.commit("conv_1x3x8x8", "0/0");
}

#[test]
fn a_transaction_that_is_dropped_leaves_nothing() {
    let fixture = Fixture::new();
    let entry = entry_name("conv_1x3x8x8", "a");
    let transaction = fixture.registry.begin(&entry).unwrap();
    assert_eq!(transaction.entry(), entry);
    fill(transaction.path(), &entry, "a");
    assert_eq!(fixture.registry.entries().unwrap(), []);
    drop(transaction);
    assert!(fixture.listing().is_empty());
}

#[test]
fn a_folder_that_was_placed_but_not_recorded_is_not_used_and_is_replaced() {
    let fixture = Fixture::new();
    let entry = entry_name("conv_1x3x8x8", "a");
    fill(&fixture.root().join(&entry), &entry, "bytes of a build that died");
    assert_eq!(fixture.registry.is_compiled(&entry, &id("a")).unwrap(), None);
    let error = fixture.registry.verify_entry(&entry).unwrap_err();
    assert!(matches!(error, RegistryError::NotRecorded { .. }), "{error}");
    fixture.commit("conv_1x3x8x8", "a");
    fixture.registry.verify_entry(&entry).unwrap();
}

#[test]
fn a_commit_that_fails_midway_puts_the_old_entry_back() {
    let fixture = Fixture::new();
    let entry = fixture.commit("conv_1x3x8x8", "a");
    let before = fixture.lock_text();
    let transaction = fixture.registry.begin(&entry).unwrap();
    fill(transaction.path(), &entry, "new bytes");
    // A folder where the draft of the lock would be written: writing it fails.
    let draft = fixture.root().join(".nomopoly.lock.tmp");
    fs::create_dir(&draft).unwrap();
    let error = transaction.commit_replacing(new_entry("a")).unwrap_err();
    assert!(matches!(error, RegistryError::Io { .. }), "{error}");
    fs::remove_dir(&draft).unwrap();
    assert_eq!(fixture.lock_text(), before);
    fixture.registry.verify_entry(&entry).unwrap();
    assert_eq!(fixture.listing(), [entry.as_str(), LOCK_FILE]);
}

#[test]
fn a_new_entry_whose_record_cannot_be_written_is_taken_back() {
    let fixture = Fixture::new();
    let entry = entry_name("conv_1x3x8x8", "a");
    let transaction = fixture.registry.begin(&entry).unwrap();
    fill(transaction.path(), &entry, "a");
    let draft = fixture.root().join(".nomopoly.lock.tmp");
    fs::create_dir(&draft).unwrap();
    assert!(transaction.commit(new_entry("a")).is_err());
    assert_eq!(fixture.listing(), [".nomopoly.lock.tmp"]);

    // The same where a folder without a record was in the way: it comes back.
    fs::create_dir(fixture.root().join(&entry)).unwrap();
    fs::write(fixture.path(&entry, "mark"), "").unwrap();
    let transaction = fixture.registry.begin(&entry).unwrap();
    fill(transaction.path(), &entry, "a");
    assert!(transaction.commit(new_entry("a")).is_err());
    assert_eq!(fixture.listing(), [".nomopoly.lock.tmp", entry.as_str()]);
    assert!(fixture.path(&entry, "mark").exists());
    assert!(!fixture.path(&entry, ARTEFACT).exists());
}
