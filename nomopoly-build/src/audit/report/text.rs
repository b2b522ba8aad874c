//! The summary for a terminal: plain text, at most 110 columns.

use std::collections::BTreeMap;

use nomopoly_manifest::{
    AttackFigures, Attacker, Audit, Defence, DriftPoint, OperationAudit, WholeModelAudit,
};

use super::charts::drift_kinds;
use super::figures::{
    Worst, is_claimed, is_host, is_of, kinds, presents_true_outputs, rejected, worst,
    worst_forged_proof, worst_wrong_output,
};
use super::grid::{Align, Grid, wrapped};
use super::words::{at_most, bytes, certified, certified_from, cost, counted, number, rate};
use crate::plots::numbers::superscript;

/// The audit at a glance: every operation, the model as a whole, and what was not run.
pub fn summary(audit: &Audit) -> String {
    let claimed: Vec<&OperationAudit> =
        audit.operations.iter().filter(|operation| is_claimed(operation)).collect();
    let sections = [
        header(audit),
        checks(audit, &claimed),
        measured(&claimed),
        whole(audit),
        drift(&audit.whole.drift),
        not_run(audit),
        no_better(&claimed),
    ];
    let shown: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    shown.join("\n")
}

fn header(audit: &Audit) -> String {
    let settings = &audit.settings;
    let runtimes = match settings.runtimes.as_slice() {
        [] => "none".to_string(),
        runtimes => runtimes.join(", "),
    };
    let asked = number(settings.min_deviation);
    [
        format!("Audit of {}", audit.model),
        format!("digest {}", audit.digest),
        format!(
            "{} of {} ({}), seed {}; runtimes of honest runs: {runtimes}",
            counted(settings.samples as usize, "sample", "samples"),
            counted(settings.distinct_inputs as usize, "distinct input", "distinct inputs"),
            settings.data,
            settings.seed,
        ),
        format!(
            "Rates are errors/trials with exact one-sided 95 % upper bounds. A wrong output \
             deviates by {asked} or more (relative L2 error)."
        ),
    ]
    .iter()
    .map(|line| wrapped(line, ""))
    .collect()
}

fn checks(audit: &Audit, claimed: &[&OperationAudit]) -> String {
    let settings = &audit.settings;
    let bits = i32::try_from(settings.soundness_bits).unwrap_or(i32::MAX).saturating_neg();
    let mut grid = Grid::new([
        ("operation".into(), Align::Name),
        ("kind".into(), Align::Name),
        ("checked by".into(), Align::Left),
        (format!("certified at {}", number(settings.min_deviation)), Align::Right),
        (format!("2{} from", superscript(bits)), Align::Right),
        ("check/recompute".into(), Align::Right),
        ("in a proof".into(), Align::Right),
    ]);
    for operation in claimed {
        let certificate = operation.certificate.as_ref();
        grid.row([
            operation.operation.clone(),
            operation.kind.clone(),
            operation.checked.to_string(),
            certified(certificate),
            certified_from(certificate),
            cost(operation.cost.as_ref()),
            bytes(operation.bytes),
        ]);
    }
    let mut text = String::from("Operations: how they are checked and what is certified\n");
    if claimed.is_empty() {
        text.push_str("  no operation has an artefact: nothing is claimed and nothing checked\n");
    } else {
        text.push_str(&grid.text());
    }
    text.push_str(&recomputed(audit));
    text
}

/// The nodes without an artefact, counted by kind.
fn recomputed(audit: &Audit) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for node in audit.operations.iter().filter(|operation| !is_claimed(operation)) {
        *kinds.entry(&node.kind).or_default() += 1;
    }
    if kinds.is_empty() {
        return String::new();
    }
    let list: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let nodes = counted(kinds.values().sum(), "node", "nodes");
    wrapped(&format!("Without an artefact, nothing claimed: {nodes} ({})", list.join(", ")), "  ")
}

fn measured(claimed: &[&OperationAudit]) -> String {
    if claimed.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new([
        ("operation".into(), Align::Name),
        ("honest rejected".into(), Align::Right),
        ("host, worst attack".into(), Align::Right),
        ("by".into(), Align::Name),
        ("oracle host".into(), Align::Right),
        ("white box".into(), Align::Right),
    ]);
    for operation in claimed {
        let worst_by =
            |by: fn(Attacker) -> bool| worst_wrong_output(&operation.attacks, Defence::Learned, by);
        let host = worst_by(is_host);
        grid.row([
            operation.operation.clone(),
            short_rate(&rejected(&operation.honest, Defence::Learned)),
            worst_words(host),
            host.map(|worst| worst.attack.attack.clone()).unwrap_or_default(),
            worst_words(worst_by(|attacker| attacker == Attacker::Oracle)),
            worst_words(worst_by(|attacker| attacker == Attacker::WhiteBox)),
        ]);
    }
    let mut text = String::from("Operations: what the compiled verifier rejected and accepted\n");
    text.push_str(&grid.text());
    text.push_str(&wrapped(
        "Of each attacker the attack accepted most; the host may do what an outsider does. A white \
         box holds the key and can always forge: measured, not promised.",
        "  ",
    ));
    text.push_str(&forged_proofs(claimed));
    text
}

/// Forged proofs of true outputs apart: to accept them is to accept no wrong output.
fn forged_proofs(claimed: &[&OperationAudit]) -> String {
    let all = claimed.iter().flat_map(|operation| {
        let worst = worst_forged_proof(&operation.attacks, Defence::Learned);
        worst.map(|worst| (operation, worst))
    });
    let Some(worst) = worst(all.clone().map(|(_, worst)| worst.attack), Defence::Learned) else {
        return String::new();
    };
    let on = all
        .filter(|(_, one)| std::ptr::eq(one.attack, worst.attack))
        .map(|(operation, _)| operation.operation.as_str())
        .next()
        .unwrap_or_default();
    let line = format!(
        "Forged proofs of true outputs, without the key: at worst {} accepted, by {} on {on}.",
        rate(worst.wrong),
        worst.attack.attack,
    );
    wrapped(&line, "  ")
}

