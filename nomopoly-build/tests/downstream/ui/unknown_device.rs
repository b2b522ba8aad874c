//~ setup: ready
//~ error: expected "auto", "cpu", "cuda" or "metal"
//~ at: "tpu"
#[nomopoly::model("models/dense.onnx", device = "tpu")]
pub struct Dense;

fn main() {}
