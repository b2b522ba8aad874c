use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use tract_onnx::prelude::{DatumType, Tensor};

use super::*;
use crate::onnx::builder::{int_attribute, node, tensor_f32};
use crate::onnx::test_models::{chain, small_net, tensor};
use crate::onnx::{Model, Plan};

fn bind(proto: &pb::ModelProto) -> Graph {
    let model = Model::from_bytes("test.onnx", &proto.encode_to_vec()).unwrap();
    Graph::bind(Arc::new(model), &BTreeMap::new()).unwrap()
}

fn run(proto: &pb::ModelProto, inputs: Vec<Arc<Tensor>>) -> Vec<Arc<Tensor>> {
    // What is written must be readable again, by the same checks as any other file.
    if !proto.graph.as_ref().unwrap().output.is_empty() {
        Model::from_bytes("rewritten", &proto.encode_to_vec()).unwrap();
    }
    Plan::new("test", proto).unwrap().run(inputs).unwrap()
}

#[test]
fn the_cut_graph_computes_what_the_whole_one_does() {
    let graph = bind(&small_net());
    let linear = ["conv", "mm", "gemm"];
    let x = Arc::new(tensor(&[1, 2, 6, 6], 77));

    let exposed = with_outputs(&graph, &["conv", "mm", "gemm", "pool", "conv"]).unwrap();
    assert_eq!(exposed.outputs, ["gemm", "conv", "mm", "pool"]);
    let whole = run(&exposed.proto, vec![x.clone()]);
    let value = |name: &str| {
        whole[exposed.outputs.iter().position(|output| output == name).unwrap()].clone()
    };
    let plain = run(&with_outputs(&graph, &[]).unwrap().proto, vec![x.clone()]);
    assert_eq!(plain[0], value("gemm"));

    // The inputs of the linear operations, and the model's output, from the transcript.
    let replay = cut(&graph, &linear, &["x", "flat", "add", "gemm", "pool"]).unwrap();
    assert_eq!(replay.inputs, ["x", "conv", "mm", "gemm"]);
    assert_eq!(replay.outputs, ["x", "flat", "add", "gemm", "pool"]);
    let inputs = replay.inputs.iter().map(|name| if name == "x" { x.clone() } else { value(name) });
    let replayed = run(&replay.proto, inputs.collect());
    assert_eq!(replayed[0], x);
    assert_eq!(replayed[3], value("gemm"));
    assert_eq!(replayed[4], value("pool"));
    let inner = with_outputs(&graph, &["flat", "add"]).unwrap();
    let expected = run(&inner.proto, vec![x]);
    assert_eq!(replayed[1], expected[1]);
    assert_eq!(replayed[2], expected[2]);
}

#[test]
fn what_no_output_needs_is_pruned() {
    let graph = bind(&small_net());
    let replay = cut(&graph, &["conv", "mm"], &["gemm"]).unwrap();
    assert_eq!(replay.inputs, ["mm"]);
    let proto = replay.proto.graph.unwrap();
    let ids: Vec<_> = proto.node.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(ids, ["add", "gemm"]);
    let weights: Vec<_> = proto.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(weights, ["b1", "w2", "b2"]);

    let nothing = cut(&graph, &["conv"], &[]).unwrap();
    assert!(nothing.inputs.is_empty() && nothing.proto.graph.as_ref().unwrap().node.is_empty());
    assert!(run(&nothing.proto, vec![]).is_empty());
}

#[test]
fn inputs_weights_and_repeats_can_be_outputs() {
    let graph = bind(&small_net());
    let x = Arc::new(tensor(&[1, 2, 6, 6], 3));
    let exposed = with_outputs(&graph, &["x", "b1", "wt"]).unwrap();
    assert_eq!(exposed.outputs, ["gemm", "x", "b1", "wt"]);
    let outputs = run(&exposed.proto, vec![x.clone()]);
    assert_eq!(outputs[1], x);
    assert_eq!(&outputs[2], graph.value("b1").unwrap().constant.as_ref().unwrap());
    assert_eq!(&outputs[3], graph.value("wt").unwrap().constant.as_ref().unwrap());

    let conv = Arc::new(tensor(&[1, 3, 6, 6], 4));
    let replay = cut(&graph, &["conv"], &["conv", "relu", "relu", "conv"]).unwrap();
    assert_eq!(replay.inputs, ["conv"]);
    let outputs = run(&replay.proto, vec![conv.clone()]);
    assert_eq!((&outputs[0], &outputs[3]), (&conv, &conv));
    assert_eq!(outputs[1], outputs[2]);
}

