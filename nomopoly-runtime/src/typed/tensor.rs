//! Tensors whose element type and shape are part of their type.

use std::fmt;
use std::marker::PhantomData;

use candle_core::{Device, WithDType};

use super::element::Element;
use super::shape::{Batch, D, Shape};
use crate::tensor::NamedTensor;
use crate::{Error, Result};

/// Elements in row-major order with a shape known at compile time, up to dimensions that the model
/// leaves open ([`Batch`], [`super::Open`]).
///
/// ```
/// use nomopoly_runtime::{D, Tensor};
///
/// let tensor: Tensor<f32, (D<2>, D<3>)> = [[1., 2., 3.], [4., 5., 6.]].into();
/// assert_eq!(tensor.shape(), [2, 3]);
/// assert_eq!(tensor.as_slice()[4], 5.);
/// ```
///
/// A wrong shape does not compile:
///
/// ```compile_fail,E0277
/// use nomopoly_runtime::{D, Tensor};
///
/// let tensor: Tensor<f32, (D<2>, D<3>)> = [[1., 2.], [3., 4.]].into();
/// ```
#[derive(Clone, PartialEq)]
pub struct Tensor<T, S> {
    values: Vec<T>,
    shape: Vec<usize>,
    marker: PhantomData<fn() -> S>,
}

impl<T: Element, S: Shape> Tensor<T, S> {
    /// A tensor from elements in row-major order. The size of a [`Batch`] dimension follows from
    /// their number.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fill the shape.
    pub fn from_vec(values: Vec<T>) -> Result<Self> {
        let each: usize = S::SIZES.iter().flatten().product();
        let batches = S::SIZES.iter().filter(|size| size.is_none()).count();
        let samples = values.len().checked_div(each).unwrap_or(0);
        let shape: Vec<usize> =
            S::SIZES.iter().map(|size| size.unwrap_or(samples.max(1))).collect();
        let fits = shape.iter().product::<usize>() == values.len() && batches <= 1;
        if fits { Ok(Self::new(values, shape)) } else { Err(wrong(vec![values.len()], shape)) }
    }

    /// A tensor of this shape from elements in row-major order: for types with [`super::Open`]
    /// dimensions, whose sizes do not follow from the number of elements.
    ///
    /// ```
    /// use nomopoly_runtime::{Batch, Open, Tensor};
    ///
    /// let tokens = Tensor::<i64, (Batch, Open)>::from_shape_vec(&[1, 3], vec![101, 7592, 102])?;
    /// assert_eq!(tokens.shape(), [1, 3]);
    /// # Ok::<(), nomopoly_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when the type has another shape, or the elements do not fill it.
    pub fn from_shape_vec(shape: &[usize], values: Vec<T>) -> Result<Self> {
        if !fits::<S>(shape) {
            return Err(wrong(shape.to_vec(), expected::<S>(shape)));
        }
        let len = shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        if len != Some(values.len()) || values.is_empty() {
            return Err(wrong(vec![values.len()], shape.to_vec()));
        }
        Ok(Self::new(values, shape.to_vec()))
    }

    /// As [`Tensor::from_vec`], from a slice.
    ///
    /// # Errors
    /// As [`Tensor::from_vec`].
    pub fn from_slice(values: &[T]) -> Result<Self> {
        Self::from_vec(values.to_vec())
    }

    fn new(values: Vec<T>, shape: Vec<usize>) -> Self {
        Self { values, shape, marker: PhantomData }
    }

    /// The elements in row-major order.
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }

    /// The elements in row-major order, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The elements in row-major order.
    pub fn into_vec(self) -> Vec<T> {
        self.values
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The untyped tensor of this name.
    pub fn to_named(&self, name: &str) -> NamedTensor {
        NamedTensor {
            name: name.to_owned(),
            shape: self.shape.clone(),
            data: T::to_data(self.values.clone()),
        }
    }

    /// The typed tensor.
    ///
    /// # Errors
    /// [`Error::DType`], [`Error::Shape`] when it is of another type.
    pub fn from_named(tensor: NamedTensor) -> Result<Self> {
        let NamedTensor { name, shape, data } = tensor;
        let got = data.dtype();
        let values = T::from_data(data).map_err(|_| Error::DType {
            tensor: name.clone(),
            got: got.to_owned(),
            expected: T::DTYPE.to_owned(),
        })?;
        let len = shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
        if !fits::<S>(&shape) || len != Some(values.len()) {
            let expected = expected::<S>(&shape);
            return Err(Error::Shape { tensor: name, got: shape, expected });
        }
        Ok(Self::new(values, shape))
    }

    /// The candle tensor of the same shape.
    ///
    /// # Errors
    /// When the device cannot hold it.
    pub fn to_candle(&self, device: &Device) -> Result<candle_core::Tensor>
    where
        T: WithDType,
    {
        Ok(candle_core::Tensor::from_slice(&self.values, self.shape.as_slice(), device)?)
    }
}

