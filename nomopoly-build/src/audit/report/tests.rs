use std::collections::BTreeMap;

use nomopoly_manifest::{
    AUDIT_SCHEMA, Accepted, AttackFigures, Attacker, AuditSettings, Certificate, CheckCost,
    CheckedHow, Defence, DeviationPoint, Deviations, DriftPoint, Family, HonestFigures,
    OperationAudit, Rate, Skipped, WholeModelAudit,
};

use super::*;
use crate::statistics::rate;

const HOSTILE: &str = "<script>alert(\"a\" + 'b')</script>&\u{202e}\u{1b}[2J\n\"onload=\"c";

fn accepted(errors: u64, samples: u64) -> Accepted {
    let largest = (errors > 0).then_some(0.5);
    Accepted { wrong: rate(errors, samples), small: rate(7, 77), largest }
}

/// An attack that each defence accepts as often as `errors` says, of 1,000.
fn attack(
    attack: &str,
    family: Family,
    attacker: Attacker,
    errors: &[(Defence, u64)],
) -> AttackFigures {
    AttackFigures {
        attack: attack.into(),
        family,
        attacker,
        setting: format!("setting of {attack}"),
        accepted: errors.iter().map(|&(defence, n)| (defence, accepted(n, 1000))).collect(),
        deviations: Some(Deviations { least: 1e-3, median: 0.02, most: 0.5 }),
    }
}

fn everyone(errors: u64) -> Vec<(Defence, u64)> {
    Defence::ALL.into_iter().map(|defence| (defence, errors)).collect()
}

fn honest() -> Vec<HonestFigures> {
    [("tract", 1.0, 0), ("tract", 1e3, 1), ("candle", 1.0, 2)]
        .into_iter()
        .map(|(runtime, scale, errors)| HonestFigures {
            runtime: runtime.into(),
            scale,
            rejected: BTreeMap::from([(Defence::Learned, rate(errors, 400))]),
            largest_residual: Some(1.87),
        })
        .collect()
}

fn operation(name: &str, attacks: Vec<AttackFigures>) -> OperationAudit {
    OperationAudit {
        operation: name.into(),
        kind: "Conv".into(),
        checked: CheckedHow::Sketch,
        entry: Some(format!("{name}-entry")),
        certificate: Some(Certificate {
            sketches: 12,
            threshold: 9.53,
            spread: 2.2e-6,
            median_spread: 1e-6,
            bits_at_min_deviation: Some(67.77),
            deviation_at_soundness_bits: 2.016e-4,
        }),
        cost: Some(CheckCost { recompute: 1_000_000, verify: 187_600 }),
        bytes: 3_456,
        honest: honest(),
        attacks,
        agreement: [(1e-5, -0.1, 900), (1e-4, -31.0, 0), (1e-3, -67.0, 0)]
            .map(|(deviation, log2, errors)| DeviationPoint {
                deviation,
                certified_log2: Some(log2),
                measured: rate(errors, 1000),
            })
            .into(),
        no_better_than_fixed: None,
    }
}

