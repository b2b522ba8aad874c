//! Where results, progress and errors go.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use nomopoly_build::registry::Registry;
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::arguments::{Format, Global};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::numbers::printable;

/// The global options at work.
pub struct Context {
    root: Option<PathBuf>,
    pub quiet: bool,
    pub json: bool,
    pub interrupt: Interrupt,
}

impl Context {
    pub fn new(global: &Global) -> Self {
        let level = if global.quiet { tracing::Level::ERROR } else { tracing::Level::WARN };
        // What our own crates warn of concerns the user; what engines log does not.
        let ours = tracing_subscriber::filter::Targets::new()
            .with_target("nomopoly_build", level)
            .with_target("nomopoly_runtime", level);
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(colour(io::stderr().is_terminal()))
            .without_time()
            .with_target(false);
        // Fails only where a subscriber is set already, and then that one serves.
        let _ = tracing_subscriber::registry().with(layer).with(ours).try_init();
        Self {
            root: global.registry.clone(),
            quiet: global.quiet,
            json: global.format == Format::Json,
            interrupt: Interrupt::default(),
        }
    }

    pub fn watch_interrupts(&self) -> Result<(), Failure> {
        self.interrupt.install()
    }

    /// The registry of the global option, which need not exist yet.
    ///
    /// # Errors
    /// When its path cannot be a folder.
    pub fn registry(&self) -> Result<Registry, Failure> {
        self.registry_of(Path::new(""))
    }

    /// The registry of the global option, else the `ops` in this folder.
    ///
    /// # Errors
    /// As [`Context::registry`].
    pub fn registry_of(&self, folder: &Path) -> Result<Registry, Failure> {
        match &self.root {
            Some(root) => self.registry_at(root),
            None => self.registry_at(&folder.join("ops")),
        }
    }

    pub fn registry_at(&self, root: &Path) -> Result<Registry, Failure> {
        let cannot = |reason: String| {
            Failure::problem(
                format!("`{}` cannot be the registry: {reason}", root.display()),
                "set --registry or NOMOPOLY_REGISTRY to a folder",
            )
        };
        match std::fs::metadata(root) {
            Ok(metadata) if !metadata.is_dir() => return Err(cannot("it is not a folder".into())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot(error.to_string()));
            }
            _ => {}
        }
        let quiet = self.quiet;
        Ok(Registry::open(root).with_waiting(move |path| {
            if !quiet {
                let path = path.display();
                let _ = writeln!(io::stderr(), "waiting for another build, which holds `{path}`");
            }
        }))
    }

    /// Writes the result of a command. Whoever closed the pipe has read enough.
    ///
    /// # Errors
    /// When standard output takes nothing for another reason, for example a full disk.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::problem(
                format!("cannot write to standard output: {error}"),
                "free some space, or send the output elsewhere",
            )),
            _ => Ok(()),
        }
    }

    /// Writes a result in the format that was asked for.
    pub fn result(
        &self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json { self.print(&document(&json())) } else { self.print(&text()) }
    }

    /// Something to know beside the result.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "note: {}", printable(text));
        }
    }

    /// Whether progress bars make sense.
    pub fn bars(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Tells of an error, in one line or two unless a person is looking.
    pub fn report(&self, failure: &Failure) {
        if matches!(failure, Failure::Negative) {
            return;
        }
        let message = printable(&failure.to_string());
        if self.json {
            let error = serde_json::json!({ "error": message, "help": failure.help() });
            // The error itself is told below.
            let _ = self.print(&document(&error));
        }
        let mut text = String::new();
        if io::stderr().is_terminal() {
            let theme = if colour(true) {
                miette::GraphicalTheme::unicode()
            } else {
                miette::GraphicalTheme::unicode_nocolor()
            };
            let clean = match failure {
                Failure::Problem { help, .. } => Failure::Problem { message, help: help.clone() },
                Failure::Usage { .. } => Failure::Usage { message },
                Failure::Negative | Failure::Interrupted => Failure::Interrupted,
            };
            // Writing to a string does not fail.
            let _ = miette::GraphicalReportHandler::new_themed(theme)
                .with_width(100)
                .with_break_words(false)
                .render_report(&mut text, &clean);
        } else {
            text = format!("error: {message}\n");
            if let Some(help) = failure.help() {
                text.push_str(&format!("  help: {help}\n"));
            }
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// One JSON document with a newline after it.
fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Whether to colour, see <https://no-color.org>.
pub fn colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
