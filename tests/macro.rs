//! The attribute, as a downstream crate uses it.

use nomopoly::EmbeddedModel;

#[nomopoly::model("examples/digits/models/digits.onnx")]
/// Documentation and visibility stay.
pub struct Digits;

#[test]
fn the_model_is_embedded() {
    assert_eq!(Digits::NAME, "digits.onnx");
    let model = Digits::model().unwrap();
    assert_eq!(model.opset(), 17);
}