fn usual() -> Audit {
    let forged = AttackFigures {
        deviations: None,
        ..attack(
            "shifted",
            Family::Proofs,
            Attacker::Host,
            &[(Defence::Learned, 4), (Defence::Recompute, 1000)],
        )
    };
    let first = operation(
        "first",
        vec![
            attack("pgd", Family::Adaptive, Attacker::Oracle, &everyone(0)),
            attack("noise", Family::Outputs, Attacker::Outsider, &everyone(0)),
            attack("int8", Family::Substituted, Attacker::Host, &everyone(3)),
            forged,
        ],
    );
    let mut second = operation(
        "second",
        vec![
            attack("noise", Family::Outputs, Attacker::Host, &everyone(0)),
            attack("null", Family::Adaptive, Attacker::WhiteBox, &everyone(1000)),
        ],
    );
    second.no_better_than_fixed = Some("Both accept nothing.".into());
    let relu = OperationAudit {
        kind: "Relu".into(),
        checked: CheckedHow::Recomputed,
        entry: None,
        certificate: None,
        cost: None,
        honest: vec![],
        agreement: vec![],
        ..operation("relu", vec![])
    };
    let drift = [(0.2, 20, 0), (0.5, 18, 2), (1.5, 3, 0), (4.0, 0, 0)];
    let drift = drift.map(|(spent, runs, changed)| DriftPoint {
        attacker: Attacker::Host,
        direction: "gradient".into(),
        spent,
        accepted: rate(runs, 20),
        moved: Some(1e-5),
        most_moved: Some(2e-5),
        class_changed: rate(changed, runs),
    });
    Audit {
        schema: AUDIT_SCHEMA,
        version: "0.1.0".into(),
        model: "digits.onnx".into(),
        digest: "9c41".repeat(16),
        settings: AuditSettings {
            samples: 1000,
            seed: 7,
            attacks: ["noise", "int8", "shifted", "pgd", "null"].map(String::from).into(),
            data: "generated".into(),
            distinct_inputs: 64,
            runtimes: vec!["tract".into(), "candle".into()],
            min_deviation: 1e-3,
            soundness_bits: 40,
        },
        is_whole: true,
        skipped: vec![Skipped { what: "square on first".into(), reason: "no time left".into() }],
        operations: vec![first, relu, second],
        whole: WholeModelAudit {
            honest: honest(),
            attacks: vec![attack("fp16", Family::Substituted, Attacker::Host, &everyone(0))],
            drift: drift.into(),
            proof_bytes: 123_456,
            cost: CheckCost { recompute: 2_000_000, verify: 400_000 },
        },
    }
}

/// The same with every text from outside replaced by `text`.
fn named(text: &str) -> Audit {
    let mut audit = usual();
    let all = |texts: &mut Vec<String>| texts.iter_mut().for_each(|one| *one = text.into());
    audit.model = text.into();
    audit.digest = text.into();
    audit.version = text.into();
    audit.settings.data = text.into();
    all(&mut audit.settings.attacks);
    all(&mut audit.settings.runtimes);
    audit.skipped = vec![Skipped { what: text.into(), reason: text.into() }];
    let rename = |honest: &mut [HonestFigures], attacks: &mut [AttackFigures]| {
        honest.iter_mut().for_each(|figures| figures.runtime = text.into());
        for attack in attacks {
            (attack.attack, attack.setting) = (text.into(), text.into());
        }
    };
    for operation in &mut audit.operations {
        operation.operation = text.into();
        operation.kind = text.into();
        operation.entry = operation.entry.as_ref().map(|_| text.into());
        operation.no_better_than_fixed = Some(text.into());
        rename(&mut operation.honest, &mut operation.attacks);
    }
    rename(&mut audit.whole.honest, &mut audit.whole.attacks);
    audit.whole.drift.iter_mut().for_each(|point| point.direction = text.into());
    audit
}

/// Every figure that can be odd is `value`, and every rate `odd`.
fn numbered(value: f64, odd: Rate) -> Audit {
    let mut audit = usual();
    audit.settings.min_deviation = value;
    audit.settings.soundness_bits = u32::MAX;
    let change = |honest: &mut [HonestFigures], attacks: &mut [AttackFigures]| {
        for figures in honest {
            (figures.scale, figures.largest_residual) = (value, Some(value));
            figures.rejected = BTreeMap::from(Defence::ALL.map(|defence| (defence, odd)));
        }
        for attack in attacks {
            attack.deviations = Some(Deviations { least: value, median: value, most: value });
            for accepted in attack.accepted.values_mut() {
                *accepted = Accepted { wrong: odd, small: odd, largest: Some(value) };
            }
        }
    };
    for operation in &mut audit.operations {
        change(&mut operation.honest, &mut operation.attacks);
        operation.bytes = u64::MAX;
        operation.cost = Some(CheckCost { recompute: 0, verify: u64::MAX });
        if let Some(certificate) = &mut operation.certificate {
            certificate.threshold = value;
            certificate.spread = value;
            certificate.bits_at_min_deviation = Some(value);
            certificate.deviation_at_soundness_bits = value;
        }
        for point in &mut operation.agreement {
            *point =
                DeviationPoint { deviation: value, certified_log2: Some(value), measured: odd };
        }
    }
    change(&mut audit.whole.honest, &mut audit.whole.attacks);
    for point in &mut audit.whole.drift {
        (point.spent, point.moved, point.most_moved) = (value, Some(value), Some(value));
        (point.accepted, point.class_changed) = (odd, odd);
    }
    audit
}

