//! Audits of recorded models: a file per model in `audits/`, and its hash in the lock.
//!
//! A recorded audit is of the operations that the lock records: whatever changes those drops the
//! hash, and a file that no hash vouches for is never read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nomopoly_manifest::{AUDIT_SCHEMA, Audit, Lock, LockedModel};
use serde::Deserialize;

use super::{ARTEFACT, LOCK_FILE, Registry, RegistryError, lock_file, name, verify};

/// Folder of the audits within the registry. No entry has this name: it ends in no id.
pub(super) const AUDITS: &str = "audits";
/// Digits of the model's digest that name its file.
const DIGITS: usize = 16;
/// An audit while it is being written, under the registry's lock.
const DRAFT: &str = ".audit.tmp";

/// What a registry knows of a model's audit.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordedAudit {
    /// The model is not recorded, or was never audited as it is recorded.
    Absent,
    /// There is one, and it does not count.
    Outdated {
        /// Which file, why, and the way out.
        reason: String,
    },
    /// Of the operations that the lock records.
    Valid(Box<Audit>),
}

impl RecordedAudit {
    /// The audit, if it counts; else nothing, after `warn` was told why where there is one.
    pub fn valid(self, warn: &mut dyn FnMut(String)) -> Option<Audit> {
        match self {
            Self::Absent => None,
            Self::Outdated { reason } => {
                warn(reason);
                None
            }
            Self::Valid(audit) => Some(*audit),
        }
    }
}

impl Registry {
    /// Keeps a recorded model's audit, in place of an older one. Returns its file. Other names of
    /// the same model with the same operations share it.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] if the model is not recorded, or the audit is of another model,
    /// of other operations or of another schema; [`RegistryError::Locked`], [`RegistryError::Io`],
    /// what [`Registry::read_lock`] gives.
    pub fn record_audit(&self, model: &str, audit: &Audit) -> Result<PathBuf, RegistryError> {
        let bytes = to_bytes(audit).map_err(|reason| self.refused(model, reason))?;
        // Before the lock is taken, which would need the folder to exist.
        self.fits(&self.read_lock()?, model, audit)?;
        let _guard = self.lock()?;
        let mut lock = self.read_lock()?;
        self.fits(&lock, model, audit)?;
        self.place(&mut lock, model, &bytes)
    }

    /// A model's audit if it counts, after its hash was checked. What there is and does not count
    /// is told by [`Registry::recorded_audit`]; here it is a warning in the log.
    ///
    /// # Errors
    /// As [`Registry::recorded_audit`].
    pub fn read_audit(&self, model: &str) -> Result<Option<Audit>, RegistryError> {
        let mut warn = |reason: String| tracing::warn!(model, "the audit is not used: {reason}");
        Ok(self.recorded_audit(model)?.valid(&mut warn))
    }

    /// What is known of the audit of the model that is recorded under this name.
    ///
    /// # Errors
    /// [`RegistryError::Audit`] for a file that is missing or not as it was recorded;
    /// [`RegistryError::Io`], what [`Registry::read_lock`] gives.
    pub fn recorded_audit(&self, model: &str) -> Result<RecordedAudit, RegistryError> {
        match self.read_lock()?.models.get(model) {
            None => Ok(RecordedAudit::Absent),
            Some(locked) => self.audit_of(model, locked),
        }
    }

    /// As [`Registry::recorded_audit`], for a model with this digest and these nodes, under
    /// whatever name it is recorded: in a registry that many crates share that is not its file's.
    ///
    /// # Errors
    /// As [`Registry::recorded_audit`].
    pub fn recorded_audit_like(&self, model: &LockedModel) -> Result<RecordedAudit, RegistryError> {
        let lock = self.read_lock()?;
        let same = |other: &LockedModel| {
            other.digest == model.digest && other.nodes == model.nodes && other.audit.is_some()
        };
        match lock.models.iter().find(|(_, other)| same(other)) {
            None => Ok(RecordedAudit::Absent),
            Some((name, locked)) => self.audit_of(name, locked),
        }
    }

