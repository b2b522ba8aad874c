//! Files that nobody reads half of.

use std::io::{self, Write as _};
use std::path::Path;

/// Who may read a new file, as far as the user's settings let them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    Everyone,
    /// A secret.
    Owner,
}

/// Writes a file beside its place and renames it. A temporary file alone is for its owner only; this one
/// is for `readers`.
///
/// # Errors
/// When the folder cannot be written, the disk is full, or the place is a folder.
pub fn write_whole(path: &Path, contents: &[u8], readers: Readers) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = if readers == Readers::Everyone { 0o666 } else { 0o600 };
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = readers;
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(contents)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