#[test]
fn a_model_output_that_is_a_model_input_is_kept() {
    let mut proto = chain(vec![node("Relu", &["x"], &["y"], vec![])], "y");
    let graph = proto.graph.as_mut().unwrap();
    graph.output.push(builder::value_info("x", DatumType::F32, &[2, 3]));
    let exposed = with_outputs(&bind(&proto), &[]).unwrap();
    assert_eq!(exposed.outputs, ["y", "x"]);
    let x = Arc::new(tensor(&[2, 3], 5));
    assert_eq!(run(&exposed.proto, vec![x.clone()])[1], x);
}

#[test]
fn a_node_with_another_needed_output_stays() {
    let nodes = vec![
        node("Split", &["x"], &["a", "b", "c"], vec![int_attribute("axis", 1)]),
        node("Add", &["a", "b"], &["ab"], vec![]),
        node("Mul", &["ab", "c"], &["y"], vec![]),
    ];
    let graph = bind(&chain(nodes, "y"));
    let x = Arc::new(tensor(&[2, 3], 9));
    let exposed = with_outputs(&graph, &["a"]).unwrap();
    let whole = run(&exposed.proto, vec![x.clone()]);
    let replay = cut(&graph, &["a"], &["y"]).unwrap();
    assert_eq!(replay.inputs, ["x", "a"]);
    assert_eq!(run(&replay.proto, vec![x, whole[1].clone()])[0], whole[0]);
}

#[test]
fn names_that_are_taken_are_not_given_again() {
    let nodes = vec![
        node("Relu", &["x"], &["x_copy"], vec![]),
        node("Neg", &["x_copy"], &["x_copy_1"], vec![]),
    ];
    let graph = bind(&chain(nodes, "x_copy_1"));
    let x = Arc::new(tensor(&[2, 3], 1));
    let outputs = run(&with_outputs(&graph, &["x"]).unwrap().proto, vec![x.clone()]);
    assert_eq!(outputs[1], x);
}

#[test]
fn names_that_are_no_values_are_errors() {
    let graph = bind(&small_net());
    assert!(with_outputs(&graph, &["ghost"]).is_err());
    assert!(cut(&graph, &["conv"], &["ghost"]).is_err());
    for name in ["ghost", "x", "w"] {
        let error = cut(&graph, &[name], &["gemm"]).unwrap_err().to_string();
        assert!(error.contains("cannot be cut there"), "{error}");
    }
}

#[test]
fn values_that_branches_capture_stay() {
    let branch = |op: &str| pb::GraphProto {
        name: op.to_string(),
        node: vec![node(op, &["relu", "w"], &["inner"], vec![])],
        output: vec![builder::value_info("inner", DatumType::F32, &[2, 3])],
        ..Default::default()
    };
    let flag =
        builder::raw_tensor("flag", &[], tract_onnx::pb::tensor_proto::DataType::Bool, vec![1]);
    let nodes = vec![
        node("Neg", &["x"], &["neg"], vec![]),
        node("Relu", &["neg"], &["relu"], vec![]),
        node(
            "If",
            &["flag"],
            &["y"],
            vec![
                builder::graph_attribute("then_branch", branch("Add")),
                builder::graph_attribute("else_branch", branch("Mul")),
            ],
        ),
    ];
    let mut proto = chain(nodes, "y");
    proto.graph.as_mut().unwrap().initializer =
        vec![flag, tensor_f32("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])];
    let graph = bind(&proto);
    let x = Arc::new(tensor(&[2, 3], 8));
    let whole = run(&with_outputs(&graph, &["neg"]).unwrap().proto, vec![x]);
    let replay = cut(&graph, &["neg"], &["y"]).unwrap();
    assert_eq!(replay.inputs, ["neg"]);
    assert_eq!(run(&replay.proto, vec![whole[1].clone()])[0], whole[0]);
}
