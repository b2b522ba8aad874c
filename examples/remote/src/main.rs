//! The command: `remote host`, `remote client`, or neither for the whole story on one machine.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use remote::child::LISTENING;
use remote::client::{Client, ClientConfig};
use remote::host::{Host, HostConfig};
use remote::model::test_images;
use remote::story;
use tracing::level_filters::LevelFilter;

/// Inference on another machine, with receipts that can be checked.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the model.
    Host {
        #[command(flatten)]
        config: Box<HostConfig>,
        /// What to log on standard error: off, error, warn, info, debug or trace.
        #[arg(long, default_value = "info")]
        log: LevelFilter,
    },
    /// Ask a host and check its answers; exits with 1 when it was caught, with 2 on errors.
    Client {
        #[command(flatten)]
        config: ClientConfig,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        None => story::tell(&mut std::io::stdout().lock()).map(|()| ExitCode::SUCCESS),
        Some(Command::Host { config, log }) => host(*config, log),
        Some(Command::Client { config }) => client(config),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn host(config: HostConfig, log: LevelFilter) -> Result<ExitCode> {
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_max_level(log).with_ansi(colours);
    subscriber.with_writer(std::io::stderr).init();
    let host = Host::start(config)?;
    let mut output = std::io::stdout();
    host.wait_for_signal(|| {
        // Whoever started this waits for the line; whoever closed its output does not.
        let _ = writeln!(output, "{LISTENING}{}", host.url()).and_then(|()| output.flush());
    })?;
    let farewell = host.stop();
    let _ = writeln!(output, "{farewell}");
    Ok(if farewell.finished { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn client(config: ClientConfig) -> Result<ExitCode> {
    let each = config.each;
    let mut client = Client::new(config)?;
    let summary = client.run(&test_images()?, false, |call, outcome| {
        if each {
            match outcome {
                Err(caught) => println!("call {call:>4}: refused: {caught}"),
                Ok((answer, checked)) => {
                    let digit = answer.output.logits.argmax().unwrap_or_default();
                    let ms = answer.took.as_secs_f64() * 1e3;
                    let checked = checked.map_or("not checked".to_owned(), |checked| {
                        format!("checked, {} bytes opened", checked.opened)
                    });
                    println!("call {call:>4}: a {digit} after {ms:.2} ms, {checked}");
                }
            }
        }
    })?;
    println!("{summary}");
    Ok(if summary.caught.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
