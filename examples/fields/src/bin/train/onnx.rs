//! The network as an ONNX file, and that file run in tract.

use nomopoly::onnx::builder::{
    graph, int_attribute, ints_attribute, model, node, tensor_f32, value_info,
};
use prost::Message;
use tract_onnx::prelude::*;

use crate::data::Fields;
use crate::network::{EMBEDDING, KERNEL, LAYOUT, PAD, POOL, Weights};
use crate::text::{self, KINDS, LENGTH};

const OPSET: i64 = 17;

/// The bytes of the model: inputs `characters` i64 `[1, 24]` and `layout` f32 `[1, 3]`, outputs
/// `kind` f32 `[1, 6]` and `embedding` f32 `[1, 16]`.
pub fn encode(weights: &[Weights]) -> Vec<u8> {
    let conv = vec![
        ints_attribute("kernel_shape", &[KERNEL as i64]),
        ints_attribute("pads", &[PAD as i64; 2]),
        ints_attribute("strides", &[1]),
    ];
    let pool = vec![
        ints_attribute("kernel_shape", &[POOL as i64]),
        ints_attribute("strides", &[POOL as i64]),
    ];
    let axis = |axis| vec![int_attribute("axis", axis)];
    // Gather gives [1, position, width], Conv wants [1, width, position].
    let swap = vec![ints_attribute("perm", &[0, 2, 1])];
    // The weights lie as [out, in].
    let gemm = || vec![int_attribute("transB", 1)];
    let nodes = vec![
        node("Gather", &["table", "characters"], &["vectors"], axis(0)),
        node("Transpose", &["vectors"], &["channels"], swap),
        node("Conv", &["channels", "conv1.weight", "conv1.bias"], &["conv1"], conv),
        node("Relu", &["conv1"], &["relu1"], vec![]),
        node("MaxPool", &["relu1"], &["pool1"], pool),
        node("Flatten", &["pool1"], &["flatten1"], axis(1)),
        node("Concat", &["flatten1", "layout"], &["joined"], axis(1)),
        node("Gemm", &["joined", "fc1.weight", "fc1.bias"], &["fc1"], gemm()),
        node("Relu", &["fc1"], &["relu2"], vec![]),
        node("Gemm", &["relu2", "fc2.weight", "fc2.bias"], &["embedding"], gemm()),
        node("Relu", &["embedding"], &["relu3"], vec![]),
        node("Gemm", &["relu3", "fc3.weight", "fc3.bias"], &["kind"], gemm()),
    ];
    let initializers = weights.iter().map(|w| tensor_f32(w.name, &w.shape, &w.values)).collect();
    let inputs = vec![
        value_info("characters", DatumType::I64, &[1, LENGTH]),
        value_info("layout", DatumType::F32, &[1, LAYOUT]),
    ];
    let outputs = vec![
        value_info("kind", DatumType::F32, &[1, KINDS.len()]),
        value_info("embedding", DatumType::F32, &[1, EMBEDDING]),
    ];
    let mut model = model(graph("fields", nodes, initializers, inputs, outputs), OPSET);
    model.producer_name = "nomopoly-fields".into();
    model.doc_string = format!("Kinds of text fields, in the order of the logits: {KINDS:?}");
    model.encode_to_vec()
}

/// The values of `kind` and those of `embedding` for every field, each field run alone.
pub fn run_one_by_one(mut model: &[u8], fields: &Fields) -> crate::Result<(Vec<f32>, Vec<f32>)> {
    let plan = tract_onnx::onnx().model_for_read(&mut model)?.into_optimized()?.into_runnable()?;
    let (mut kinds, mut embeddings) = (Vec::new(), Vec::new());
    for index in 0..fields.len() {
        let text = fields.text(index);
        let characters = Tensor::from_shape(&[1, LENGTH], &text::characters(text))?;
        let layout = Tensor::from_shape(&[1, LAYOUT], &text::layout(text))?;
        let outputs = plan.run(tvec![characters.into(), layout.into()])?;
        kinds.extend(outputs[0].to_plain_array_view::<f32>()?);
        embeddings.extend(outputs[1].to_plain_array_view::<f32>()?);
    }
    Ok((kinds, embeddings))
}
