//! How tensors are committed to: by chunks, so that a part of one can be opened alone.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::challenge::Part;
use super::merkle::{Paths, Tree, leaf};
use crate::onnx::Digest;
use crate::tensor::{NamedTensor, TensorData};

/// Elements of one chunk: of f32, what BLAKE3 hashes sixteen blocks wide.
pub(super) const CHUNK: usize = 1 << 12;

/// Some chunks of a tensor, with the paths from them to the tensor's digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenedParts {
    /// Name of the tensor.
    pub name: String,
    /// Its shape, all of it.
    pub shape: Vec<usize>,
    /// In ascending order of their places.
    pub chunks: Vec<OpenedChunk>,
    pub paths: Paths,
}

/// 4,096 elements of a tensor in row-major order; the last chunk may have fewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenedChunk {
    /// Its first element is that many times 4,096.
    pub place: u32,
    pub data: TensorData,
}

fn chunk_tree(data: &TensorData) -> Tree {
    let mut bytes = vec![];
    let chunks = (0..data.len().div_ceil(CHUNK)).map(|chunk| {
        let start = chunk * CHUNK;
        data.le_bytes(start..data.len().min(start + CHUNK), &mut bytes);
        leaf(&bytes)
    });
    Tree::new(chunks.collect())
}

fn digest(name: &str, shape: &[usize], dtype: &str, chunks: Digest) -> Digest {
    // Plain data in memory.
    leaf(&postcard::to_stdvec(&(name, shape, dtype, chunks)).unwrap_or_default())
}

/// The digest of a tensor: its name, shape and element type, and a Merkle root over its chunks.
pub fn tensor_digest(tensor: &NamedTensor) -> Digest {
    let chunks = chunk_tree(&tensor.data).root();
    digest(&tensor.name, &tensor.shape, tensor.data.dtype(), chunks)
}

/// The digest of some tensors in their order.
pub(super) fn digest_of<'a>(tensors: impl IntoIterator<Item = &'a NamedTensor>) -> Digest {
    Tree::new(tensors.into_iter().map(tensor_digest).collect()).root()
}

/// The chunks that hold these elements; `None` when the tensor has not as many, or parts are not in
/// ascending order: overlapping ones could ask for everything many times over.
pub(super) fn chunks_of(len: usize, parts: &[Part]) -> Option<BTreeSet<u32>> {
    let mut chunks = BTreeSet::new();
    let mut end = 0;
    for part in parts {
        let range = part.range();
        if range.is_empty() || range.start < end || range.end > len {
            return None;
        }
        end = range.end;
        let places = range.start / CHUNK..=(range.end - 1) / CHUNK;
        chunks.extend(places.map(|place| place as u32));
    }
    Some(chunks)
}

impl OpenedParts {
    /// The chunks of a tensor that hold these elements; `None` as [`chunks_of`].
    pub(super) fn new(tensor: &NamedTensor, parts: &[Part]) -> Option<Self> {
        let data = &tensor.data;
        let places = chunks_of(data.len(), parts)?;
        let chunk = |&place: &u32| {
            let start = place as usize * CHUNK;
            let data = data.part(start, CHUNK.min(data.len() - start))?;
            Some(OpenedChunk { place, data })
        };
        let chunks = places.iter().map(chunk).collect::<Option<Vec<_>>>()?;
        let leaves: Vec<usize> = places.iter().map(|place| *place as usize).collect();
        let paths = chunk_tree(data).paths(&leaves);
        Some(Self { name: tensor.name.clone(), shape: tensor.shape.clone(), chunks, paths })
    }

