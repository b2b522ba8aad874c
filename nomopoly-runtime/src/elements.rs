//! The elements of a tensor, owned or shared with the runtime that computed them.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tract_onnx::prelude::{Datum, Tensor as TractTensor};

/// Elements in row-major order. They read like a slice, and are written as one too; a tensor that
/// tract computed is shared until then, and clones of it share it.
///
/// ```
/// use nomopoly_runtime::Elements;
///
/// let mut elements = Elements::from(vec![1f32, 2.]);
/// elements[0] = 3.;
/// assert_eq!(elements.iter().sum::<f32>(), 5.);
/// assert_eq!(elements.into_vec(), [3., 2.]);
/// ```
#[derive(Clone)]
pub struct Elements<T> {
    /// Empty where they are shared.
    own: Vec<T>,
    /// Of this element type, in row-major order.
    shared: Option<Arc<TractTensor>>,
}

fn slice<T: Datum>(tensor: &TractTensor) -> Option<&[T]> {
    tensor.to_plain_array_view::<T>().ok()?.to_slice()
}

impl<T: Datum> Elements<T> {
    /// The elements of a tensor that tract computed; `None` where they are of another type.
    pub(crate) fn of_tract(tensor: &Arc<TractTensor>) -> Option<Self> {
        if slice::<T>(tensor).is_some() {
            return Some(Self { own: vec![], shared: Some(tensor.clone()) });
        }
        let view = tensor.to_plain_array_view::<T>().ok()?;
        Some(view.iter().cloned().collect::<Vec<T>>().into())
    }

    /// A tensor of this shape for tract; `None` where that is not one for as many elements.
    pub(crate) fn to_tract(&self, shape: &[usize]) -> Option<Arc<TractTensor>>
    where
        T: Copy,
    {
        match &self.shared {
            Some(tensor) if tensor.shape() == shape => Some(tensor.clone()),
            _ => Some(Arc::new(TractTensor::from_shape(shape, self).ok()?)),
        }
    }

    /// The elements as a vector, which may have to be copied.
    pub fn into_vec(mut self) -> Vec<T> {
        std::mem::take(self.to_mut())
    }

    /// The elements as a vector of their own, to be changed.
    pub fn to_mut(&mut self) -> &mut Vec<T> {
        if let Some(tensor) = self.shared.take() {
            self.own = slice(&tensor).unwrap_or_default().to_vec();
        }
        &mut self.own
    }
}

impl<T: Datum> Deref for Elements<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.shared {
            Some(tensor) => slice(tensor).unwrap_or_default(),
            None => &self.own,
        }
    }
}

impl<T: Datum> DerefMut for Elements<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.to_mut()
    }
}

impl<T> From<Vec<T>> for Elements<T> {
    fn from(values: Vec<T>) -> Self {
        Self { own: values, shared: None }
    }
}

impl<T> FromIterator<T> for Elements<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        values.into_iter().collect::<Vec<T>>().into()
    }
}

impl<'a, T: Datum> IntoIterator for &'a Elements<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T: Datum> IntoIterator for &'a mut Elements<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T: Datum + PartialEq> PartialEq for Elements<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Datum> fmt::Debug for Elements<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// As a vector.
impl<T: Datum + Serialize> Serialize for Elements<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Elements<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tract_computed_is_shared_until_it_is_changed() {
        let tensor = Arc::new(TractTensor::from_shape(&[2, 2], &[1f32, 2., 3., 4.]).unwrap());
        let elements = Elements::<f32>::of_tract(&tensor).unwrap();
        let mut changed = elements.clone();
        assert!(Arc::ptr_eq(&elements.to_tract(&[2, 2]).unwrap(), &tensor));
        assert_eq!(elements, Elements::from(vec![1., 2., 3., 4.]));
        changed[3] = 5.;
        assert_eq!(*changed, [1., 2., 3., 5.]);
        assert_eq!(*elements, [1., 2., 3., 4.]);
        assert_eq!(changed.to_tract(&[4]).unwrap().shape(), [4]);
    }

    #[test]
    fn what_does_not_fit_is_none() {
        let tensor = Arc::new(TractTensor::from_shape(&[2], &[1f32, 2.]).unwrap());
        assert!(Elements::<i64>::of_tract(&tensor).is_none());
        assert!(Elements::from(vec![1f32, 2.]).to_tract(&[3]).is_none());
    }
}
