//! The bias of a linear layer: exporters write `x W + b` over a sequence as a MatMul and an Add.
//!
//! As one operation the host reveals one tensor, tract adds the bias while it multiplies, and the
//! verifier has one node less to recompute.

use tract_onnx::pb;

use crate::onnx::{Graph, dependencies};

/// The Add of a constant vector behind a product with a constant matrix, where nothing else reads the
/// product.
pub(super) fn of<'a>(graph: &'a Graph, product: &pb::NodeProto) -> Option<&'a pb::NodeProto> {
    if product.op_type != "MatMul" || !is_plain(product) {
        return None;
    }
    let (output, weights) = (product.output.first()?, product.input.get(1)?);
    let columns = match constant(graph, weights)? {
        [_, columns] => *columns,
        _ => return None,
    };
    if constant(graph, &product.input[0]).is_some()
        || graph.outputs().iter().any(|info| info.name == *output)
    {
        return None;
    }
    let reads = |node: &&pb::NodeProto| dependencies(node).contains(&output.as_str());
    let mut readers = graph.nodes().iter().filter(reads);
    let add = readers.next().filter(|node| node.op_type == "Add" && is_plain(node))?;
    let bias = operand(add, output)?;
    let shape = constant(graph, bias)?;
    // One value per column and nothing more: the sum has the product's shape.
    let fits = shape.last() == Some(&columns) && shape.iter().product::<usize>() == columns;
    let rank = graph.value(output)?.shape.len();
    (readers.next().is_none() && fits && shape.len() <= rank).then_some(add)
}

/// The product that a node adds the bias to, and the name of the bias.
pub(super) fn product_of<'a>(
    graph: &'a Graph,
    add: &'a pb::NodeProto,
) -> Option<(&'a pb::NodeProto, &'a str)> {
    if add.op_type != "Add" {
        return None;
    }
    let made = |node: &&pb::NodeProto| {
        let output = node.output.first();
        node.op_type == "MatMul" && output.is_some_and(|output| add.input.contains(output))
    };
    let mut products = graph.nodes().iter().filter(made);
    products.find_map(|product| {
        let found = of(graph, product).filter(|found| found.output == add.output)?;
        debug_assert_eq!(found.input, add.input);
        Some((product, operand(add, &product.output[0])?))
    })
}

/// The other operand.
fn operand<'a>(add: &'a pb::NodeProto, one: &str) -> Option<&'a str> {
    match add.input.as_slice() {
        [a, b] if a == one && b != one => Some(b),
        [a, b] if b == one && a != one => Some(a),
        _ => None,
    }
}

fn is_plain(node: &pb::NodeProto) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx")
}

/// The shape of a constant.
fn constant<'a>(graph: &'a Graph, name: &str) -> Option<&'a [usize]> {
    graph.value(name)?.constant.as_ref().map(|tensor| tensor.shape())
}
