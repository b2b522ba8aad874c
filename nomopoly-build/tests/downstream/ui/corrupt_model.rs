//~ setup: corrupt
//~ error: models/dense.onnx: dense.onnx is not an ONNX model
//~ at: "models/dense.onnx"
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {}