fn empty() -> Audit {
    let mut audit = usual();
    audit.operations.clear();
    audit.skipped.clear();
    audit.settings.attacks.clear();
    audit.settings.runtimes.clear();
    audit.whole.honest.clear();
    audit.whole.attacks.clear();
    audit.whole.drift.clear();
    audit
}

fn all() -> Vec<Audit> {
    let mut audits =
        vec![usual(), empty(), named(HOSTILE), named(""), named(&"層long/".repeat(90))];
    let odd = [
        rate(0, 0),
        Rate { errors: 3, samples: 1000, upper_95: f64::NAN },
        Rate { errors: 0, samples: u64::MAX, upper_95: 0.0 },
        Rate { errors: u64::MAX, samples: u64::MAX, upper_95: f64::INFINITY },
    ];
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 5e-324, f64::MAX] {
        audits.extend(odd.map(|odd| numbered(value, odd)));
    }
    // More operations than one matrix holds beside each other.
    let mut many = usual();
    let attacks = vec![attack("noise", Family::Outputs, Attacker::Host, &everyone(0))];
    many.operations = (0..31).map(|i| operation(&format!("conv{i}"), attacks.clone())).collect();
    audits.push(many);
    audits
}

fn page(audit: &Audit) -> String {
    html(audit).unwrap()
}

/// What stands between two texts, the first time.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("no {start}"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end} after {start}")).0
}

/// Names of the tags in order, `/name` for the closing ones.
fn tags(page: &str) -> Vec<&str> {
    let ends = |c: char| c.is_whitespace() || c == '>';
    page.split('<').skip(1).map(|tag| tag.split(ends).next().unwrap_or_default()).collect()
}

