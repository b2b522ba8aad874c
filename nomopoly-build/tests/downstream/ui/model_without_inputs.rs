//~ setup: constant
//~ error: models/dense.onnx: dense.onnx: invalid graph: it has no input
//~ at: "models/dense.onnx"
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {}
