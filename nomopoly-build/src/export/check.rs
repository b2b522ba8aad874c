//! Structural validation of an exported file, for the registry.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use nomopoly_manifest::ARTEFACT_SCHEMA;
use nomopoly_runtime::Error;
use nomopoly_runtime::onnx::{Graph, Model, Plan, pb};

/// Checks that a file is an exported prover, verifier or adversary of this schema, that its graph
/// is sound, and, where tract knows all its operations, that tract can run it.
///
/// # Errors
/// A sentence that says what is wrong with the file.
pub fn check_file(path: impl AsRef<Path>) -> Result<(), String> {
    let model = Model::load(path).map_err(|error| error.to_string())?;
    check_role(model.proto())?;
    let model = Arc::new(model);
    match Graph::bind(Arc::clone(&model), &BTreeMap::new()) {
        Ok(_) => {}
        // An operation that tract does not have is no fault of the file.
        Err(Error::UnsupportedNodes { .. }) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    }
    Plan::new(model.name(), model.proto()).map_err(|error| error.to_string())?;
    Ok(())
}

/// Checks what the file says of itself against its inputs and outputs.
fn check_role(model: &pb::ModelProto) -> Result<(), String> {
    let property = |key: &str| {
        let found = model.metadata_props.iter().find(|property| property.key == key);
        found.map(|property| property.value.as_str()).ok_or(format!("it has no property `{key}`"))
    };
    let schema = property("nomopoly.schema")?;
    if schema != ARTEFACT_SCHEMA.to_string() {
        return Err(format!("it has schema {schema}, this version writes {ARTEFACT_SCHEMA}"));
    }
    let role = property("nomopoly.role")?;
    let (claims, outputs): (&[&str], &[&str]) = match role {
        "prover" | "adversary" => (&[], &["y", "proof"]),
        "verifier" => (&["y", "proof"], &["score"]),
        other => return Err(format!("`{other}` is not a role of an exported file")),
    };
    let names = |values: &[pb::ValueInfoProto]| -> Vec<String> {
        values.iter().map(|value| value.name.clone()).collect()
    };
    let graph = model.graph.as_ref().ok_or("it holds no graph")?;
    let (got_inputs, got_outputs) = (names(&graph.input), names(&graph.output));
    let known = [vec!["x"], vec!["x_0", "x_1"]].into_iter().any(|mut expected| {
        expected.extend(claims);
        got_inputs == expected
    });
    if !known || got_outputs != outputs {
        return Err(format!("a {role} does not map {got_inputs:?} to {got_outputs:?}"));
    }
    Ok(())
}
