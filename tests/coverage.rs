//! Every ONNX operation that the runtime runs takes part in a proof: what an honest host computed
//! is accepted, an output that was changed is refused, and what cannot run is an error that names
//! the node. `docs/OPERATIONS.md` is written from the same lists.

#[path = "coverage/case.rs"]
mod case;
#[path = "coverage/control.rs"]
mod control;
#[path = "coverage/deviations.rs"]
mod deviations;
#[path = "coverage/document.rs"]
mod document;
#[path = "coverage/elementwise.rs"]
mod elementwise;
#[path = "coverage/products.rs"]
mod products;
#[path = "coverage/reductions.rs"]
mod reductions;
#[path = "coverage/refused.rs"]
mod refused;
#[path = "coverage/shapes.rs"]
mod shapes;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use nomopoly::candle_core::Device;
use nomopoly::dynamic::{Prover, Verifier};
use nomopoly::onnx::builder;
use nomopoly::operations::Operation;
use nomopoly::{CheckedBy, CompiledModel, Error, Proof, Result, TensorData, VerifierKey};
use nomopoly_build::manifest::OperationKind;

use case::{ANSWER, Case, between, floats, several};
use deviations::Deviation;
use refused::Refused;

fn covered() -> Vec<Case> {
    [
        elementwise::cases(),
        shapes::cases(),
        reductions::cases(),
        products::cases(),
        control::cases(),
    ]
    .concat()
}

/// What is refused, but for the operations that the runtime does not know.
fn refused() -> Vec<Refused> {
    let deviations = deviations::cases().into_iter().map(|deviation| deviation.refused);
    refused::cases().into_iter().chain(deviations).collect()
}

/// The model of a case, in which nothing is compiled, and the proof of an honest host.
fn prove(case: &Case) -> Result<(Arc<CompiledModel>, Proof)> {
    let model = Arc::new(CompiledModel::new(case.bind()?, vec![])?);
    let proof = Prover::new(model.clone())?.prove(&case.inputs)?;
    Ok((model, proof))
}

fn verifier(model: &CompiledModel) -> Result<Verifier> {
    Verifier::new(model, &VerifierKey::from_bytes([7; 32]), &Device::Cpu)
}

/// Changes the first element by much more than rounding.
fn edit(data: &mut TensorData) {
    macro_rules! float {
        ($values:expr) => {{
            let largest = $values.iter().fold(0., |largest, v| v.abs().max(largest));
            $values[0] += 0.01 * largest + 1e-3;
        }};
    }
    match data {
        TensorData::F32(values) => float!(values),
        TensorData::F64(values) => float!(values),
        TensorData::I8(values) => values[0] ^= 1,
        TensorData::I32(values) => values[0] ^= 1,
        TensorData::I64(values) => values[0] ^= 1,
        TensorData::U8(values) => values[0] ^= 1,
        TensorData::Bool(values) => values[0] = !values[0],
        other => panic!("no edit of {}", other.dtype()),
    }
}

