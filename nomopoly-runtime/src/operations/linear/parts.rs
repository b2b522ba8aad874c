//! A linear operation without its weights: what a verifier keeps that must not or cannot hold
//! them. With contracted weights it can do everything that a sketch check needs, and nothing else.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Convolution, Linear, Matrix};
use crate::operations::window::Window;
use crate::{Error, Result};

/// A float tensor as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Array {
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl Array {
    pub fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        Ok(Self { shape: tensor.dims().to_vec(), values })
    }

    /// The tensor on a device.
    ///
    /// # Errors
    /// When the shape does not hold the values, or one is not finite.
    pub fn to_tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        let len = self.shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        if len != Some(self.values.len()) {
            return Err(Error::Shape {
                tensor: name.to_owned(),
                got: vec![self.values.len()],
                expected: self.shape.clone(),
            });
        }
        if self.values.iter().any(|value| !value.is_finite()) {
            return Err(Error::NonFinite { tensor: name.to_owned() });
        }
        Ok(Tensor::from_slice(&self.values, self.shape.as_slice(), device)?)
    }
}

/// The form of a linear operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Form {
    Convolution {
        groups: usize,
        window: Window,
        images: usize,
        channels_in: usize,
        channels_out: usize,
    },
    Matrix {
        x_shape: Vec<usize>,
        y_shape: Vec<usize>,
        output_shape: Vec<usize>,
        transpose: bool,
    },
}

/// Everything of a linear operation but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weightless {
    pub(crate) form: Form,
    pub(crate) bias: Option<Array>,
    /// Squared Frobenius norm of the weights of each group or batch index: rounding units need it.
    pub(crate) energy: Array,
}

impl Weightless {
    /// The operation; only what a sketch check calls works on it.
    ///
    /// # Errors
    /// When the parts do not fit each other.
    pub fn operation(&self, device: &Device) -> Result<Box<dyn Linear>> {
        let bias = self.bias.as_ref().map(|bias| bias.to_tensor("bias", device)).transpose()?;
        let energy = self.energy.to_tensor("energy", device)?;
        Ok(match &self.form {
            Form::Convolution { .. } => {
                Box::new(Convolution::without_weights(&self.form, bias, energy)?)
            }
            Form::Matrix { .. } => Box::new(Matrix::without_weights(&self.form, bias, energy)?),
        })
    }
}

/// The form is one of another operation: parts were put together wrongly.
pub(super) fn unfit(what: &str) -> Error {
    Error::Operation { operation: what.to_owned(), reason: "its parts do not fit".into() }
}
