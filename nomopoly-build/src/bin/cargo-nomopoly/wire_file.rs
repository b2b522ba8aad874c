//! Files of what travels: proofs, receipts, challenges, openings.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::failure::Failure;

/// Largest file that is read.
const MAX_BYTES: u64 = 4 << 30;

/// The contents of a regular file of at most 4 GiB.
///
/// # Errors
/// When it is none, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = || Failure::io("read", path);
    let metadata = std::fs::metadata(path).map_err(failed())?;
    if !metadata.is_file() {
        return Err(Failure::problem(
            format!("cannot read `{}`: it is not a regular file", path.display()),
            "give the path of a file that a host sent",
        ));
    }
    let too_large = || {
        Failure::problem(
            format!("`{}` is larger than 4 GiB, which no proof is", path.display()),
            "ask the host to send it again",
        )
    };
    if metadata.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = vec![];
    let file = File::open(path).map_err(failed())?;
    // It may have grown since.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed())?;
    if bytes.len() as u64 > MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
}
