//! Small models that the tests of this folder share.

use tract_onnx::pb;
use tract_onnx::pb::tensor_shape_proto::dimension::Value::{DimParam, DimValue};
use tract_onnx::prelude::{DatumType, Tensor};

use super::builder::*;

/// Numbers that look random and are the same on every run.
pub fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub fn tensor(shape: &[usize], seed: u32) -> Tensor {
    Tensor::from_shape(shape, &numbers(shape.iter().product(), seed)).unwrap()
}

/// Conv, Relu, MaxPool, Flatten, Transpose of a weight, MatMul, Add, Gemm over `[N, 2, 6, 6]`.
/// The values are called after the operations: conv, relu, pool, flat, wt, mm, add, gemm.
pub fn small_net() -> pb::ModelProto {
    let nodes = vec![
        node("Conv", &["x", "w", "b"], &["conv"], vec![ints_attribute("pads", &[1, 1, 1, 1])]),
        node("Relu", &["conv"], &["relu"], vec![]),
        node(
            "MaxPool",
            &["relu"],
            &["pool"],
            vec![ints_attribute("kernel_shape", &[2, 2]), ints_attribute("strides", &[2, 2])],
        ),
        node("Flatten", &["pool"], &["flat"], vec![]),
        node("Transpose", &["w1"], &["wt"], vec![ints_attribute("perm", &[1, 0])]),
        node("MatMul", &["flat", "wt"], &["mm"], vec![]),
        node("Add", &["mm", "b1"], &["add"], vec![]),
        node("Gemm", &["add", "w2", "b2"], &["gemm"], vec![int_attribute("transB", 1)]),
    ];
    let initializers = vec![
        tensor_f32("w", &[3, 2, 3, 3], &numbers(54, 1)),
        tensor_f32("b", &[3], &numbers(3, 2)),
        tensor_f32("w1", &[5, 27], &numbers(135, 3)),
        tensor_f32("b1", &[5], &numbers(5, 4)),
        tensor_f32("w2", &[4, 5], &numbers(20, 5)),
        tensor_f32("b2", &[4], &numbers(4, 6)),
    ];
    let input = value_info_with(
        "x",
        DatumType::F32,
        vec![DimParam("N".into()), DimValue(2), DimValue(6), DimValue(6)],
    );
    let output = value_info_with("gemm", DatumType::F32, vec![DimParam("N".into()), DimValue(4)]);
    model(graph("small", nodes, initializers, vec![input], vec![output]), 13)
}

/// One graph of these nodes over one input `x` of shape `[2, 3]`.
pub fn chain(nodes: Vec<pb::NodeProto>, output: &str) -> pb::ModelProto {
    let x = value_info("x", DatumType::F32, &[2, 3]);
    let y = value_info(output, DatumType::F32, &[2, 3]);
    model(graph("chain", nodes, vec![], vec![x], vec![y]), 17)
}
