//! Short constructors for ONNX protobuf messages, used wherever this crate writes a graph.

use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::prelude::DatumType;

/// The ONNX code of a tract element type; `None` for those that ONNX cannot write.
///
/// tract's own dimension type is written as int64, which is what ONNX says shapes are.
pub fn dtype_to_onnx(dtype: DatumType) -> Option<i32> {
    let code = match dtype {
        DatumType::Bool => DataType::Bool,
        DatumType::U8 | DatumType::QU8(_) => DataType::Uint8,
        DatumType::U16 => DataType::Uint16,
        DatumType::U32 => DataType::Uint32,
        DatumType::U64 => DataType::Uint64,
        DatumType::I8 | DatumType::QI8(_) => DataType::Int8,
        DatumType::I16 => DataType::Int16,
        DatumType::I32 | DatumType::QI32(_) => DataType::Int32,
        DatumType::I64 | DatumType::TDim => DataType::Int64,
        DatumType::F16 => DataType::Float16,
        DatumType::F32 => DataType::Float,
        DatumType::F64 => DataType::Double,
        DatumType::String => DataType::String,
        _ => return None,
    };
    Some(code as i32)
}

/// A float tensor of shape `dims`, whose product is the length of `data`, in row-major order.
pub fn tensor_f32(name: &str, dims: &[usize], data: &[f32]) -> pb::TensorProto {
    let raw = data.iter().flat_map(|value| value.to_le_bytes()).collect();
    raw_tensor(name, dims, DataType::Float, raw)
}

/// An int64 tensor of shape `dims`, whose product is the length of `data`, in row-major order.
pub fn tensor_i64(name: &str, dims: &[usize], data: &[i64]) -> pb::TensorProto {
    let raw = data.iter().flat_map(|value| value.to_le_bytes()).collect();
    raw_tensor(name, dims, DataType::Int64, raw)
}

/// A tensor of any fixed-size element type from its little-endian bytes.
pub fn raw_tensor(name: &str, dims: &[usize], dtype: DataType, raw: Vec<u8>) -> pb::TensorProto {
    pb::TensorProto {
        name: name.to_string(),
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type: dtype as i32,
        raw_data: raw,
        ..Default::default()
    }
}

/// A graph input or output. An element type that ONNX cannot write becomes "undefined".
pub fn value_info(name: &str, dtype: DatumType, shape: &[usize]) -> pb::ValueInfoProto {
    let dims = shape.iter().map(|&dim| dimension::Value::DimValue(dim as i64));
    value_info_with(name, dtype, dims.collect())
}

/// A graph input or output whose dimensions may be symbols.
pub fn value_info_with(
    name: &str,
    dtype: DatumType,
    dims: Vec<dimension::Value>,
) -> pb::ValueInfoProto {
    let dim = dims
        .into_iter()
        .map(|value| Dimension { value: Some(value), ..Default::default() })
        .collect();
    let tensor = pb::type_proto::Tensor {
        elem_type: dtype_to_onnx(dtype).unwrap_or(DataType::Undefined as i32),
        shape: Some(pb::TensorShapeProto { dim }),
    };
    pb::ValueInfoProto {
        name: name.to_string(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A node of the default domain, named after its first output.
pub fn node(
    op_type: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: Vec<pb::AttributeProto>,
) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op_type.to_string(),
        name: outputs.first().copied().unwrap_or_default().to_string(),
        input: inputs.iter().map(|name| name.to_string()).collect(),
        output: outputs.iter().map(|name| name.to_string()).collect(),
        attribute: attributes,
        ..Default::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> pb::AttributeProto {
    pb::AttributeProto { name: name.to_string(), r#type: kind as i32, ..Default::default() }
}

/// An integer attribute, such as `axis`.
pub fn int_attribute(name: &str, value: i64) -> pb::AttributeProto {
    pb::AttributeProto { i: value, ..attribute(name, AttributeType::Int) }
}

/// A list of integers, such as `pads`.
pub fn ints_attribute(name: &str, values: &[i64]) -> pb::AttributeProto {
    pb::AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

/// A float attribute, such as `epsilon`.
pub fn float_attribute(name: &str, value: f32) -> pb::AttributeProto {
    pb::AttributeProto { f: value, ..attribute(name, AttributeType::Float) }
}

/// A list of floats.
pub fn floats_attribute(name: &str, values: &[f32]) -> pb::AttributeProto {
    pb::AttributeProto { floats: values.to_vec(), ..attribute(name, AttributeType::Floats) }
}

/// A string attribute, such as `auto_pad`.
pub fn string_attribute(name: &str, value: &str) -> pb::AttributeProto {
    pb::AttributeProto { s: value.as_bytes().to_vec(), ..attribute(name, AttributeType::String) }
}

/// A tensor attribute, such as `value` of `Constant`.
pub fn tensor_attribute(name: &str, value: pb::TensorProto) -> pb::AttributeProto {
    pb::AttributeProto { t: Some(value), ..attribute(name, AttributeType::Tensor) }
}

/// A graph attribute, such as `then_branch` of `If`.
pub fn graph_attribute(name: &str, value: pb::GraphProto) -> pb::AttributeProto {
    pb::AttributeProto { g: Some(value), ..attribute(name, AttributeType::Graph) }
}

/// A graph named `name`; nodes must be sorted so that each comes after what it depends on.
pub fn graph(
    name: &str,
    nodes: Vec<pb::NodeProto>,
    initializers: Vec<pb::TensorProto>,
    inputs: Vec<pb::ValueInfoProto>,
    outputs: Vec<pb::ValueInfoProto>,
) -> pb::GraphProto {
    pb::GraphProto {
        name: name.to_string(),
        node: nodes,
        initializer: initializers,
        input: inputs,
        output: outputs,
        ..Default::default()
    }
}

/// A model of the default operator set `opset`.
pub fn model(graph: pb::GraphProto, opset: i64) -> pb::ModelProto {
    pb::ModelProto {
        ir_version: 8,
        producer_name: "nomopoly".to_string(),
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: opset }],
        graph: Some(graph),
        ..Default::default()
    }
}
