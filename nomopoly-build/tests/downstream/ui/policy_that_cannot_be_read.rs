//~ setup: unreadable-policy
//~ error: nomopoly.toml cannot be used: line 2: unknown field `max_fra`
//~ at: "models/dense.onnx"
// One error, and everything that uses the types still compiles.
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() -> Result<(), nomopoly::Error> {
    let input = DenseInput { x: [[0.; 6]].into() };
    let proven = Dense::prover()?.prove(&input)?;
    let _: &[f32] = proven.output().y.as_slice();
    Ok(())
}
