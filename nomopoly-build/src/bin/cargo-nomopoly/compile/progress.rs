//! Progress of a compilation: bars on a terminal, lines elsewhere.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use nomopoly_build::manifest::{CompileOptions, Epoch, Metrics};
use nomopoly_build::{Event, Observer};

use crate::context::Context;
use crate::numbers::{check, counted, percent, printable, seconds, shortened};

/// Told by several threads at once.
pub struct Progress {
    display: Display,
    state: Mutex<State>,
}

enum Display {
    Nothing,
    Lines,
    Bars(MultiProgress),
}

#[derive(Default)]
struct State {
    overall: Option<ProgressBar>,
    training: HashMap<String, ProgressBar>,
    missing: usize,
    finished: usize,
}

impl Progress {
    pub fn new(context: &Context) -> Self {
        let display = if context.quiet {
            Display::Nothing
        } else if context.bars() {
            Display::Bars(MultiProgress::new())
        } else {
            Display::Lines
        };
        Self { display, state: Mutex::default() }
    }

    /// Takes the bars away, also after an error.
    pub fn end(&self) {
        let mut state = self.state();
        let bars: Vec<ProgressBar> = state.training.drain().map(|(_, bar)| bar).collect();
        for bar in bars.into_iter().chain(state.overall.take()) {
            bar.finish_and_clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked leaves nothing here that another could trip over.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, text: &str) {
        let text = printable(text);
        match &self.display {
            Display::Nothing => {}
            Display::Lines => {
                let _ = writeln!(io::stderr(), "{text}");
            }
            Display::Bars(bars) => {
                let _ = bars.println(text);
            }
        }
    }

    fn planned(&self, entries: usize, missing: usize) {
        self.state().missing = missing;
        if missing == 0 {
            return self.line("every operation is in the registry already");
        }
        let Display::Bars(bars) = &self.display else {
            let entries = counted(entries, "entry", "entries");
            return self.line(&format!("{entries}, {missing} to train"));
        };
        let overall = bars.add(ProgressBar::new(entries as u64));
        overall.set_style(style("{bar:30.green} {pos}/{len} entries  {elapsed} {msg}"));
        overall.set_position((entries - missing) as u64);
        overall.enable_steady_tick(Duration::from_millis(500));
        self.state().overall = Some(overall);
    }

    fn sampling(&self, operations: usize) {
        let text =
            format!("collecting inputs of {}", counted(operations, "operation", "operations"));
        match &self.state().overall {
            Some(overall) => overall.set_message(text),
            None => self.line(&text),
        }
    }

    fn started(&self, entry: &str) {
        let Display::Bars(bars) = &self.display else { return };
        let mut state = self.state();
        let bar = bars.add(ProgressBar::new(0));
        bar.set_style(style("{prefix:36} {msg}"));
        bar.set_prefix(shortened(entry, 36));
        bar.set_message("starts");
        if let Some(overall) = &state.overall {
            overall.set_message("");
        }
        state.training.insert(entry.to_owned(), bar);
    }

    fn epoch(&self, entry: &str, epoch: &Epoch, options: &CompileOptions) {
        let Some(bar) = self.state().training.get(entry).cloned() else { return };
        if epoch.epoch == 1 {
            bar.set_length(u64::from(options.max_epochs));
            bar.set_style(style("{prefix:36} {bar:20.cyan} epoch {pos}/{len}  {msg}"));
        }
        bar.set_position(u64::from(epoch.epoch));
        let (reached, target) = (percent(epoch.mean_accuracy), percent(options.target_accuracy));
        bar.set_message(format!("held-out accuracy {reached} of {target}"));
    }

    fn finished(&self, entry: &str, metrics: &Metrics, took: f64) {
        let (finished, missing) = {
            let mut state = self.state();
            state.finished += 1;
            if let Some(bar) = state.training.remove(entry) {
                bar.finish_and_clear();
            }
            if let Some(overall) = &state.overall {
                overall.inc(1);
            }
            (state.finished, state.missing)
        };
        let figures = &metrics.figures;
        self.line(&format!(
            "[{finished}/{missing}] {entry}: {}, accuracy {} after {}, {}",
            check(metrics),
            percent(figures.accuracy),
            counted(figures.epochs as usize, "epoch", "epochs"),
            seconds(took),
        ));
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event) {
        match event {
            Event::Note(note) => self.line(&format!("note: {note}")),
            Event::Planned { entries, missing } => self.planned(*entries, *missing),
            Event::Sampling { operations } => self.sampling(*operations),
            Event::Started { entry } => self.started(entry),
            Event::Epoch { entry, epoch, options } => self.epoch(entry, epoch, options),
            Event::Finished { entry, metrics, seconds } => self.finished(entry, metrics, *seconds),
            // Later kinds of events are not for this display.
            _ => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