/// What is wrong with how a case is proved and checked.
fn fault(case: &Case) -> Result<(), String> {
    let said = |error: Error| error.to_string();
    let (model, honest) = prove(case).map_err(said)?;
    let honest = Proof::from_bytes(&honest.to_bytes().map_err(said)?).map_err(said)?;
    let verifier = verifier(&model).map_err(said)?;
    let report = verifier.verify(&case.inputs, &honest).map_err(said)?;
    if !report.operations.iter().any(|operation| operation.checked_by == CheckedBy::Replay) {
        return Err("no output was compared".to_owned());
    }
    let mut faults = vec![];
    for index in 0..honest.outputs.len() {
        let mut edited = honest.clone();
        edit(&mut edited.outputs[index].data);
        match verifier.verify(&case.inputs, &edited) {
            Err(Error::Rejected(_)) => {}
            Err(other) => faults.push(format!("output {index} was changed: {other}")),
            Ok(_) => faults.push(format!("output {index} was changed and accepted")),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Fails with everything that is wrong, not with the first thing.
fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn honest_inferences_are_accepted_and_changed_outputs_refused() {
    let faults = covered().into_iter().filter_map(|case| {
        let fault = fault(&case).err()?;
        Some(format!("{}: {fault}", case.name()))
    });
    assert_none(faults.collect());
}

#[test]
fn what_cannot_run_is_an_error_that_names_the_node() {
    let unknown = refused::UNKNOWN.map(|kind| (refused::unknown(kind), "tract does not know"));
    let refused = refused().into_iter().map(|refused| (refused.case, refused.says));
    let mut faults = vec![];
    for (case, says) in refused.chain(unknown) {
        let name = case.name();
        match prove(&case) {
            Ok(_) => faults.push(format!("{name}: it was proved")),
            Err(
                error @ (Error::UnsupportedNodes { .. }
                | Error::Execution { .. }
                | Error::DType { .. }),
            ) => {
                let error = error.to_string();
                if !error.contains(says) || !error.contains(ANSWER) || error.contains("panicked") {
                    faults.push(format!("{name}: {error}"));
                }
            }
            Err(other) => faults.push(format!("{name}: another error: {other}")),
        }
    }
    assert_none(faults);
}

#[test]
fn kinds_with_artefacts_are_operations_and_the_products_are_linear() {
    let mut with_artefact = BTreeSet::new();
    let mut faults = vec![];
    for case in covered() {
        let Ok(graph) = case.bind() else { continue };
        let (mut found, mut reasons) = (vec![], vec![]);
        for node in graph.nodes() {
            match Operation::from_node(&graph, node, &Device::Cpu).unwrap() {
                Ok(operation) if operation.spec().kind.op_type() == case.kind => {
                    found.push(operation);
                }
                Ok(_) => {}
                Err(reason) => reasons.push(reason.0),
            }
        }
        for operation in &found {
            with_artefact.insert(operation.spec().kind);
            if operation.linear().is_some() != operation.spec().kind.is_linear() {
                faults.push(format!("{}: linear or not?", case.name()));
            }
        }
        let expected = match (OperationKind::from_op_type(case.kind), case.no_artefact) {
            (Some(_), None) => found.len() == 1,
            (Some(_), Some(says)) => {
                found.is_empty() && reasons.iter().any(|reason| reason.contains(says))
            }
            (None, _) => found.is_empty(),
        };
        if !expected {
            faults.push(format!("{}: {found:?} {reasons:?}", case.name()));
        }
    }
    assert_none(faults);
    assert_eq!(with_artefact, BTreeSet::from(OperationKind::ALL));
}

#[test]
fn deviations_of_the_runtime_are_what_they_are_said_to_be() {
    let mut faults = vec![];
    for Deviation { refused: Refused { case, .. }, instead } in deviations::cases() {
        let (got, instead) = (case.run_unchecked().unwrap(), instead.run_unchecked().unwrap());
        let same = match (got.as_f32(), instead.as_f32()) {
            (Some(got), Some(instead)) => {
                got.iter().zip(instead).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.))
            }
            _ => got.data == instead.data,
        };
        if got.shape != instead.shape || !same {
            faults.push(format!(
                "{}: the runtime computes something else now; if it is what ONNX says, it need not \
                 be refused",
                case.name()
            ));
        }
    }
    assert_none(faults);
}

#[test]
fn outputs_that_no_operation_computes_are_compared_too() {
    let value = builder::tensor_attribute("value", builder::tensor_f32("", &[2], &[1., 2.]));
    let nodes = vec![
        builder::node("Neg", &["input0"], &["negative"], vec![]),
        builder::node("Constant", &[], &["fixed"], vec![value]),
        builder::node("Identity", &["weights"], &[ANSWER], vec![]),
    ];
    let case = several("Identity", "", vec![floats(&[2, 3])], nodes)
        .with(vec![builder::tensor_f32("weights", &[2], &[3., 4.])])
        .with_outputs(&["negative", ANSWER, "fixed", "input0", "weights"]);
    assert_eq!(fault(&case), Ok(()));
}

#[test]
fn no_claim_stands_in_for_what_is_not_finite() {
    let nodes = |kind| vec![builder::node(kind, &["input0"], &[ANSWER], vec![])];
    for (kind, range, beyond) in [("Exp", (0., 1.), (100., 200.)), ("Log", (1., 2.), (-2., -1.))] {
        let fine = several(kind, "", vec![between(range.0, range.1, &[4])], nodes(kind));
        let case = several(kind, "", vec![between(beyond.0, beyond.1, &[4])], nodes(kind));
        let error = prove(&case).unwrap_err();
        assert!(matches!(error, Error::NonFinite { .. }), "{error}");
        // A host that claims finite numbers, whatever they are.
        let (model, proof) = prove(&fine).unwrap();
        let claim = verifier(&model).unwrap().verify(&case.inputs, &proof);
        assert!(claim.is_err(), "{kind}: a finite claim about what is not finite was accepted");
    }
}

#[test]
fn the_document_is_up_to_date() {
    let covered = covered();
    let kinds: BTreeSet<&str> = covered.iter().map(|case| case.kind).collect();
    assert!(refused::UNKNOWN.iter().all(|kind| !kinds.contains(kind)));
    let names: BTreeSet<(&str, String)> =
        covered.iter().map(|case| (case.domain, case.name())).collect();
    assert_eq!(names.len(), covered.len(), "two cases have one name");

    let text = document::render(&covered, &refused());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATIONS.md");
    if std::env::var_os("NOMOPOLY_WRITE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    // Checkouts may have other line ends.
    assert!(
        written.replace("\r\n", "\n") == text,
        "docs/OPERATIONS.md is out of date: run NOMOPOLY_WRITE_DOCS=1 cargo test --workspace \
         --features nomopoly-build/cli --test coverage"
    );
}
