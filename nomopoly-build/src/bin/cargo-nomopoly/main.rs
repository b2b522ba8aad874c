//! The command `cargo nomopoly`: scan, compile and check models, prove and verify inferences.
//!
//! | file | subject |
//! | --- | --- |
//! | `arguments.rs`, `compile_options.rs` | what the user may say |
//! | `context.rs`, `failure.rs`, `interrupt.rs` | output, errors and exit codes, Ctrl-C |
//! | `table.rs`, `numbers.rs` | text for people |
//! | `package.rs`, `init.rs`, `vendor.rs` | a Cargo package and its models |
//! | `scan.rs`, `compile/`, `registry.rs`, `explain.rs`, `check.rs` | models and the registry |
//! | `audit/` | what proofs are worth |
//! | `inputs.rs`, `prove.rs`, `verify.rs`, `show.rs`, `wire_file.rs` | one inference |
//! | `export.rs` | ONNX files for other runtimes |
//! | `demo/` | everything once, with a cheating host |
#![forbid(unsafe_code)]

mod arguments;
mod audit;
mod check;
mod compile;
mod compile_options;
mod context;
mod demo;
mod explain;
mod export;
mod failure;
mod init;
mod inputs;
mod interrupt;
mod numbers;
mod package;
mod prove;
mod registry;
mod scan;
mod show;
mod table;
mod vendor;
mod verify;
mod wire_file;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};
use context::Context;
use failure::Failure;

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(without_subcommand_name(std::env::args_os().collect()));
    let context = Context::new(&arguments.global);
    match run(arguments.command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            context.report(&failure);
            failure.exit_code()
        }
    }
}

/// Cargo runs `cargo nomopoly scan` as `cargo-nomopoly nomopoly scan`.
fn without_subcommand_name(mut arguments: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    if arguments.get(1).is_some_and(|first| first == "nomopoly") {
        arguments.remove(1);
    }
    arguments
}

fn run(command: Command, context: &Context) -> Result<(), Failure> {
    context.watch_interrupts()?;
    match command {
        Command::Init(arguments) => init::run(&arguments, context),
        Command::Audit(arguments) => audit::run(&arguments, context),
        Command::Vendor(arguments) => vendor::run(&arguments, context),
        Command::Scan(arguments) => scan::run(&arguments, context),
        Command::Compile(arguments) => compile::run(&arguments, context),
        Command::List(arguments) => registry::list(&arguments, context),
        Command::Explain(arguments) => explain::run(&arguments, context),
        Command::Check(arguments) => check::run(&arguments, context),
        Command::Gc(arguments) => registry::gc(&arguments, context),
        Command::Prove(arguments) => prove::run(&arguments, context),
        Command::Verify(arguments) => verify::run(&arguments, context),
        Command::Export(arguments) => export::run(&arguments, context),
        Command::Key(arguments) => export::key(&arguments, context),
        Command::Show(arguments) => show::run(&arguments, context),
        Command::Demo(arguments) => demo::run(&arguments, context),
    }
}
