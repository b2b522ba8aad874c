//! What was measured, kept in files, so that an audit that was stopped goes on from there.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A folder with one file for each piece of work that was done. A piece's name and everything that
/// its figures depend on are in the file's name, so that other settings never read it.
pub struct Parts {
    folder: PathBuf,
    context: String,
}

impl Parts {
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, context: &str) -> Result<Self> {
        let folder = folder.join("parts");
        fs::create_dir_all(&folder).map_err(|source| Error::Io {
            action: "create",
            path: folder.clone(),
            source,
        })?;
        Ok(Self { folder, context: context.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        let hash = blake3::hash(format!("{}\n{name}", self.context).as_bytes());
        self.folder.join(format!("{}.part", &hash.to_hex()[..32]))
    }

    /// What was measured, if it is there and whole.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let bytes = fs::read(self.path(name)).ok()?;
        let (hash, contents) = bytes.split_at_checked(blake3::OUT_LEN)?;
        if blake3::hash(contents).as_bytes() != hash {
            return None;
        }
        postcard::from_bytes(contents).ok()
    }

    /// Keeps what was measured; the file appears whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put<T: Serialize>(&self, name: &str, measured: &T) -> Result<()> {
        let path = self.path(name);
        let failed = |source| Error::Io { action: "write", path: path.clone(), source };
        let contents = postcard::to_stdvec(measured)
            .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        file.write_all(blake3::hash(&contents).as_bytes()).map_err(failed)?;
        file.write_all(&contents).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_under_their_own_name_and_settings_alone() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::open(folder.path(), "a").unwrap();
        parts.put("x", &vec![1.5f64, f64::INFINITY]).unwrap();
        assert_eq!(parts.get::<Vec<f64>>("x"), Some(vec![1.5, f64::INFINITY]));
        assert_eq!(parts.get::<Vec<f64>>("y"), None);
        let other = Parts::open(folder.path(), "b").unwrap();
        assert_eq!(other.get::<Vec<f64>>("x"), None);
    }

    #[test]
    fn a_damaged_part_is_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::open(folder.path(), "a").unwrap();
        parts.put("x", &7u32).unwrap();
        let path = parts.path("x");
        let bytes = fs::read(&path).unwrap();
        for damaged in [&bytes[..bytes.len() - 1], &bytes[1..], &[]] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(parts.get::<u32>("x"), None);
        }
    }
}
