//~ setup: empty
//~ error: this crate's build script compiles no model
//~ at: "models/dense.onnx"
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {}