fn whole(audit: &Audit) -> String {
    let whole = &audit.whole;
    let mut text = format!(
        "Whole model: a proof of {}, check/recompute {}\n",
        bytes(whole.proof_bytes),
        cost(Some(&whole.cost))
    );
    text.push_str(&honest(whole));
    let mut grid = Grid::new([
        ("attack".into(), Align::Name),
        ("by".into(), Align::Left),
        ("setting".into(), Align::Name),
        ("compiled verifier accepted".into(), Align::Right),
        ("largest accepted".into(), Align::Right),
    ]);
    let mut sorted: Vec<&AttackFigures> = Vec::new();
    for kind in kinds(&whole.attacks, &audit.settings.attacks) {
        sorted.extend(whole.attacks.iter().filter(|attack| is_of(attack, kind)));
    }
    for attack in sorted {
        let accepted = attack.accepted.get(&Defence::Learned);
        let true_outputs = if presents_true_outputs(attack) { " (true outputs)" } else { "" };
        grid.row([
            format!("{}{true_outputs}", attack.attack),
            attack.attacker.to_string(),
            attack.setting.clone(),
            accepted.map_or_else(|| "–".into(), |accepted| short_rate(&accepted.wrong)),
            accepted.and_then(|accepted| accepted.largest).map_or_else(|| "–".into(), at_most),
        ]);
    }
    if whole.attacks.is_empty() {
        text.push_str("  no attacks on the whole model\n");
    } else {
        text.push_str(&grid.text());
    }
    text
}

/// Honest runs of the whole model by runtime, over all scales.
fn honest(whole: &WholeModelAudit) -> String {
    let mut runtimes: Vec<&str> = Vec::new();
    for figures in &whole.honest {
        if !runtimes.contains(&figures.runtime.as_str()) {
            runtimes.push(&figures.runtime);
        }
    }
    if runtimes.is_empty() {
        return "  no honest runs\n".into();
    }
    runtimes
        .into_iter()
        .map(|runtime| {
            let of_runtime = whole.honest.iter().filter(|figures| figures.runtime == runtime);
            let total = rejected(of_runtime, Defence::Learned);
            wrapped(&format!("honest runs by {runtime} rejected: {}", rate(&total)), "  ")
        })
        .collect()
}

/// One line for each attacker and direction.
fn drift(points: &[DriftPoint]) -> String {
    let mut text = String::new();
    for (attacker, direction) in drift_kinds(points) {
        let line: Vec<&DriftPoint> = points
            .iter()
            .filter(|point| point.attacker == attacker && point.direction == direction)
            .collect();
        let words = drift_words(&line);
        text.push_str(&wrapped(&format!("{attacker}, {direction}: {words}"), "  "));
    }
    if text.is_empty() { text } else { format!("Drift: all tolerances spent at once\n{text}") }
}

/// The largest share spent that was accepted, and where the answer changed most.
fn drift_words(line: &[&DriftPoint]) -> String {
    let accepted = || line.iter().filter(|point| point.accepted.errors > 0);
    let Some(furthest) = accepted().max_by(|a, b| a.spent.total_cmp(&b.spent)) else {
        let tried = counted(line.len(), "share", "shares");
        return format!("nothing accepted at {tried} of the thresholds");
    };
    let mut words = format!(
        "still accepted at {} times every threshold in {}, moving the first output by {} (median) \
         and {} (most), to another class in {}",
        number(furthest.spent),
        rate(&furthest.accepted),
        furthest.moved.map_or_else(|| "–".into(), at_most),
        furthest.most_moved.map_or_else(|| "–".into(), at_most),
        rate(&furthest.class_changed),
    );
    // Few runs are accepted at the largest share: the class may change more often before it.
    let most = accepted().max_by_key(|point| point.class_changed.errors);
    if let Some(most) =
        most.filter(|most| most.class_changed.errors > furthest.class_changed.errors)
    {
        let (spent, changed) = (number(most.spent), rate(&most.class_changed));
        words.push_str(&format!("; most often to another class at {spent}: {changed}"));
    }
    words
}

fn not_run(audit: &Audit) -> String {
    if audit.skipped.is_empty() {
        return String::new();
    }
    let lines: String = audit
        .skipped
        .iter()
        .map(|skipped| wrapped(&format!("{}: {}", skipped.what, skipped.reason), "  "))
        .collect();
    format!("Not run\n{lines}")
}

fn no_better(claimed: &[&OperationAudit]) -> String {
    let lines: String = claimed
        .iter()
        .filter_map(|operation| {
            let sentence = operation.no_better_than_fixed.as_ref()?;
            Some(wrapped(&format!("{}: {sentence}", operation.operation), "  "))
        })
        .collect();
    if lines.is_empty() { lines } else { format!("No better than a fixed threshold\n{lines}") }
}

/// A rate in a narrow column: `0/1,000 ≤0.3%`.
fn short_rate(one: &nomopoly_manifest::Rate) -> String {
    if one.samples == 0 {
        return "–".into();
    }
    let words = rate(one);
    words.replace(" (≤ ", " ≤").replace(" %)", "%")
}

fn worst_words(worst: Option<Worst<'_>>) -> String {
    worst.map_or_else(|| "–".into(), |worst| short_rate(worst.wrong))
}