    /// The digest of the tensor that these are chunks of; `None` when they do not lead to one.
    pub(super) fn digest(&self) -> Option<Digest> {
        let len = self.shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d))?;
        let mut bytes = vec![];
        let leaves = self.chunks.iter().map(|chunk| {
            chunk.data.le_bytes(0..chunk.data.len(), &mut bytes);
            (chunk.place as usize, leaf(&bytes))
        });
        let leaves: Vec<_> = leaves.collect();
        let root = self.paths.root(len.div_ceil(CHUNK), &leaves)?;
        let dtype = self.chunks.first()?.data.dtype();
        if self.chunks.iter().any(|chunk| chunk.data.dtype() != dtype) {
            return None;
        }
        Some(digest(&self.name, &self.shape, dtype, root))
    }

    /// The tensor's elements, row-major, with zeros wherever no chunk is open; `None` unless the
    /// chunks are exactly those that hold the parts, of f32.
    pub(super) fn padded(&self, len: usize, parts: &[Part]) -> Option<Vec<f32>> {
        let places = chunks_of(len, parts)?;
        if !self.chunks.iter().map(|chunk| chunk.place).eq(places) {
            return None;
        }
        let mut elements = vec![0.; len];
        for chunk in &self.chunks {
            let start = chunk.place as usize * CHUNK;
            let TensorData::F32(values) = &chunk.data else { return None };
            let room = elements.get_mut(start..len.min(start + CHUNK))?;
            if room.len() != values.len() {
                return None;
            }
            room.copy_from_slice(values);
        }
        Some(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(len: usize) -> NamedTensor {
        NamedTensor::from_f32("t", &[len], (0..len).map(|index| index as f32).collect())
    }

    #[test]
    fn parts_of_any_size_lead_to_the_digest_of_the_whole() {
        for len in [1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3] {
            let whole = tensor(len);
            for (first, count) in [(0, 1), (len - 1, 1), (len / 3, len - len / 3), (0, len)] {
                let parts = [Part { first: first as u32, count: count as u32 }];
                let opened = OpenedParts::new(&whole, &parts).unwrap();
                assert_eq!(opened.digest(), Some(tensor_digest(&whole)), "{len} {parts:?}");
                let padded = opened.padded(len, &parts).unwrap();
                assert_eq!(padded[first], first as f32);
                assert_eq!(padded[first + count - 1], (first + count - 1) as f32);
                for alter in [
                    |opened: &mut OpenedParts| drop(opened.chunks.pop()),
                    |opened: &mut OpenedParts| opened.chunks[0].place += 1,
                    |opened: &mut OpenedParts| opened.shape.push(2),
                    |opened: &mut OpenedParts| opened.name.push('x'),
                    |opened: &mut OpenedParts| {
                        opened.chunks[0].data = TensorData::F32(vec![0.5].into())
                    },
                ] {
                    let mut altered = opened.clone();
                    alter(&mut altered);
                    assert_ne!(altered.digest(), opened.digest());
                }
            }
        }
    }

    #[test]
    fn elements_that_there_are_none_of_cannot_be_opened() {
        for (first, count) in [(0, 0), (0, 8), (7, 1), (u32::MAX, u32::MAX)] {
            assert_eq!(OpenedParts::new(&tensor(7), &[Part { first, count }]), None);
        }
        let part = |first, count| Part { first, count };
        assert!(OpenedParts::new(&tensor(7), &[part(0, 2), part(2, 2)]).is_some());
        for twice in [[part(0, 2), part(1, 2)], [part(3, 1), part(0, 1)], [part(0, 7), part(0, 7)]]
        {
            assert_eq!(OpenedParts::new(&tensor(7), &twice), None);
        }
    }

    #[test]
    fn a_tensor_of_another_type_has_another_digest() {
        let data = [
            TensorData::F32(vec![0.].into()),
            TensorData::I32(vec![0].into()),
            TensorData::U32(vec![0].into()),
            TensorData::I8(vec![0; 4].into()),
            TensorData::Bool(vec![false; 4].into()),
        ];
        let digests =
            data.map(|data| tensor_digest(&NamedTensor { name: "t".into(), shape: vec![1], data }));
        let distinct: BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
