//! Tensors with names, as inputs, outputs and transcripts carry them, and their conversion to the
//! two engines: tract runs models, candle checks operations.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use tract_onnx::prelude::{DatumType, Tensor as TractTensor, tract_ndarray};

use crate::elements::Elements;
use crate::{Error, Result};

/// A tensor with its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: TensorData,
}

macro_rules! element_types {
    ($($variant:ident($rust:ty, $name:literal)),* $(,)?) => {
        /// Elements in row-major order.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum TensorData {
            $(#[doc = concat!("ONNX element type ", $name, ".")] $variant(Elements<$rust>),)*
        }

        impl TensorData {
            /// Number of elements.
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(values) => values.len(),)* }
            }

            /// Name of the element type.
            pub fn dtype(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// Elements `start` to `start + len`; `None` when there are not as many.
            pub fn part(&self, start: usize, len: usize) -> Option<Self> {
                let end = start.checked_add(len)?;
                match self {
                    $(Self::$variant(values) => {
                        Some(Self::$variant(values.get(start..end)?.to_vec().into()))
                    })*
                }
            }

            /// Elements of a range as little-endian bytes, in place of what `bytes` held. What the
            /// range has beyond the last element is left out.
            pub(crate) fn le_bytes(&self, range: Range<usize>, bytes: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(values) => {
                        const SIZE: usize = size_of::<$rust>();
                        let end = range.end.min(values.len());
                        let values = values.get(range.start..end).unwrap_or_default();
                        bytes.clear();
                        bytes.resize(SIZE * values.len(), 0);
                        for (value, room) in values.iter().zip(bytes.as_chunks_mut::<SIZE>().0) {
                            *room = LittleEndian::to_le(value);
                        }
                    })*
                }
            }

            /// Bytes that the elements take in memory.
            pub(crate) fn size(&self) -> usize {
                match self { $(Self::$variant(values) => size_of::<$rust>() * values.len(),)* }
            }

            pub(crate) fn datum_type(&self) -> DatumType {
                match self { $(Self::$variant(_) => <$rust as tract_onnx::prelude::Datum>::datum_type(),)* }
            }
        }

        /// Name of an element type that proofs and typed tensors have, for example `"f32"`.
        pub fn typed_dtype(dtype: DatumType) -> Option<&'static str> {
            $(if dtype == <$rust as tract_onnx::prelude::Datum>::datum_type() {
                return Some($name);
            })*
            None
        }

        /// The element type of this name, if proofs carry it.
        pub(crate) fn dtype_by_name(name: &str) -> Option<DatumType> {
            match name {
                $($name => Some(<$rust as tract_onnx::prelude::Datum>::datum_type()),)*
                _ => None,
            }
        }

        $(impl crate::typed::element::Sealed for $rust {}

        impl crate::typed::Element for $rust {
            const DTYPE: &'static str = $name;

            fn to_data(values: Vec<Self>) -> TensorData {
                TensorData::$variant(values.into())
            }

            fn from_data(data: TensorData) -> Result<Vec<Self>, TensorData> {
                match data {
                    TensorData::$variant(values) => Ok(values.into_vec()),
                    other => Err(other),
                }
            }
        })*

        impl NamedTensor {
            /// The tensor for tract; one that tract computed is not copied.
            ///
            /// # Errors
            /// [`Error::Shape`] when the shape does not hold the elements.
            pub fn to_tract(&self) -> Result<Arc<TractTensor>> {
                self.check_len()?;
                let tensor = match &self.data {
                    $(TensorData::$variant(values) => values.to_tract(&self.shape),)*
                };
                tensor.ok_or_else(|| self.len_error())
            }

            /// A tensor that tract computed. Its elements are shared.
            ///
            /// # Errors
            /// [`Error::DType`] for element types that proofs do not carry.
            pub fn from_tract(name: &str, tensor: &Arc<TractTensor>) -> Result<Self> {
                let dtype = tensor.datum_type();
                $(if dtype == <$rust as tract_onnx::prelude::Datum>::datum_type()
                    && let Some(values) = Elements::of_tract(tensor)
                {
                    return Ok(Self {
                        name: name.to_owned(),
                        shape: tensor.shape().to_vec(),
                        data: TensorData::$variant(values),
                    });
                })*
                Err(Error::DType {
                    tensor: name.to_owned(),
                    got: format!("{dtype:?}"),
                    expected: "a float, integer or boolean type".into(),
                })
            }
        }
    };
}

element_types! {
    F32(f32, "f32"), F64(f64, "f64"),
    I8(i8, "i8"), I16(i16, "i16"), I32(i32, "i32"), I64(i64, "i64"),
    U8(u8, "u8"), U16(u16, "u16"), U32(u32, "u32"), U64(u64, "u64"),
    Bool(bool, "bool"),
}

/// An element as little-endian bytes.
trait LittleEndian<const SIZE: usize> {
    fn to_le(&self) -> [u8; SIZE];
}

