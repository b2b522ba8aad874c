//! Ctrl-C: the first asks a running compilation to stop, anything else ends at once.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, INTERRUPTED};

/// Shared with the signal handler.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Whether something looks at `cancel`, so that one Ctrl-C is enough to end well.
    heeded: Arc<AtomicBool>,
    cancel: Arc<AtomicBool>,
}

impl Interrupt {
    /// Installs the handler of the process.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn install(&self) -> Result<(), Failure> {
        let interrupt = self.clone();
        ctrlc::set_handler(move || interrupt.received()).map_err(|error| {
            Failure::problem(format!("cannot watch for Ctrl-C: {error}"), "try again")
        })
    }

    /// The flag for a compilation, which from here on is asked to stop before the process ends.
    pub fn heed(&self) -> Arc<AtomicBool> {
        self.heeded.store(true, Ordering::SeqCst);
        self.cancel.clone()
    }

    /// The compilation is over: Ctrl-C ends the process again.
    pub fn ignore(&self) {
        self.heeded.store(false, Ordering::SeqCst);
    }

    fn received(&self) {
        let again = self.cancel.swap(true, Ordering::SeqCst);
        if again || !self.heeded.load(Ordering::SeqCst) {
            std::process::exit(i32::from(INTERRUPTED));
        }
        // A closed standard error is no reason to fail here.
        let _ = writeln!(
            std::io::stderr(),
            "\nstopping after the step that is running; Ctrl-C again stops at once"
        );
    }
}
