//! What a compilation came to: two tables, and plain words about what falls short.

use std::collections::BTreeMap;

use nomopoly_build::manifest::{Architecture, Case, CompileOptions};
use nomopoly_build::registry::Registry;
use nomopoly_build::{Compilation, CompiledNode, Rehearsal};
use serde_json::{Value, json};

use crate::numbers::{
    bytes, check, counted, deviation, percent, printable, rate, seconds, shortened,
};
use crate::table::{Align, Table};

/// Widest that a name is in the tables.
const NAME: usize = 28;

pub fn text(compilation: &Compilation, registry: &Registry, options: &CompileOptions) -> String {
    let mut text = format!(
        "{}\n{}\nCases: honest is accepted, the others are rejected. Output/proof: f fake, r real, g generated from the fake output.\n\n{}",
        shortened(&compilation.model, 60),
        accuracies(compilation),
        errors(compilation, options),
    );
    text.push_str(
        "In brackets: upper bound with 95 % confidence. Certified: smallest relative deviation \
         that is accepted with at most that probability.\n",
    );
    text.push_str(&shortfalls(compilation, options));
    text.push('\n');
    if !compilation.replayed.is_empty() {
        text.push_str(&format!(
            "{} without an artefact, which the verifier replays:\n",
            counted(compilation.replayed.len(), "node", "nodes")
        ));
        // By kind: a transformer has hundreds of nodes that only move shapes.
        let mut alike: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for (node, kind, reason) in &compilation.replayed {
            // Reasons that name another node are one reason.
            let reason = reason.split_once(", as `").map_or(reason.as_str(), |(reason, _)| reason);
            alike.entry((kind, reason)).or_default().push(node);
        }
        for ((kind, reason), nodes) in alike {
            let more = match nodes.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            text.push_str(&format!(
                "  {kind}: {}{more}: {}\n",
                shortened(nodes[0], 40),
                shortened(reason, 60)
            ));
        }
    }
    if let Some(rehearsal) = &compilation.rehearsal {
        text.push_str(&rehearsed(rehearsal));
    }
    let trained = compilation.operations.iter().filter(|node| !node.cached).count();
    text.push_str(&format!(
        "{} in `{}`: {trained} trained, {} cached, in {}\n",
        counted(compilation.operations.len(), "operation", "operations"),
        registry.root().display(),
        compilation.operations.len() - trained,
        seconds(compilation.seconds),
    ));
    printable(&text)
}

fn rehearsed(rehearsal: &Rehearsal) -> String {
    let Rehearsal { inferences, rejected, largest, envelope, .. } = rehearsal;
    let advice = rehearsal.advice().map_or(String::new(), |advice| format!("  {advice}\n"));
    format!(
        "{rejected} of {inferences} honest inferences rejected by the whole check, transcripts moved by up to \
         a rounding; largest residual {largest:.2} of {envelope} units\n{advice}"
    )
}

/// One line for each operation that falls short, and what to do.
fn shortfalls(compilation: &Compilation, options: &CompileOptions) -> String {
    let lines: String = compilation
        .operations
        .iter()
        .map(|node| (node, misses(node, options)))
        .filter(|(_, misses)| !misses.is_empty())
        .map(|(node, misses)| format!("  {}: {}\n", shortened(&node.node, 60), misses.join("; ")))
        .collect();
    if lines.is_empty() {
        return lines;
    }
    let way_out = match options.architecture {
        Architecture::Residual => "More epochs may help: --max-epochs, --patience.",
        Architecture::Mlp => "This is the baseline: --architecture residual does better.",
    };
    format!("\nBelow what was asked for:\n{lines}{way_out}\n")
}

