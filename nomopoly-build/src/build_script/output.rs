//! Files in `OUT_DIR`: written whole or not at all, and only when something changed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nomopoly_manifest::{BuildManifest, BuildStatus, MANIFEST_PATH, MANIFEST_SCHEMA};
use serde::{Deserialize, Serialize};

use super::directives::Directives;
use super::environment::Environment;
use super::lookup;
use crate::error::{Error, Result};
use crate::policy::Policy;

/// `OUT_DIR/nomopoly`.
pub struct Output {
    folder: PathBuf,
}

/// From what the manifest was made: while none of it changes, it need not be made again. Sources are
/// not part of it, only the models that they name: an edited source costs a search, no more.
#[derive(Serialize, Deserialize)]
struct Fingerprint {
    hash: String,
    /// Model files, external data, calibration data.
    files: Vec<PathBuf>,
    warnings: Vec<String>,
}

const FINGERPRINT: &str = "fingerprint.json";

impl Output {
    /// # Errors
    /// When `OUT_DIR` cannot be written.
    pub fn open(out_dir: &Path) -> Result<Self> {
        let manifest = out_dir.join(MANIFEST_PATH);
        let folder = manifest.parent().unwrap_or(out_dir).to_owned();
        fs::create_dir_all(&folder).map_err(|source| Error::Io {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        Ok(Self { folder })
    }

    /// Where operations are compiled when there is no other place.
    pub fn registry(&self) -> PathBuf {
        self.folder.join("ops")
    }

    /// Writes the compiled operations of a model; the path where they are.
    pub fn bundle(&self, model: &Path, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.folder.join(format!("{}.bundle", stem(model)));
        write(&path, bytes)?;
        Ok(path)
    }

    /// Writes the guarantee ledger of a model, an expression; the path where it is.
    pub fn ledger(&self, model: &Path, expression: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("ledger_{}.rs", stem(model)));
        write(&path, expression.as_bytes())?;
        Ok(path)
    }

    /// The manifest of the last build, if nothing that it was made from has changed since and
    /// every model was ready.
    pub fn unchanged(
        &self,
        key: &str,
        environment: &Environment,
        directives: &mut Directives,
    ) -> Option<BuildManifest> {
        let read = |name: &str| fs::read(self.folder.join(name)).ok();
        let fingerprint: Fingerprint = serde_json::from_slice(&read(FINGERPRINT)?).ok()?;
        if hash(key, environment, &fingerprint.files) != fingerprint.hash {
            return None;
        }
        let name = Path::new(MANIFEST_PATH).file_name()?.to_str()?;
        let manifest: BuildManifest = serde_json::from_slice(&read(name)?).ok()?;
        let sound = manifest.schema == MANIFEST_SCHEMA
            && manifest.models.iter().all(|model| match &model.status {
                BuildStatus::Ready { bundle, ledger, .. } => {
                    let files = std::iter::once(bundle).chain(ledger);
                    files.into_iter().all(|file| Path::new(file).is_file())
                }
                BuildStatus::Stub { .. } => true,
                BuildStatus::Missing { .. } | BuildStatus::Failed { .. } => false,
            });
        if !sound {
            return None;
        }
        fingerprint.files.iter().for_each(|file| directives.file(file));
        fingerprint.warnings.into_iter().for_each(|warning| directives.warn(warning));
        Some(manifest)
    }

    /// Removes the fingerprint: a build that is killed from here on starts anew.
    pub fn forget(&self) -> Result<()> {
        let path = self.folder.join(FINGERPRINT);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Io { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// A path that never exists: where Cargo is told of it, it runs the build script every time.
    pub fn absent(&self) -> PathBuf {
        self.folder.join("again")
    }

    /// Hash of the model files as they are now.
    pub fn hash_models(&self, environment: &Environment, paths: &[PathBuf]) -> String {
        let files: Vec<PathBuf> =
            paths.iter().map(|path| environment.manifest_dir.join(path)).collect();
        hash("", environment, &files)
    }

    pub fn write_manifest(&self, manifest: &BuildManifest) -> Result<()> {
        let name = Path::new(MANIFEST_PATH).file_name().unwrap_or_default();
        write(&self.folder.join(name), &json(serde_json::to_vec_pretty(manifest))?)
    }

    /// Writes from what the manifest, which is in its place, was made.
    pub fn write_fingerprint(
        &self,
        key: &str,
        environment: &Environment,
        files: Vec<PathBuf>,
        directives: &Directives,
    ) -> Result<()> {
        let fingerprint = Fingerprint {
            hash: hash(key, environment, &files),
            files,
            warnings: directives.warnings.clone(),
        };
        write(&self.folder.join(FINGERPRINT), &json(serde_json::to_vec(&fingerprint))?)
    }
}

/// Start of the names of a model's files.
fn stem(model: &Path) -> String {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let stem: String = stem.chars().map(plain).collect();
    // Two files of one stem (`a.onnx`, `a.ort`) are two models.
    let hash = blake3::hash(model.to_string_lossy().as_bytes()).to_hex();
    format!("{stem}-{}", &hash[..8])
}

fn json(value: serde_json::Result<Vec<u8>>) -> Result<Vec<u8>> {
    value.map_err(|error| Error::Build(format!("cannot write the manifest: {error}")))
}

/// Hash of the key, of the files' contents, and of the crate's policy and the lock files of its
/// registries, which may not have been there before.
fn hash(key: &str, environment: &Environment, files: &[PathBuf]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes());
    let policy = Policy::file(&environment.manifest_dir);
    let others = lookup::lock_files(environment).into_iter().chain([policy]);
    for file in files.iter().cloned().chain(others) {
        hasher.update(file.to_string_lossy().as_bytes());
        match fs::File::open(&file).and_then(|file| hasher.update_reader(file).map(drop)) {
            Ok(()) => hasher.update(&[1]),
            Err(_) => hasher.update(&[0]),
        };
    }
    hasher.finalize().to_hex().to_string()
}

/// Writes a file beside its place and renames it; equal contents are left alone, so that Cargo
/// does not build for nothing.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let failed = |source| Error::Io { action: "write", path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
