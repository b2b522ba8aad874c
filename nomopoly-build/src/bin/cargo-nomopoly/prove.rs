//! `prove`: run a compiled model once and write the proof.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nomopoly_build::load_compiled;
use nomopoly_build::runtime::dynamic::Prover;
use nomopoly_build::runtime::exchange;
use nomopoly_build::whole_file::{self, Readers};
use serde_json::json;

use crate::arguments::ProveArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::inputs;
use crate::numbers::{bytes, seconds};

pub fn run(arguments: &ProveArguments, context: &Context) -> Result<(), Failure> {
    let model = Arc::new(load_compiled(&context.registry()?, &arguments.model)?);
    let tensors = inputs::read(&arguments.inputs)?;
    let prover = Prover::new(model)?;
    let start = Instant::now();
    let proof = prover.prove(&tensors)?;
    let took = start.elapsed().as_secs_f64();
    let file = if inputs::is_npz(&arguments.out) {
        let tensors = exchange::tensors(&proof, prover.model().proved());
        inputs::npz(&arguments.out, &tensors)?
    } else {
        proof.to_bytes()?
    };
    write_whole(&arguments.out, &file)?;
    context.result(
        || {
            json!({
                "model": prover.model().graph().model().name(),
                "digest": proof.model,
                "outputs": inputs::json(&proof.outputs),
                "proof": arguments.out.to_string_lossy(),
                "bytes": file.len(),
                "seconds": took,
            })
        },
        || {
            format!(
                "{}proof of {} operations in `{}`: {}, {}\n",
                inputs::describe(&proof.outputs),
                proof.operations.len(),
                arguments.out.display(),
                bytes(file.len() as u64),
                seconds(took),
            )
        },
    )
}

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    write(path, contents, Readers::Everyone)
}

/// As [`write_whole`], a file for its owner only.
pub fn write_secret(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    write(path, contents, Readers::Owner)
}

fn write(path: &Path, contents: &[u8], readers: Readers) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::problem(
            format!("cannot write `{}`: it is a folder", path.display()),
            "give the path of a file",
        ));
    }
    whole_file::write_whole(path, contents, readers).map_err(Failure::io("write", path))
}
