//! Forms of operations that tract runs, but not as ONNX means them.
//!
//! A verifier recomputes in the same tract: it would accept the proof of such a node, and with it
//! an answer that is not the model's. `tests/coverage/deviations.rs` shows for each of them what
//! tract computes instead, and fails when a new tract computes something else.

use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;

/// Why a node of one kind must not run; `None` for the forms that tract understands.
type Check = fn(&pb::NodeProto) -> Option<&'static str>;

const CHECKS: [(&str, Check); 12] = [
    ("Attention", attention),
    ("BatchNormalization", batch_normalization),
    ("Celu", celu),
    ("Einsum", einsum),
    ("GRU", |node| recurrent(node, &["Sigmoid", "Tanh"])),
    ("GlobalLpPool", |_| Some("tract divides by the number of elements: it takes a mean, no sum")),
    ("LSTM", |node| recurrent(node, &["Sigmoid", "Tanh", "Tanh"])),
    ("QuantizeLinear", quantize_linear),
    ("RNN", |node| recurrent(node, &["Tanh"])),
    ("SkipLayerNormalization", skip_layer_normalization),
    ("SkipSimplifiedLayerNormalization", skip_simplified_layer_normalization),
    ("Swish", swish),
];

/// Why a node of a kind that tract knows must not run all the same.
pub(crate) fn reason(node: &pb::NodeProto) -> Option<&'static str> {
    let (_, check) = CHECKS.iter().find(|(kind, _)| *kind == node.op_type)?;
    check(node)
}

fn attention(node: &pb::NodeProto) -> Option<&'static str> {
    // A negative bound, as is the default, is none.
    let bounded = |name| has(node, name, |size| size.i >= 0);
    if bounded("left_window_size") || bounded("right_window_size") {
        return Some("tract ignores `left_window_size` and `right_window_size`");
    }
    let is_causal = has(node, "is_causal", |flag| flag.i != 0);
    (is_causal && has_input(node, 4)).then_some(
        "with `is_causal` and past keys, tract shows the first query the first key alone",
    )
}

fn batch_normalization(node: &pb::NodeProto) -> Option<&'static str> {
    has(node, "training_mode", |flag| flag.i != 0)
        .then_some("tract ignores `training_mode`: it normalises with the given statistics")
}

fn celu(node: &pb::NodeProto) -> Option<&'static str> {
    has(node, "alpha", |alpha| alpha.f != 1.)
        .then_some("tract does not multiply negative values with `alpha`")
}

fn swish(node: &pb::NodeProto) -> Option<&'static str> {
    has(node, "alpha", |alpha| alpha.f != 1.).then_some("tract ignores `alpha`")
}

fn einsum(node: &pb::NodeProto) -> Option<&'static str> {
    let equation = node.attribute.iter().find(|attribute| attribute.name == "equation")?;
    // What tract makes of it before it reads it.
    let equation = String::from_utf8_lossy(&equation.s).replace("...", "*").replace(' ', "");
    let (operands, output) = match equation.split_once("->") {
        Some((operands, output)) => (operands, Some(output)),
        None => (equation.as_str(), None),
    };
    if equation.contains('*') && operands.split(',').any(|operand| !operand.contains('*')) {
        // It counts axes for an operand without the ellipsis too, and gives those to the output.
        return Some("tract sums over an ellipsis that only some operands have; use letters");
    }
    let times = |axis| operands.chars().filter(|other| *other == axis).count();
    match output {
        // tract takes it for an output that is left out, which has every letter that occurs once.
        Some("") if operands.chars().any(|axis| axis != ',' && times(axis) == 1) => {
            Some("tract sums nothing when there is nothing behind the arrow")
        }
        None if times('*') > 1 => Some("tract sums over the ellipsis when there is no arrow"),
        _ => None,
    }
}

fn quantize_linear(node: &pb::NodeProto) -> Option<&'static str> {
    const UNSIGNED: [i64; 2] = [DataType::Undefined as i64, DataType::Uint8 as i64];
    let is_other = has(node, "output_dtype", |dtype| !UNSIGNED.contains(&dtype.i));
    (is_other && !has_input(node, 2))
        .then_some("tract ignores `output_dtype`: without a zero point it quantises to uint8")
}

/// `defaults` are the functions that tract has, those of one direction.
fn recurrent(node: &pb::NodeProto, defaults: &[&str]) -> Option<&'static str> {
    // Both directions are two sets of weights, from which tract tells that there are two.
    if has(node, "direction", |name| !matches!(&*name.s, b"forward" | b"bidirectional")) {
        return Some("tract runs it forward, whatever the `direction`");
    }
    // Exporters disagree about capitals.
    let is_default =
        |(name, default): (&Vec<u8>, &&str)| name.eq_ignore_ascii_case(default.as_bytes());
    let are_defaults = |names: &pb::AttributeProto| {
        names.r#type == AttributeType::Strings as i32
            && names.strings.iter().zip(defaults.iter().cycle()).all(is_default)
    };
    if has(node, "activations", |names| !are_defaults(names)) {
        return Some("tract ignores `activations`: it has the default functions");
    }
    if has(node, "activation_alpha", |_| true) || has(node, "activation_beta", |_| true) {
        return Some("tract ignores `activation_alpha` and `activation_beta`");
    }
    if has(node, "clip", |_| true) {
        return Some("tract ignores `clip`");
    }
    has(node, "input_forget", |flag| flag.i != 0).then_some("tract ignores `input_forget`")
}