    /// Copies the audit that another registry has of a model of this one, unless this one has its
    /// own. Returns whether it did: only if both have the same operations, file for file.
    ///
    /// # Errors
    /// [`RegistryError::Audit`] for a damaged file of the other registry;
    /// [`RegistryError::Locked`], [`RegistryError::Io`], what [`Registry::read_lock`] gives.
    pub fn import_audit(&self, from: &Registry, model: &str) -> Result<bool, RegistryError> {
        let (here, there) = (self.read_lock()?, from.read_lock()?);
        let Some(locked) = here.models.get(model) else { return Ok(false) };
        let artefact = |lock: &Lock, entry: &str| {
            lock.entries.get(entry).and_then(|entry| entry.files.get(ARTEFACT).cloned())
        };
        // An audit measured trained heads, and the same id may have been trained on other data.
        let equal = |entry: &String| {
            let ours = artefact(&here, entry);
            ours.is_some() && ours == artefact(&there, entry)
        };
        if locked.audit.is_some() || !locked.nodes.values().all(equal) {
            return Ok(false);
        }
        let RecordedAudit::Valid(audit) = from.recorded_audit_like(locked)? else {
            return Ok(false);
        };
        self.record_audit(model, &audit)?;
        Ok(true)
    }

    /// Files of audits that no record vouches for, relative to the registry's folder.
    pub(super) fn unused_audits(&self, lock: &Lock) -> Result<Vec<String>, RegistryError> {
        let used = |stem: &str| {
            lock.models
                .values()
                .any(|model| model.audit.is_some() && model.digest.starts_with(stem))
        };
        let mut unused = Vec::new();
        for (file, path) in verify::children(&self.root().join(AUDITS))? {
            // Nothing else in there was written by us.
            let stem = file.strip_suffix(".json").filter(|stem| name::is_hex(stem, DIGITS));
            if stem.is_some_and(|stem| !used(stem)) && verify::is_file(&path)? {
                unused.push(format!("{AUDITS}/{file}"));
            }
        }
        Ok(unused)
    }

    fn audit_of(&self, model: &str, locked: &LockedModel) -> Result<RecordedAudit, RegistryError> {
        let Some(expected) = &locked.audit else { return Ok(RecordedAudit::Absent) };
        let path = self.audit_file(&locked.digest);
        let error = |reason: String| RegistryError::Audit {
            model: model.to_owned(),
            path: path.clone(),
            reason,
        };
        if !verify::is_file(&path)? {
            return Err(error("is missing".to_owned()));
        }
        let bytes = fs::read(&path).map_err(RegistryError::io("read", &path))?;
        let got = blake3::hash(&bytes).to_hex().to_string();
        if got != *expected {
            return Err(error(format!("is damaged (BLAKE3 {got}, expected {expected})")));
        }
        let outdated = |reason: String| {
            let reason = format!(
                "the audit `{}` is not used: {reason}; run `cargo nomopoly audit {model}`",
                path.display()
            );
            Ok(RecordedAudit::Outdated { reason })
        };
        // The version alone first: other versions may have another layout.
        let Version { schema } = serde_json::from_slice(&bytes)
            .map_err(|cause| error(format!("is no audit: {cause}")))?;
        if schema != AUDIT_SCHEMA {
            return outdated(format!("its schema version is {schema}, expected {AUDIT_SCHEMA}"));
        }
        let audit: Audit = serde_json::from_slice(&bytes)
            .map_err(|cause| error(format!("is no audit: {cause}")))?;
        match differs(&audit, locked) {
            Some(reason) => outdated(reason),
            None => Ok(RecordedAudit::Valid(Box::new(audit))),
        }
    }

    /// Whether an audit can be recorded of a model.
    fn fits(&self, lock: &Lock, model: &str, audit: &Audit) -> Result<(), RegistryError> {
        let Some(locked) = lock.models.get(model) else {
            let reason = format!("the model is not; run `cargo nomopoly compile {model}`");
            return Err(self.refused(model, reason));
        };
        match differs(audit, locked) {
            Some(reason) => Err(self.refused(model, reason)),
            None => Ok(()),
        }
    }

