//! The file, and each rule by the figures of a compilation and by those of an audit.

use std::collections::BTreeMap;

use nomopoly_manifest::{
    ARTEFACT_SCHEMA, AUDIT_SCHEMA, Accepted, Architecture, AttackFigures, Attacker, Audit,
    AuditSettings, Certificate, Check, CheckCost, CheckedHow, CompileOptions, Defence, Family,
    Figures, HonestFigures, Metrics, OperationAudit, OperationKind, OperationSpec, Rate,
    WholeModelAudit,
};

use super::*;

fn rate(errors: u64, samples: u64, upper_95: f64) -> Rate {
    Rate { errors, samples, upper_95 }
}

fn certificate(bits: Option<f64>) -> Certificate {
    Certificate {
        sketches: 7,
        threshold: 9.,
        spread: 1e-6,
        median_spread: 1e-6,
        bits_at_min_deviation: bits,
        deviation_at_soundness_bits: 9e-4,
    }
}

const COST: CheckCost = CheckCost { recompute: 8, verify: 2 };

/// A sketched operation: 0 of 1000 honest runs rejected, 0 of 3000 wrong outputs accepted, 41.5
/// bits.
fn metrics() -> Metrics {
    Metrics {
        schema: ARTEFACT_SCHEMA,
        entry: "gemm_1x6-9c41d2e0a1b2".into(),
        operation: OperationSpec {
            kind: OperationKind::Gemm,
            dtype: "f32".into(),
            input_shapes: vec![vec![1, 6]],
            output_shape: vec![1, 4],
            attributes: BTreeMap::new(),
        },
        check: Check::Sketch,
        options: CompileOptions::default(),
        history: vec![],
        figures: Figures {
            accuracy: 1.,
            cases: BTreeMap::new(),
            completeness_error: rate(0, 1000, 0.002_991),
            soundness_error: rate(0, 3000, 0.000_998),
            certificate: Some(certificate(Some(41.57))),
            epochs: 4,
            cost: COST,
        },
        scores: BTreeMap::new(),
        deviations: vec![],
    }
}

fn perceptron() -> Metrics {
    let mut metrics = metrics();
    metrics.options.architecture = Architecture::Mlp;
    metrics.figures.certificate = None;
    metrics
}

fn honest(scale: f64, learned: Rate) -> HonestFigures {
    let recompute = rate(900, 1000, 1.);
    HonestFigures {
        runtime: "tract".into(),
        scale,
        rejected: BTreeMap::from([(Defence::Learned, learned), (Defence::Recompute, recompute)]),
        largest_residual: Some(2.),
    }
}

fn attack(name: &str, attacker: Attacker, learned: Rate) -> AttackFigures {
    let accepted = |wrong| Accepted { wrong, small: rate(0, 0, 1.), largest: None };
    AttackFigures {
        attack: name.into(),
        family: Family::Outputs,
        attacker,
        setting: String::new(),
        accepted: BTreeMap::from([
            (Defence::Learned, accepted(learned)),
            (Defence::FixedThreshold, accepted(rate(1000, 1000, 1.))),
        ]),
        deviations: None,
    }
}

/// An audit of `fc1`: 0 of 20,000 honest runs rejected in two measurements, 0 of 20,000 accepted of
/// the worst attack that counts.
fn audit() -> Audit {
    let operation = OperationAudit {
        operation: "fc1".into(),
        kind: "Gemm".into(),
        checked: CheckedHow::Sketch,
        entry: Some("gemm_1x6-9c41d2e0a1b2".into()),
        certificate: Some(certificate(Some(50.))),
        cost: Some(COST),
        bytes: 144,
        honest: vec![honest(0., rate(0, 10_000, 3e-4)), honest(1., rate(0, 10_000, 3e-4))],
        attacks: vec![
            attack("noise", Attacker::Outsider, rate(0, 20_000, 1.5e-4)),
            attack("int8", Attacker::Host, rate(0, 10_000, 3e-4)),
            attack("answers", Attacker::Oracle, rate(9, 10, 1.)),
            attack("key", Attacker::WhiteBox, rate(10, 10, 1.)),
            attack("not tried", Attacker::Host, rate(0, 0, 1.)),
        ],
        agreement: vec![],
        no_better_than_fixed: None,
    };
    let recomputed = OperationAudit {
        operation: "softmax".into(),
        kind: "Softmax".into(),
        checked: CheckedHow::Recomputed,
        entry: None,
        certificate: None,
        cost: None,
        bytes: 0,
        // The host claims nothing of it: such figures break no rule.
        honest: vec![honest(1., rate(900, 1000, 0.92))],
        attacks: vec![attack("int8", Attacker::Host, rate(900, 1000, 0.92))],
        agreement: vec![],
        no_better_than_fixed: None,
    };
    Audit {
        schema: AUDIT_SCHEMA,
        version: "0.0.0".into(),
        model: "m.onnx".into(),
        digest: "ab".repeat(32),
        settings: AuditSettings {
            samples: 10_000,
            seed: 0,
            attacks: vec![],
            data: "generated".into(),
            distinct_inputs: 100,
            runtimes: vec!["tract".into()],
            min_deviation: 1e-3,
            soundness_bits: 40,
        },
        is_whole: true,
        skipped: vec![],
        operations: vec![operation, recomputed],
        whole: WholeModelAudit {
            honest: vec![honest(1., rate(0, 5000, 6e-4))],
            attacks: vec![],
            drift: vec![],
            proof_bytes: 200,
            cost: COST,
        },
    }
}

