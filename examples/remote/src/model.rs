//! The model that host and client agree on, and images to ask it about.

use std::path::Path;

/// A small convolutional classifier of 8x8 images, the one of `examples/digits`.
#[nomopoly::model("../digits/models/digits.onnx")]
pub struct Digits;

/// The committed test set of `examples/digits`: images scaled to 0..1.
///
/// # Errors
/// In words, when the file cannot be read or is no array of 8x8 images.
pub fn test_images() -> Result<Vec<DigitsInput>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../digits/data/test_images.npy");
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = std::fs::read(&path).map_err(|error| wrong(&error))?;
    let pixels: Vec<u8> = npyz::NpyFile::new(bytes.as_slice())
        .and_then(npyz::NpyFile::into_vec)
        .map_err(|error| wrong(&error))?;
    let images = pixels.chunks_exact(64).map(|image| {
        let image: Vec<f32> = image.iter().map(|&pixel| f32::from(pixel) / 16.).collect();
        Ok(DigitsInput { image: image.try_into().map_err(|error| wrong(&error))? })
    });
    images.collect()
}
