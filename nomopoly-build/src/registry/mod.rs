//! The registry: a folder of compiled operations and the lock file that records them.
//!
//! An entry is a folder `stem-0123456789ab`, named for its operation and the start of its content
//! id. It counts only if `nomopoly.lock` records it, and its files only with the recorded hashes.
//!
//! | file | subject |
//! | --- | --- |
//! | `name.rs` | names of entries and files |
//! | `lock_file.rs` | `nomopoly.lock` on disk, the file lock |
//! | `transaction.rs` | writing an entry |
//! | `verify.rs` | hashes |
//! | `audits.rs` | what audits measured of recorded models |
//! | `cleanup.rs` | removal of what nothing uses |

mod audits;
mod cleanup;
mod error;
mod lock_file;
mod name;
#[cfg(test)]
mod tests;
mod transaction;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nomopoly_manifest::{Check, Lock, LockedEntry, LockedFigures, LockedModel};

pub use audits::RecordedAudit;
pub use error::{Fault, RegistryError};
pub use lock_file::{LOCK_FILE, parse_lock};
pub use name::{ARTEFACT, ID_DIGITS, LOG, METRICS, PLOTS, expected_files, stem_of};
pub use transaction::{NewEntry, Transaction};

type Waiting = Arc<dyn Fn(&Path) + Send + Sync>;

/// A registry folder. Queries read the disk each time and take no lock: the lock file is only
/// ever replaced as a whole.
#[derive(Clone)]
pub struct Registry {
    root: PathBuf,
    lock_timeout: Duration,
    waiting: Option<Waiting>,
}

/// One row of the status table.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryStatus {
    pub name: String,
    /// The entry's folder.
    pub path: PathBuf,
    pub state: State,
    /// Absent for [`State::Unrecorded`].
    pub locked: Option<LockedEntry>,
    /// How long compiling took, if the log tells.
    pub seconds: Option<f64>,
    /// Size of all files together.
    pub bytes: u64,
    /// Model and node of every use.
    pub models: Vec<(String, String)>,
}

/// State of an entry by the names of its files. Hashes are checked by
/// [`Registry::verify_entry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Recorded, and every file is there.
    Compiled,
    /// Recorded, but these files are absent, or their hashes are.
    Incomplete { missing: Vec<String> },
    /// A folder that the lock does not know: never used.
    Unrecorded,
}

/// Nodes of a model that have no usable entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingModel {
    /// File name.
    pub model: String,
    /// Node and the name of the entry that it needs.
    pub nodes: Vec<(String, String)>,
}

/// Which compiled entries to select; the default selects all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Filter {
    /// Smallest mean accuracy over the five cases, 0 to 1.
    pub min_accuracy: Option<f64>,
    /// Fewest certified bits. A certified replay always rejects, and passes.
    pub min_certified_bits: Option<f64>,
}

