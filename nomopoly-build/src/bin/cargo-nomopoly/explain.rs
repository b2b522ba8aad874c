//! `explain`: all that is known of one entry, and what it is worth; or of an audited model.

mod certificate;
mod ledger;
mod worth;

use nomopoly_build::audit::report;
use nomopoly_build::manifest::{Architecture, Attribute, Case, Check, Metrics};
use nomopoly_build::registry::{EntryStatus, Registry, expected_files, stem_of};
use serde_json::json;

use crate::arguments::ExplainArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::{bytes, check, count, percent, printable, rate, seconds, shape, shortened};
use crate::registry::entry_json;
use crate::table::{Align, Table};
use ledger::Audited;
use worth::Worth;

pub fn run(arguments: &ExplainArguments, context: &Context) -> Result<(), Failure> {
    let registry = context.registry()?;
    if registry.read_lock()?.models.contains_key(&arguments.name) {
        return model(&registry, &arguments.name, context);
    }
    let entry = find(&registry, &arguments.name)?;
    let metrics = registry.metrics(&entry.name)?;
    let audited = ledger::find(&registry, &entry, &arguments.name, context);
    context.result(
        || {
            json!({
                "entry": entry_json(&entry),
                "metrics": metrics,
                "certificate": certificate::json(&metrics),
                "audit": ledger::json(&audited),
                "files": files(&entry).iter().map(|(path, size)| json!({ "path": path, "bytes": size })).collect::<Vec<_>>(),
                "worth": worth(&metrics),
            })
        },
        || printable(&text(&entry, &metrics, &audited)),
    )
}

/// A whole model: what a check of it costs, and its ledger if it was audited.
fn model(registry: &Registry, name: &str, context: &Context) -> Result<(), Failure> {
    let lock = registry.read_lock()?;
    let entries = lock.models.get(name).into_iter().flat_map(|locked| locked.nodes.values());
    let metrics = entries.map(|entry| registry.metrics(entry)).collect::<Result<Vec<_>, _>>()?;
    let worth = Worth::of(&metrics);
    let audit = registry.recorded_audit(name)?.valid(&mut |reason| context.note(&reason));
    context.result(
        || json!({ "cost": worth.json(), "audit": &audit }),
        || {
            let audit = match &audit {
                Some(audit) => format!("{}\n", printable(&report::summary(audit))),
                None => format!(
                    "{} was not audited as it is compiled now: run `cargo nomopoly audit` on it, or \
                     name one of its operations\n",
                    printable(name)
                ),
            };
            format!("{}:\n{}\n{audit}", printable(name), worth.text())
        },
    )
}

/// The entry of a node, else the entry of this name: a node's name is never one of an entry, but
/// may well be the start of one.
fn find(registry: &Registry, name: &str) -> Result<EntryStatus, Failure> {
    let lock = registry.read_lock()?;
    let mut entries: Vec<(&String, &String)> = lock
        .models
        .iter()
        .filter_map(|(model, locked)| Some((locked.nodes.get(name)?, model)))
        .collect();
    entries.sort();
    entries.dedup_by_key(|(entry, _)| *entry);
    match entries.as_slice() {
        [] => Ok(registry.entry(name)?),
        [(entry, _)] => Ok(registry.entry(entry)?),
        several => {
            let uses = several.iter().map(|(entry, model)| format!("`{entry}` in {model}"));
            let uses = uses.collect::<Vec<_>>().join(", ");
            Err(Failure::problem(
                format!("node `{name}` has several entries: {uses}"),
                "give the name of the entry",
            ))
        }
    }
}

/// Paths and sizes of the entry's files; files that are not there are left out.
fn files(entry: &EntryStatus) -> Vec<(String, u64)> {
    let paths = expected_files(stem_of(&entry.name)).into_iter().map(|file| entry.path.join(file));
    paths
        .filter_map(|path| {
            let size = std::fs::metadata(&path).ok()?.len();
            Some((path.to_string_lossy().into_owned(), size))
        })
        .collect()
}

