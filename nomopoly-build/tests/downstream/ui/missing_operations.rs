//~ setup: missing
//~ error: 2 of this model's operations are not compiled: hidden, y\nNOMOPOLY_MODE is locked, which never trains\nrun `cargo nomopoly compile -p ui models/dense.onnx`
//~ at: "models/dense.onnx"
// One error, and everything that uses the types still compiles.
use nomopoly::{Proven, VerifierKey};

#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() -> Result<(), nomopoly::Error> {
    let input = DenseInput { x: [[0.; 6]].into() };
    let proven: Proven<Dense> = Dense::prover()?.prove(&input)?;
    let _: &[f32] = proven.output().y.as_slice();
    Dense::verifier(VerifierKey::random()?)?.verify(&input, &proven)?;
    Dense::op("hidden")?;
    Ok(())
}
