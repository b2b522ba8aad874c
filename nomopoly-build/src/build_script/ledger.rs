//! A model's guarantee ledger as one Rust expression, which the attribute includes.
//!
//! The file holds the figures of the compiled verifier; what else an audit compares it with stays
//! in the registry's `audits/`.

use nomopoly_manifest::{
    AttackFigures, Attacker, Audit, Certificate, CheckCost, CheckedHow, Defence, DriftPoint,
    Family, HonestFigures, OperationAudit, Rate, Skipped, WholeModelAudit,
};

/// An expression of type `nomopoly::Ledger`, a line for each operation, attack and run.
pub fn expression(audit: &Audit) -> String {
    let settings = &audit.settings;
    format!(
        "// What `cargo nomopoly audit` measured. Written by nomopoly-build, not for editing.\n\
         ::nomopoly::Ledger {{ version: {}, samples: {}, seed: {}, data: {}, distinct_inputs: {}, \
         min_deviation: {}, soundness_bits: {},\noperations: {},\nmodel: {},\nnot_run: {} }}\n",
        text(&audit.version),
        settings.samples,
        settings.seed,
        text(&settings.data),
        settings.distinct_inputs,
        float(settings.min_deviation),
        settings.soundness_bits,
        slice(audit.operations.iter().map(operation)),
        whole(&audit.whole),
        slice(audit.skipped.iter().map(skipped)),
    )
}

fn operation(audit: &OperationAudit) -> String {
    let checked_by = match audit.checked {
        CheckedHow::Sketch => "Sketch",
        CheckedHow::Replay => "Replay",
        CheckedHow::Recomputed => "Recomputed",
        CheckedHow::Unverified => "Baseline",
    };
    format!(
        "::nomopoly::AuditedOperation {{ operation: {}, kind: {}, checked_by: \
         ::nomopoly::CheckedBy::{checked_by}, entry: {}, certified: {}, cost: {}, bytes: {}, \
         honest: {}, attacks: {} }}",
        text(&audit.operation),
        text(&audit.kind),
        optional(audit.entry.as_deref().map(text)),
        optional(audit.certificate.as_ref().map(certified)),
        optional(audit.cost.as_ref().map(cost)),
        audit.bytes,
        slice(audit.honest.iter().filter_map(honest)),
        slice(audit.attacks.iter().filter_map(attack)),
    )
}

fn whole(audit: &WholeModelAudit) -> String {
    format!(
        "::nomopoly::AuditedModel {{ honest: {}, attacks: {}, drift: {}, proof_bytes: {}, cost: {} }}",
        slice(audit.honest.iter().filter_map(honest)),
        slice(audit.attacks.iter().filter_map(attack)),
        slice(audit.drift.iter().map(drift)),
        audit.proof_bytes,
        cost(&audit.cost),
    )
}

fn certified(certificate: &Certificate) -> String {
    format!(
        "::nomopoly::CertifiedBound {{ sketches: {}, threshold: {}, spread: {}, median_spread: {}, \
         bits_at_min_deviation: {}, deviation_at_soundness_bits: {} }}",
        certificate.sketches,
        float(certificate.threshold),
        float(certificate.spread),
        float(certificate.median_spread),
        optional(certificate.bits_at_min_deviation.map(float)),
        float(certificate.deviation_at_soundness_bits),
    )
}

fn cost(cost: &CheckCost) -> String {
    let CheckCost { recompute, verify } = cost;
    format!("::nomopoly::CheckCost {{ recompute: {recompute}, verify: {verify} }}")
}

/// `None` where the compiled verifier was not measured.
fn honest(figures: &HonestFigures) -> Option<String> {
    Some(format!(
        "::nomopoly::HonestRuns {{ runtime: {}, scale: {}, rejected: {}, largest_residual: {} }}",
        text(&figures.runtime),
        float(figures.scale),
        measured(figures.rejected.get(&Defence::Learned)?),
        optional(figures.largest_residual.map(float)),
    ))
}

