//! `export` and `key`: a compiled model as ONNX files that any ONNX runtime hosts.

use nomopoly_build::export::model::{self, Interface, Options};
use nomopoly_build::load_compiled;
use nomopoly_build::runtime::VerifierKey;
use serde_json::json;

use crate::arguments::{ExportArguments, KeyArguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::inputs;
use crate::numbers::{bytes, printable};
use crate::prove::write_secret;
use crate::table::{Align, Table};

pub fn run(arguments: &ExportArguments, context: &Context) -> Result<(), Failure> {
    if arguments.check {
        return check(arguments, context);
    }
    let registry = context.registry()?;
    let compiled = load_compiled(&registry, &arguments.model)?;
    let name = compiled.graph().model().name();
    let audit = registry.recorded_audit(name)?.valid(&mut |reason| context.note(&reason));
    let key = arguments.bake_key.then(VerifierKey::random).transpose()?;
    let options = Options { bake: key.as_ref(), audit: audit.as_ref(), ..Options::default() };
    let exported = model::export(&compiled, &options)?;
    exported.write(&arguments.out)?;
    report(&exported.interface, arguments, context)
}

/// Whether a folder holds what was exported, and of the model as it is compiled now.
fn check(arguments: &ExportArguments, context: &Context) -> Result<(), Failure> {
    let interface = model::check_folder(&arguments.out)?;
    let compiled = load_compiled(&context.registry()?, &arguments.model)?;
    let model = &interface.model;
    let (digest, operations) = model::digests(&compiled);
    if (model.digest, model.operations) != (digest, operations) {
        return Err(Failure::problem(
            format!(
                "the files in `{}` are of another model or compilation than `{}` is now: they name \
                 digests {} and {}, it has {digest} and {operations}",
                arguments.out.display(),
                arguments.model.display(),
                model.digest,
                model.operations,
            ),
            "export the model again, and give the new verifier to every client",
        ));
    }
    report(&interface, arguments, context)
}

fn report(
    interface: &Interface,
    arguments: &ExportArguments,
    context: &Context,
) -> Result<(), Failure> {
    context.result(
        || json!({ "folder": arguments.out.to_string_lossy(), "export": interface }),
        || {
            let mut table = Table::new(&[
                ("file", Align::Left),
                ("size", Align::Right),
                ("who has it", Align::Left),
            ]);
            for (name, file) in &interface.files {
                let whose = match name.split('.').next() {
                    Some("prover") => "the host",
                    Some("verifier") if interface.secret => "the client alone: SECRET, holds a key",
                    Some("verifier") => "the client; public",
                    _ => "the client; public, holds the weights",
                };
                table.row([name.clone(), bytes(file.bytes), whose.to_owned()]);
            }
            let secret = if interface.secret {
                "\nverifier.onnx holds a verifier key: whoever reads it can forge proofs that it \
                 accepts. Keep it\nas secret as a password, and never on the host.\n"
            } else {
                "\nThe key is an input of verifier.onnx: draw one with key.onnx or `cargo nomopoly key`, \
                 and keep it\nfrom the host.\n"
            };
            format!(
                "{} in `{}`, operator set {}:\n\n{table}{secret}",
                printable(&interface.model.name),
                arguments.out.display(),
                interface.opset,
            )
        },
    )
}

/// Draws a fresh secret and writes the key's tensors.
pub fn key(arguments: &KeyArguments, context: &Context) -> Result<(), Failure> {
    let compiled = load_compiled(&context.registry()?, &arguments.model)?;
    let tensors = model::key_tensors(&compiled, &VerifierKey::random()?)?;
    let file = inputs::npz(&arguments.out, &tensors)?;
    write_secret(&arguments.out, &file)?;
    context.result(
        || json!({ "key": arguments.out.to_string_lossy(), "tensors": tensors.len(), "bytes": file.len() }),
        || {
            format!(
                "a fresh key of {} tensors in `{}`, {}: SECRET, for the verifier alone. After a \
                 rejection draw another.\n",
                tensors.len(),
                arguments.out.display(),
                bytes(file.len() as u64),
            )
        },
    )
}
