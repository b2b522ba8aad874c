//~ setup: schema
//~ error: nomopoly-build 9.8.7 and nomopoly-macros
//~ at: "models/dense.onnx"
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {}
