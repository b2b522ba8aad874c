//! One operation of every kind and form.

use std::collections::BTreeMap;

use nomopoly_runtime::onnx::Graph;
use prost::Message;
use tract_onnx::prelude::DatumType;

use super::*;
use builder::{float_attribute, int_attribute, ints_attribute, tensor_f32};

/// An operation from its node, the shapes of `x` (and `z`) and constants in input order.
fn operation(
    op_type: &str,
    shapes: &[&[usize]],
    constants: &[(&[usize], Vec<f32>)],
    attributes: Vec<pb::AttributeProto>,
) -> Arc<Operation> {
    let inputs: Vec<_> = ["x", "z"]
        .into_iter()
        .zip(shapes)
        .map(|(name, shape)| builder::value_info(name, DatumType::F32, shape))
        .collect();
    let mut initializers: Vec<_> = constants
        .iter()
        .enumerate()
        .map(|(i, (shape, values))| tensor_f32(&format!("c{i}"), shape, values))
        .collect();
    let mut names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
    names.extend(initializers.iter().map(|constant| constant.name.clone()));
    if op_type == "Reshape" {
        names.push("shape".into());
        initializers.push(builder::tensor_i64("shape", &[3], &[0, -1, 5]));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = builder::node(op_type, &names, &["out"], attributes);
    let output = builder::value_info("out", DatumType::F32, &[]);
    let graph = builder::graph("one", vec![node], initializers, inputs, vec![output]);
    let model = builder::model(graph, 19);
    let model = Model::from_bytes("one.onnx", &model.encode_to_vec()).unwrap();
    let graph = Graph::bind(Arc::new(model), &BTreeMap::new()).unwrap();
    let operation = Operation::from_node(&graph, &graph.nodes()[0], &Device::Cpu).unwrap();
    Arc::new(operation.unwrap())
}

fn constant(shape: &'static [usize], seed: u8) -> (&'static [usize], Vec<f32>) {
    (shape, normals(shape.iter().product(), seed))
}

fn positive(shape: &'static [usize], seed: u8) -> (&'static [usize], Vec<f32>) {
    let (shape, values) = constant(shape, seed);
    (shape, values.into_iter().map(|v| v.abs() + 0.1).collect())
}

/// Kernel 3x2, strides 2 and 1, dilations 1 and 2, uneven padding.
fn window() -> Vec<pb::AttributeProto> {
    vec![
        ints_attribute("kernel_shape", &[3, 2]),
        ints_attribute("strides", &[2, 1]),
        ints_attribute("dilations", &[1, 2]),
        ints_attribute("pads", &[1, 0, 1, 1]),
    ]
}

fn with(mut attributes: Vec<pb::AttributeProto>, more: &[(&str, i64)]) -> Vec<pb::AttributeProto> {
    attributes.extend(more.iter().map(|(name, value)| int_attribute(name, *value)));
    attributes
}

pub(super) fn conv() -> Arc<Operation> {
    operation("Conv", &[&[2, 3, 7, 6]], &[constant(&[5, 3, 3, 2], 1), constant(&[5], 2)], window())
}

pub(super) fn gemm() -> Arc<Operation> {
    let attributes = vec![float_attribute("alpha", 0.5), float_attribute("beta", -1.5)];
    let constants = [constant(&[6, 9], 1), constant(&[6], 2)];
    operation("Gemm", &[&[4, 9]], &constants, with(attributes, &[("transB", 1)]))
}

pub(super) fn relu() -> Arc<Operation> {
    // More elements than one period of signs, and not a multiple of it.
    operation("Relu", &[&[1, 10, 30, 31]], &[], vec![])
}

/// Every form with a name; linear ones are checked both ways.
pub(super) fn all() -> Vec<(&'static str, Arc<Operation>)> {
    let gemm_bias = |shape: &'static [usize]| {
        let constants = [constant(&[9, 6], 1), constant(shape, 2)];
        operation("Gemm", &[&[9, 4]], &constants, with(vec![], &[("transA", 1)]))
    };
    let matmul = |x: &[usize], w| operation("MatMul", &[x], &[constant(w, 1)], vec![]);
    let image: &[usize] = &[2, 3, 7, 6];
    let pool = |kind: &str, size: usize, stride: i64, pads: [i64; 4], include: i64| {
        let mut attributes = vec![
            ints_attribute("kernel_shape", &[3, 3]),
            ints_attribute("strides", &[stride, 2]),
            ints_attribute("pads", &pads),
            int_attribute("ceil_mode", 1),
        ];
        if kind == "AveragePool" {
            attributes.push(int_attribute("count_include_pad", include));
        }
        operation(kind, &[&[1, 2, size, size]], &[], attributes)
    };
    let batch_norm = |shape: &[usize]| {
        let statistics =
            [constant(&[3], 1), constant(&[3], 2), constant(&[3], 3), positive(&[3], 4)];
        operation(
            "BatchNormalization",
            &[shape],
            &statistics,
            vec![float_attribute("epsilon", 1e-3)],
        )
    };
    vec![
        ("conv", conv()),
        ("conv_grouped", {
            let constants = [constant(&[6, 2, 3, 2], 1), constant(&[6], 2)];
            operation("Conv", &[&[1, 4, 7, 6]], &constants, with(window(), &[("group", 2)]))
        }),
        ("conv_depthwise", {
            operation(
                "Conv",
                &[image],
                &[constant(&[3, 1, 3, 2], 1)],
                with(window(), &[("group", 3)]),
            )
        }),
        ("conv_strided", {
            let attributes =
                vec![ints_attribute("strides", &[2, 1]), ints_attribute("pads", &[1, 2, 0, 1])];
            let constants = [constant(&[4, 3, 3, 3], 1), constant(&[4], 2)];
            operation("Conv", &[image], &constants, attributes)
        }),
        // More padding than a window of its own has pixels.
        ("conv_wide_padding", {
            let attributes = vec![ints_attribute("pads", &[1, 1, 1, 1])];
            operation("Conv", &[image], &[constant(&[4, 3, 1, 1], 1)], attributes)
        }),
        ("conv_grouped_plain", {
            let attributes = vec![ints_attribute("pads", &[1, 0, 1, 1]), int_attribute("group", 2)];
            let constants = [constant(&[6, 2, 3, 2], 1), constant(&[6], 2)];
            operation("Conv", &[&[1, 4, 7, 6]], &constants, attributes)
        }),
        ("conv_pointwise", operation("Conv", &[image], &[constant(&[4, 3, 1, 1], 1)], vec![])),
        ("conv_1d", operation("Conv", &[&[2, 3, 9]], &[constant(&[4, 3, 3], 1)], vec![])),
        ("conv_3d", {
            let constants = [constant(&[4, 2, 2, 2, 2], 1), constant(&[4], 2)];
            operation("Conv", &[&[1, 2, 4, 3, 3]], &constants, vec![])
        }),
        ("gemm", gemm()),
        ("gemm_row_bias", gemm_bias(&[4, 6])),
        ("gemm_column_bias", gemm_bias(&[4, 1])),
        ("gemm_scalar_bias", gemm_bias(&[1])),
        ("gemm_no_bias", operation("Gemm", &[&[4, 9]], &[constant(&[9, 6], 1)], vec![])),
        ("matmul", matmul(&[4, 9], &[9, 6])),
        ("matmul_rows", matmul(&[2, 3, 4, 9], &[9, 6])),
        ("matmul_batched", matmul(&[2, 4, 9], &[2, 9, 6])),
        ("matmul_broadcast", matmul(&[2, 4, 9], &[1, 9, 6])),
        ("matmul_left_vector", matmul(&[9], &[9, 6])),
        ("matmul_left_vector_batched", matmul(&[9], &[2, 9, 6])),
        ("matmul_right_vector", matmul(&[3, 4, 9], &[9])),
        ("matmul_right_batched", matmul(&[4, 9], &[2, 9, 6])),
        ("add", operation("Add", &[&[2, 3, 4], &[3, 1]], &[], vec![])),
        ("add_constant", operation("Add", &[&[3, 1]], &[constant(&[2, 3, 4], 1)], vec![])),
        ("average_pool", operation("AveragePool", &[image], &[], window())),
        ("average_pool_padded", {
            operation("AveragePool", &[image], &[], with(window(), &[("count_include_pad", 1)]))
        }),
        // One window hangs over the end.
        ("average_pool_ceil", pool("AveragePool", 8, 2, [0; 4], 0)),
        // One window would start in the padding, and is dropped.
        ("average_pool_dropped", pool("AveragePool", 6, 3, [1; 4], 1)),
        // Without padding, windows of 3 every 5 elements of 9 skip the end.
        ("average_pool_skipped", pool("AveragePool", 9, 5, [0; 4], 0)),
        ("batch_normalization", batch_norm(image)),
        ("batch_normalization_flat", batch_norm(&[4, 3])),
        ("flatten", operation("Flatten", &[image], &[], vec![int_attribute("axis", -2)])),
        ("max_pool", operation("MaxPool", &[image], &[], window())),
        ("max_pool_ceil", pool("MaxPool", 8, 2, [0; 4], 0)),
        ("max_pool_dropped", pool("MaxPool", 8, 3, [0, 0, 1, 1], 0)),
        ("relu", relu()),
        ("reshape", operation("Reshape", &[&[2, 3, 10]], &[], vec![])),
    ]
}

/// The checks that an operation can have.
pub(super) fn checks(operation: &Operation) -> &'static [Check] {
    if operation.linear().is_some() { &[Check::Sketch, Check::Replay] } else { &[Check::Replay] }
}
