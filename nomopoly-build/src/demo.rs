//! The demo model: a small convolutional network with seeded random weights.

use nomopoly_runtime::onnx::{builder, pb};
use prost::Message;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};
use tract_onnx::prelude::DatumType;

use crate::random;

/// Conv 3-16 3x3, Relu, MaxPool 2x2, Flatten, Gemm 256-64, Relu, Gemm 64-10 for a 1x3x8x8 input
/// `image`, as an ONNX file (operator set 17). Weights are He-normal from the seed.
pub fn model(seed: u64) -> Vec<u8> {
    let mut random = random::stream(seed, "demo", "weights");
    let mut weights = |name: &str, dims: &[usize], fan_in: usize| {
        tensor(name, dims, (2. / fan_in as f32).sqrt(), &mut random)
    };
    let initialisers = vec![
        weights("conv1.weight", &[16, 3, 3, 3], 27),
        weights("conv1.bias", &[16], 200),
        weights("fc1.weight", &[64, 256], 256),
        weights("fc1.bias", &[64], 200),
        weights("fc2.weight", &[10, 64], 64),
        weights("fc2.bias", &[10], 200),
    ];
    let trans_b = || vec![builder::int_attribute("transB", 1)];
    let nodes = vec![
        builder::node(
            "Conv",
            &["image", "conv1.weight", "conv1.bias"],
            &["conv1"],
            vec![
                builder::ints_attribute("kernel_shape", &[3, 3]),
                builder::ints_attribute("pads", &[1, 1, 1, 1]),
            ],
        ),
        builder::node("Relu", &["conv1"], &["relu1"], vec![]),
        builder::node(
            "MaxPool",
            &["relu1"],
            &["pool1"],
            vec![
                builder::ints_attribute("kernel_shape", &[2, 2]),
                builder::ints_attribute("strides", &[2, 2]),
            ],
        ),
        builder::node("Flatten", &["pool1"], &["flat1"], vec![]),
        builder::node("Gemm", &["flat1", "fc1.weight", "fc1.bias"], &["fc1"], trans_b()),
        builder::node("Relu", &["fc1"], &["relu2"], vec![]),
        builder::node("Gemm", &["relu2", "fc2.weight", "fc2.bias"], &["logits"], trans_b()),
    ];
    let graph = builder::graph(
        "demo",
        nodes,
        initialisers,
        vec![builder::value_info("image", DatumType::F32, &[1, 3, 8, 8])],
        vec![builder::value_info("logits", DatumType::F32, &[1, 10])],
    );
    builder::model(graph, 17).encode_to_vec()
}

/// A seeded random image for the demo model: 192 standard normals.
pub fn image(seed: u64) -> Vec<f32> {
    let mut random = random::stream(seed, "demo", "image");
    (0..192).map(|_| StandardNormal.sample(&mut random)).collect()
}

fn tensor(name: &str, dims: &[usize], scale: f32, random: &mut ChaCha20Rng) -> pb::TensorProto {
    let len = dims.iter().product();
    let values: Vec<f32> = (0..len)
        .map(|_| {
            let value: f32 = StandardNormal.sample(random);
            value * scale
        })
        .collect();
    builder::tensor_f32(name, dims, &values)
}
