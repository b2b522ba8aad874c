//! Models that are embedded in a program by the attribute `#[nomopoly::model]`.

use crate::Result;
use crate::onnx;

/// A model file inside the program.
pub trait EmbeddedModel {
    /// File name of the model.
    const NAME: &'static str;
    /// Contents of the model file.
    const BYTES: &'static [u8];

    /// Reads the embedded model.
    ///
    /// # Errors
    /// When the file is not a valid ONNX model.
    fn model() -> Result<onnx::Model> {
        onnx::Model::from_bytes(Self::NAME, Self::BYTES)
    }
}
