//~ setup: edited
//~ error: manifest.json is damaged or was edited
//~ at: "models/dense.onnx"
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {}
