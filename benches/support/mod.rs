//! What the benchmarks share: models of one operation, and the machine.
#![allow(dead_code, reason = "each benchmark uses a part")]

pub mod compiled;
pub mod models;
pub mod onnxruntime;
pub mod table;
pub mod timing;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use nomopoly::candle_core::Device;
use nomopoly::onnx::{DatumType, Graph, Model, builder, pb};
use nomopoly::operations::Operation;
use nomopoly_build::prost::Message;

/// Normal-like values without structure: sums of four uniforms.
pub fn values(len: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..len).map(|_| (0..4).map(|_| uniform()).sum::<f32>() * 1.732 * scale).collect()
}

/// A model of one node with random weights.
pub struct Single {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

fn single(
    name: &'static str,
    op_type: &str,
    attributes: Vec<pb::AttributeProto>,
    inputs: &[&[usize]],
    weights: &[&[usize]],
    output: &[usize],
) -> Single {
    let mut names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let input_infos = names
        .iter()
        .zip(inputs)
        .map(|(name, shape)| builder::value_info(name, DatumType::F32, shape));
    let input_infos = input_infos.collect();
    let mut tensors = vec![];
    for (index, shape) in weights.iter().enumerate() {
        let name = format!("w{index}");
        // He-like for matrices and kernels; statistics of a normalisation must be positive.
        let fan_in = match op_type {
            "Conv" => shape[1..].iter().product::<usize>(),
            _ => shape[0],
        };
        let scale = if shape.len() > 1 { (2. / fan_in as f32).sqrt() } else { 0.2 };
        let mut data = values(shape.iter().product(), 7 + index as u64, scale);
        if op_type == "BatchNormalization" {
            data.iter_mut()
                .for_each(|v| *v = if index == 0 || index == 3 { v.abs() + 0.5 } else { *v });
        }
        if op_type == "Reshape" {
            let target: Vec<i64> = output.iter().map(|&d| d as i64).collect();
            tensors.push(builder::tensor_i64(&name, shape, &target));
        } else {
            tensors.push(builder::tensor_f32(&name, shape, &data));
        }
        names.push(name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = builder::node(op_type, &names, &["y"], attributes);
    let outputs = vec![builder::value_info("y", DatumType::F32, output)];
    let graph = builder::graph(name, vec![node], tensors, input_infos, outputs);
    Single { name, bytes: builder::model(graph, 17).encode_to_vec() }
}

/// One operation of each of the nine kinds (Flatten and Reshape count as one).
pub fn kinds() -> Vec<Single> {
    use builder::ints_attribute as ints;
    let pool = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    let pads = || vec![ints("pads", &[1, 1, 1, 1])];
    vec![
        single("Conv", "Conv", pads(), &[&[1, 8, 8, 8]], &[&[16, 8, 3, 3], &[16]], &[1, 16, 8, 8]),
        single("Gemm", "Gemm", vec![], &[&[1, 128]], &[&[128, 64], &[64]], &[1, 64]),
        single("MatMul", "MatMul", vec![], &[&[1, 8, 64]], &[&[64, 64]], &[1, 8, 64]),
        single("Relu", "Relu", vec![], &[&[1, 256]], &[], &[1, 256]),
        single("MaxPool", "MaxPool", pool(), &[&[1, 8, 8, 8]], &[], &[1, 8, 4, 4]),
        single("AveragePool", "AveragePool", pool(), &[&[1, 8, 8, 8]], &[], &[1, 8, 4, 4]),
        single("Flatten", "Flatten", vec![], &[&[1, 8, 8, 4]], &[], &[1, 256]),
        single("Reshape", "Reshape", vec![], &[&[1, 256]], &[&[2]], &[16, 16]),
        single("Add", "Add", vec![], &[&[1, 256], &[1, 256]], &[], &[1, 256]),
        single(
            "BatchNormalization",
            "BatchNormalization",
            vec![],
            &[&[1, 8, 8, 4]],
            &[&[8], &[8], &[8], &[8]],
            &[1, 8, 8, 4],
        ),
    ]
}

/// Convolutions and matrix products of growing size.
pub fn growing() -> Vec<Single> {
    use builder::ints_attribute as ints;
    let pads = || vec![ints("pads", &[1, 1, 1, 1])];
    let stem = vec![ints("pads", &[3, 3, 3, 3]), ints("strides", &[2, 2])];
    vec![
        single(
            "Conv 16-16 3x3 at 14x14",
            "Conv",
            pads(),
            &[&[1, 16, 14, 14]],
            &[&[16, 16, 3, 3], &[16]],
            &[1, 16, 14, 14],
        ),
        single(
            "Conv 32-32 3x3 at 28x28",
            "Conv",
            pads(),
            &[&[1, 32, 28, 28]],
            &[&[32, 32, 3, 3], &[32]],
            &[1, 32, 28, 28],
        ),
        single(
            "Conv 64-64 3x3 at 56x56",
            "Conv",
            pads(),
            &[&[1, 64, 56, 56]],
            &[&[64, 64, 3, 3], &[64]],
            &[1, 64, 56, 56],
        ),
        single(
            "Conv 3-64 7x7/2 at 224x224",
            "Conv",
            stem,
            &[&[1, 3, 224, 224]],
            &[&[64, 3, 7, 7], &[64]],
            &[1, 64, 112, 112],
        ),
        single("Gemm 256x125", "Gemm", vec![], &[&[1, 256]], &[&[256, 125], &[125]], &[1, 125]),
        single("Gemm 512x250", "Gemm", vec![], &[&[1, 512]], &[&[512, 250], &[250]], &[1, 250]),
        single("Gemm 1024x500", "Gemm", vec![], &[&[1, 1024]], &[&[1024, 500], &[500]], &[1, 500]),
        single(
            "Gemm 2048x1000",
            "Gemm",
            vec![],
            &[&[1, 2048]],
            &[&[2048, 1000], &[1000]],
            &[1, 1000],
        ),
    ]
}

/// Writes a model and binds its graph.
pub fn load(folder: &Path, file: &str, bytes: &[u8]) -> (std::path::PathBuf, Graph) {
    let path = folder.join(file);
    std::fs::write(&path, bytes).expect("the temporary folder is writable");
    let model = Model::load(&path).expect("the benchmark's own model is valid");
    (path, Graph::bind(Arc::new(model), &BTreeMap::new()).expect("its shapes are fixed"))
}

/// The operations of a graph.
pub fn operations(graph: &Graph) -> Vec<Arc<Operation>> {
    graph
        .nodes()
        .iter()
        .map(|node| {
            let operation = Operation::from_node(graph, node, &Device::Cpu);
            Arc::new(operation.expect("tensor arithmetic works").expect("a kind with an artefact"))
        })
        .collect()
}

/// Peak resident memory of this process in MB, where the system tells (Linux).
pub fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1024.)
}