#[test]
fn every_page_is_well_formed_and_loads_nothing() {
    for audit in all() {
        let page = page(&audit);
        let mut open = Vec::new();
        for tag in tags(&page) {
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{}", audit.model),
                None if ["!DOCTYPE", "meta", "br"].contains(&tag) => {}
                // The shapes of the charts close themselves.
                None if ["rect", "circle", "polyline", "polygon", "line"].contains(&tag) => {}
                None => open.push(tag),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        for loading in ["http", "src=", "url(", "@import", "<link", "<script", "<img", "<iframe"] {
            assert!(!page.contains(loading), "{loading}");
        }
        for target in page.split("href=\"").skip(1) {
            let id = target.strip_prefix('#').and_then(|rest| rest.split('"').next()).unwrap();
            assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
    }
}

#[test]
fn texts_from_outside_are_escaped() {
    let page = page(&named(HOSTILE));
    let escaped = "&lt;script&gt;alert(&quot;a&quot; + 'b')&lt;/script&gt;&amp;\\u{202e}\\u{1b}";
    // Title, heading, digest, data, summary, matrix, sections, tables.
    assert!(page.matches(escaped).count() > 40);
    let is_unsafe = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
    assert!(!page.contains(is_unsafe));
    // An attribute that a name opened would stand unescaped.
    assert!(!page.contains("\"onload"));
    assert!(!summary(&named(HOSTILE)).contains(is_unsafe));
}

#[test]
fn every_operation_attack_and_reason_appears() {
    let audit = usual();
    let page = page(&audit);
    for (index, operation) in audit.operations.iter().enumerate().filter(|(i, _)| *i != 1) {
        let section = between(&page, &format!("<h3 id=\"operation-{index}\""), "</section>");
        assert!(section.contains(&format!("<bdi>{}</bdi>", operation.operation)));
        for attack in &operation.attacks {
            assert!(section.contains(&format!("{}<br>", attack.attack)), "{}", attack.attack);
            assert!(section.contains(&attack.setting));
            let group = format!("{}, by {}</th>", attack.family, attack.attacker);
            assert!(section.contains(&group), "{group}");
        }
        // Two columns of words and three for each of the four verifiers.
        assert!(section.contains("class=\"group\" colspan=\"14\""));
        assert!(section.contains("(2Φ(9.53 · 2.2·10⁻⁶ / d) − 1)<sup>12</sup>"));
        // Rounded down.
        assert!(section.contains("<sup>−67.7</sup>"));
    }
    assert!(between(&page, "id=\"recomputed\"", "</section>").contains("<bdi>relu</bdi>"));
    assert!(!page.contains("id=\"operation-1\""));
    assert!(page.contains("Both accept nothing."));
    let whole = between(&page, "id=\"whole\"", "id=\"operations\"");
    for text in ["fp16", "gradient", "120.6 KiB", "0.2."] {
        assert!(whole.contains(text), "{text}");
    }
    let skipped = between(&page, "id=\"not-run\"", "</section>");
    assert!(skipped.contains("square on first</bdi>: no time left"));

    let text = summary(&audit);
    for text_of in ["first", "second", "1 node (1 Relu)", "fp16", "square on first: no time left"] {
        assert!(text.contains(text_of), "{text_of}\n{text}");
    }
    assert!(text.contains("second: Both accept nothing."));
    let drift =
        text.split("Drift").nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(drift.contains("accepted at 1.5 times every threshold in 3/20"), "{drift}");
    assert!(drift.contains("to another class at 0.5: 2/18"), "{drift}");
}

#[test]
fn sections_come_in_their_order() {
    let page = page(&usual());
    let ids = ["reading", "summary", "whole", "operations", "operation-0", "operation-2"];
    let places: Vec<usize> = ids
        .iter()
        .chain(&["recomputed", "not-run"])
        .map(|id| page.find(&format!(" id=\"{id}\"")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn what_was_accepted_is_marked_not_only_coloured() {
    let marks = |audit: &Audit| page(audit).matches("aria-label=\"accepted\"").count();
    let mut audit = usual();
    audit.whole.drift.clear();
    for operation in &mut audit.operations {
        operation.attacks.retain(|attack| attack.attack == "noise" || attack.attack == "pgd");
    }
    assert_eq!(marks(&audit), 0);
    let accepted = audit.operations[0].attacks[1].accepted.get_mut(&Defence::Learned).unwrap();
    accepted.wrong = rate(1, 1000);
    // In the summary, the matrix, the comparison and the section of the operation.
    assert_eq!(marks(&audit), 4);
}

#[test]
fn the_colours_of_the_charts_follow_the_page() {
    let page = page(&usual());
    let (mut fills, mut strokes) = (0, 0);
    for (attribute, count) in [("fill=\"#", &mut fills), ("stroke=\"#", &mut strokes)] {
        for colour in between(&page, "<body>", "</body>").split(attribute).skip(1) {
            let selector = format!("[{attribute}{}\"]", &colour[..6]);
            assert!(STYLE.contains(&selector), "{selector}");
            *count += 1;
        }
    }
    assert!(fills > 20 && strokes > 20);
}

#[test]
fn the_worst_attack_is_the_one_accepted_most_and_forged_proofs_stand_apart() {
    let audit = usual();
    let first = &audit.operations[0];
    let worst = figures::worst_wrong_output(&first.attacks, Defence::Learned, figures::is_host);
    // Not `shifted`, which was accepted more often: its outputs were true.
    assert_eq!(worst.unwrap().attack.attack, "int8");
    let forged = figures::worst_forged_proof(&first.attacks, Defence::Learned);
    assert_eq!(forged.unwrap().wrong.errors, 4);
    let recompute = figures::compared(&audit).pop().unwrap();
    assert_eq!(recompute.worst.unwrap().1.wrong.errors, 3);
    assert_eq!(recompute.attacks, 3);
    assert_eq!(figures::rejected(&first.honest, Defence::Learned), rate(3, 1200));

    let text = summary(&audit);
    let measured = text.split("rejected and accepted").nth(1).unwrap();
    let line = measured.lines().find(|line| line.starts_with("  first")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..6], ["3/1,200", "≤0.645%", "3/1,000", "≤0.774%", "int8"]);
}

#[test]
fn equal_audits_give_equal_bytes() {
    for audit in all() {
        assert_eq!(page(&audit), page(&audit.clone()));
        assert_eq!(summary(&audit), summary(&audit.clone()));
    }
}

#[test]
fn the_summary_stays_within_its_columns() {
    for audit in all() {
        for line in summary(&audit).lines() {
            assert!(words::text_columns(line) <= 110, "{line}");
            assert_eq!(line.trim_end(), line);
        }
    }
}
