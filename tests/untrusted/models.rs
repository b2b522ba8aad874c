//! Seeds of the ONNX reader: small models, and what a hostile file may hold.

use nomopoly::onnx::pb::tensor_proto::{DataLocation, DataType};
use nomopoly::onnx::{DatumType, builder, pb};
use nomopoly_build::prost::Message;

use super::Seeds;

fn model(
    nodes: Vec<pb::NodeProto>,
    initialisers: Vec<pb::TensorProto>,
    (input, output): (&[usize], &[usize]),
) -> pb::ModelProto {
    let graph = builder::graph(
        "g",
        nodes,
        initialisers,
        vec![builder::value_info("x", DatumType::F32, input)],
        vec![builder::value_info("y", DatumType::F32, output)],
    );
    builder::model(graph, 17)
}

/// One Relu.
pub fn relu() -> Vec<u8> {
    let node = builder::node("Relu", &["x"], &["y"], vec![]);
    model(vec![node], vec![], (&[1, 4], &[1, 4])).encode_to_vec()
}

/// Convolution, normalisation, pooling, a reshaped product.
fn network() -> pb::ModelProto {
    let kernel = || vec![builder::ints_attribute("kernel_shape", &[2, 2])];
    let ones = |name: &str, dims: &[usize]| {
        builder::tensor_f32(name, dims, &vec![0.5; dims.iter().product()])
    };
    let nodes = vec![
        builder::node("Conv", &["x", "w", "b"], &["conv"], kernel()),
        builder::node("BatchNormalization", &["conv", "b", "b", "b", "b"], &["norm"], vec![]),
        builder::node("MaxPool", &["norm"], &["pool"], kernel()),
        builder::node("Reshape", &["pool", "shape"], &["flat"], vec![]),
        builder::node("MatMul", &["flat", "m"], &["product"], vec![]),
        builder::node("Softmax", &["product"], &["y"], vec![builder::int_attribute("axis", -1)]),
    ];
    let initialisers = vec![
        ones("w", &[2, 1, 2, 2]),
        ones("b", &[2]),
        builder::tensor_i64("shape", &[2], &[1, -1]),
        ones("m", &[2, 3]),
    ];
    model(nodes, initialisers, (&[1, 1, 3, 3], &[1, 3]))
}

/// Graphs inside graphs.
fn nested(depth: usize) -> pb::ModelProto {
    let mut node = builder::node("Relu", &["x"], &["y0"], vec![]);
    for level in 1..=depth {
        let inner = pb::GraphProto {
            output: vec![builder::value_info(&node.output[0], DatumType::F32, &[1, 4])],
            node: vec![node],
            ..Default::default()
        };
        let attribute = builder::graph_attribute("then_branch", inner);
        let name = if level == depth { "y".to_owned() } else { format!("y{level}") };
        node = builder::node("If", &["x"], &[&name], vec![attribute]);
    }
    model(vec![node], vec![], (&[1, 4], &[1, 4]))
}

pub fn write(seeds: &Seeds) {
    let change = |name: &str, change: &dyn Fn(&mut pb::GraphProto)| {
        let mut model = network();
        change(model.graph.as_mut().unwrap());
        seeds.add(name, model.encode_to_vec());
    };
    let whole = network().encode_to_vec();
    seeds.add("network", &whole);
    seeds.add("relu", relu());
    for part in 1..4 {
        seeds.add(&format!("cut_{part}"), &whole[..whole.len() * part / 4]);
    }
    for depth in [1, 8, 30] {
        seeds.add(&format!("nested_{depth}"), nested(depth).encode_to_vec());
    }
    let one = |name: &str, op: &str, attributes: Vec<pb::AttributeProto>| {
        let node = builder::node(op, &["x"], &["y"], attributes);
        seeds.add(name, model(vec![node], vec![], (&[2, 3, 4], &[2, 3, 4])).encode_to_vec());
    };
    let ints = builder::ints_attribute;
    one("transpose", "Transpose", vec![ints("perm", &[2, 0, 1])]);
    one("transpose_twice", "Transpose", vec![ints("perm", &[0, 0, 1])]);
    one("axis", "Softmax", vec![builder::int_attribute("axis", i64::MIN)]);
    one("no_strides", "MaxPool", vec![ints("kernel_shape", &[2]), ints("strides", &[])]);
    one("pool", "AveragePool", vec![ints("kernel_shape", &[2]), ints("pads", &[1, 1])]);
    one("far_pads", "AveragePool", vec![ints("kernel_shape", &[1]), ints("pads", &[-9, 9])]);
    one("flatten", "Flatten", vec![builder::int_attribute("axis", 9)]);
    one("cast", "Cast", vec![builder::int_attribute("to", 77)]);
    one("unknown", "Surprise", vec![]);
    one("split", "Split", vec![builder::int_attribute("num_outputs", -1)]);
    let constant = builder::tensor_attribute("value", builder::tensor_i64("c", &[1], &[3]));
    let nodes = vec![
        builder::node("Constant", &[], &["c"], vec![constant]),
        builder::node("Gather", &["x", "c"], &["y"], vec![]),
    ];
    seeds.add("gather", model(nodes, vec![], (&[2, 3], &[1, 3])).encode_to_vec());

    change("huge_dims", &|g| g.initializer[0].dims = vec![1 << 40, 1 << 40, 0]);
    change("negative_dim", &|g| g.initializer[1].dims[0] = -2);
    change("short_data", &|g| g.initializer[0].raw_data.truncate(7));
    change("nan", &|g| g.initializer[1] = builder::tensor_f32("b", &[2], &[f32::NAN, 0.]));
    change("unsorted", &|g| g.node.reverse());
    change("unnamed", &|g| g.node[1].output[0].clear());
    change("reshape", &|g| g.initializer[2] = builder::tensor_i64("shape", &[2], &[-1, -1]));
    change("reshape_zero", &|g| g.initializer[2] = builder::tensor_i64("shape", &[2], &[0, 0]));
    change("type", &|g| g.initializer[2].data_type = DataType::Complex128 as i32);
    change("unsigned", &|g| {
        g.initializer[2].raw_data.clear();
        g.initializer[2].data_type = DataType::Uint64 as i32;
        g.initializer[2].uint64_data = vec![1, u64::MAX];
    });
    change("external", &|g| {
        g.initializer[0].raw_data.clear();
        g.initializer[0].data_location = Some(DataLocation::External as i32);
        let entry = |key: &str, value: &str| pb::StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        };
        g.initializer[0].external_data = vec![
            entry("location", "../../etc/passwd"),
            entry("offset", "18446744073709551615"),
            entry("length", "18446744073709551615"),
        ];
    });
    change("many_attributes", &|g| {
        g.node[0].attribute = vec![pb::AttributeProto::default(); 1000];
    });
    change("many_inputs", &|g| g.input = vec![pb::ValueInfoProto::default(); 1000]);
    // A message whose length says 2^60.
    seeds.add("bomb", [&[0x3a][..], &super::BOMB, &[0; 16]].concat());
    seeds.add("not_a_model", b"not a model at all");
}
