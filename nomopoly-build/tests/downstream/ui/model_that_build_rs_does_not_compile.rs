//~ setup: ready
//~ error: build.rs does not compile this model (it compiles `models/dense.onnx`
//~ at: "models/unlisted.onnx"
#[nomopoly::model("models/unlisted.onnx")]
pub struct Unlisted;

fn main() {}
