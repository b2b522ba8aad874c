//! Writing an entry: in a temporary folder first, then in one step into its place.
//!
//! A process may die anywhere. What keeps the registry valid is the order of the steps: an entry
//! is recorded only after its folder is in place, and its record is removed before its folder is.
//! So a recorded entry is whole, and a folder without a record is never used.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use nomopoly_manifest::{Lock, LockedEntry, LockedFigures};
use tempfile::TempDir;

use super::{Fault, LOCK_FILE, Registry, RegistryError, audits, lock_file, name, verify};

/// Start of the names of folders that transactions write to.
pub(super) const TEMPORARY: &str = ".tmp-";
/// Start of the names of folders that hold an entry while it is replaced.
pub(super) const REPLACED: &str = ".old-";
/// File in a temporary folder that is locked for as long as its writer lives.
pub(super) const IN_USE: &str = "in-use";

/// What the lock records of a new entry beside the hashes of its files.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    /// Full content id, 64 hexadecimal digits; the entry's name ends in the first 12.
    pub id: String,
    /// Below 2^63, which is what TOML can hold.
    pub seed: u64,
    pub figures: LockedFigures,
}

/// An entry that is being written. Dropping it without a commit removes what was written.
#[derive(Debug)]
pub struct Transaction {
    registry: Registry,
    entry: String,
    folder: PathBuf,
    // Before the folder, so that it is closed first: Windows keeps folders with open files.
    _in_use: File,
    _temporary: TempDir,
}

impl Registry {
    /// Starts to write the entry with this name. Creates the registry's folder if need be, and
    /// in it (so that a rename suffices) a temporary folder with an empty `plots/`.
    ///
    /// # Errors
    /// [`RegistryError::Name`]; [`RegistryError::Io`] if the registry cannot be written.
    pub fn begin(&self, entry: &str) -> Result<Transaction, RegistryError> {
        name::check(entry)?;
        self.create_root()?;
        let temporary = self.temporary_folder(&format!("{TEMPORARY}{entry}-"))?;
        // Locked before it gets its name: whoever finds it unlocked knows that its owner died.
        let (draft, in_use) = (temporary.path().join("draft"), temporary.path().join(IN_USE));
        let file = File::create(&draft)
            .and_then(|file| {
                file.lock()?;
                fs::rename(&draft, &in_use)?;
                Ok(file)
            })
            .map_err(RegistryError::io("create", &in_use))?;
        // A folder within it, because temporary folders are private to the user and would stay
        // so in their final place.
        let folder = temporary.path().join(entry);
        fs::create_dir_all(folder.join(name::PLOTS))
            .map_err(RegistryError::io("create", &folder))?;
        let (registry, entry) = (self.clone(), entry.to_owned());
        Ok(Transaction { registry, entry, folder, _in_use: file, _temporary: temporary })
    }

    /// Copies an intact entry of another registry, with its record.
    ///
    /// # Errors
    /// [`RegistryError::Corrupt`], [`RegistryError::NotRecorded`] for the other registry's entry;
    /// those of [`Registry::begin`] and [`Transaction::commit`].
    pub fn import(&self, from: &Registry, entry: &str) -> Result<LockedEntry, RegistryError> {
        from.verify_entry(entry)?;
        let locked =
            from.read_lock()?.entries.remove(entry).ok_or_else(|| RegistryError::NotRecorded {
                entry: entry.to_owned(),
                path: from.root().join(LOCK_FILE),
            })?;
        let transaction = self.begin(entry)?;
        for file in name::expected_files(name::stem_of(entry)) {
            let (source, copy) =
                (from.root().join(entry).join(&file), transaction.path().join(&file));
            if file == name::LOG && !source.exists() {
                // The log is not recorded, and many `.gitignore` files drop it.
                fs::write(&copy, "copied\n").map_err(RegistryError::io("write", &copy))?;
            } else if file == name::LOG {
                fs::copy(&source, &copy).map_err(RegistryError::io("copy", &source))?;
            } else {
                // What is hashed is what is written.
                let bytes = from.read_verified(entry, &file)?;
                fs::write(&copy, bytes).map_err(RegistryError::io("write", &copy))?;
            }
        }
        let LockedEntry { id, seed, figures, .. } = locked;
        transaction.commit(NewEntry { id, seed, figures })
    }

    pub(super) fn create_root(&self) -> Result<(), RegistryError> {
        fs::create_dir_all(self.root())
            .map_err(RegistryError::io("create the registry", self.root()))
    }

    pub(super) fn temporary_folder(&self, prefix: &str) -> Result<TempDir, RegistryError> {
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(self.root())
            .map_err(RegistryError::io("create a folder in", self.root()))
    }
}

impl Transaction {
    /// The temporary folder to write [`super::expected_files`] into.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Name of the entry that is being written.
    pub fn entry(&self) -> &str {
        &self.entry
    }

