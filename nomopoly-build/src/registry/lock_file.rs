//! `nomopoly.lock` on disk, and the file lock under which it changes.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nomopoly_manifest::{ARTEFACT_SCHEMA, Lock, LockedEntry, LockedModel};

use super::{RegistryError, name};

/// Name of the lock file within the registry.
pub const LOCK_FILE: &str = "nomopoly.lock";
/// Where an unusable lock file is moved.
const DISCARDED: &str = "nomopoly.lock.old";
/// Its replacement while it is being written.
const DRAFT: &str = ".nomopoly.lock.tmp";
/// The empty file that a writer locks. It is never removed: a writer that waits for it would
/// then hold a lock on a file that nobody else sees.
const GUARD: &str = ".lock";
const HEADER: &str =
    "# Written by cargo nomopoly: which compiled operation each node uses. Not for editing.\n\n";
const POLL: Duration = Duration::from_millis(20);

/// A wait that is worth a word: operations of one compilation hold the lock for less.
const NOTICE: Duration = Duration::from_millis(150);

/// Exclusive right to change the registry, until dropped.
pub(super) struct Guard(#[expect(dead_code, reason = "held for its lock")] File);

/// Waits for the file lock. `waiting` is called once if it is not free after [`NOTICE`].
pub(super) fn acquire(
    root: &Path,
    timeout: Duration,
    waiting: impl FnOnce(&Path),
) -> Result<Guard, RegistryError> {
    let path = root.join(GUARD);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(RegistryError::io("open the file lock", &path))?;
    let start = Instant::now();
    let mut waiting = Some(waiting);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Guard(file)),
            Err(TryLockError::Error(cause)) if cause.kind() != io::ErrorKind::Interrupted => {
                return Err(RegistryError::Io { operation: "lock", path, cause });
            }
            Err(_) => {}
        }
        let waited = start.elapsed();
        if waited >= timeout {
            return Err(RegistryError::Locked { path, waited });
        }
        if waited >= NOTICE
            && let Some(waiting) = waiting.take()
        {
            waiting(&path);
        }
        thread::sleep(POLL.min(timeout - waited));
    }
}

/// Reads and checks the lock; an absent file or folder is an empty lock.
pub(super) fn read(root: &Path) -> Result<Lock, RegistryError> {
    let path = root.join(LOCK_FILE);
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes, &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::new(ARTEFACT_SCHEMA)),
        Err(cause) => Err(RegistryError::Io { operation: "read", path, cause }),
    }
}

/// Replaces the lock in one step. Equal contents are not written again, so that the file's time
/// stays and Cargo does not rerun a build script for nothing.
pub(super) fn write(root: &Path, lock: &Lock) -> Result<(), RegistryError> {
    let path = root.join(LOCK_FILE);
    let text = toml::to_string(lock).map_err(|error| RegistryError::Refused {
        name: LOCK_FILE.to_owned(),
        path: path.clone(),
        reason: one_line(&error.to_string()),
    })?;
    let text = format!("{HEADER}{text}");
    if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    replace(&path, &root.join(DRAFT), text.as_bytes())
}

/// Writes a file as `draft` and renames it into its place, under the file lock.
pub(super) fn replace(path: &Path, draft: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    // Left by a crash, or put there: created anew, so that nothing is written through a link.
    match fs::remove_file(draft) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(RegistryError::Io { operation: "remove", path: draft.to_owned(), cause });
        }
        _ => {}
    }
    let written =
        OpenOptions::new().write(true).create_new(true).open(draft).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    if let Err(cause) = written.and_then(|()| fs::rename(draft, path)) {
        let _ = fs::remove_file(draft);
        return Err(RegistryError::Io { operation: "write", path: path.to_owned(), cause });
    }
    if let Some(folder) = path.parent() {
        sync_folder(folder);
    }
    Ok(())
}

/// Moves a lock file that [`read`] refuses out of the way. Returns where it is now.
pub(super) fn discard_unusable(root: &Path) -> Result<Option<PathBuf>, RegistryError> {
    match read(root) {
        Err(error) if error.is_unusable_lock() => {
            let (from, to) = (root.join(LOCK_FILE), root.join(DISCARDED));
            fs::rename(&from, &to).map_err(RegistryError::io("move aside", &from))?;
            sync_folder(root);
            Ok(Some(to))
        }
        other => other.map(|_| None),
    }
}