impl<T: Element, S: Shape> Tensor<T, S> {
    /// The index of the largest element, the first of equals; `None` for a tensor without
    /// comparable elements. The class of a vector of logits.
    pub fn argmax(&self) -> Option<usize>
    where
        T: PartialOrd,
    {
        let mut best: Option<usize> = None;
        for (index, value) in self.values.iter().enumerate() {
            // NaN is not larger than anything, and nothing is larger than it.
            let comparable = value.partial_cmp(value).is_some();
            if comparable && best.is_none_or(|best| *value > self.values[best]) {
                best = Some(index);
            }
        }
        best
    }
}

fn fits<S: Shape>(shape: &[usize]) -> bool {
    shape.len() == S::SIZES.len()
        && shape.iter().zip(S::SIZES).all(|(got, size)| size.is_none_or(|size| size == *got))
}

/// The shape that was wanted, with batch sizes as they came.
fn expected<S: Shape>(got: &[usize]) -> Vec<usize> {
    let at = |axis: usize| got.get(axis).copied().unwrap_or(1);
    S::SIZES.iter().enumerate().map(|(axis, size)| size.unwrap_or(at(axis))).collect()
}

fn wrong(got: Vec<usize>, expected: Vec<usize>) -> Error {
    Error::Shape { tensor: "tensor".into(), got, expected }
}

impl<T: fmt::Debug, S> fmt::Debug for Tensor<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let more = if self.values.len() > SHOWN { ", .." } else { "" };
        let shown = &self.values[..self.values.len().min(SHOWN)];
        write!(f, "Tensor{:?}{:?}{more}", self.shape, shown)
    }
}

impl<T: Element, S: Shape> AsRef<[T]> for Tensor<T, S> {
    fn as_ref(&self) -> &[T] {
        &self.values
    }
}

impl<T: Element, S: Shape> TryFrom<Vec<T>> for Tensor<T, S> {
    type Error = Error;

    fn try_from(values: Vec<T>) -> Result<Self> {
        Self::from_vec(values)
    }
}

impl<T: Element, S: Shape> TryFrom<&[T]> for Tensor<T, S> {
    type Error = Error;

    fn try_from(values: &[T]) -> Result<Self> {
        Self::from_slice(values)
    }
}

impl<T: Element + WithDType, S: Shape> TryFrom<&candle_core::Tensor> for Tensor<T, S> {
    type Error = Error;

    fn try_from(tensor: &candle_core::Tensor) -> Result<Self> {
        if !fits::<S>(tensor.dims()) {
            return Err(wrong(tensor.dims().to_vec(), expected::<S>(tensor.dims())));
        }
        let values = tensor.flatten_all()?.to_vec1::<T>()?;
        Ok(Self::new(values, tensor.dims().to_vec()))
    }
}

/// A scalar.
impl<T: Element> From<T> for Tensor<T, ()> {
    fn from(value: T) -> Self {
        Self::new(vec![value], vec![])
    }
}

/// Conversions from nested arrays, which have the whole shape in their type, and from slices of
/// samples where the first dimension is a [`Batch`].
macro_rules! arrays {
    ($($array:ty, $sample:ty => [$($size:ident),*], [$first:ident $(, $rest:ident)*], |$value:ident| $flat:expr;)*) => {
        $(
            impl<T: Element, $(const $size: usize),*> From<$array> for Tensor<T, ($(D<$size>,)*)> {
                fn from(array: $array) -> Self {
                    let $value = array.as_slice();
                    Self::new($flat.to_vec(), vec![$($size),*])
                }
            }

            impl<T: Element, $(const $size: usize),*> From<$array> for Tensor<T, (Batch, $(D<$rest>,)*)> {
                fn from(array: $array) -> Self {
                    let $value = array.as_slice();
                    Self::new($flat.to_vec(), vec![$($size),*])
                }
            }

            impl<T: Element, $(const $rest: usize),*> TryFrom<&[$sample]> for Tensor<T, (Batch, $(D<$rest>,)*)> {
                type Error = Error;

                /// # Errors
                /// [`Error::Shape`] without a single sample.
                fn try_from($value: &[$sample]) -> Result<Self> {
                    let samples = $value.len();
                    let shape = vec![samples, $($rest),*];
                    if samples == 0 {
                        return Err(wrong(shape, vec![1, $($rest),*]));
                    }
                    Ok(Self::new($flat.to_vec(), shape))
                }
            }
        )*
    };
}