    /// Puts the entry into its place and records it. If an intact entry with the same id was
    /// put there in the meantime, that one stays and its record is returned.
    ///
    /// # Errors
    /// [`RegistryError::Unfinished`] unless exactly the expected files were written;
    /// [`RegistryError::Refused`] if id or seed cannot be recorded; [`RegistryError::Locked`] if
    /// another process keeps the registry locked; [`RegistryError::Io`]; what
    /// [`Registry::read_lock`] gives. The registry is then as before.
    pub fn commit(self, new: NewEntry) -> Result<LockedEntry, RegistryError> {
        self.finish(new, false)
    }

    /// As [`Transaction::commit`], but replaces the entry even if it is intact.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub fn commit_replacing(self, new: NewEntry) -> Result<LockedEntry, RegistryError> {
        self.finish(new, true)
    }

    fn finish(self, new: NewEntry, replace: bool) -> Result<LockedEntry, RegistryError> {
        let NewEntry { id, seed, figures } = new;
        let files = self.seal()?;
        let new = LockedEntry { id, seed, figures, files };
        lock_file::check_entry(&self.entry, &new).map_err(|reason| RegistryError::Refused {
            name: self.entry.clone(),
            path: self.registry.root().join(LOCK_FILE),
            reason,
        })?;

        let root = self.registry.root();
        let place = root.join(&self.entry);
        let _guard = self.registry.lock()?;
        let before = lock_file::read(root)?;
        if !replace
            && let Some(old) = before.entries.get(&self.entry)
            && old.id == new.id
            && verify::faults(&place, &self.entry, old).is_ok_and(|faults| faults.is_empty())
        {
            return Ok(old.clone());
        }
        // Dropped, and with it the replaced entry removed, while the file lock is still held.
        let replaced = match fs::symlink_metadata(&place) {
            Ok(_) => Some(self.registry.temporary_folder(&format!("{REPLACED}{}-", self.entry))?),
            Err(_) => None,
        };
        let aside = replaced.as_ref().map(|folder| folder.path().join(&self.entry));
        if let Err(error) = self.swap(&before, &new, &place, aside.as_deref()) {
            self.swap_back(&before, &place, aside.as_deref());
            return Err(error);
        }
        Ok(new)
    }

    /// Checks that the files are the expected ones, makes them durable and hashes them.
    fn seal(&self) -> Result<BTreeMap<String, String>, RegistryError> {
        let mut faults = verify::foreign(&self.folder, &self.entry)?;
        let mut files = BTreeMap::new();
        for file in name::expected_files(name::stem_of(&self.entry)) {
            let path = self.folder.join(&file);
            let Some(hash) = verify::hash_file(&path)? else {
                faults.push(Fault::Missing { file });
                continue;
            };
            // For writing, because Windows syncs no other files.
            OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|file| file.sync_all())
                .map_err(RegistryError::io("write", &path))?;
            if file != name::LOG {
                files.insert(file, hash);
            }
        }
        if !faults.is_empty() {
            let (entry, path) = (self.entry.clone(), self.folder.clone());
            return Err(RegistryError::Unfinished { entry, path, faults });
        }
        lock_file::sync_folder(&self.folder.join(name::PLOTS));
        lock_file::sync_folder(&self.folder);
        Ok(files)
    }

    fn swap(
        &self,
        before: &Lock,
        new: &LockedEntry,
        place: &Path,
        aside: Option<&Path>,
    ) -> Result<(), RegistryError> {
        let root = self.registry.root();
        let mut lock = before.clone();
        let artefact = |entry: &LockedEntry| entry.files.get(name::ARTEFACT).cloned();
        if before.entries.get(&self.entry).and_then(artefact) != artefact(new) {
            audits::forget_audits_of(&mut lock, &self.entry);
        }
        if lock.entries.remove(&self.entry).is_some() {
            lock_file::write(root, &lock)?;
        }
        if let Some(aside) = aside {
            fs::rename(place, aside).map_err(RegistryError::io("move aside", place))?;
        }
        fs::rename(&self.folder, place).map_err(RegistryError::io("create", place))?;
        lock_file::sync_folder(root);
        lock.entries.insert(self.entry.clone(), new.clone());
        lock_file::write(root, &lock)
    }

    /// Undoes a [`Transaction::swap`] that failed. Where this fails too, the entry is left
    /// without a record, and the next build compiles it again.
    fn swap_back(&self, before: &Lock, place: &Path, aside: Option<&Path>) {
        // Gone from the temporary folder means that it is in its place.
        if !self.folder.exists() {
            let _ = fs::rename(place, &self.folder);
        }
        if let Some(aside) = aside.filter(|aside| aside.exists())
            && let Err(error) = fs::rename(aside, place)
        {
            tracing::warn!(entry = self.entry, %error, "cannot put the old entry back");
            return;
        }
        if let Err(error) = lock_file::write(self.registry.root(), before) {
            tracing::warn!(%error, "cannot put the old record back");
        }
    }
}
