//! Whether an entry's files are those that the lock records.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nomopoly_manifest::{ARTEFACT_SCHEMA, LockedEntry, Metrics};

use super::{Fault, LOCK_FILE, Registry, RegistryError, name};

/// Files that file managers leave behind; nothing loads them.
const LITTER: [&str; 3] = [".DS_Store", "Thumbs.db", "desktop.ini"];

impl Registry {
    /// Hashes every file of the entry with this full name and compares with the lock.
    ///
    /// # Errors
    /// [`RegistryError::Corrupt`] with every missing, damaged, foreign or unlisted file;
    /// [`RegistryError::NotRecorded`]; [`RegistryError::Name`]; what [`Registry::read_lock`]
    /// gives.
    pub fn verify_entry(&self, entry: &str) -> Result<(), RegistryError> {
        let locked = self.locked(entry)?;
        let path = self.root().join(entry);
        let mut faults = faults(&path, entry, &locked)?;
        faults.extend(foreign(&path, entry)?);
        if faults.is_empty() {
            Ok(())
        } else {
            Err(RegistryError::Corrupt { entry: entry.to_owned(), path, faults })
        }
    }

    /// The record of an entry, if it has this full id and every recorded file is there with the
    /// recorded hash. A damaged entry is `None` with a warning, so that compiling replaces it.
    ///
    /// # Errors
    /// [`RegistryError::Name`], [`RegistryError::Io`], what [`Registry::read_lock`] gives.
    pub fn is_compiled(&self, entry: &str, id: &str) -> Result<Option<LockedEntry>, RegistryError> {
        name::check(entry)?;
        let Some(locked) = self.read_lock()?.entries.remove(entry) else { return Ok(None) };
        if locked.id != id {
            return Ok(None);
        }
        let faults = faults(&self.root().join(entry), entry, &locked)?;
        for fault in &faults {
            tracing::warn!(entry, %fault, "the entry is not used");
        }
        Ok(faults.is_empty().then_some(locked))
    }

    /// Contents of one file of an entry, which has the recorded hash: what is hashed is what is
    /// returned, so no later change of the file matters. `file` is one of
    /// [`super::expected_files`] other than the log.
    ///
    /// # Errors
    /// [`RegistryError::Corrupt`] if it is missing, damaged, unlisted or not a file of entries,
    /// [`RegistryError::NotRecorded`], [`RegistryError::Name`], [`RegistryError::Io`].
    pub fn read_verified(&self, entry: &str, file: &str) -> Result<Vec<u8>, RegistryError> {
        let locked = self.locked(entry)?;
        let path = self.root().join(entry);
        let corrupt = |fault| RegistryError::Corrupt {
            entry: entry.to_owned(),
            path: path.clone(),
            faults: vec![fault],
        };
        let file = file.to_owned();
        // The lock lists known files only, so that `file` cannot lead out of the folder.
        let Some(expected) = locked.files.get(&file) else {
            return Err(corrupt(Fault::NotListed { file }));
        };
        let source = path.join(&file);
        if !is_file(&source)? {
            return Err(corrupt(Fault::Missing { file }));
        }
        let bytes = fs::read(&source).map_err(RegistryError::io("read", &source))?;
        let got = blake3::hash(&bytes).to_hex().to_string();
        if got != *expected {
            return Err(corrupt(Fault::Damaged { file, expected: expected.clone(), got }));
        }
        Ok(bytes)
    }

    /// The entry's `compilation_metrics.json`, after its hash was checked.
    ///
    /// # Errors
    /// As [`Registry::read_verified`]; [`RegistryError::Metrics`] if it does not parse, has
    /// another schema version or is about another entry.
    pub fn metrics(&self, entry: &str) -> Result<Metrics, RegistryError> {
        let bytes = self.read_verified(entry, name::METRICS)?;
        let error = |reason| RegistryError::Metrics {
            path: self.root().join(entry).join(name::METRICS),
            reason,
        };
        let metrics: Metrics =
            serde_json::from_slice(&bytes).map_err(|cause| error(cause.to_string()))?;
        if metrics.schema != ARTEFACT_SCHEMA {
            return Err(error(format!(
                "its schema version is {}, expected {ARTEFACT_SCHEMA}",
                metrics.schema
            )));
        }
        if metrics.entry != entry {
            return Err(error(format!("it is about entry {:?}", metrics.entry)));
        }
        Ok(metrics)
    }

