//! Progress of an audit: a bar on a terminal, lines elsewhere.

use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nomopoly_build::audit::{AuditEvent, AuditObserver};

use crate::context::Context;
use crate::numbers::{counted, printable, seconds, shortened};

/// Told by several threads at once.
pub struct Progress {
    quiet: bool,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: usize,
    done: usize,
    running: Vec<String>,
}

impl Progress {
    pub fn new(context: &Context) -> Self {
        let bar = context.bars().then(|| {
            let bar = ProgressBar::new(0);
            let template = "{bar:30.green} {pos}/{len}  {elapsed}  {msg}";
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_message("collecting inputs of the operations");
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Self { quiet: context.quiet, bar, state: Mutex::default() }
    }

    /// Takes the bar away, also after an error.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked leaves nothing here that another could trip over.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        if !self.quiet && self.bar.is_none() {
            let _ = writeln!(io::stderr(), "{}", printable(text));
        }
    }

    fn show(&self, state: &State) {
        if let Some(bar) = &self.bar {
            bar.set_message(shortened(&state.running.join("; "), 60));
        }
    }
}

impl AuditObserver for Progress {
    fn event(&self, event: &AuditEvent) {
        let mut state = self.state();
        match event {
            AuditEvent::Planned { pieces, done } => {
                (state.pieces, state.done) = (*pieces, *done);
                if let Some(bar) = &self.bar {
                    bar.set_length(*pieces as u64);
                    bar.set_position(*done as u64);
                }
                let all = counted(*pieces, "piece of work", "pieces of work");
                self.line(&format!("{all}, {done} done by an earlier run"));
            }
            AuditEvent::Started { what } => {
                state.running.push((*what).to_owned());
                self.show(&state);
            }
            AuditEvent::Finished { what, seconds: took } => {
                state.done += 1;
                state.running.retain(|running| running != what);
                self.show(&state);
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                }
                self.line(&format!("[{}/{}] {what}, {}", state.done, state.pieces, seconds(*took)));
            }
            // Later kinds of events are not for this display.
            _ => {}
        }
    }
}
