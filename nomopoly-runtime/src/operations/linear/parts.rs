//! A linear operation without its weights: what a verifier keeps that must not or cannot hold
//! them. With contracted weights it can do everything that a sketch check needs, and nothing else.

use candle_core::{Device, Tensor};
use nomopoly_manifest::OperationSpec;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{Convolution, Linear, Matrix};
use crate::operations::window::Window;
use crate::{Error, Result};

/// A float tensor as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Zeroize)]
pub struct Array {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl Array {
    /// The values of a tensor on any device.
    ///
    /// # Errors
    /// When it is not f32, or cannot be read from its device.
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

impl Form {
    /// Whether every size is one that the operation's shapes allow: what is read from bytes must
    /// neither overflow nor index out of bounds.
    fn fits(&self, spec: &OperationSpec) -> bool {
        let Some(x) = spec.input_shapes.first() else { return false };
        let y = &spec.output_shape;
        let len = |shape: &[usize]| shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        match self {
            Self::Convolution { window, images, channels_in, channels_out, .. } => {
                let axes = window.kernel.len();
                let lists = [
                    &window.strides,
                    &window.dilations,
                    &window.pads_begin,
                    &window.pads_end,
                    &window.input,
                    &window.output,
                ];
                let table = len(&window.kernel).zip(len(&window.output));
                let small = |&size: &usize| size < 1 << 24;
                axes > 0
                    && lists.iter().all(|list| list.len() == axes && list.iter().all(small))
                    && table.and_then(|(a, b)| a.checked_mul(b)).is_some_and(|n| n < 1 << 27)
                    && x.len() == axes + 2
                    && y.len() == axes + 2
                    && x[..2] == [*images, *channels_in]
                    && y[..2] == [*images, *channels_out]
                    && x[2..] == window.input
                    && y[2..] == window.output
            }
            Self::Matrix { x_shape, y_shape, output_shape, .. } => {
                x_shape.len() >= 2
                    && y_shape.len() >= 2
                    && len(x_shape) == len(x)
                    && len(y_shape) == len(y)
                    && output_shape == y
            }
        }
    }
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
    /// When the parts do not fit each other or `spec`.
    pub fn operation(&self, spec: &OperationSpec, device: &Device) -> Result<Box<dyn Linear>> {
        if !self.form.fits(spec) {
            return Err(unfit(spec.kind.op_type()));
        }
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