/// `None` where the compiled verifier was not measured.
fn attack(figures: &AttackFigures) -> Option<String> {
    let accepted = figures.accepted.get(&Defence::Learned)?;
    let family = match figures.family {
        Family::Outputs => "Outputs",
        Family::Substituted => "Substituted",
        Family::Proofs => "Proofs",
        Family::Adaptive => "Adaptive",
    };
    Some(format!(
        "::nomopoly::Attack {{ name: {}, family: ::nomopoly::Family::{family}, attacker: {}, \
         setting: {}, wrong: {}, small: {}, largest_accepted: {} }}",
        text(&figures.attack),
        attacker(figures.attacker),
        text(&figures.setting),
        measured(&accepted.wrong),
        measured(&accepted.small),
        optional(accepted.largest.map(float)),
    ))
}

fn drift(point: &DriftPoint) -> String {
    format!(
        "::nomopoly::Drift {{ attacker: {}, direction: {}, spent: {}, accepted: {}, moved: {}, \
         most_moved: {}, class_changed: {} }}",
        attacker(point.attacker),
        text(&point.direction),
        float(point.spent),
        measured(&point.accepted),
        optional(point.moved.map(float)),
        optional(point.most_moved.map(float)),
        measured(&point.class_changed),
    )
}

fn skipped(skipped: &Skipped) -> String {
    let Skipped { what, reason } = skipped;
    format!("::nomopoly::NotRun {{ what: {}, reason: {} }}", text(what), text(reason))
}

fn attacker(attacker: Attacker) -> String {
    let variant = match attacker {
        Attacker::Outsider => "Outsider",
        Attacker::Host => "Host",
        Attacker::Oracle => "Oracle",
        Attacker::WhiteBox => "WhiteBox",
    };
    format!("::nomopoly::Attacker::{variant}")
}

fn measured(rate: &Rate) -> String {
    let Rate { errors, samples, upper_95 } = rate;
    format!(
        "::nomopoly::Measured {{ errors: {errors}, samples: {samples}, upper_95: {} }}",
        float(*upper_95)
    )
}

fn slice(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "&[]".to_owned() } else { format!("&[\n{}\n]", items.join(",\n")) }
}

fn optional(value: Option<String>) -> String {
    match value {
        Some(value) => format!("::core::option::Option::Some({value})"),
        None => "::core::option::Option::None".to_owned(),
    }
}

/// Rust writes text as its own literals.
fn text(value: &str) -> String {
    format!("{value:?}")
}