arrays! {
    [[T; B]; A], [T; B] => [A, B], [A, B], |v| v.as_flattened();
    [[[T; C]; B]; A], [[T; C]; B] => [A, B, C], [A, B, C], |v| v.as_flattened().as_flattened();
    [[[[T; E]; C]; B]; A], [[[T; E]; C]; B] => [A, B, C, E], [A, B, C, E],
        |v| v.as_flattened().as_flattened().as_flattened();
    [[[[[T; F]; E]; C]; B]; A], [[[[T; F]; E]; C]; B] => [A, B, C, E, F], [A, B, C, E, F],
        |v| v.as_flattened().as_flattened().as_flattened().as_flattened();
}

impl<T: Element, const A: usize> From<[T; A]> for Tensor<T, (D<A>,)> {
    fn from(array: [T; A]) -> Self {
        Self::new(array.to_vec(), vec![A])
    }
}

impl<T: Element, const A: usize> From<[T; A]> for Tensor<T, (Batch,)> {
    fn from(array: [T; A]) -> Self {
        Self::new(array.to_vec(), vec![A])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::TensorData;

    type Matrix = Tensor<f32, (D<2>, D<3>)>;
    type Samples = Tensor<i64, (Batch, D<2>)>;

    #[test]
    fn arrays_slices_and_vectors_give_the_same_tensor() {
        let array: Matrix = [[1., 2., 3.], [4., 5., 6.]].into();
        let flat = [1., 2., 3., 4., 5., 6.];
        assert_eq!(array, Matrix::from_slice(&flat).unwrap());
        assert_eq!(array, Matrix::try_from(flat.to_vec()).unwrap());
        let error = Matrix::from_slice(&flat[..5]).unwrap_err().to_string();
        assert!(error.contains("[5]") && error.contains("[2, 3]"), "{error}");
        let deep: Tensor<u8, (D<1>, D<1>, D<2>, D<2>)> = [[[[1, 2], [3, 4]]]].into();
        assert_eq!((deep.shape(), deep.as_slice()), (&[1, 1, 2, 2][..], &[1, 2, 3, 4][..]));
        let scalar: Tensor<bool, ()> = true.into();
        assert!(scalar.shape().is_empty());
    }

    #[test]
    fn a_batch_has_any_number_of_samples() {
        let two: Samples = [[1, 2], [3, 4]].into();
        assert_eq!(two.shape(), [2, 2]);
        assert_eq!(Samples::from_slice(&[1, 2, 3, 4]).unwrap(), two);
        assert_eq!(Samples::try_from(&[[1i64, 2], [3, 4]][..]).unwrap(), two);
        assert!(Samples::from_slice(&[1, 2, 3]).is_err());
        assert!(Samples::from_slice(&[]).is_err());
        assert!(Samples::try_from(&[][..] as &[[i64; 2]]).is_err());
    }

    #[test]
    fn untyped_and_candle_tensors_are_checked() {
        let array: Matrix = [[1., 2., 3.], [4., 5., 6.]].into();
        assert_eq!(Matrix::from_named(array.to_named("x")).unwrap(), array);
        let mut named = array.to_named("x");
        named.shape = vec![3, 2];
        let error = Matrix::from_named(named).unwrap_err().to_string();
        assert!(error.contains("`x`") && error.contains("[2, 3]"), "{error}");
        let mut named = array.to_named("x");
        named.data = TensorData::I8(vec![0; 6].into());
        let error = Matrix::from_named(named).unwrap_err().to_string();
        assert!(error.contains("i8") && error.contains("f32"), "{error}");
        let candle = array.to_candle(&Device::Cpu).unwrap();
        assert_eq!(Matrix::try_from(&candle).unwrap(), array);
        assert!(Matrix::try_from(&candle.t().unwrap()).is_err());
    }

    #[test]
    fn the_largest_element_is_the_first_of_equals_and_never_nan() {
        let tensor: Tensor<f32, (D<4>,)> = [f32::NAN, 1., 3., 3.].into();
        assert_eq!(tensor.argmax(), Some(2));
        let tensor: Tensor<f32, (D<1>,)> = [f32::NAN].into();
        assert_eq!(tensor.argmax(), None);
    }
}
