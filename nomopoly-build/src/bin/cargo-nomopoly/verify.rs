//! `verify`: check a proof with a fresh secret key.

use std::io::IsTerminal as _;
use std::time::Instant;

use candle_core::Device;
use nomopoly_build::load_compiled;
use nomopoly_build::runtime::dynamic::Verifier;
use nomopoly_build::runtime::{Proof, Report, VerifierKey};
use serde_json::json;

use crate::arguments::VerifyArguments;
use crate::context::{Context, colour};
use crate::failure::Failure;
use crate::inputs;
use crate::numbers::{deviation, printable, seconds, shortened};
use crate::table::{Align, Table};
use crate::wire_file;

/// Largest proof file that is read.
const MAX_PROOF_BYTES: u64 = 4 << 30;

pub fn run(arguments: &VerifyArguments, context: &Context) -> Result<(), Failure> {
    let model = load_compiled(&context.registry()?, &arguments.model)?;
    let tensors = inputs::read(&arguments.inputs)?;
    let verifier = Verifier::new(&model, &VerifierKey::random()?, &Device::Cpu)?;
    let proof = if inputs::is_npz(&arguments.proof) {
        verifier.proof_of(&tensors, inputs::arrays(&arguments.proof)?)?
    } else {
        Proof::from_bytes(&wire_file::read(&arguments.proof, MAX_PROOF_BYTES)?)?
    };
    let start = Instant::now();
    let report = verifier.inspect(&tensors, &proof)?;
    let took = start.elapsed().as_secs_f64();
    let accepted = report.accepted();
    context.result(
        || {
            json!({
                "accepted": accepted,
                "reason": report.reason(),
                "model": verifier.outline().name,
                "digest": report.model,
                "operations": report.operations,
                // Outputs that were refused are nobody's result.
                "outputs": accepted.then(|| inputs::json(&proof.outputs)),
                "seconds": took,
            })
        },
        || {
            let outputs = if accepted { inputs::describe(&proof.outputs) } else { String::new() };
            format!(
                "{}: {}, {}\n\n{}\
                 Residual: largest, in rounding units. Certified: smallest relative deviation \
                 that this check\ncertifiably rejects at the soundness bits of its entry; \
                 recomputed nodes claim nothing.\n\n{outputs}",
                verdict(accepted),
                printable(&report.reason()),
                seconds(took),
                table(&report)
            )
        },
    )?;
    if accepted { Ok(()) } else { Err(Failure::Negative) }
}

/// `ACCEPTED` or `REJECTED`, coloured on a terminal.
pub fn verdict(accepted: bool) -> String {
    use clap_cargo::style::{ERROR, GOOD};
    let (word, style) = if accepted { ("ACCEPTED", GOOD) } else { ("REJECTED", ERROR) };
    if colour(std::io::stdout().is_terminal()) {
        format!("{style}{word}{style:#}")
    } else {
        word.to_owned()
    }
}

fn table(report: &Report) -> Table {
    let mut table = Table::new(&[
        ("operation", Align::Left),
        ("kind", Align::Left),
        ("checked by", Align::Left),
        ("verdict", Align::Left),
        ("score", Align::Right),
        ("residual", Align::Right),
        ("certified", Align::Right),
        ("reason", Align::Left),
    ]);
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.3}"));
    for operation in &report.operations {
        table.row([
            shortened(&operation.operation, 40),
            shortened(&operation.kind, 20),
            operation.checked_by.to_string(),
            if operation.accepted { "accepted".into() } else { "rejected".into() },
            number(operation.score),
            operation.residual.map_or_else(|| "-".into(), residual),
            operation.certified_deviation.map_or_else(|| "-".into(), deviation),
            shortened(operation.reason.as_deref().unwrap_or(""), 80),
        ]);
    }
    table
}

/// Rounding units, with as many digits as say something.
fn residual(residual: f64) -> String {
    if residual < 1e4 { format!("{residual:.2}") } else { format!("{residual:.2e}") }
}
