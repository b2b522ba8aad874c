//! From an audit in a registry to a constant of a program.

use nomopoly_build::registry::Registry;

use crate::audits;
use crate::fixture::{Fixture, run};
use crate::models;

const MAIN: &str = r#"
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {
    let Some(ledger) = Dense::LEDGER else { return println!("never audited") };
    let hidden = ledger.operation("hidden").expect("it was audited");
    let attack = hidden.worst(&[nomopoly::Attacker::Host]).expect("a host attacked it");
    println!("{} operations", ledger.operations.len());
    println!("{}: {} of {}", attack.name, attack.wrong.errors, attack.wrong.samples);
    assert_eq!(hidden.entry, Dense::op("hidden").expect("it is there").entry);
    assert!(hidden.certified.is_some());
    assert_eq!(ledger.model.honest.len(), 1);
}
"#;

#[test]
fn an_audited_registry_yields_a_ledger() {
    let fixture = Fixture::new("audited");
    fixture.write("models/dense.onnx", models::dense(0));
    fixture.write("src/main.rs", MAIN);
    assert_eq!(fixture.run().trim(), "never audited");

    // The audit goes along with the operations.
    audits::record(&Registry::open(&fixture.cache), "audited: models/dense.onnx");
    let said = run(fixture.nomopoly().arg("vendor"));
    assert!(said.contains("copied the audit of dense.onnx"), "{said}");
    let said = run(fixture.nomopoly().arg("check"));
    assert!(said.contains("no problems"), "{said}");
    // Cargo looks at the crate again once a source has changed.
    fixture.write("src/main.rs", format!("{MAIN}\n"));
    let said = fixture.run();
    assert!(said.contains("2 operations") && said.contains("int8 weights: 0 of 2000"), "{said}");

    // A new audit is seen without that: the registry's lock changed.
    let ops = Registry::open(fixture.path("ops"));
    assert!(ops.forget_model("dense.onnx").unwrap());
    assert_eq!(fixture.run().trim(), "never audited");
}
