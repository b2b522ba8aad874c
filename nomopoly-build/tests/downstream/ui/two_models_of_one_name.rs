//~ setup: twins
//~ error: other/dense.onnx has the same file name, and registries record models by file name: rename one
//~ at: "models/dense.onnx"
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {}
