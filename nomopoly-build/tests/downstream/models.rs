//! Small models.

use nomopoly_build::prost::Message;
use nomopoly_build::runtime::onnx::{DatumType, builder, pb};

/// `y = relu(x W + b)` with x `[1, 6]` and y `[1, 4]`; the weights depend on the seed.
pub fn dense(seed: usize) -> Vec<u8> {
    named(seed, "x", "y", pb::tensor_shape_proto::dimension::Value::DimValue(1))
}

/// The same with other names, and the batch as it is given.
pub fn named(
    seed: usize,
    input: &str,
    output: &str,
    batch: pb::tensor_shape_proto::dimension::Value,
) -> Vec<u8> {
    use pb::tensor_shape_proto::dimension::Value::DimValue;
    let values = |len: usize, salt: usize| -> Vec<f32> {
        (0..len).map(|i| ((i * 31 + seed * 7 + salt) % 17) as f32 / 8. - 1.).collect()
    };
    let graph = builder::graph(
        "dense",
        vec![
            builder::node("Gemm", &[input, "w", "b"], &["hidden"], vec![]),
            builder::node("Relu", &["hidden"], &[output], vec![]),
        ],
        vec![
            builder::tensor_f32("w", &[6, 4], &values(24, 1)),
            builder::tensor_f32("b", &[4], &values(4, 2)),
        ],
        vec![builder::value_info_with(input, DatumType::F32, vec![batch.clone(), DimValue(6)])],
        vec![builder::value_info_with(output, DatumType::F32, vec![batch, DimValue(4)])],
    );
    builder::model(graph, 17).encode_to_vec()
}

/// A model without inputs: it gives a constant.
pub fn constant() -> Vec<u8> {
    let graph = builder::graph(
        "constant",
        vec![builder::node("Relu", &["c"], &["y"], vec![])],
        vec![builder::tensor_f32("c", &[2], &[-1., 3.])],
        vec![],
        vec![builder::value_info("y", DatumType::F32, &[2])],
    );
    builder::model(graph, 17).encode_to_vec()
}