fn policy(text: &str) -> Policy {
    Policy::parse(&format!("[policy]\n{text}\n")).unwrap()
}

/// What a policy says of one operation `fc1`.
fn said(text: &str, metrics: &Metrics, audit: Option<&Audit>) -> Vec<String> {
    let violations = policy(text).violations([("fc1", metrics)], audit);
    violations.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn one(violations: &[String], words: &[&str]) {
    assert_eq!(violations.len(), 1, "{violations:?}");
    for words in words {
        assert!(violations[0].contains(words), "{words}: {}", violations[0]);
    }
}

#[test]
fn the_file_is_read_whole_in_part_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Policy::load(folder.path()).unwrap(), None);
    let file = Policy::file(folder.path());
    fs::write(
        &file,
        "[policy]\nmax_frr = 1e-3\nmax_far = 0\nmin_certified_bits = 40\nallow_unverified = true\n\
         require_audit = true\n",
    )
    .unwrap();
    let whole = Policy {
        max_frr: Some(1e-3),
        max_far: Some(0.),
        min_certified_bits: Some(40.),
        allow_unverified: true,
        require_audit: true,
    };
    assert_eq!(Policy::load(folder.path()).unwrap(), Some(whole));
    for text in ["", "[policy]\n"] {
        fs::write(&file, text).unwrap();
        assert_eq!(Policy::load(folder.path()).unwrap(), Some(Policy::default()));
    }
}

#[test]
fn nonsense_is_named_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = Policy::file(folder.path());
    for (text, words) in [
        ("[policy]\nmax_fra = 1e-3\n", &["line 2", "max_fra", "max_frr", "require_audit"][..]),
        ("[polcy]\n", &["polcy", "policy"]),
        ("[policy]\nmax_frr = 1.5\n", &["max_frr", "1.5", "0 to 1"]),
        ("[policy]\nmax_far = -1e-3\n", &["max_far", "-0.001"]),
        ("[policy]\nmax_far = nan\n", &["max_far", "NaN"]),
        ("[policy]\nmin_certified_bits = 2000\n", &["min_certified_bits", "2000", "0 to 1024"]),
        ("[policy]\nrequire_audit = \"yes\"\n", &["line 2"]),
        ("[policy\n", &["line 1"]),
    ] {
        fs::write(&file, text).unwrap();
        let error = Policy::load(folder.path()).unwrap_err().to_string();
        for words in words.iter().chain(&["nomopoly.toml", "correct or remove it"]) {
            assert!(error.contains(words), "{words}: {error}");
        }
        assert!(!error.contains('\n'), "{error}");
    }
    fs::write(&file, b"\xff").unwrap();
    assert!(Policy::load(folder.path()).unwrap_err().to_string().contains("nomopoly.toml"));
}

#[test]
fn an_empty_policy_refuses_perceptrons_alone() {
    assert_eq!(said("", &metrics(), None), Vec::<String>::new());
    one(&said("", &perceptron(), None), &["operation `fc1`", "allow_unverified", "residual"]);
    assert!(said("allow_unverified = true", &perceptron(), None).is_empty());
    // Nothing is certified, and nothing need be where it is allowed.
    assert!(
        said("allow_unverified = true\nmin_certified_bits = 40", &perceptron(), None).is_empty()
    );

    let mut audit = audit();
    audit.operations[1].checked = CheckedHow::Unverified;
    one(&said("", &metrics(), Some(&audit)), &["operation `softmax`", "allow_unverified"]);
    assert!(said("allow_unverified = true", &metrics(), Some(&audit)).is_empty());
}

