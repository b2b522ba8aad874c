//! Files of what travels: proofs, receipts, challenges, openings.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::failure::Failure;
use crate::numbers::bytes;

/// The contents of a regular file of at most so many bytes.
///
/// # Errors
/// When it is none, or cannot be read.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
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
            format!("`{}` is larger than {}, more than is read", path.display(), bytes(most)),
            "ask the host to send it again, if it is no larger there",
        )
    };
    if metadata.len() > most {
        return Err(too_large());
    }
    let mut contents = vec![];
    let file = File::open(path).map_err(failed())?;
    // It may have grown since.
    file.take(most + 1).read_to_end(&mut contents).map_err(failed())?;
    if contents.len() as u64 > most { Err(too_large()) } else { Ok(contents) }
}
