//! The figures put together: one ledger per node, one for the model.

use std::collections::BTreeMap;

use nomopoly_manifest::{
    Architecture, AttackFigures, Check, CheckCost, CheckedHow, Defence, OperationAudit, Rate,
    WholeModelAudit,
};
use nomopoly_runtime::artefact::Network;
use nomopoly_runtime::residual::check_cost;
use nomopoly_runtime::{CompiledModel, CompiledOperation, NamedTensor};

use super::subject::Subject;
use super::whole::Whole;
use super::work::{Measured, Results};
use crate::error::Result;
use crate::statistics::rate;

/// The ledger of every node that computes something, in the model's order.
pub fn operations(
    model: &CompiledModel,
    subjects: &[Subject],
    results: &Results,
    order: &[&str],
) -> Vec<OperationAudit> {
    let names: Vec<&str> = model.proved().map(|compiled| compiled.operation.output()).collect();
    let nodes = model.outline().nodes.iter().filter_map(|node| Some((node.outputs.first()?, node)));
    nodes
        .map(|(name, node)| {
            // What the verifier computes itself, until more is known of it.
            let mut audit = OperationAudit {
                operation: name.clone(),
                kind: node.kind.clone(),
                checked: CheckedHow::Recomputed,
                entry: None,
                certificate: None,
                cost: None,
                bytes: 0,
                honest: vec![],
                attacks: vec![],
                agreement: vec![],
                no_better_than_fixed: None,
            };
            let place = subjects.iter().position(|s| s.operation().output() == name);
            let Some(place) = place else { return audit };
            let compiled = &subjects[place].compiled;
            let header = &compiled.artefact.header;
            let claimed = names.contains(&name.as_str());
            audit.checked = checked(compiled, claimed);
            audit.entry = Some(header.entry.clone());
            audit.certificate.clone_from(&header.certificate);
            audit.cost = Some(cost(compiled));
            audit.bytes = bytes(compiled, claimed);
            for (piece, measured) in results {
                match measured {
                    Measured::Attacks(figures) if piece.subject == Some(place) => {
                        audit.attacks.extend(figures.iter().cloned());
                    }
                    Measured::Agreement(points) if piece.subject == Some(place) => {
                        audit.agreement.clone_from(points);
                    }
                    Measured::Honest(honest) => {
                        let own = honest.operations.get(place);
                        audit.honest.extend(own.into_iter().flatten().cloned());
                    }
                    _ => {}
                }
            }
            audit.attacks = merged(audit.attacks, order);
            audit.no_better_than_fixed = no_better(&audit);
            audit
        })
        .collect()
}

/// The ledger of the model.
///
/// # Errors
/// When the model cannot be run once, to see how long a proof is.
pub fn whole(
    model: &CompiledModel,
    whole: &Whole,
    results: &Results,
    inputs: &dyn Fn(usize) -> Result<Vec<NamedTensor>>,
) -> Result<WholeModelAudit> {
    let inputs = inputs(0)?;
    let proof = whole.prove(&inputs, &whole.tract(&inputs)?)?;
    let mut ledger = WholeModelAudit {
        honest: vec![],
        attacks: vec![],
        drift: vec![],
        proof_bytes: proof.to_bytes()?.len() as u64,
        cost: CheckCost { recompute: 0, verify: 0 },
    };
    for compiled in model.operations() {
        let cost = cost(compiled);
        ledger.cost.recompute += cost.recompute;
        ledger.cost.verify += cost.verify;
    }
    for (piece, measured) in results {
        match measured {
            Measured::Attacks(figures) if piece.subject.is_none() => {
                ledger.attacks.extend(figures.iter().cloned());
            }
            Measured::Honest(honest) => ledger.honest.extend(honest.whole.iter().cloned()),
            Measured::Drift(points) => ledger.drift.extend(points.iter().cloned()),
            _ => {}
        }
    }
    Ok(ledger)
}

