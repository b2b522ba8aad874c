//! Which models are given to tract when fuzzing.

use nomopoly::onnx::pb::tensor_proto::DataType;
use nomopoly::onnx::pb::tensor_shape_proto::dimension;
use nomopoly::onnx::pb::{self, type_proto};

/// Most nodes, those of inner graphs included.
const NODES: usize = 24;
/// Largest product of the numbers of one list, which may be a shape.
const PRODUCT: u64 = 1 << 14;
/// Operations that make much of little: repeated, they ask for any amount of time or memory.
const GROWING: [&str; 22] = [
    "BlackmanWindow",
    "ConstantOfShape",
    "ConvTranspose",
    "DFT",
    "DepthToSpace",
    "Einsum",
    "Expand",
    "EyeLike",
    "HammingWindow",
    "HannWindow",
    "Loop",
    "MelWeightMatrix",
    "Multinomial",
    "OneHot",
    "Pad",
    "Range",
    "Resize",
    "STFT",
    "Scan",
    "SequenceConstruct",
    "Tile",
    "Upsample",
];

/// Whether there is little to compute in a model. Nothing limits what one may ask for (SECURITY.md
/// says so), and a fuzzer that is free to ask for terabytes finds nothing else.
pub fn is_small(model: &pb::ModelProto) -> bool {
    let mut nodes = 0;
    model.graph.as_ref().is_some_and(|graph| graph_is_small(graph, &mut nodes))
}

fn graph_is_small(graph: &pb::GraphProto, nodes: &mut usize) -> bool {
    *nodes += graph.node.len();
    let attribute = |attribute: &pb::AttributeProto, nodes: &mut usize| {
        is_shape(&[attribute.i])
            && is_shape(&attribute.ints)
            && attribute.t.iter().chain(&attribute.tensors).all(tensor_is_small)
            && attribute.g.iter().chain(&attribute.graphs).all(|graph| graph_is_small(graph, nodes))
    };
    *nodes <= NODES
        && graph.initializer.iter().all(tensor_is_small)
        && graph.input.iter().all(|input| is_shape(&dims(input)))
        && graph.node.iter().all(|node| {
            !GROWING.contains(&node.op_type.as_str())
                && node.attribute.iter().all(|a| attribute(a, nodes))
        })
}

fn is_shape(numbers: &[i64]) -> bool {
    let sizes = numbers.iter().map(|number| number.unsigned_abs().max(1));
    sizes.fold(1u64, u64::saturating_mul) <= PRODUCT
}

fn dims(input: &pb::ValueInfoProto) -> Vec<i64> {
    let value = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = value else { return vec![] };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    dims.filter_map(|dim| match dim.value {
        Some(dimension::Value::DimValue(value)) => Some(value),
        _ => None,
    })
    .collect()
}

fn tensor_is_small(tensor: &pb::TensorProto) -> bool {
    let numbers: Vec<i64> = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Int64 | DataType::Uint64) => {
            let raw = tensor.raw_data.as_chunks::<8>().0.iter();
            raw.map(|bytes| i64::from_le_bytes(*bytes)).chain(tensor.int64_data.clone()).collect()
        }
        Ok(DataType::Int32 | DataType::Uint32) => {
            let raw = tensor.raw_data.as_chunks::<4>().0.iter();
            let short = tensor.int32_data.iter().map(|number| i64::from(*number));
            raw.map(|bytes| i64::from(i32::from_le_bytes(*bytes))).chain(short).collect()
        }
        _ => vec![],
    };
    // Longer lists are data: indices, say.
    let shape = &numbers[..numbers.len().min(8)];
    is_shape(&tensor.dims) && is_shape(shape)
}
