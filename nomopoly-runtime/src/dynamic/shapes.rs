//! What was prepared for inputs of one set of shapes, kept for the next ones of these shapes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Result;
use crate::tensor::NamedTensor;

/// So many sets of shapes are kept beside the one that the model was compiled at; the one that was
/// not used for longest makes room.
const KEPT: usize = 8;

/// Shapes of all inputs, by name.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// The shapes of these tensors.
pub(super) fn shapes_of(inputs: &[&NamedTensor]) -> Shapes {
    inputs.iter().map(|input| (input.name.clone(), input.shape.clone())).collect()
}

pub(super) struct PerShape<T> {
    /// The one that is used most at the end.
    kept: Mutex<VecDeque<(Shapes, Arc<T>)>>,
}

impl<T> PerShape<T> {
    pub fn new() -> Self {
        Self { kept: Mutex::default() }
    }

    /// What was made for these shapes, or is made now. Two threads that come at once may both make
    /// it; neither waits for the other.
    pub fn get(&self, shapes: &Shapes, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        if let Some(found) = self.find(shapes) {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((shapes.clone(), made.clone()));
        Ok(made)
    }

    fn find(&self, shapes: &Shapes) -> Option<Arc<T>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(other, _)| other == shapes)?;
        let found = kept.remove(place)?;
        let made = found.1.clone();
        kept.push_back(found);
        Some(made)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.kept.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(n: usize) -> Shapes {
        BTreeMap::from([("x".to_owned(), vec![n])])
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let cache = PerShape::new();
        for n in 0..KEPT {
            cache.get(&shapes(n), || Ok(n)).unwrap();
        }
        // The first is used again, so that the second is the oldest.
        assert_eq!(*cache.get(&shapes(0), || panic!("it is kept")).unwrap(), 0);
        cache.get(&shapes(100), || Ok(100)).unwrap();
        assert_eq!(*cache.get(&shapes(0), || panic!("it is kept")).unwrap(), 0);
        assert_eq!(*cache.get(&shapes(1), || Ok(17)).unwrap(), 17);
    }
}