fn checked(compiled: &CompiledOperation, claimed: bool) -> CheckedHow {
    let header = &compiled.artefact.header;
    match (header.options.architecture, header.check) {
        (Architecture::Mlp, _) => CheckedHow::Unverified,
        (_, Check::Sketch) => CheckedHow::Sketch,
        (_, Check::Replay) if claimed => CheckedHow::Replay,
        (_, Check::Replay) => CheckedHow::Recomputed,
    }
}

fn cost(compiled: &CompiledOperation) -> CheckCost {
    let header = &compiled.artefact.header;
    let verify = match &compiled.artefact.network {
        Network::Mlp(mlp) => mlp.cost(),
        Network::Residual(_) => check_cost(&compiled.operation, header.check, header.sketches),
    };
    CheckCost { recompute: compiled.operation.recompute_cost(), verify }
}

fn bytes(compiled: &CompiledOperation, claimed: bool) -> u64 {
    let revealed =
        if compiled.in_transcript() { compiled.operation.spec().output_len() } else { 0 };
    let vector = if claimed { compiled.artefact.generator.proof_dim() } else { 0 };
    4 * (revealed + vector) as u64
}

/// Attacks in the order of the suite; what was measured on one verifier at a time is put beside
/// what was measured on the others in the same setting.
fn merged(figures: Vec<AttackFigures>, order: &[&str]) -> Vec<AttackFigures> {
    let mut merged: Vec<AttackFigures> = vec![];
    for one in figures {
        let same = merged.iter_mut().find(|other| {
            other.attack == one.attack
                && other.attacker == one.attacker
                && other.setting == one.setting
                && other.accepted.keys().all(|defence| !one.accepted.contains_key(defence))
        });
        match same {
            Some(other) => other.accepted.extend(one.accepted),
            None => merged.push(one),
        }
    }
    let place = |attack: &AttackFigures| order.iter().position(|name| *name == attack.attack);
    merged.sort_by_key(place);
    merged
}

/// Says so where the compiled verifier is no better than a fixed threshold on the same residuals.
fn no_better(audit: &OperationAudit) -> Option<String> {
    let mut sums: BTreeMap<Defence, (Rate, Rate)> = BTreeMap::new();
    for defence in [Defence::Learned, Defence::FixedThreshold] {
        let honest = audit.honest.iter().filter_map(|figures| figures.rejected.get(&defence));
        // Both must have been tried on the same claims.
        let both = audit.attacks.iter().filter(|attack| {
            attack.accepted.contains_key(&Defence::Learned)
                && attack.accepted.contains_key(&Defence::FixedThreshold)
        });
        let wrong = both.filter_map(|attack| attack.accepted.get(&defence)).map(|a| &a.wrong);
        sums.insert(defence, (sum(honest), sum(wrong)));
    }
    let (learned, fixed) = (sums.get(&Defence::Learned)?, sums.get(&Defence::FixedThreshold)?);
    if learned.0.samples + learned.1.samples == 0 || fixed.0.samples + fixed.1.samples == 0 {
        return None;
    }
    if learned.0.errors < fixed.0.errors || learned.1.errors < fixed.1.errors {
        return None;
    }
    let list = |rates: &(Rate, Rate)| {
        format!(
            "{} of {} honest runs rejected, {} of {} wrong claims accepted",
            rates.0.errors, rates.0.samples, rates.1.errors, rates.1.samples
        )
    };
    Some(format!(
        "Learning does not beat a fixed threshold here: the compiled verifier has {}; the fixed \
         threshold {}.",
        list(learned),
        list(fixed)
    ))
}

fn sum<'a>(rates: impl Iterator<Item = &'a Rate>) -> Rate {
    let (errors, samples) =
        rates.fold((0, 0), |sum, rate| (sum.0 + rate.errors, sum.1 + rate.samples));
    rate(errors, samples)
}