    /// Puts the file into its place and records it. At any moment, what is recorded is there.
    fn place(&self, lock: &mut Lock, model: &str, bytes: &[u8]) -> Result<PathBuf, RegistryError> {
        // It was found a moment ago, under the same lock.
        let Some(audited) = lock.models.get(model).cloned() else {
            return Err(self.refused(model, "the model is not".to_owned()));
        };
        let path = self.audit_file(&audited.digest);
        let hash = blake3::hash(bytes).to_hex().to_string();
        let mut replaced = false;
        for other in lock.models.values_mut() {
            let shares = self.audit_file(&other.digest) == path;
            if shares && other.audit.as_ref().is_some_and(|old| *old != hash) {
                other.audit = None;
                replaced = true;
            }
        }
        if replaced {
            lock_file::write(self.root(), lock)?;
        }
        let folder = self.root().join(AUDITS);
        fs::create_dir_all(&folder).map_err(RegistryError::io("create", &folder))?;
        lock_file::replace(&path, &folder.join(DRAFT), bytes)?;
        for other in lock.models.values_mut() {
            if other.digest == audited.digest && other.nodes == audited.nodes {
                other.audit = Some(hash.clone());
            }
        }
        lock_file::write(self.root(), lock)?;
        Ok(path)
    }

    /// Where the audit of the model with this digest is.
    fn audit_file(&self, digest: &str) -> PathBuf {
        let start = digest.get(..DIGITS).unwrap_or(digest);
        self.root().join(AUDITS).join(format!("{start}.json"))
    }

    fn refused(&self, model: &str, reason: String) -> RegistryError {
        let path: &Path = self.root();
        RegistryError::Refused {
            name: format!("audit of {model}"),
            path: path.join(LOCK_FILE),
            reason,
        }
    }
}

/// Drops the audits of models that use an entry: they measured another one.
pub(super) fn forget_audits_of(lock: &mut Lock, entry: &str) {
    for model in lock.models.values_mut() {
        if model.nodes.values().any(|used| used == entry) {
            model.audit = None;
        }
    }
}

/// The first field of an audit of any version.
#[derive(Deserialize)]
struct Version {
    schema: u32,
}

/// What is written of an audit: text that reads back.
fn to_bytes(audit: &Audit) -> Result<Vec<u8>, String> {
    if audit.schema != AUDIT_SCHEMA {
        return Err(format!("its schema version is {}, expected {AUDIT_SCHEMA}", audit.schema));
    }
    let mut bytes = serde_json::to_vec_pretty(audit).map_err(|cause| cause.to_string())?;
    bytes.push(b'\n');
    // JSON has no infinity and no NaN: written, they would be an audit that nobody can read.
    match serde_json::from_slice::<Audit>(&bytes) {
        Ok(_) => Ok(bytes),
        Err(cause) => Err(format!("a figure cannot be written as JSON: {cause}")),
    }
}

/// In what an audit is not one of the model as it is recorded.
fn differs(audit: &Audit, locked: &LockedModel) -> Option<String> {
    if audit.digest != locked.digest {
        return Some(format!(
            "it is of a model with digest {:?}, {} is recorded",
            audit.digest, locked.digest
        ));
    }
    let audited = audit.operations.iter();
    let audited: BTreeMap<&str, &str> = audited
        .filter_map(|operation| Some((operation.operation.as_str(), operation.entry.as_deref()?)))
        .collect();
    let recorded: BTreeMap<&str, &str> =
        locked.nodes.iter().map(|(node, entry)| (node.as_str(), entry.as_str())).collect();
    if audited == recorded {
        return None;
    }
    let nodes = audited.keys().chain(recorded.keys());
    let node = nodes.copied().find(|node| audited.get(node) != recorded.get(node))?;
    let entry = |entries: &BTreeMap<&str, &str>| match entries.get(node) {
        Some(entry) => format!("`{entry}`"),
        None => "no entry".to_owned(),
    };
    Some(format!(
        "it measured {} for node {node:?}, {} is recorded",
        entry(&audited),
        entry(&recorded)
    ))
}
