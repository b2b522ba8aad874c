//~ setup: ready
//~ error: mismatched types
//~ at: &proven
use nomopoly::VerifierKey;

#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

#[nomopoly::model("models/batch.onnx")]
pub struct Batch;

fn main() -> Result<(), nomopoly::Error> {
    let proven = Dense::prover()?.prove(&DenseInput { x: [[0.; 6]].into() })?;
    let verifier = Batch::verifier(VerifierKey::random()?)?;
    verifier.verify(&BatchInput { x: [[0.; 6]].into() }, &proven)?;
    Ok(())
}