impl Registry {
    /// Does not touch the disk; the folder need not exist.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), lock_timeout: Duration::from_secs(30), waiting: None }
    }

    /// How long writers wait for each other. Default 30 s.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Called with the path of the file lock, once for each time that another writer holds it.
    #[must_use]
    pub fn with_waiting(mut self, waiting: impl Fn(&Path) + Send + Sync + 'static) -> Self {
        self.waiting = Some(Arc::new(waiting));
        self
    }

    /// The registry's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads `nomopoly.lock`; an absent file or folder is an empty lock.
    ///
    /// # Errors
    /// [`RegistryError::Schema`] for the lock of another version; [`RegistryError::Parse`];
    /// [`RegistryError::InvalidLock`] for names or hashes that no compiler wrote;
    /// [`RegistryError::Io`].
    pub fn read_lock(&self) -> Result<Lock, RegistryError> {
        lock_file::read(&self.root)
    }

    /// Every recorded entry and every folder of an entry, sorted by name.
    ///
    /// # Errors
    /// [`RegistryError::Io`], what [`Registry::read_lock`] gives.
    pub fn entries(&self) -> Result<Vec<EntryStatus>, RegistryError> {
        self.statuses(&self.read_lock()?)
    }

    /// Finds an entry by its full name, by its stem, or by a start of its name that no other
    /// entry has.
    ///
    /// # Errors
    /// [`RegistryError::Ambiguous`] with the candidates; [`RegistryError::Unknown`] with names
    /// nearby; [`RegistryError::Name`] for what reads like a path; as [`Registry::entries`].
    pub fn entry(&self, query: &str) -> Result<EntryStatus, RegistryError> {
        name::check_query(query)?;
        let mut entries = self.entries()?;
        // `conv_1x3x8x8` must not be ambiguous because there is a `conv_1x3x8x80`.
        let meanings: [fn(&str, &str) -> bool; 3] = [
            |name, query| name == query,
            |name, query| stem_of(name) == query,
            |name, query| name.starts_with(query),
        ];
        for meaning in meanings {
            let mut found = (0..entries.len()).filter(|i| meaning(&entries[*i].name, query));
            match (found.next(), found.next()) {
                (Some(only), None) => return Ok(entries.swap_remove(only)),
                (Some(_), Some(_)) => {
                    return Err(RegistryError::Ambiguous {
                        name: query.to_owned(),
                        path: self.root.clone(),
                        candidates: entries
                            .into_iter()
                            .map(|entry| entry.name)
                            .filter(|name| meaning(name, query))
                            .collect(),
                    });
                }
                (None, _) => {}
            }
        }
        let close = name::close(query, entries.iter().map(|entry| entry.name.as_str()));
        Err(RegistryError::Unknown { name: query.to_owned(), path: self.root.clone(), close })
    }

    /// The entries that are recorded with all their files.
    ///
    /// # Errors
    /// As [`Registry::entries`].
    pub fn compiled(&self) -> Result<Vec<EntryStatus>, RegistryError> {
        self.select(&Filter::default())
    }

    /// The compiled entries whose figures pass.
    ///
    /// # Errors
    /// As [`Registry::entries`].
    pub fn select(&self, filter: &Filter) -> Result<Vec<EntryStatus>, RegistryError> {
        let mut entries = self.entries()?;
        entries.retain(|entry| {
            entry.state == State::Compiled
                && entry.locked.as_ref().is_some_and(|locked| filter.accepts(&locked.figures))
        });
        Ok(entries)
    }

    /// Nodes of recorded models whose entry is missing or incomplete, by model. Models without
    /// such nodes are not listed.
    ///
    /// # Errors
    /// As [`Registry::entries`].
    pub fn pending(&self) -> Result<Vec<PendingModel>, RegistryError> {
        let lock = self.read_lock()?;
        let compiled: BTreeSet<String> = self
            .statuses(&lock)?
            .into_iter()
            .filter(|entry| entry.state == State::Compiled)
            .map(|entry| entry.name)
            .collect();
        let pending = lock.models.into_iter().map(|(model, locked)| PendingModel {
            model,
            nodes: locked.nodes.into_iter().filter(|(_, e)| !compiled.contains(e)).collect(),
        });
        Ok(pending.filter(|model| !model.nodes.is_empty()).collect())
    }

    /// Records which entry each node of a model uses, in place of what was recorded before. The
    /// entries need not exist yet: see [`Registry::pending`]. The model keeps its audit while its
    /// digest and its nodes stay, whatever `locked` says of one: see [`Registry::record_audit`].
    ///
    /// # Errors
    /// [`RegistryError::Refused`] for names or a digest that the lock cannot hold;
    /// [`RegistryError::Locked`], [`RegistryError::Io`], what [`Registry::read_lock`] gives.
    pub fn record_model(&self, model: &str, mut locked: LockedModel) -> Result<(), RegistryError> {
        lock_file::check_model(model, &locked).map_err(|reason| RegistryError::Refused {
            name: model.to_owned(),
            path: self.root.join(LOCK_FILE),
            reason,
        })?;
        self.create_root()?;
        let _guard = self.lock()?;
        let mut lock = self.read_lock()?;
        let same = |old: &&LockedModel| old.digest == locked.digest && old.nodes == locked.nodes;
        locked.audit = lock.models.get(model).filter(same).and_then(|old| old.audit.clone());
        lock.models.insert(model.to_owned(), locked);
        lock_file::write(&self.root, &lock)
    }

    /// Removes the record of a model; [`Registry::gc`] then removes what only it used. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// [`RegistryError::Locked`], [`RegistryError::Io`], what [`Registry::read_lock`] gives.
    pub fn forget_model(&self, model: &str) -> Result<bool, RegistryError> {
        if !self.read_lock()?.models.contains_key(model) {
            return Ok(false);
        }
        let _guard = self.lock()?;
        let mut lock = self.read_lock()?;
        let known = lock.models.remove(model).is_some();
        lock_file::write(&self.root, &lock)?;
        Ok(known)
    }

    /// For `--force`: moves a lock file of another version, or one that cannot be read, to
    /// `nomopoly.lock.old`, so that compiling starts afresh. Returns that path if it did.
    ///
    /// # Errors
    /// [`RegistryError::Locked`], [`RegistryError::Io`].
    pub fn discard_unusable_lock(&self) -> Result<Option<PathBuf>, RegistryError> {
        match self.read_lock() {
            Err(error) if error.is_unusable_lock() => {
                let _guard = self.lock()?;
                lock_file::discard_unusable(&self.root)
            }
            other => other.map(|_| None),
        }
    }

    /// The file lock, under which everything that changes the registry happens.
    fn lock(&self) -> Result<lock_file::Guard, RegistryError> {
        lock_file::acquire(&self.root, self.lock_timeout, |path| {
            if let Some(waiting) = &self.waiting {
                waiting(path);
            }
        })
    }

    fn statuses(&self, lock: &Lock) -> Result<Vec<EntryStatus>, RegistryError> {
        let mut models: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
        for (model, locked) in &lock.models {
            for (node, entry) in &locked.nodes {
                models.entry(entry).or_default().push((model.clone(), node.clone()));
            }
        }
        let mut names: BTreeSet<String> = lock.entries.keys().cloned().collect();
        names.extend(
            verify::children(&self.root)?
                .into_iter()
                .filter(|(name, path)| name::is_entry(name) && path.is_dir())
                .map(|(name, _)| name),
        );
        let status = |name: String| {
            let path = self.root.join(&name);
            let files: BTreeMap<String, u64> = verify::list(&path)?.into_iter().collect();
            let locked = lock.entries.get(&name).cloned();
            let state = match &locked {
                None => State::Unrecorded,
                Some(locked) => {
                    let missing: Vec<String> = name::hashed_files(stem_of(&name))
                        .filter(|f| !files.contains_key(f) || !locked.files.contains_key(f))
                        .collect();
                    if missing.is_empty() { State::Compiled } else { State::Incomplete { missing } }
                }
            };
            Ok(EntryStatus {
                seconds: seconds(&path.join(LOG)),
                // Saturating, because sparse files may claim any size.
                bytes: files.values().fold(0, |sum, size| sum.saturating_add(*size)),
                models: models.remove(name.as_str()).unwrap_or_default(),
                name,
                path,
                state,
                locked,
            })
        };
        names.into_iter().map(status).collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("root", &self.root)
            .field("lock_timeout", &self.lock_timeout)
            .finish_non_exhaustive()
    }
}

impl Filter {
    /// Whether figures pass.
    pub fn accepts(&self, figures: &LockedFigures) -> bool {
        let accurate = self.min_accuracy.is_none_or(|min| figures.accuracy >= min);
        let certified = self.min_certified_bits.is_none_or(|min| match figures.certified_bits {
            Some(bits) => bits >= min,
            // Without bits, only a certificate that is not probabilistic is a certificate.
            None => figures.check == Check::Replay && figures.certified_deviation.is_some(),
        });
        accurate && certified
    }
}

/// The figure of a log's last line, `compiled in 0.412 s`. `None` is no error: nothing but the
/// status table wants it.
fn seconds(log: &Path) -> Option<f64> {
    const TAIL: u64 = 256;
    if !verify::is_file(log).ok()? {
        return None;
    }
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let (_, figure) = tail.trim_end().lines().next_back()?.rsplit_once("compiled in ")?;
    let seconds: f64 = figure.strip_suffix(" s")?.parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}