macro_rules! little_endian {
    ($($number:ty),*) => {
        $(impl LittleEndian<{ size_of::<$number>() }> for $number {
            fn to_le(&self) -> [u8; size_of::<$number>()] {
                self.to_le_bytes()
            }
        })*
    };
}

little_endian!(f32, f64, i8, i16, i32, i64, u8, u16, u32, u64);

impl LittleEndian<1> for bool {
    fn to_le(&self) -> [u8; 1] {
        [u8::from(*self)]
    }
}

fn values_of<T: Clone>(view: tract_ndarray::ArrayViewD<T>) -> Vec<T> {
    match view.as_slice() {
        Some(slice) => slice.to_vec(),
        None => view.iter().cloned().collect(),
    }
}

impl TensorData {
    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl NamedTensor {
    /// An f32 tensor; its length is checked where it is used.
    pub fn from_f32(name: &str, shape: &[usize], values: Vec<f32>) -> Self {
        Self { name: name.to_owned(), shape: shape.to_vec(), data: TensorData::F32(values.into()) }
    }

    /// Moves the elements to where tract takes them from without a copy, if shape and elements fit.
    pub(crate) fn share(&mut self) {
        if let Ok(tensor) = self.to_tract()
            && let Ok(shared) = Self::from_tract(&self.name, &tensor)
        {
            *self = shared;
        }
    }

    fn len_error(&self) -> Error {
        Error::Shape {
            tensor: self.name.clone(),
            got: vec![self.data.len()],
            expected: self.shape.clone(),
        }
    }

    fn check_len(&self) -> Result<()> {
        let len = self.shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        // Also of a tensor without elements: tract and ndarray multiply its other extents.
        let bytes = self.shape.iter().try_fold(16usize, |len, &d| len.checked_mul(d.max(1)));
        let addressable = bytes.is_some_and(|bytes| bytes <= isize::MAX as usize);
        if len == Some(self.data.len()) && addressable { Ok(()) } else { Err(self.len_error()) }
    }

    /// Checks shape, element type and finiteness against what a model expects.
    ///
    /// # Errors
    /// The first of the three that is wrong, with what was expected.
    pub fn check(&self, dtype: DatumType, shape: &[usize]) -> Result<()> {
        self.check_form(dtype, shape)?;
        if self.is_finite() { Ok(()) } else { Err(Error::NonFinite { tensor: self.name.clone() }) }
    }

    /// [`NamedTensor::check`] but for finiteness.
    pub(crate) fn check_form(&self, dtype: DatumType, shape: &[usize]) -> Result<()> {
        self.check_len()?;
        if self.data.datum_type() != dtype {
            return Err(Error::DType {
                tensor: self.name.clone(),
                got: self.data.dtype().to_owned(),
                expected: format!("{dtype:?}").to_lowercase(),
            });
        }
        if self.shape != shape {
            return Err(Error::Shape {
                tensor: self.name.clone(),
                got: self.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(())
    }

    /// Whether no element is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        match &self.data {
            TensorData::F32(values) => all_finite(values),
            TensorData::F64(values) => values.iter().all(|v| v.is_finite()),
            _ => true,
        }
    }

    /// One sample of a tensor whose first dimension counts samples, which is then 1.
    pub(crate) fn sample(&self, index: usize) -> Option<Self> {
        let each: usize = self.shape.get(1..)?.iter().product();
        let mut shape = self.shape.clone();
        shape[0] = 1;
        let data = self.data.part(index * each, each)?;
        Some(Self { name: self.name.clone(), shape, data })
    }

    /// The elements of an f32 tensor.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::F32(values) => Some(values),
            _ => None,
        }
    }
}

/// Whether no element is NaN or infinite, some at a time: a loop that may end at every element is
/// not vectorised.
fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = f32::INFINITY.to_bits();
    let finite = |part: &[f32]| {
        let special = |v: &f32| u32::from(v.to_bits() & EXPONENT == EXPONENT);
        part.iter().map(special).fold(0, |a, b| a | b) == 0
    };
    values.chunks(4096).all(finite)
}

/// The elements of a tract f32 tensor, in place where they lie in row-major order.
pub(crate) fn f32_values<'a>(name: &str, tensor: &'a TractTensor) -> Result<Cow<'a, [f32]>> {
    let view = f32_view(name, tensor)?;
    Ok(match view.to_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(values_of(view)),
    })
}

fn f32_view<'a>(name: &str, tensor: &'a TractTensor) -> Result<tract_ndarray::ArrayViewD<'a, f32>> {
    tensor.to_plain_array_view::<f32>().map_err(|_| Error::DType {
        tensor: name.to_owned(),
        got: format!("{:?}", tensor.datum_type()),
        expected: "f32".into(),
    })
}

/// A tract f32 tensor as one candle sample, `[1, ...shape]`.
pub(crate) fn to_sample(
    name: &str,
    tensor: &TractTensor,
    device: &Device,
) -> Result<candle_core::Tensor> {
    let view = f32_view(name, tensor)?;
    let mut shape = vec![1];
    shape.extend(tensor.shape());
    Ok(candle_core::Tensor::from_vec(values_of(view), shape, device)?)
}
