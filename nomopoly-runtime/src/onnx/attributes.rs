//! Attributes that tract takes on trust, and that make it loop or run out of memory when they
//! are wrong: neither can be caught from outside, so they are checked before.

use tract_onnx::pb;

use super::names::{node_id, subgraphs};

/// No window, stride or padding of a real model comes near this.
const MAX_EXTENT: i64 = 1 << 24;

/// Checks every node of a graph and of the graphs inside it.
///
/// # Errors
/// A sentence that names the node and the attribute.
pub(crate) fn check(graph: &pb::GraphProto) -> Result<(), String> {
    for node in &graph.node {
        for attribute in &node.attribute {
            if let Some(expected) = expected(node, attribute) {
                let got = match attribute.ints.as_slice() {
                    [] => attribute.f.to_string(),
                    ints => format!("{ints:?}"),
                };
                return Err(format!(
                    "node `{}` ({}): attribute `{}` is {got}, expected {expected}",
                    node_id(node),
                    node.op_type,
                    attribute.name,
                ));
            }
        }
        subgraphs(node).try_for_each(check)?;
    }
    Ok(())
}

/// What an attribute should have been, if it is wrong.
fn expected(node: &pb::NodeProto, attribute: &pb::AttributeProto) -> Option<&'static str> {
    let all = |low: i64| attribute.ints.iter().all(|v| (low..=MAX_EXTENT).contains(v));
    match (node.op_type.as_str(), attribute.name.as_str()) {
        // tract sorts axes by swapping until each is in place, which never ends otherwise.
        ("Transpose", "perm") => {
            let mut sorted = attribute.ints.clone();
            sorted.sort_unstable();
            let is_permutation = sorted.iter().zip(0..).all(|(axis, expected)| *axis == expected);
            (!is_permutation).then_some("a permutation of the axes")
        }
        (_, "kernel_shape" | "strides" | "dilations") => {
            (!all(1)).then_some("positive numbers of at most 2^24")
        }
        // Artefacts of these kinds record them, and text has no infinity.
        ("Gemm", "alpha" | "beta") | ("BatchNormalization", "epsilon") => {
            (!attribute.f.is_finite()).then_some("a finite number")
        }
        (_, "pads") => (!all(-MAX_EXTENT)).then_some("numbers of at most 2^24"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::{float_attribute, graph, ints_attribute, node};

    fn of(op: &str, name: &str, ints: &[i64]) -> Result<(), String> {
        let node = node(op, &["x"], &["y"], vec![ints_attribute(name, ints)]);
        check(&graph("g", vec![node], vec![], vec![], vec![]))
    }

    #[test]
    fn wrong_attributes_are_named() {
        for good in [&[0, 1, 2][..], &[2, 0, 1], &[]] {
            assert_eq!(of("Transpose", "perm", good), Ok(()));
        }
        for wrong in [&[0, 0][..], &[1, 2], &[-1, 0], &[0, i64::MAX]] {
            let message = of("Transpose", "perm", wrong).unwrap_err();
            assert!(message.starts_with("node `y` (Transpose): attribute `perm`"), "{message}");
        }
        for name in ["kernel_shape", "strides", "dilations"] {
            assert_eq!(of("Conv", name, &[1, 3]), Ok(()));
            assert!([0, -1, i64::MAX].iter().all(|&v| of("Conv", name, &[1, v]).is_err()));
        }
        assert_eq!(of("Conv", "pads", &[0, -1, 2, 3]), Ok(()));
        assert!(of("Conv", "pads", &[i64::MIN]).is_err());
        for (op, name) in [("Gemm", "alpha"), ("Gemm", "beta"), ("BatchNormalization", "epsilon")] {
            let of = |value| {
                let node = node(op, &["x"], &["y"], vec![float_attribute(name, value)]);
                check(&graph("g", vec![node], vec![], vec![], vec![]))
            };
            assert_eq!(of(1e-5), Ok(()));
            let message = of(f32::INFINITY).unwrap_err();
            assert!(message.ends_with("is inf, expected a finite number"), "{message}");
            assert!(of(f32::NAN).is_err());
        }
    }
}