#[test]
fn false_rejections_are_limited() {
    let words = &[
        "operation `fc1`: false rejection up to 3.0e-3 (0 of 1000, 95 %), policy max_frr is 1e-3",
        "audit with more samples or compile with a larger test_samples",
    ];
    one(&said("max_frr = 1e-3", &metrics(), None), words);
    assert!(said("max_frr = 3e-3", &metrics(), None).is_empty());
    // The audit's runs count in its place, all together: alone, each has a bound of 3e-4.
    assert!(said("max_frr = 1e-3", &metrics(), Some(&audit())).is_empty());
    let mut audit = audit();
    audit.whole.honest.clear();
    assert!(said("max_frr = 2e-4", &metrics(), Some(&audit)).is_empty());
    audit.operations[0].honest[1] = honest(1., rate(30, 10_000, 4.1e-3));
    let words = &["(30 of 20000, 95 %)", "max_frr is 1e-3", "more epochs"];
    one(&said("max_frr = 1e-3", &metrics(), Some(&audit)), words);
}

#[test]
fn false_rejections_of_the_whole_model_are_limited_too() {
    let violations = said("max_frr = 5e-4", &metrics(), Some(&audit()));
    one(&violations, &["the model as a whole: false rejection", "(0 of 5000", "more samples"]);
}

#[test]
fn false_acceptances_are_limited() {
    let words = &[
        "operation `fc1`: false acceptance up to 1.0e-3 (0 of 3000, 95 %), policy max_far is 1e-4",
        "audit with more samples or compile with a larger test_samples",
    ];
    one(&said("max_far = 1e-4", &metrics(), None), words);
    assert!(said("max_far = 1e-3", &metrics(), None).is_empty());
    // The worst attack by outsiders and hosts; others hold what they should not.
    assert!(said("max_far = 3e-4", &metrics(), Some(&audit())).is_empty());
    let words = &["of the attack int8 (host) up to 3.0e-4 (0 of 10000, 95 %)", "more samples"];
    one(&said("max_far = 2e-4", &metrics(), Some(&audit())), words);
    let mut audit = audit();
    audit.operations[0].attacks[0] = attack("noise", Attacker::Outsider, rate(9, 100, 0.15));
    let words = &["noise (outsider)", "1.5e-1 (9 of 100", "larger soundness_bits"];
    one(&said("max_far = 2e-4", &metrics(), Some(&audit)), words);
}

#[test]
fn certified_bits_are_asked_of_sketches_alone() {
    let words = &["41.5 bits are certified", "min_certified_bits is 42", "soundness_bits"];
    one(&said("min_certified_bits = 42", &metrics(), None), words);
    assert!(said("min_certified_bits = 41.5", &metrics(), None).is_empty());
    assert!(said("min_certified_bits = 42", &metrics(), Some(&audit())).is_empty());
    one(&said("min_certified_bits = 51", &metrics(), Some(&audit())), &["50.0 bits", "is 51"]);

    let mut bare = metrics();
    bare.figures.certificate = None;
    one(&said("min_certified_bits = 0", &bare, None), &["nothing is certified"]);
    let mut replayed = metrics();
    replayed.check = Check::Replay;
    replayed.figures.certificate = Some(certificate(None));
    assert!(said("min_certified_bits = 1024", &replayed, None).is_empty());
}

#[test]
fn an_audit_can_be_required_and_then_nothing_else_counts() {
    let all = "require_audit = true\nmax_frr = 1e-9\nmax_far = 1e-9";
    let words = &["the model as a whole", "not audited", "cargo nomopoly audit"];
    one(&said(all, &metrics(), None), words);
    assert!(said("require_audit = true", &metrics(), Some(&audit())).is_empty());

    // An audit of some attacks only.
    let mut partial = audit();
    partial.operations[0].honest.clear();
    partial.operations[0].attacks.retain(|attack| attack.attacker == Attacker::WhiteBox);
    let violations = said("max_frr = 1e-2\nmax_far = 1e-2", &metrics(), Some(&partial));
    assert!(violations.is_empty(), "{violations:?}");
    let violations = said("max_frr = 1e-3\nmax_far = 1e-4", &metrics(), Some(&partial));
    assert!(violations[0].contains("(0 of 1000") && violations[1].contains("(0 of 3000"));
    let required =
        said("max_frr = 1e-2\nmax_far = 1e-2\nrequire_audit = true", &metrics(), Some(&partial));
    assert_eq!(required.len(), 2, "{required:?}");
    assert!(required[0].contains("no honest run") && required[1].contains("no attack"));
}

#[test]
fn all_violations_come_in_the_order_of_the_operations() {
    let (one, two) = (metrics(), perceptron());
    let policy = policy("max_frr = 1e-3\nmax_far = 1e-4\nmin_certified_bits = 60");
    let violations = policy.violations([("a", &one), ("b", &two)], None);
    let named: Vec<_> = violations.iter().map(|v| v.operation.as_deref().unwrap()).collect();
    assert_eq!(named, ["a", "a", "a", "b", "b", "b"]);
}
