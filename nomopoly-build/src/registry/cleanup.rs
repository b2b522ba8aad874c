//! Removal of what nothing uses.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::audits::AUDITS;
use super::transaction::{IN_USE, REPLACED, TEMPORARY};
use super::{Registry, RegistryError, State, lock_file, name, verify};

/// Age at which a temporary folder counts as left behind if it does not tell by its own lock.
const STALE: Duration = Duration::from_secs(60 * 60);

impl Registry {
    /// Removes entries with missing files, folders of entries that are not recorded, and what
    /// crashed builds left behind. Temporary folders of running builds stay, and so do folders
    /// that are not named like entries or that hold anything but an entry's files: a wrong path
    /// must not cost anyone their data. Returns the names of what was removed, sorted.
    ///
    /// # Errors
    /// [`RegistryError::Locked`], [`RegistryError::Io`], what [`Registry::read_lock`] gives (and
    /// then nothing is removed).
    pub fn remove_incomplete(&self) -> Result<Vec<String>, RegistryError> {
        self.sweep(false, false)
    }

    /// [`Registry::remove_incomplete`], and also removes entries that no recorded model uses, and
    /// audits of models that are not recorded any more (as `audits/0123456789abcdef.json`).
    /// With `dry_run` nothing is changed or locked, and the names are those that would be
    /// removed. A build that is running records its model last: do not collect beside it.
    ///
    /// # Errors
    /// As [`Registry::remove_incomplete`].
    pub fn gc(&self, dry_run: bool) -> Result<Vec<String>, RegistryError> {
        self.sweep(true, dry_run)
    }

    fn sweep(&self, unused: bool, dry_run: bool) -> Result<Vec<String>, RegistryError> {
        if !self.root().exists() {
            return Ok(Vec::new());
        }
        let _guard = if dry_run { None } else { Some(self.lock()?) };
        let mut lock = self.read_lock()?;
        let mut doomed = Vec::new();
        for status in self.statuses(&lock)? {
            let remove = match status.state {
                State::Compiled => unused && status.models.is_empty(),
                State::Incomplete { .. } => true,
                State::Unrecorded => {
                    let foreign = verify::foreign(&status.path, &status.name)?;
                    if let Some(fault) = foreign.first() {
                        let folder = status.path.display();
                        tracing::warn!(%folder, %fault, "not removed: nobody recorded it");
                    }
                    foreign.is_empty()
                }
            };
            if remove {
                doomed.push(status.name);
            }
        }
        for (file, path) in verify::children(self.root())? {
            if is_left_behind(&file, &path) {
                doomed.push(file);
            }
        }
        let audits = if unused { self.unused_audits(&lock)? } else { Vec::new() };
        doomed.extend(audits.iter().cloned());
        doomed.sort_unstable();
        if dry_run {
            return Ok(doomed);
        }
        // Records first: what is recorded must be whole at any moment.
        lock.entries.retain(|entry, _| !doomed.contains(entry));
        if self.root().join(lock_file::LOCK_FILE).exists() {
            lock_file::write(self.root(), &lock)?;
        }
        for name in &doomed {
            let path = self.root().join(name);
            if fs::symlink_metadata(&path).is_ok() {
                let removed = match audits.contains(name) {
                    true => fs::remove_file(&path),
                    false => fs::remove_dir_all(&path),
                };
                removed.map_err(RegistryError::io("remove", &path))?;
            }
        }
        if !audits.is_empty() {
            // Goes only if it is empty.
            let _ = fs::remove_dir(self.root().join(AUDITS));
        }
        Ok(doomed)
    }
}

/// Whether this is a temporary folder whose owner is gone.
fn is_left_behind(file: &str, path: &Path) -> bool {
    let ours = |prefix: &str| {
        // What follows the entry's name is `-` and random characters.
        file.strip_prefix(prefix)
            .and_then(|rest| rest.rsplit_once('-'))
            .is_some_and(|(entry, _)| name::is_entry(entry))
            && path.is_dir()
    };
    if ours(REPLACED) {
        // Exists only under the file lock. (A dry run without it may see one in use.)
        return true;
    }
    if !ours(TEMPORARY) {
        return false;
    }
    match File::options().write(true).open(path.join(IN_USE)) {
        Ok(file) => file.try_lock().is_ok(),
        Err(_) => is_old(path),
    }
}

fn is_old(path: &Path) -> bool {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|modified| SystemTime::now().duration_since(modified).ok())
        .is_some_and(|age| age > STALE)
}
