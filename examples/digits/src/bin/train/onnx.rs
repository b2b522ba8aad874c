//! The network as an ONNX file, and that file run in tract.

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use tract_onnx::prelude::*;

use crate::data::{CLASSES, Digits, SIDE};
use crate::network::{KERNEL, PAD, POOL, Weights};

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

const ATTRIBUTION: &str = "Trained on: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten \
    Digits, UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0";

/// The bytes of the model: input `image` f32 `[N, 1, 8, 8]`, output `logits` f32 `[N, 10]`.
pub fn encode(weights: &[Weights]) -> Vec<u8> {
    let conv = vec![
        ints("kernel_shape", &[KERNEL, KERNEL]),
        ints("pads", &[PAD; 4]),
        ints("strides", &[1, 1]),
    ];
    let pool = vec![ints("kernel_shape", &[POOL, POOL]), ints("strides", &[POOL, POOL])];
    // The weights lie as [out, in].
    let gemm = || vec![int("transB", 1)];
    let graph = GraphProto {
        name: "digits".into(),
        node: vec![
            node("Conv", "conv1", &["image", "conv1.weight", "conv1.bias"], "conv1.out", conv),
            node("Relu", "relu1", &["conv1.out"], "relu1.out", vec![]),
            node("MaxPool", "pool1", &["relu1.out"], "pool1.out", pool),
            node("Flatten", "flatten1", &["pool1.out"], "flatten1.out", vec![int("axis", 1)]),
            node("Gemm", "fc1", &["flatten1.out", "fc1.weight", "fc1.bias"], "fc1.out", gemm()),
            node("Relu", "relu2", &["fc1.out"], "relu2.out", vec![]),
            node("Gemm", "fc2", &["relu2.out", "fc2.weight", "fc2.bias"], "logits", gemm()),
        ],
        initializer: weights.iter().map(initializer).collect(),
        input: vec![value("image", &[1, SIDE, SIDE])],
        output: vec![value("logits", &[CLASSES])],
        ..Default::default()
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto { version: OPSET, ..Default::default() }],
        producer_name: "nomopoly-digits".into(),
        doc_string: ATTRIBUTION.into(),
        graph: Some(graph),
        ..Default::default()
    };
    model.encode_to_vec()
}

/// The logits of every image, each run alone.
pub fn run_one_by_one(mut model: &[u8], digits: &Digits) -> crate::Result<Vec<Vec<f32>>> {
    let image_fact = f32::fact([1, 1, SIDE, SIDE]);
    let plan = tract_onnx::onnx()
        .model_for_read(&mut model)?
        .with_input_fact(0, image_fact.into())?
        .into_optimized()?
        .into_runnable()?;
    let run = |index| {
        let pixels: Vec<f32> = digits.scaled(index).collect();
        let image = Tensor::from_shape(&[1, 1, SIDE, SIDE], &pixels)?;
        let outputs = plan.run(tvec![image.into()])?;
        Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
    };
    (0..digits.len()).map(run).collect()
}

fn node(
    op_type: &str,
    name: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        name: name.into(),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    let r#type = AttributeType::Int.into();
    AttributeProto { name: name.into(), r#type, i: value, ..Default::default() }
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints.into(),
        ints,
        ..Default::default()
    }
}

fn initializer(weights: &Weights) -> TensorProto {
    TensorProto {
        name: weights.name.into(),
        data_type: DataType::Float.into(),
        dims: weights.shape.iter().map(|&size| size as i64).collect(),
        raw_data: weights.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..Default::default()
    }
}

/// An f32 value of shape `[N, sizes...]`; N stays open, any batch runs.
fn value(name: &str, sizes: &[usize]) -> ValueInfoProto {
    let batch = dimension::Value::DimParam("N".into());
    let fixed = sizes.iter().map(|&size| dimension::Value::DimValue(size as i64));
    let dim = std::iter::once(batch)
        .chain(fixed)
        .map(|value| Dimension { value: Some(value), ..Default::default() })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float.into(),
        shape: Some(TensorShapeProto { dim }),
    };
    let r#type =
        TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}
