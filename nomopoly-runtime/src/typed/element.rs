//! Element types of typed tensors.

use crate::tensor::TensorData;

/// Only the types of [`TensorData`] are elements.
pub(crate) mod private {
    pub trait Sealed {}
}
pub(crate) use private::Sealed;

/// An element type that models take and give: `f32`, `f64`, the integers of 8 to 64 bits and
/// `bool`. Implemented in `tensor.rs`, beside [`TensorData`].
pub trait Element: Sealed + Copy + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// ONNX's name of the type in lower case, for example `"f32"`.
    const DTYPE: &'static str;

    /// Elements as untyped data.
    fn to_data(values: Vec<Self>) -> TensorData;

    /// Elements of untyped data.
    ///
    /// # Errors
    /// The data itself when it is of another type.
    fn from_data(data: TensorData) -> Result<Vec<Self>, TensorData>;
}