fn text(entry: &EntryStatus, metrics: &Metrics, audited: &[Audited]) -> String {
    let operation = &metrics.operation;
    let figures = &metrics.figures;
    let inputs = operation.input_shapes.iter().map(|s| shape(s)).collect::<Vec<_>>().join(", ");
    let attributes: Vec<String> = operation
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}={}", attribute(value)))
        .collect();
    let mut text = format!(
        "{}\n  operation    {} {inputs} -> {} ({})\n",
        entry.name,
        operation.kind,
        shape(&operation.output_shape),
        operation.dtype,
    );
    if !attributes.is_empty() {
        text.push_str(&format!("  attributes   {}\n", attributes.join(" ")));
    }
    text.push_str(&format!("  check        {}\n", check(metrics)));
    text.push_str(&format!("  options      {}\n", options(metrics)));
    let uses = entry.models.iter().map(|(model, node)| format!("{model}: {node}"));
    let uses = uses.collect::<Vec<_>>().join(", ");
    text.push_str(&format!(
        "  used by      {}\n",
        if uses.is_empty() { "no recorded model" } else { &uses }
    ));
    let cost = figures.cost;
    text.push_str(&format!(
        "  cost         {} multiply-accumulates to check, {} to recompute: {:.3} of it\n",
        count(cost.verify),
        count(cost.recompute),
        cost.verify as f64 / cost.recompute.max(1) as f64,
    ));
    let took = entry.seconds.map_or_else(String::new, |s| format!(" in {}", seconds(s)));
    text.push_str(&format!(
        "  trained      {} epochs{took}\n\nMeasured on inputs that training never saw\n",
        figures.epochs
    ));
    text.push_str(&cases(metrics).indented());
    text.push_str(&format!(
        "  mean accuracy {}; completeness error {}; soundness error {}\n\n",
        percent(figures.accuracy),
        rate(&figures.completeness_error),
        rate(&figures.soundness_error),
    ));
    text.push_str(&certificate::text(metrics));
    text.push_str(&ledger::text(audited));
    text.push_str("\nWhat it is worth\n");
    for sentence in worth(metrics) {
        text.push_str(&format!("  - {sentence}\n"));
    }
    text.push_str("\nFiles\n");
    for (path, size) in files(entry) {
        text.push_str(&format!("  {:>10}  {path}\n", bytes(size)));
    }
    text
}

fn attribute(value: &Attribute) -> String {
    match value {
        Attribute::Int(value) => value.to_string(),
        Attribute::Ints(values) => format!("{values:?}").replace(' ', ""),
        Attribute::Float(value) => value.to_string(),
        Attribute::Text(value) => shortened(value, 60),
    }
}

fn options(metrics: &Metrics) -> String {
    let o = &metrics.options;
    format!(
        "{} epochs {}-{}, patience {}, target {}, batch {}x{}, test {}, proof {} floats, {} bits \
         at {}, envelope {} units, seed {}",
        o.architecture,
        o.min_epochs,
        o.max_epochs,
        o.patience,
        percent(o.target_accuracy),
        o.batch_size,
        o.steps_per_epoch,
        o.test_samples,
        o.proof_dim,
        o.soundness_bits,
        o.min_deviation,
        o.envelope,
        o.seed,
    )
}

fn cases(metrics: &Metrics) -> Table {
    let mut table = Table::new(&[
        ("case", Align::Left),
        ("must be", Align::Left),
        ("judged rightly", Align::Right),
        ("errors", Align::Right),
    ]);
    for case in Case::ALL {
        let Some(errors) = metrics.figures.cases.get(&case) else { continue };
        table.row([
            case.label().to_owned(),
            if case == Case::Honest { "accepted".into() } else { "rejected".into() },
            percent(1. - errors.observed()),
            rate(errors),
        ]);
    }
    table
}

/// Plain sentences on who could still cheat.
fn worth(metrics: &Metrics) -> Vec<&'static str> {
    let mut sentences = match (metrics.options.architecture, metrics.check) {
        (Architecture::Mlp, _) => vec![
            "This is the baseline perceptron. Nothing is certified: the figures hold for the \
             attacks that were measured, and a host that runs the public proof generator on a \
             wrong output may well be accepted.",
        ],
        (Architecture::Residual, Check::Replay) => vec![
            "The verifier recomputes this operation. No secret is involved, so the bound holds for \
             outsiders, hosts and even those who know the verifier key.",
        ],
        (Architecture::Residual, Check::Sketch) => vec![
            "Outsider (sees traffic, has no prover) and host (has the model, the prover and the \
             trained verifier, not the key): a wrong output passes at most with the certified \
             probability, over the verifier's secret key.",
            "The certificate is that of the worst held-out input; each verdict states the certified \
             deviation of its own input, which counts.",
            "Host with accept/reject answers: each answer may tell it something of the key, and the \
             bound does not cover that. Change the key often.",
            "White box (knows the key): can forge. The proof is for its own verifier; it convinces \
             nobody else, since anyone with the key could have made it.",
        ],
    };
    if metrics.figures.certificate.is_some() {
        sentences.push(
            "Deviations smaller than the certified one may pass: floats are compared within \
             rounding.",
        );
    }
    sentences.push("Not zero-knowledge: a transcript reveals intermediate results.");
    sentences
}
