//! The files of a store: one per inference, whose name tells its root and its expiry, so that
//! nothing needs to be read when a store is opened.
//!
//! `<root>-<milliseconds since 1970>-<generation>.committed`. No name is used twice, so removing a
//! file never meets the next one of the same inference.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nomopoly_runtime::Digest;
use nomopoly_runtime::receipt::Committed;

use crate::StoreError;
use crate::clock::LATEST;

const LOCK: &str = "nomopoly-host.lock";
const EXTENSION: &str = ".committed";
/// Names of files that are being written.
const TEMPORARY: (&str, &str) = (".nomopoly-host-", ".tmp");

/// The name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileName {
    pub root: Digest,
    pub until: u64,
    pub generation: u64,
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}{EXTENSION}", self.root, self.until, self.generation)
    }
}

impl FileName {
    /// `None` for every name that is not as this crate writes it.
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(EXTENSION)?.split('-');
        let root = parts.next()?.parse().ok()?;
        let until = parts.next()?.parse().ok().filter(|until| *until <= LATEST)?;
        let generation = parts.next()?.parse().ok().filter(|last| *last < u64::MAX)?;
        let parsed = Self { root, until, generation };
        (parsed.to_string() == name).then_some(parsed)
    }
}

/// A file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub name: FileName,
    pub bytes: u64,
}

/// A folder that no other store uses.
pub(crate) struct Folder {
    path: PathBuf,
    next_generation: AtomicU64,
    /// The system lets go of it when the process ends, however it does.
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, locks it, removes what was half written, and lists the
    /// rest.
    pub fn open(path: PathBuf) -> Result<(Self, Vec<Stored>), StoreError> {
        fs::create_dir_all(&path).map_err(|source| at(&path, source))?;
        let lock_path = path.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|source| at(&lock_path, source))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Locked { path: lock_path.clone() },
            TryLockError::Error(source) => at(&lock_path, source),
        })?;
        let found = list(&path)?;
        let next = found.iter().map(|file| file.name.generation + 1).max();
        let next_generation = AtomicU64::new(next.unwrap_or_default());
        Ok((Self { path, next_generation, _lock: lock }, found))
    }

    fn path(&self, name: &FileName) -> PathBuf {
        self.path.join(name.to_string())
    }

    fn name(&self, root: Digest, until: u64) -> FileName {
        let generation = self.next_generation.fetch_add(1, Ordering::Relaxed);
        FileName { root, until, generation }
    }

    /// Writes a file; it is there wholly or not at all.
    pub fn write(&self, root: Digest, until: u64, bytes: &[u8]) -> Result<Stored, StoreError> {
        let name = self.name(root, until);
        let path = self.path(&name);
        let (prefix, suffix) = TEMPORARY;
        // Readable by its owner only, since it holds what somebody's inference computed.
        let temporary =
            tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(&self.path);
        let written = temporary.and_then(|mut file| {
            file.write_all(bytes)?;
            file.persist(&path).map_err(|error| error.error)
        });
        written.map_err(|source| at(&path, source))?;
        Ok(Stored { name, bytes: bytes.len() as u64 })
    }

    /// Gives a file another expiry.
    pub fn prolong(&self, file: &Stored, until: u64) -> Result<Stored, StoreError> {
        let name = self.name(file.name.root, until);
        let from = self.path(&file.name);
        fs::rename(&from, self.path(&name)).map_err(|source| at(&from, source))?;
        Ok(Stored { name, bytes: file.bytes })
    }

    /// Reads a file and checks that it is what its name says; `None` when it is not there.
    pub fn read(&self, stored: &Stored) -> Result<Option<Committed>, StoreError> {
        let path = self.path(&stored.name);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at(&path, source)),
        };
        let (bytes, wanted) = read(&mut file, stored.bytes).map_err(|source| at(&path, source))?;
        if !wanted {
            return Err(damaged(path, format!("it had {} bytes when written", stored.bytes)));
        }
        match Committed::from_bytes(&bytes) {
            Ok(committed) if committed.receipt().root == stored.name.root => Ok(Some(committed)),
            Ok(committed) => {
                let reason = format!("it holds the inference {}", committed.receipt().root);
                Err(damaged(path, reason))
            }
            Err(error) => Err(damaged(path, error.to_string())),
        }
    }

    /// A file that is not there though nobody removed it.
    pub fn missing(&self, stored: &Stored) -> StoreError {
        damaged(self.path(&stored.name), "it is not there".into())
    }

    /// Removes a file; that it is gone already is fine.
    pub fn remove(&self, stored: &Stored) -> Result<(), StoreError> {
        let path = self.path(&stored.name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&path, error)),
            _ => Ok(()),
        }
    }
}

/// The bytes of a file, and whether they are as many as expected; never many more.
fn read(file: &mut File, expected: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = vec![];
    if file.metadata()?.len() == expected {
        bytes.reserve(usize::try_from(expected).unwrap_or_default());
        file.take(expected).read_to_end(&mut bytes)?;
    }
    let wanted = bytes.len() as u64 == expected;
    Ok((bytes, wanted))
}

/// The inferences in a folder. Foreign files are left alone.
fn list(path: &Path) -> Result<Vec<Stored>, StoreError> {
    let mut found = vec![];
    for entry in fs::read_dir(path).map_err(|source| at(path, source))? {
        let entry = entry.map_err(|source| at(path, source))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let temporary = name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1);
        let parsed = FileName::parse(name);
        if !temporary && parsed.is_none() {
            continue;
        }
        let failed = |source| at(&entry.path(), source);
        let metadata = entry.metadata().map_err(failed)?;
        if !metadata.is_file() {
            continue;
        }
        if let Some(name) = parsed {
            found.push(Stored { name, bytes: metadata.len() });
        } else {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(found)
}

fn at(path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { path: path.to_owned(), source }
}

fn damaged(path: PathBuf, reason: String) -> StoreError {
    tracing::warn!(path = %path.display(), reason, "a kept inference is damaged");
    StoreError::Damaged { path, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_no_other_way() {
        let root = Digest::from_bytes([0xab; 32]);
        let name = FileName { root, until: 1_700_000_000_123, generation: 7 };
        let text = name.to_string();
        assert_eq!(text, format!("{}-1700000000123-7.committed", "ab".repeat(32)));
        assert_eq!(FileName::parse(&text), Some(name));
        for foreign in [
            text.to_uppercase(),
            text.replace("-7", "-07"),
            text.replace("-7", "-+7"),
            text.replace("-7", ""),
            text.replace("-7", "-7-7"),
            text.replace("-7", &format!("-{}", u64::MAX)),
            text.replace("1700000000123", &u64::MAX.to_string()),
            text.replace(".committed", ".bak"),
            text[1..].to_owned(),
            format!(" {text}"),
        ] {
            assert_eq!(FileName::parse(&foreign), None, "{foreign}");
        }
    }
}