/// Makes renames in `folder` durable where the system can. A failure costs at most the newest
/// entry in a power cut, which the next build compiles again: no reason to fail this one.
pub(super) fn sync_folder(folder: &Path) {
    if cfg!(unix)
        && let Err(error) = File::open(folder).and_then(|folder| folder.sync_all())
    {
        tracing::debug!(folder = %folder.display(), %error, "cannot sync the folder");
    }
}

/// Reads the contents of a `nomopoly.lock`: what fuzzers try.
///
/// # Errors
/// As reading one from its folder.
#[doc(hidden)]
pub fn parse_lock(bytes: &[u8]) -> Result<Lock, RegistryError> {
    parse(bytes, Path::new(LOCK_FILE))
}

fn parse(bytes: &[u8], path: &Path) -> Result<Lock, RegistryError> {
    let parse_error = |offset: usize, reason: &str| RegistryError::Parse {
        path: path.to_owned(),
        line: 1 + bytes[..offset.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count(),
        reason: one_line(reason),
    };
    let toml_error = |error: toml::de::Error| {
        parse_error(error.span().map_or(0, |span| span.start), error.message())
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| parse_error(error.valid_up_to(), "not UTF-8"))?;
    // The version alone first: other versions may have another layout.
    let table: toml::Table = text.parse().map_err(toml_error)?;
    match table.get("schema").and_then(toml::Value::as_integer) {
        None => return Err(parse_error(0, "`schema` is missing or no integer")),
        Some(found) if found != i64::from(ARTEFACT_SCHEMA) => {
            let path = path.to_owned();
            return Err(RegistryError::Schema { path, found, expected: ARTEFACT_SCHEMA });
        }
        Some(_) => {}
    }
    let lock: Lock = toml::from_str(text).map_err(toml_error)?;
    let invalid = |reason| RegistryError::InvalidLock { path: path.to_owned(), reason };
    for (model, locked) in &lock.models {
        check_model(model, locked).map_err(invalid)?;
    }
    for (entry, locked) in &lock.entries {
        check_entry(entry, locked).map_err(invalid)?;
    }
    Ok(lock)
}

/// The reason why the lock cannot hold this model, if there is one.
pub(super) fn check_model(model: &str, locked: &LockedModel) -> Result<(), String> {
    // These names are only shown: they may be anything that does not disturb a terminal.
    let printable = |text: &str| !text.contains(char::is_control);
    if model.is_empty() || !printable(model) {
        return Err(format!("{model:?} is not a file name of a model"));
    }
    if !name::is_hash(&locked.digest) {
        return Err(format!(
            "model {model:?} has digest {:?}, expected 64 hexadecimal digits",
            locked.digest
        ));
    }
    if let Some(hash) = locked.audit.as_ref().filter(|hash| !name::is_hash(hash)) {
        return Err(format!(
            "model {model:?} has an audit with hash {hash:?}, expected 64 hexadecimal digits"
        ));
    }
    if let Some(text) = locked.inputs.keys().chain(locked.nodes.keys()).find(|t| !printable(t)) {
        return Err(format!("model {model:?} has the name {text:?} with control characters"));
    }
    match locked.nodes.iter().find(|(_, entry)| !name::is_entry(entry)) {
        Some((node, entry)) => Err(format!(
            "node {node:?} of model {model:?} refers to {entry:?}, which is not an entry name"
        )),
        None => Ok(()),
    }
}

/// The reason why the lock cannot hold this entry, if there is one. A missing hash is none: it
/// makes the entry incomplete, and compiling repairs that.
pub(super) fn check_entry(entry: &str, locked: &LockedEntry) -> Result<(), String> {
    if !name::is_entry(entry) {
        return Err(format!("{entry:?} is not an entry name"));
    }
    if !name::is_hash(&locked.id) || !entry.ends_with(&locked.id[..name::ID_DIGITS]) {
        return Err(format!(
            "entry `{entry}` has id {:?}, expected 64 hexadecimal digits that begin with the \
             last {} of the name",
            locked.id,
            name::ID_DIGITS
        ));
    }
    // TOML's integers have 64 bits with a sign.
    if i64::try_from(locked.seed).is_err() {
        return Err(format!("seed {} of entry `{entry}` is not below 2^63", locked.seed));
    }
    let known: Vec<String> = name::hashed_files(name::stem_of(entry)).collect();
    for (file, hash) in &locked.files {
        if !known.contains(file) {
            return Err(format!("entry `{entry}` lists {file:?}, which no entry of its kind has"));
        }
        if !name::is_hash(hash) {
            return Err(format!(
                "`{file}` of entry `{entry}` has hash {hash:?}, expected 64 hexadecimal digits"
            ));
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
