//! Which names a node defines and which it depends on.

use std::collections::{BTreeSet, HashSet};

use tract_onnx::pb;

/// The id of a node: the name of its first output that has one. ONNX lets a node go without a
/// name of its own, but outputs are named and unique.
pub fn node_id(node: &pb::NodeProto) -> &str {
    node.output.iter().find(|name| !name.is_empty()).map_or("", String::as_str)
}

/// The graphs in a node's attributes: the branches of `If`, the bodies of `Loop` and `Scan`.
pub(crate) fn subgraphs(node: &pb::NodeProto) -> impl Iterator<Item = &pb::GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Every outside name that a node needs: its inputs in order, then what its subgraphs capture.
pub fn dependencies(node: &pb::NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> =
        node.input.iter().filter(|name| !name.is_empty()).map(String::as_str).collect();
    let mut captured = BTreeSet::new();
    for graph in subgraphs(node) {
        free_names(graph, &mut captured);
    }
    names.extend(captured);
    names
}

/// Adds the names that `graph` uses without defining them. The recursion is as deep as graphs
/// are nested, which the protobuf decoder limits.
fn free_names<'a>(graph: &'a pb::GraphProto, free: &mut BTreeSet<&'a str>) {
    let mut local: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    local.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    for node in &graph.node {
        free.extend(dependencies(node).into_iter().filter(|name| !local.contains(name)));
        local.extend(node.output.iter().map(String::as_str));
    }
    free.extend(
        graph.output.iter().map(|output| output.name.as_str()).filter(|n| !local.contains(n)),
    );
}

/// The first of `stem`, `stem_1`, `stem_2`, ... that is not taken, which it then is.
pub(crate) fn fresh(stem: &str, taken: &mut HashSet<String>) -> String {
    let mut name = stem.to_string();
    let mut n = 0usize;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{stem}_{n}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::builder::{graph_attribute, node};

    #[test]
    fn captured_names_are_dependencies() {
        let inner = node("Add", &["outer", "local"], &["sum"], vec![]);
        let branch = pb::GraphProto {
            node: vec![node("Relu", &["elsewhere"], &["local"], vec![]), inner],
            output: vec![pb::ValueInfoProto { name: "sum".into(), ..Default::default() }],
            ..Default::default()
        };
        let nested = pb::GraphProto {
            node: vec![node("If", &["flag"], &["a"], vec![graph_attribute("then_branch", branch)])],
            ..Default::default()
        };
        let top = node("If", &["cond", ""], &["", "y"], vec![graph_attribute("g", nested)]);
        assert_eq!(node_id(&top), "y");
        assert_eq!(dependencies(&top), ["cond", "elsewhere", "flag", "outer"]);
    }

    #[test]
    fn fresh_names_never_repeat() {
        let mut taken = HashSet::from(["x".to_string()]);
        assert_eq!(fresh("x", &mut taken), "x_1");
        assert_eq!(fresh("x", &mut taken), "x_2");
        assert_eq!(fresh("y", &mut taken), "y");
    }
}
