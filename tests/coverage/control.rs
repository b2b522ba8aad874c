//! Operations that hold a graph of their own, and those that run along a sequence.

use nomopoly::onnx::builder::{
    graph, graph_attribute, int_attribute as int, node, string_attribute as text, value_info,
};
use nomopoly::onnx::{DatumType, pb};

use super::case::{ANSWER, Case, absent, case, flags, floats, several};

/// A branch of one node over an input of the graph around it.
fn branch(kind: &str) -> pb::GraphProto {
    let output = value_info("inside", DatumType::F32, &[2, 3]);
    graph(kind, vec![node(kind, &["input1"], &["inside"], vec![])], vec![], vec![], vec![output])
}

/// Adds an element to a running sum, which is also the scanned output.
fn running_sum() -> pb::GraphProto {
    let row = |name| value_info(name, DatumType::F32, &[3]);
    let nodes = vec![
        node("Add", &["sum_in", "element"], &["sum_out"], vec![]),
        node("Identity", &["sum_out"], &["scanned"], vec![]),
    ];
    let (inputs, outputs) =
        (vec![row("sum_in"), row("element")], vec![row("sum_out"), row("scanned")]);
    graph("body", nodes, vec![], inputs, outputs)
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (kind, gates) in [("LSTM", 4), ("GRU", 3), ("RNN", 1)] {
        let outputs = if kind == "LSTM" { 3 } else { 2 };
        let recurrent = |form, directions: usize, attributes| {
            let weights = |width| floats(&[directions, gates * 4, width]).constant();
            let bias = floats(&[directions, 2 * gates * 4]).constant();
            let operands = [floats(&[5, 2, 3]), weights(3), weights(4), bias];
            case(kind, form, operands, attributes).outputs(outputs)
        };
        if kind != "LSTM" {
            cases.push(recurrent("forward", 1, vec![int("hidden_size", 4)]));
        }
        let both = vec![int("hidden_size", 4), text("direction", "bidirectional")];
        cases.push(recurrent("in both directions", 2, both));
    }
    let state = || floats(&[1, 2, 4]).constant();
    let weights = |width| floats(&[1, 16, width]).constant();
    let operands =
        [floats(&[5, 2, 3]), weights(3), weights(4), absent(), absent(), state(), state()];
    let attributes = vec![int("hidden_size", 4)];
    cases.push(case("LSTM", "forward, with initial states", operands, attributes).outputs(3));
    let attributes = vec![
        graph_attribute("then_branch", branch("Neg")),
        graph_attribute("else_branch", branch("Abs")),
    ];
    let choice = node("If", &["input0"], &[ANSWER], attributes);
    cases.push(several(
        "If",
        "a flag as an input",
        vec![flags(&[]), floats(&[2, 3])],
        vec![choice],
    ));
    let attributes = vec![graph_attribute("body", running_sum()), int("num_scan_inputs", 1)];
    cases.push(
        case("Scan", "a running sum", [floats(&[3]), floats(&[4, 3])], attributes).outputs(2),
    );
    cases
}
