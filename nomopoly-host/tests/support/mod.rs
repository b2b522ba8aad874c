//! Inferences without a model, and a clock that is told the time.
#![allow(dead_code)] // Not every test needs all of it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nomopoly_host::{Limits, Store, StoreError, clock};
use nomopoly_runtime::receipt::{Asked, Challenge, Committed};
use nomopoly_runtime::{Digest, NamedTensor, OperationProof, Proof};

/// An inference of its own for each `id`, whose transcript has so many elements.
pub fn inference(id: u32, elements: usize) -> Committed {
    let digest = |byte| Digest::from_bytes([byte; 32]);
    let values = vec![id as f32; elements];
    let proof = Proof {
        model: digest(1),
        inputs: vec![("x".into(), vec![1, 2])],
        outputs: vec![NamedTensor::from_f32("y", &[1, 1], vec![id as f32])],
        transcript: vec![NamedTensor::from_f32("fc1", &[1, elements], values)],
        operations: vec![OperationProof {
            operation: "fc1".into(),
            artefact: digest(2),
            vector: vec![0.5; 16],
        }],
    };
    Committed::new(&[NamedTensor::from_f32("x", &[1, 2], vec![1., 2.])], proof).unwrap()
}

/// Its bytes in memory and on disk.
pub fn sizes(committed: &Committed) -> (u64, u64) {
    (committed.size() as u64, committed.to_bytes().unwrap().len() as u64)
}

pub fn challenge(root: Digest) -> Challenge {
    let operations = vec![Asked { index: 0, parts: vec![] }];
    Challenge { root, operations, producers: vec![] }
}

/// Whether the store opens this inference, as it was.
pub fn answers(store: &Store, committed: &Committed) -> Result<(), StoreError> {
    let challenge = challenge(committed.receipt().root);
    let opening = store.answer(&challenge)?;
    assert_eq!(opening, committed.open(&challenge).unwrap());
    Ok(())
}

pub fn limits(age: u64, memory: u64, disk: u64) -> Limits {
    Limits { age: Duration::from_millis(age), memory, disk }
}

/// Names of the files in a folder, without the lock.
pub fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

/// The bytes of those files.
pub fn bytes_in(folder: &Path) -> u64 {
    let lens = files(folder).into_iter().map(|name| std::fs::metadata(folder.join(name)));
    lens.map(|metadata| metadata.unwrap().len()).sum()
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub struct Hands(Arc<Mutex<(i64, i64)>>);

fn time(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis.max(0) as u64)
}

impl Hands {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new((1_000_000, 1_000_000))))
    }

    pub fn clock(&self) -> clock::Clock {
        let hands = self.clone();
        Arc::new(move || hands.now())
    }

    pub fn now(&self) -> SystemTime {
        time(self.0.lock().unwrap().0)
    }

    /// The latest that it ever told.
    pub fn latest(&self) -> SystemTime {
        time(self.0.lock().unwrap().1)
    }

    /// Moves it by milliseconds, backwards as well.
    pub fn turn(&self, by: i64) {
        let (now, latest) = &mut *self.0.lock().unwrap();
        *now += by;
        *latest = (*latest).max(*now);
    }
}
