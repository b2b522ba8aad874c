//! Tests of the registry by topic; what they share is here.

mod audits;
mod cleanup;
mod concurrency;
mod crash;
mod integrity;
mod lock;
mod queries;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nomopoly_manifest::{Check, LockedEntry, LockedFigures, LockedModel};
use tempfile::TempDir;

use super::*;

/// A registry in a folder of its own.
struct Fixture {
    registry: Registry,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { registry: Registry::open(folder.path().join("ops")), folder }
    }

    fn root(&self) -> &Path {
        self.registry.root()
    }

    fn path(&self, entry: &str, file: &str) -> PathBuf {
        self.root().join(entry).join(file)
    }

    fn lock_text(&self) -> String {
        fs::read_to_string(self.root().join(LOCK_FILE)).unwrap()
    }

    fn write_lock(&self, text: &str) {
        fs::create_dir_all(self.root()).unwrap();
        fs::write(self.root().join(LOCK_FILE), text).unwrap();
    }

    /// Commits an entry whose id is made from `content`, and returns its name.
    fn commit(&self, stem: &str, content: &str) -> String {
        let entry = entry_name(stem, content);
        commit(&self.registry, &entry, content).unwrap();
        entry
    }

    fn state(&self, entry: &str) -> State {
        self.registry.entry(entry).unwrap().state
    }

    /// Names in the registry's folder other than the file lock.
    fn listing(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.root())
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".lock")
            .collect();
        names.sort();
        names
    }
}

fn id(content: &str) -> String {
    blake3::hash(content.as_bytes()).to_hex().to_string()
}

fn entry_name(stem: &str, content: &str) -> String {
    format!("{stem}-{}", &id(content)[..ID_DIGITS])
}

fn figures() -> LockedFigures {
    LockedFigures {
        check: Check::Sketch,
        accuracy: 0.9995,
        completeness_error_upper_95: 0.003,
        soundness_error_upper_95: 0.002,
        certified_bits: Some(41.5),
        certified_deviation: Some(1e-3),
    }
}

fn new_entry(content: &str) -> NewEntry {
    NewEntry { id: id(content), seed: 7, figures: figures() }
}

/// Writes every expected file into `folder`.
fn fill(folder: &Path, entry: &str, content: &str) {
    fs::create_dir_all(folder.join(PLOTS)).unwrap();
    for file in expected_files(stem_of(entry)) {
        let text = if file == LOG {
            "epoch 1\ncompiled in 0.412 s\n".to_owned()
        } else {
            format!("{file} of {content}")
        };
        fs::write(folder.join(file), text).unwrap();
    }
}

fn commit(registry: &Registry, entry: &str, content: &str) -> Result<LockedEntry, RegistryError> {
    let transaction = registry.begin(entry)?;
    fill(transaction.path(), entry, content);
    transaction.commit(new_entry(content))
}

fn model(nodes: &[(&str, &str)]) -> LockedModel {
    LockedModel {
        digest: id("model"),
        audit: None,
        inputs: BTreeMap::from([("x".to_owned(), vec![1, 3, 8, 8])]),
        nodes: nodes.iter().map(|(node, entry)| ((*node).into(), (*entry).into())).collect(),
    }
}

/// Names that must never reach a path.
const HOSTILE: [&str; 10] = [
    "a..b",
    "",
    ".",
    "..",
    "/etc",
    "../conv-9c41d2e0a1b2",
    "a/../conv-9c41d2e0a1b2",
    "a\\b-9c41d2e0a1b2",
    ".conv-9c41d2e0a1b2",
    "a\0b-9c41d2e0a1b2",
];