    /// Calls `validator` with the path of each ONNX file of the entry. Hashes are not checked:
    /// see [`Registry::verify_entry`].
    ///
    /// # Errors
    /// [`RegistryError::Onnx`] with every file that is missing or was refused;
    /// [`RegistryError::NotRecorded`], [`RegistryError::Name`], [`RegistryError::Io`].
    pub fn validate_onnx(
        &self,
        entry: &str,
        validator: &mut dyn FnMut(&Path) -> Result<(), String>,
    ) -> Result<(), RegistryError> {
        self.locked(entry)?;
        let path = self.root().join(entry);
        let mut failures = Vec::new();
        for file in name::onnx_files(name::stem_of(entry)) {
            let source = path.join(&file);
            let checked =
                if is_file(&source)? { validator(&source) } else { Err("missing".to_owned()) };
            if let Err(reason) = checked {
                failures.push(format!("`{file}`: {reason}"));
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(RegistryError::Onnx { entry: entry.to_owned(), path, failures })
        }
    }

    /// The record of the entry with this full name.
    fn locked(&self, entry: &str) -> Result<LockedEntry, RegistryError> {
        name::check(entry)?;
        self.read_lock()?.entries.remove(entry).ok_or_else(|| RegistryError::NotRecorded {
            entry: entry.to_owned(),
            path: self.root().join(LOCK_FILE),
        })
    }
}

/// Missing, damaged and unlisted files of the entry in `folder`. All are hashed.
pub(super) fn faults(
    folder: &Path,
    entry: &str,
    locked: &LockedEntry,
) -> Result<Vec<Fault>, RegistryError> {
    let mut faults = Vec::new();
    for file in name::hashed_files(name::stem_of(entry)) {
        let Some(expected) = locked.files.get(&file) else {
            faults.push(Fault::NotListed { file });
            continue;
        };
        match hash_file(&folder.join(&file))? {
            None => faults.push(Fault::Missing { file }),
            Some(got) if got != *expected => {
                faults.push(Fault::Damaged { file, expected: expected.clone(), got });
            }
            Some(_) => {}
        }
    }
    Ok(faults)
}

/// Files in `folder` that no entry of this name has.
pub(super) fn foreign(folder: &Path, entry: &str) -> Result<Vec<Fault>, RegistryError> {
    let expected = name::expected_files(name::stem_of(entry));
    let mut foreign: Vec<Fault> = list(folder)?
        .into_iter()
        .filter(|(file, _)| !expected.contains(file))
        .map(|(file, _)| Fault::Foreign { file })
        .collect();
    foreign.sort_by_cached_key(Fault::to_string);
    Ok(foreign)
}

/// Hash of a regular file; `None` if there is none.
pub(super) fn hash_file(path: &Path) -> Result<Option<String>, RegistryError> {
    if !is_file(path)? {
        return Ok(None);
    }
    let mut hasher = blake3::Hasher::new();
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(drop))
        .map_err(RegistryError::io("read", path))?;
    Ok(Some(hasher.finalize().to_hex().to_string()))
}

/// Whether a regular file is there. Anything else (a pipe would block its reader) is not it.
pub(super) fn is_file(path: &Path) -> Result<bool, RegistryError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if absent(&error) => Ok(false),
        Err(cause) => Err(RegistryError::Io { operation: "read", path: path.to_owned(), cause }),
    }
}

/// Files of an entry's folder with their sizes, as relative paths. Only `plots/` is opened; any
/// other folder is listed as one item that ends in `/`.
pub(super) fn list(folder: &Path) -> Result<Vec<(String, u64)>, RegistryError> {
    let mut files = Vec::new();
    for (file, path) in children(folder)? {
        if LITTER.contains(&file.as_str()) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && file == name::PLOTS => {
                for (plot, path) in children(&path)? {
                    if LITTER.contains(&plot.as_str()) {
                        continue;
                    }
                    let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
                    files.push((format!("{file}/{plot}"), size));
                }
            }
            Ok(metadata) if metadata.is_dir() => files.push((format!("{file}/"), 0)),
            Ok(metadata) => files.push((file, metadata.len())),
            // A broken link, or removed since the folder was read.
            Err(_) => files.push((file, 0)),
        }
    }
    Ok(files)
}

/// Names and paths in a folder; an absent folder is empty.
pub(super) fn children(folder: &Path) -> Result<Vec<(String, PathBuf)>, RegistryError> {
    let items = match fs::read_dir(folder) {
        Ok(items) => items,
        Err(error) if absent(&error) => return Ok(Vec::new()),
        Err(cause) => {
            return Err(RegistryError::Io { operation: "list", path: folder.to_owned(), cause });
        }
    };
    items
        .map(|item| item.map(|item| (item.file_name().to_string_lossy().into_owned(), item.path())))
        .collect::<io::Result<_>>()
        .map_err(RegistryError::io("list", folder))
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
