//! Compiles the ONNX models that this crate's sources name in `#[nomopoly::model("...")]`.

fn main() {
    nomopoly_build::compile_referenced();
}
