//! What audits measured of an entry, in the models that use it.

use std::collections::BTreeMap;

use nomopoly_build::manifest::{Audit, AuditSettings, Defence, OperationAudit};
use nomopoly_build::registry::{EntryStatus, Registry};
use serde_json::{Value, json};

use crate::context::Context;
use crate::numbers::{counted, deviation, rate, shortened};
use crate::table::{Align, Table};

/// One use of an entry that was audited.
pub struct Audited {
    model: String,
    settings: AuditSettings,
    operation: OperationAudit,
}

/// The audited uses of an entry; where `name` is a node that uses it, that one's. What cannot be
/// read or does not count is a note: the entry itself is known all the same.
pub fn find(
    registry: &Registry,
    entry: &EntryStatus,
    name: &str,
    context: &Context,
) -> Vec<Audited> {
    let named = entry.models.iter().any(|(_, node)| node == name);
    let uses = entry.models.iter().filter(|(_, node)| !named || node == name);
    let mut audits: BTreeMap<&str, Option<Audit>> = BTreeMap::new();
    let mut audited = vec![];
    for (model, node) in uses {
        let audit = audits.entry(model).or_insert_with(|| match registry.recorded_audit(model) {
            Ok(recorded) => recorded.valid(&mut |reason| context.note(&reason)),
            Err(error) => {
                context.note(&error.to_string());
                None
            }
        });
        let Some(audit) = audit else { continue };
        let operation = audit.operations.iter().find(|operation| operation.operation == *node);
        audited.extend(operation.map(|operation| Audited {
            model: model.clone(),
            settings: audit.settings.clone(),
            operation: operation.clone(),
        }));
    }
    audited
}

pub fn json(audited: &[Audited]) -> Value {
    let uses = audited.iter().map(|Audited { model, settings, operation }| {
        json!({ "model": model, "settings": settings, "operation": operation })
    });
    uses.collect()
}

/// Two tables for each use; nothing where nothing was audited.
pub fn text(audited: &[Audited]) -> String {
    audited.iter().map(section).collect()
}

fn section(audited: &Audited) -> String {
    let Audited { model, settings, operation } = audited;
    let mut text = format!(
        "\nAudited as {} of {}: {}, inputs {}, seed {}\n",
        shortened(&operation.operation, 60),
        shortened(model, 60),
        counted(settings.samples as usize, "sample", "samples"),
        shortened(&settings.data, 60),
        settings.seed,
    );
    text.push_str(&honest(operation).indented());
    text.push_str(&attacks(operation).indented());
    text.push_str(&format!(
        "  Wrong outputs are those of a relative deviation of {} and more.\n",
        settings.min_deviation
    ));
    if let Some(sentence) = &operation.no_better_than_fixed {
        text.push_str(&format!("  {sentence}\n"));
    }
    text
}

fn honest(operation: &OperationAudit) -> Table {
    let mut table = Table::new(&[
        ("honest runs", Align::Left),
        ("input scale", Align::Right),
        ("rejected", Align::Right),
        ("largest residual", Align::Right),
    ]);
    for figures in &operation.honest {
        let Some(rejected) = figures.rejected.get(&Defence::Learned) else { continue };
        table.row([
            shortened(&figures.runtime, 24),
            figures.scale.to_string(),
            rate(rejected),
            figures.largest_residual.map_or_else(|| "-".into(), |units| format!("{units:.2}")),
        ]);
    }
    table
}

fn attacks(operation: &OperationAudit) -> Table {
    let mut table = Table::new(&[
        ("attack", Align::Left),
        ("attacker", Align::Left),
        ("wrong accepted", Align::Right),
        ("small accepted", Align::Right),
        ("largest accepted", Align::Right),
    ]);
    for figures in &operation.attacks {
        let Some(accepted) = figures.accepted.get(&Defence::Learned) else { continue };
        table.row([
            shortened(&figures.attack, 40),
            figures.attacker.to_string(),
            rate(&accepted.wrong),
            rate(&accepted.small),
            accepted.largest.map_or_else(|| "-".into(), deviation),
        ]);
    }
    table
}
