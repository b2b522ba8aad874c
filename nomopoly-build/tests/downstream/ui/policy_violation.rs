//~ setup: policy
//~ error: it is not what nomopoly.toml asks for:\noperation `hidden`: false acceptance up to
//~ at: "models/dense.onnx"
// One error, and everything that uses the types still compiles.
use nomopoly::VerifierKey;

#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() -> Result<(), nomopoly::Error> {
    let input = DenseInput { x: [[0.; 6]].into() };
    let proven = Dense::prover()?.prove(&input)?;
    let _: &[f32] = proven.output().y.as_slice();
    Dense::verifier(VerifierKey::random()?)?.verify(&input, &proven)?;
    let _: Option<&'static nomopoly::Ledger> = Dense::LEDGER;
    Ok(())
}
