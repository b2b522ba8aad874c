//~ setup: ready
//~ error: goes on a unit struct without generics: `struct Dense;`
//~ at: Dense
#[nomopoly::model("models/dense.onnx")]
pub struct Dense {
    pub field: u8,
}

fn main() {
    let _ = Dense { field: 0 };
}