fn skip_layer_normalization(node: &pb::NodeProto) -> Option<&'static str> {
    (!has(node, "epsilon", |_| true)).then_some(
        "without `epsilon`, tract takes 1e-5 where ONNX Runtime takes 1e-12; set the attribute",
    )
}

fn skip_simplified_layer_normalization(node: &pb::NodeProto) -> Option<&'static str> {
    let bias = has_input(node, 3).then_some("tract ignores the bias");
    bias.or_else(|| skip_layer_normalization(node))
}

/// Whether an attribute is there and `test` holds of it. Of one that is there twice, tract reads
/// the first and others may read the last, so each counts.
fn has(node: &pb::NodeProto, name: &str, test: impl Fn(&pb::AttributeProto) -> bool) -> bool {
    node.attribute.iter().any(|attribute| attribute.name == name && test(attribute))
}

fn has_input(node: &pb::NodeProto, index: usize) -> bool {
    node.input.get(index).is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::{
        float_attribute, floats_attribute, int_attribute, node, string_attribute,
    };

    fn texts(name: &str, values: &[&str]) -> pb::AttributeProto {
        let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let r#type = AttributeType::Strings as i32;
        pb::AttributeProto { name: name.into(), r#type, strings, ..Default::default() }
    }

    fn of(kind: &str, attributes: Vec<pb::AttributeProto>) -> Option<&'static str> {
        reason(&node(kind, &["x"], &["y"], attributes))
    }

    #[test]
    fn defaults_that_are_written_out_may_run() {
        for (kind, attribute) in [
            ("Attention", int_attribute("left_window_size", -1)),
            ("Attention", int_attribute("is_causal", 1)),
            ("BatchNormalization", int_attribute("training_mode", 0)),
            ("Celu", float_attribute("alpha", 1.)),
            ("LSTM", int_attribute("input_forget", 0)),
            ("QuantizeLinear", int_attribute("output_dtype", 0)),
            ("QuantizeLinear", int_attribute("output_dtype", 2)),
            ("Relu", float_attribute("alpha", 2.)),
            ("SkipLayerNormalization", float_attribute("epsilon", 1e-12)),
            ("SkipSimplifiedLayerNormalization", float_attribute("epsilon", 1e-6)),
            ("Swish", float_attribute("alpha", 1.)),
        ] {
            assert_eq!(of(kind, vec![attribute]), None, "{kind}");
        }
    }

    #[test]
    fn only_default_functions_run_in_a_recurrence() {
        let lstm = |names: &[&str]| of("LSTM", vec![texts("activations", names)]);
        assert_eq!(lstm(&[]), None);
        assert_eq!(lstm(&["Sigmoid", "Tanh", "Tanh"]), None);
        assert_eq!(lstm(&["sigmoid", "tanh", "tanh", "sigmoid", "tanh", "tanh"]), None);
        assert!(lstm(&["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Relu"]).is_some());
        assert!(lstm(&["Sigmoid", "Tanh", "Tanh", "Tanh"]).is_some());
        assert!(of("GRU", vec![float_attribute("activations", 0.)]).is_some());
        for name in ["activation_alpha", "activation_beta"] {
            assert!(of("RNN", vec![floats_attribute(name, &[1.])]).is_some());
        }
        for (direction, runs) in [("forward", true), ("bidirectional", true), ("Reverse", false)] {
            let attribute = string_attribute("direction", direction);
            assert_eq!(of("GRU", vec![attribute]).is_none(), runs, "{direction}");
        }
    }

    #[test]
    fn operands_that_are_left_out_are_not_there() {
        let causal = || vec![int_attribute("is_causal", 1)];
        let attention = |past| node("Attention", &["q", "k", "v", "", past], &["y"], causal());
        assert_eq!(reason(&attention("")), None);
        assert!(reason(&attention("past")).is_some());
        let simplified = |bias| {
            let epsilon = vec![float_attribute("epsilon", 1e-6)];
            node("SkipSimplifiedLayerNormalization", &["x", "s", "g", bias], &["y"], epsilon)
        };
        assert_eq!(reason(&simplified("")), None);
        assert!(reason(&simplified("bias")).is_some());
        let quantize = |zero| {
            let dtype = vec![int_attribute("output_dtype", 3)];
            node("QuantizeLinear", &["x", "scale", zero], &["y"], dtype)
        };
        assert_eq!(reason(&quantize("zero")), None);
        assert!(reason(&quantize("")).is_some());
    }

    #[test]
    fn equations_that_tract_reads_as_onnx_does_may_run() {
        let of = |equation: &str| of("Einsum", vec![string_attribute("equation", equation)]);
        for fine in [
            "ij,jk->ik",
            "ij,jk",
            " b i j , b j k -> b i k ",
            "...ij->...ji",
            "...ij,...jk->...ik",
            "...ij",
            // Each letter occurs twice: there is nothing that tract could keep.
            "i,i->",
            "ij , ij ->",
            "ii->",
        ] {
            assert_eq!(of(fine), None, "{fine}");
        }
        for wrong in [
            "...i,ij->...j",
            "ij,... j k->...ik",
            "ij,j...",
            "ij->...ij",
            "ij->",
            "i,ij -> ",
            "...->",
            "...ij,...jk",
        ] {
            assert!(of(wrong).is_some(), "{wrong}");
        }
    }
}
