//~ setup: ready
//~ error: goes on a unit struct, as in `struct Digits;`
#[nomopoly::model("models/dense.onnx")]
fn dense() {}

fn main() {
    dense();
}
