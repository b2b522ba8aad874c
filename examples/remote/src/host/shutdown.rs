//! The end of a host: what asks for it, and what becomes of its promises.

use std::future::Future as _;
use std::pin::pin;
use std::task::Poll;
use std::{fmt, io};

use tokio::signal;

/// Waits for SIGINT or SIGTERM, or for the end of standard input where the host is a child. `ready` is
/// called when none of them would be missed.
///
/// # Errors
/// When the system does not let it wait for signals.
pub async fn asked_for(with_parent: bool, ready: impl FnOnce()) -> io::Result<()> {
    #[cfg(unix)]
    let terminated = {
        let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
        async move { terminate.recv().await }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    let mut interrupted = pin!(signal::ctrl_c());
    // Its handler is there once it was polled.
    let soon = std::future::poll_fn(|context| Poll::Ready(interrupted.as_mut().poll(context)));
    if let Poll::Ready(outcome) = soon.await {
        return outcome;
    }
    ready();
    let reason = tokio::select! {
        _ = terminated => "SIGTERM",
        outcome = interrupted => outcome.map(|()| "SIGINT")?,
        () = parent(), if with_parent => "the end of standard input",
    };
    tracing::info!(reason, "shutting down");
    Ok(())
}

/// The end of standard input: whoever started this process is gone, however it went.
async fn parent() {
    let (sender, ended) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait for a read that never ends.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = sender.send(());
    });
    let _ = ended.await;
}

/// What a host leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    /// Whether every running request was finished.
    pub finished: bool,
    /// Receipts that the next process on the same folder opens.
    pub kept: u64,
    /// Receipts that were in memory, and are lost before their time.
    pub lost: u64,
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = if self.finished { "finished" } else { "cut off" };
        let Self { kept, lost, .. } = self;
        write!(f, "requests {requests}; receipts: {kept} kept on disk, {lost} in memory lost")
    }
}
