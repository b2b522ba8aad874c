//! `list` and `gc`: what the registry holds, and what it need not hold.

use nomopoly_build::manifest::Architecture;
use nomopoly_build::registry::{EntryStatus, Filter, Registry, State};
use serde_json::{Value, json};

use crate::arguments::{GcArguments, ListArguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::numbers::{bytes, counted, deviation, percent, percent_below, seconds, shortened};
use crate::table::{Align, Table};

pub fn list(arguments: &ListArguments, context: &Context) -> Result<(), Failure> {
    let registry = context.registry()?;
    if arguments.pending {
        return pending(&registry, context);
    }
    let filter = Filter {
        min_accuracy: arguments.min_accuracy,
        min_certified_bits: arguments.min_certified_bits,
    };
    let filtered = filter != Filter::default();
    let entries = if filtered { registry.select(&filter)? } else { registry.entries()? };
    context.result(
        || {
            json!({
                "registry": registry.root().to_string_lossy(),
                "entries": entries.iter().map(entry_json).collect::<Value>(),
            })
        },
        || table(&registry, &entries, filtered),
    )
}

/// An entry for JSON.
pub fn entry_json(entry: &EntryStatus) -> Value {
    let missing = match &entry.state {
        State::Incomplete { missing } => missing.clone(),
        _ => vec![],
    };
    let uses = entry.models.iter().map(|(model, node)| json!({ "model": model, "node": node }));
    json!({
        "entry": entry.name,
        "path": entry.path.to_string_lossy(),
        "state": state(&entry.state),
        "missing": missing,
        "locked": entry.locked,
        "seconds": entry.seconds,
        "bytes": entry.bytes,
        "used_by": uses.collect::<Value>(),
    })
}

fn state(state: &State) -> &'static str {
    match state {
        State::Compiled => "compiled",
        State::Incomplete { .. } => "incomplete",
        State::Unrecorded => "not recorded",
    }
}

fn table(registry: &Registry, entries: &[EntryStatus], filtered: bool) -> String {
    let root = registry.root().display();
    if entries.is_empty() {
        return if filtered {
            format!("no compiled entry of `{root}` passes the filter\n")
        } else {
            format!("`{root}` holds no entries; `cargo nomopoly compile MODEL` makes them\n")
        };
    }
    let mut table = Table::new(&[
        ("entry", Align::Left),
        ("state", Align::Left),
        ("check", Align::Left),
        ("accuracy", Align::Right),
        ("completeness", Align::Right),
        ("soundness", Align::Right),
        ("bits", Align::Right),
        ("certified", Align::Right),
        ("time", Align::Right),
        ("size", Align::Right),
        ("used by", Align::Left),
    ]);
    for entry in entries {
        let figures = entry.locked.as_ref().map(|locked| &locked.figures);
        let cell = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        table.row([
            shortened(&entry.name, 40),
            state(&entry.state).into(),
            cell(figures.map(|f| {
                if is_baseline(registry, entry) { "baseline".into() } else { f.check.to_string() }
            })),
            cell(figures.map(|f| percent(f.accuracy))),
            cell(figures.map(|f| format!("< {}", percent_below(f.completeness_error_upper_95)))),
            cell(figures.map(|f| format!("< {}", percent_below(f.soundness_error_upper_95)))),
            // Rounded down: a certificate is never shown stronger than it is.
            cell(
                figures
                    .and_then(|f| f.certified_bits)
                    .map(|b| format!("{:.1}", (b * 10.).floor() / 10.)),
            ),
            cell(figures.and_then(|f| f.certified_deviation).map(deviation)),
            cell(entry.seconds.map(seconds)),
            bytes(entry.bytes),
            uses(entry),
        ]);
    }
    let total = entries.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.bytes));
    format!(
        "{table}\n{} in `{root}`, {}. Completeness and soundness error: upper bounds with 95 % confidence; bits: certified\n\
         at the option min_deviation; certified: smallest relative deviation at the option soundness_bits.\n",
        counted(entries.len(), "entry", "entries"),
        bytes(total),
    )
}

/// Whether this is a baseline perceptron, which certifies nothing. The lock does not say.
fn is_baseline(registry: &Registry, entry: &EntryStatus) -> bool {
    let certified = entry.locked.as_ref().is_some_and(|l| l.figures.certified_deviation.is_some());
    let metrics = || registry.metrics(&entry.name);
    !certified && metrics().is_ok_and(|m| m.options.architecture == Architecture::Mlp)
}

fn uses(entry: &EntryStatus) -> String {
    match entry.models.as_slice() {
        [] => "-".into(),
        [(model, node)] => shortened(&format!("{model}: {node}"), 40),
        [(model, node), rest @ ..] => {
            format!("{} and {} more", shortened(&format!("{model}: {node}"), 28), rest.len())
        }
    }
}

fn pending(registry: &Registry, context: &Context) -> Result<(), Failure> {
    let pending = registry.pending()?;
    let json = || {
        let models = pending.iter().map(|model| {
            let nodes =
                model.nodes.iter().map(|(node, entry)| json!({ "node": node, "entry": entry }));
            json!({ "model": model.model, "nodes": nodes.collect::<Value>() })
        });
        json!({ "registry": registry.root().to_string_lossy(), "pending": models.collect::<Value>() })
    };
    let text = || {
        if pending.is_empty() {
            return format!("nothing is pending in `{}`\n", registry.root().display());
        }
        let mut table =
            Table::new(&[("model", Align::Left), ("node", Align::Left), ("entry", Align::Left)]);
        for model in &pending {
            for (node, entry) in &model.nodes {
                table.row([shortened(&model.model, 40), shortened(node, 60), shortened(entry, 60)]);
            }
        }
        format!("{table}\n`cargo nomopoly compile MODEL` makes what is missing\n")
    };
    context.result(json, text)
}

pub fn gc(arguments: &GcArguments, context: &Context) -> Result<(), Failure> {
    let registry = context.registry()?;
    let removed = registry.gc(arguments.dry_run)?;
    let json = || {
        json!({
            "registry": registry.root().to_string_lossy(),
            "dry_run": arguments.dry_run,
            "removed": &removed,
        })
    };
    let text = || {
        let root = registry.root().display();
        if removed.is_empty() {
            return format!("nothing to remove in `{root}`\n");
        }
        let audits = removed.iter().filter(|name| name.starts_with("audits/")).count();
        let parts = [(removed.len() - audits, "folder", "folders"), (audits, "audit", "audits")];
        let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
        let parts: Vec<String> = parts.map(|(n, one, many)| counted(n, one, many)).collect();
        let what = parts.join(" and ");
        let mut text = if arguments.dry_run {
            format!("would remove {what} from `{root}`:\n")
        } else {
            format!("removed {what} from `{root}`:\n")
        };
        for name in &removed {
            text.push_str(&format!("  {}\n", shortened(name, 120)));
        }
        text
    };
    context.result(json, text)
}
