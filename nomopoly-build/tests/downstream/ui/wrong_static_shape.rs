//~ setup: ready
//~ error: the trait bound `nomopoly::Tensor<f32, (nomopoly::D<1>, nomopoly::D<6>)>: From<[[
//~ at: into
#[nomopoly::model("models/dense.onnx")]
pub struct Dense;

fn main() {
    let _ = DenseInput { x: [[0f32; 5]].into() };
}