/// The shortest literal that is exactly this number.
fn float(value: f64) -> String {
    if value.is_nan() {
        "::core::primitive::f64::NAN".to_owned()
    } else if value == f64::INFINITY {
        "::core::primitive::f64::INFINITY".to_owned()
    } else if value == f64::NEG_INFINITY {
        "::core::primitive::f64::NEG_INFINITY".to_owned()
    } else {
        format!("{value:?}f64")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nomopoly_manifest::{AUDIT_SCHEMA, Accepted, AuditSettings};

    use super::*;

    fn audit() -> Audit {
        let rate = |upper_95| Rate { errors: 0, samples: 1000, upper_95 };
        let honest = |defence| HonestFigures {
            runtime: "tract".into(),
            scale: 1e-3,
            rejected: BTreeMap::from([(defence, rate(0.003))]),
            largest_residual: Some(6.1),
        };
        let attack = |defence, attacker| AttackFigures {
            attack: "odd \"name\"\n\u{1b}[2J \\ é {}".into(),
            family: Family::Substituted,
            attacker,
            setting: String::new(),
            accepted: BTreeMap::from([(
                defence,
                Accepted { wrong: rate(0.003), small: rate(1.), largest: Some(5e-324) },
            )]),
            deviations: None,
        };
        let operation = |name: &str, checked, certificate| OperationAudit {
            operation: name.into(),
            kind: "Gemm".into(),
            checked,
            entry: Some("gemm_1x6-9c41d2e0a1b2".into()),
            certificate,
            cost: Some(CheckCost { recompute: u64::MAX, verify: 0 }),
            bytes: 144,
            honest: vec![honest(Defence::Learned), honest(Defence::Recompute)],
            attacks: vec![
                attack(Defence::Learned, Attacker::Outsider),
                attack(Defence::Perceptron, Attacker::Host),
                attack(Defence::Learned, Attacker::WhiteBox),
            ],
            agreement: vec![],
            no_better_than_fixed: None,
        };
        let certificate = Certificate {
            sketches: 7,
            threshold: -0.,
            spread: f64::NAN,
            median_spread: f64::NEG_INFINITY,
            bits_at_min_deviation: Some(1e300),
            deviation_at_soundness_bits: f64::INFINITY,
        };
        Audit {
            schema: AUDIT_SCHEMA,
            version: "0.1.0".into(),
            model: "m.onnx".into(),
            digest: "ab".repeat(32),
            settings: AuditSettings {
                samples: 1000,
                seed: u64::MAX,
                attacks: vec![],
                data: "C:\\data.npz".into(),
                distinct_inputs: 100,
                runtimes: vec![],
                min_deviation: 1e-3,
                soundness_bits: 40,
            },
            is_whole: true,
            skipped: vec![Skipped { what: "pgd on fc1".into(), reason: "no time left".into() }],
            operations: vec![
                operation("fc1", CheckedHow::Sketch, Some(certificate)),
                operation("fc2", CheckedHow::Unverified, None),
            ],
            whole: WholeModelAudit {
                honest: vec![honest(Defence::Learned)],
                attacks: vec![],
                drift: vec![DriftPoint {
                    attacker: Attacker::Oracle,
                    direction: "gradient".into(),
                    spent: 0.5,
                    accepted: rate(1.),
                    moved: Some(1e-6),
                    most_moved: None,
                    class_changed: rate(0.003),
                }],
                proof_bytes: 200,
                cost: CheckCost { recompute: 8, verify: 2 },
            },
        }
    }

    /// The fields of a struct literal.
    fn fields(expression: syn::Expr) -> BTreeMap<String, syn::Expr> {
        let syn::Expr::Struct(literal) = expression else { panic!("no struct literal") };
        let name = |field: &syn::FieldValue| match &field.member {
            syn::Member::Named(name) => name.to_string(),
            syn::Member::Unnamed(_) => panic!("a field without a name"),
        };
        literal.fields.into_iter().map(|field| (name(&field), field.expr)).collect()
    }

    fn items(expression: &syn::Expr) -> Vec<syn::Expr> {
        let syn::Expr::Reference(reference) = expression else { panic!("no reference") };
        let syn::Expr::Array(array) = &*reference.expr else { panic!("no array") };
        array.elems.iter().cloned().collect()
    }

    #[test]
    fn the_text_is_one_expression_with_every_figure_of_the_compiled_verifier() {
        let ledger = fields(syn::parse_str(&expression(&audit())).unwrap());
        let operations = items(&ledger["operations"]);
        assert_eq!(operations.len(), 2);
        assert_eq!(items(&ledger["not_run"]).len(), 1);
        let first = fields(operations[0].clone());
        assert_eq!((items(&first["honest"]).len(), items(&first["attacks"]).len()), (1, 2));
        let model = fields(ledger["model"].clone());
        assert_eq!((items(&model["attacks"]).len(), items(&model["drift"]).len()), (0, 1));

        // Names that come from model files are literals, whatever is in them.
        let attack = fields(items(&first["attacks"])[0].clone());
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(name), .. }) = &attack["name"] else {
            panic!("the name is no string")
        };
        assert_eq!(name.value(), audit().operations[0].attacks[0].attack);
    }

    #[test]
    fn numbers_are_literals_that_are_exactly_they() {
        for value in [0., 1., 1e-3, 5e-324, 1e300, 0.1 + 0.2, 123_456_789.] {
            let text = float(value);
            let literal: syn::LitFloat = syn::parse_str(&text).unwrap();
            assert_eq!(literal.suffix(), "f64");
            assert_eq!(literal.base10_parse::<f64>().unwrap().to_bits(), f64::to_bits(value));
        }
        assert_eq!(float(-1.5), "-1.5f64");
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(syn::parse_str::<syn::ExprPath>(&float(value)).is_ok());
        }
    }
}
