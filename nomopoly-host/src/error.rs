//! The crate's one error type. Messages name the thing and the way out.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nomopoly_runtime::Digest;

use crate::clock::millis;

/// Why an inference was not kept or a challenge not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no room, and what was promised stays.
    #[error(
        "no room for another inference: it needs {needed} bytes, {free} of {limit} are free; {}",
        way_out(*needed, *limit, *retry_after)
    )]
    Full {
        /// Bytes that were asked for.
        needed: u64,
        /// Bytes that are free where they were asked for, in memory or on disk.
        free: u64,
        /// Bytes that may be taken there.
        limit: u64,
        /// When the next inference expires, for `Retry-After`. `None` when there is none or when
        /// waiting does not help.
        retry_after: Option<Duration>,
    },
    #[error(
        "receipt {root} expired at unix time {}: it is too late to challenge it; challenge sooner, \
         or have the host keep inferences for longer",
        millis(*since) / 1000
    )]
    Expired { root: Digest, since: SystemTime },
    #[error(
        "receipt {root} is not known here: never given here, or lost with a restart because it was \
         not on disk; ask the host that gave it, or keep inferences on disk"
    )]
    Unknown { root: Digest },
    #[error(
        "{path}: {source}; the store's folder must be there, writable and on a disk with room",
        path = path.display()
    )]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is locked by another store; end the process that has it, or use another folder",
        path = path.display()
    )]
    Locked { path: PathBuf },
    #[error(
        "{path} is damaged: {reason}; its receipt cannot be opened any more; put the file back as \
         it was, or forget the receipt",
        path = path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    /// The challenge does not fit the receipt, or the inference cannot be serialised.
    #[error(transparent)]
    Proof(nomopoly_runtime::Error),
}

fn way_out(needed: u64, limit: u64, retry_after: Option<Duration>) -> String {
    match retry_after {
        _ if needed > limit => "it can never fit: raise the limit".into(),
        Some(wait) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            format!("the next one expires in {seconds} s: try again then, or raise the limits")
        }
        None => "try again when running inferences are done, or raise the limits".into(),
    }
}
