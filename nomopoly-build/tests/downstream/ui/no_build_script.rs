//~ setup: none
//~ error: this crate has no build script
//~ at: "models/dense.onnx"
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {
    let _ = Dense::prover();
}
