//! Registries in the order in which they are asked: `NOMOPOLY_REGISTRY`, the crate's `ops/`, the
//! user's cache.

use std::collections::BTreeMap;
use std::path::PathBuf;

use etcetera::BaseStrategy as _;

use nomopoly_manifest::{ARTEFACT_SCHEMA, Audit, LockedModel};

use super::environment::{Environment, Mode};
use crate::error::Result;
use crate::plan::PlannedNode;
use crate::registry::{LOCK_FILE, Registry};

/// The user's cache of compiled operations on this platform.
pub fn cache_folder() -> Option<PathBuf> {
    let strategy = etcetera::choose_base_strategy().ok()?;
    // Versions of Nomopoly that cannot read each other's artefacts keep out of each other's way.
    Some(strategy.cache_dir().join("nomopoly").join(format!("ops-v{ARTEFACT_SCHEMA}")))
}

/// The registries that are there.
pub struct Lookup {
    registries: Vec<Registry>,
}

impl Lookup {
    /// A registry whose lock cannot be read (damaged, another schema version) is left out with
    /// the reason as a warning; in locked mode, only the user's cache is.
    ///
    /// # Errors
    /// In locked mode, for a registry of the crate that cannot be read.
    pub fn new(
        environment: &Environment,
        mode: Mode,
        warn: &mut dyn FnMut(String),
    ) -> Result<Self> {
        let mut registries = vec![];
        for folder in folders(environment) {
            let shared = environment.cache.as_ref() == Some(&folder);
            let registry = Registry::open(folder);
            match registry.read_lock() {
                Ok(_) => registries.push(registry),
                Err(error) if mode == Mode::Locked && !shared => return Err(error.into()),
                Err(error) => warn(format!("this registry is not used: {error}")),
            }
        }
        Ok(Self { registries })
    }

    /// The first registry with an intact entry for a node.
    ///
    /// # Errors
    /// When a file cannot be read, and in locked mode with what is damaged.
    pub fn find(
        &self,
        node: &PlannedNode,
        mode: Mode,
        warn: &mut dyn FnMut(String),
    ) -> Result<Option<&Registry>> {
        for registry in &self.registries {
            let id = node.id.to_string();
            if registry.is_compiled(&node.entry, &id)?.is_some() {
                return Ok(Some(registry));
            }
            // Not there, or damaged: then it is said how.
            let recorded = registry.read_lock()?.entries.remove(&node.entry);
            if recorded.is_some_and(|recorded| recorded.id == id)
                && let Err(error) = registry.verify_entry(&node.entry)
            {
                if mode == Mode::Locked {
                    return Err(error.into());
                }
                warn(format!("this entry is not used: {error}"));
            }
        }
        Ok(None)
    }

    /// The audit of a model by the registry that all its entries come from: another one's may have
    /// been trained on other data.
    ///
    /// # Errors
    /// As [`Lookup::find`].
    pub fn audit(
        &self,
        model: &LockedModel,
        found: &BTreeMap<String, Registry>,
        mode: Mode,
        warn: &mut dyn FnMut(String),
    ) -> Result<Option<Audit>> {
        for registry in &self.registries {
            if !found.values().all(|other| other.root() == registry.root()) {
                continue;
            }
            let audit = match registry.recorded_audit_like(model) {
                Ok(recorded) => recorded.valid(warn),
                Err(error) if mode == Mode::Locked => return Err(error.into()),
                Err(error) => {
                    warn(format!("this audit is not used: {error}"));
                    None
                }
            };
            if audit.is_some() {
                return Ok(audit);
            }
        }
        Ok(None)
    }

    /// These registries, then another one.
    pub fn and(mut self, registry: Registry) -> Self {
        self.registries.push(registry);
        self
    }

    #[cfg_attr(not(feature = "train"), expect(dead_code, reason = "only training asks"))]
    pub fn registries(&self) -> &[Registry] {
        &self.registries
    }
}

/// The folders of all registries, whether or not they are there.
fn folders(environment: &Environment) -> Vec<PathBuf> {
    let own = Some(environment.manifest_dir.join("ops"));
    let named = environment.registry.as_ref().map(|path| environment.manifest_dir.join(path));
    [named, own, environment.cache.clone()].into_iter().flatten().collect()
}

/// The lock files of the registries that belong to the crate or were named for it.
pub fn lock_files(environment: &Environment) -> Vec<PathBuf> {
    let cache = environment.cache.as_ref();
    let folders = folders(environment).into_iter().filter(|folder| Some(folder) != cache);
    folders.map(|folder| folder.join(LOCK_FILE)).collect()
}
