//~ setup: ready
//~ error: expected the path of an ONNX file
//~ at: embed
#[nomopoly::model(embed = false)]
pub struct Dense;

fn main() {}