fn accuracies(compilation: &Compilation) -> Table {
    let mut table = Table::new(&[
        ("operation", Align::Left),
        ("entry", Align::Left),
        ("check", Align::Left),
        ("accuracy", Align::Right),
        ("honest", Align::Right),
        ("f/f", Align::Right),
        ("r/f", Align::Right),
        ("f/r", Align::Right),
        ("f/g", Align::Right),
    ]);
    for node in &compilation.operations {
        let figures = &node.metrics.figures;
        let case = |case: Case| match figures.cases.get(&case) {
            Some(rate) if rate.samples > 0 => percent(1. - rate.observed()),
            _ => "-".into(),
        };
        let mut row = vec![
            shortened(&node.node, NAME),
            shortened(&node.entry, 40),
            check(&node.metrics),
            percent(figures.accuracy),
        ];
        row.extend(Case::ALL.map(case));
        table.row(row);
    }
    table
}

fn errors(compilation: &Compilation, options: &CompileOptions) -> Table {
    let mut table = Table::new(&[
        ("operation", Align::Left),
        ("completeness error", Align::Right),
        ("soundness error", Align::Right),
        ("certified", Align::Right),
        ("with", Align::Right),
        ("epochs", Align::Right),
        ("time", Align::Right),
        ("size", Align::Right),
        ("", Align::Left),
    ]);
    for node in &compilation.operations {
        let figures = &node.metrics.figures;
        let certificate = figures.certificate.as_ref();
        table.row([
            shortened(&node.node, NAME),
            rate(&figures.completeness_error),
            rate(&figures.soundness_error),
            certificate.map_or_else(|| "none".into(), |c| deviation(c.deviation_at_soundness_bits)),
            match certificate {
                None => "-".into(),
                Some(certificate) if certificate.sketches == 0 => "never".into(),
                Some(_) => format!("2^-{}", options.soundness_bits),
            },
            figures.epochs.to_string(),
            node.seconds.map_or_else(|| "-".into(), seconds),
            bytes(node.bytes),
            if node.cached { "cached".into() } else { "trained".into() },
        ]);
    }
    table
}

/// In what a node's figures fall short of the options, in parts of a sentence.
fn misses(node: &CompiledNode, options: &CompileOptions) -> Vec<String> {
    let figures = &node.metrics.figures;
    let mut misses = vec![];
    if figures.accuracy < options.target_accuracy {
        misses.push(format!(
            "held-out accuracy {} is below the target {}",
            percent(figures.accuracy),
            percent(options.target_accuracy)
        ));
    }
    let (honest, wrong) = (&figures.completeness_error, &figures.soundness_error);
    if honest.errors > 0 {
        misses.push(format!("{} of {} honest runs were rejected", honest.errors, honest.samples));
    }
    if wrong.errors > 0 {
        misses.push(format!("{} of {} wrong outputs were accepted", wrong.errors, wrong.samples));
    }
    let certified = figures.certificate.as_ref().map(|c| c.deviation_at_soundness_bits);
    match certified {
        None => misses.push("nothing is certified".into()),
        Some(certified) if !certified.is_finite() => {
            misses.push("nothing is certified for its worst held-out input".into());
        }
        Some(certified) if certified > options.min_deviation => misses.push(format!(
            "a deviation of {} is not certified, only one of {}",
            options.min_deviation,
            deviation(certified)
        )),
        Some(_) => {}
    }
    misses
}

pub fn json(compilation: &Compilation, registry: &Registry, options: &CompileOptions) -> Value {
    let operations = compilation.operations.iter().map(|node| {
        json!({
            "node": node.node,
            "entry": node.entry,
            "cached": node.cached,
            "seconds": node.seconds,
            "bytes": node.bytes,
            "check": node.metrics.check,
            "figures": node.metrics.figures,
            "misses": misses(node, options),
        })
    });
    let replayed = compilation
        .replayed
        .iter()
        .map(|(node, kind, reason)| json!({ "node": node, "kind": kind, "reason": reason }));
    json!({
        "model": compilation.model,
        "digest": compilation.digest,
        "registry": registry.root().to_string_lossy(),
        "options": options,
        "operations": operations.collect::<Value>(),
        "replayed": replayed.collect::<Value>(),
        "notes": compilation.notes,
        "rehearsal": compilation.rehearsal,
        "seconds": compilation.seconds,
    })
}
