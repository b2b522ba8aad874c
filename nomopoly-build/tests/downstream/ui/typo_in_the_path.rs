//~ setup: ready
//~ error: models/dense.onx is not a file; the path is relative to Cargo.toml\nthat folder has batch.onnx, dense.onnx
//~ at: "models/dense.onx"
#[nomopoly::model("models/dense.onx")]
pub struct Dense;

fn main() {
    let _ = Dense::DIGEST;
}
