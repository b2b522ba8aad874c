//! What can go wrong for a client, told apart by whose fault it is.

use std::time::Duration;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection, no answer in time, an answer that broke off or is not HTTP.
    #[error("{url}: {source}")]
    Http { url: String, source: Box<ureq::Error> },
    #[error("{url}: the answer has more than {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    /// The host's own words.
    #[error("the host refuses: {message} ({status} {error})")]
    Host { status: u16, error: String, message: String, retry_after: Option<Duration> },
    #[error("{url}: this is no answer of such a host: {reason}")]
    Answer { url: String, reason: String },
    /// The host did something that no honest host does.
    #[error(transparent)]
    Caught(#[from] Caught),
    /// This side's own trouble, such as no randomness.
    #[error(transparent)]
    Own(nomopoly::Error),
    #[error("{0}")]
    Setup(String),
}

/// What no honest host does: evidence, where a failed connection is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Caught {
    /// The receipt, the opening or what was opened is wrong.
    #[error("{0}")]
    Wrong(nomopoly::Error),
    /// What was sent for an opening is none, or of a length that no opening has.
    #[error("it opens with something else: {0}")]
    NoOpening(nomopoly::Error),
    /// The host does not open what it promised to keep. Where it had said that a restart may lose
    /// the receipt, it may be innocent; but so would say every host that has something to hide.
    #[error(
        "it promised to open this receipt for {} s more{}, and does not: {source}",
        .left.as_secs(), if *.survives_restart { "" } else { " unless it restarts" }
    )]
    Broken { left: Duration, survives_restart: bool, source: Box<ClientError> },
}

impl ClientError {
    /// What the host did wrong, if it was caught; nothing is known where there is none.
    pub fn caught(&self) -> Option<&Caught> {
        match self {
            Self::Caught(caught) => Some(caught),
            _ => None,
        }
    }
}
