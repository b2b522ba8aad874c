//! Calibration data: real inputs of the model, from a `.npz` file with one array per model input, or
//! from a `.npy` file where the model has one input.

use std::path::{Path, PathBuf};

use nomopoly_runtime::NamedTensor;
use nomopoly_runtime::onnx::{Digest, Graph};

use crate::arrays::{read_npy, read_npz};
use crate::error::{Error, Result};

/// Real inputs. Each array holds samples along its first axis: `[samples, ...]` where the model's
/// input is `[1, ...]`, or `[samples, ...input shape]`.
#[derive(Debug, Clone)]
pub struct Calibration {
    path: PathBuf,
    arrays: Vec<NamedTensor>,
}

impl Calibration {
    /// Reads a `.npz` file, or a `.npy` file for a model with one input.
    ///
    /// # Errors
    /// [`Error::Calibration`] naming the file.
    pub fn load(path: &Path) -> Result<Self> {
        let alone = path.extension().is_some_and(|extension| extension == "npy");
        let arrays =
            if alone { read_npy("", path).map(|array| vec![array]) } else { read_npz(path) };
        let arrays =
            arrays.map_err(|reason| Error::Calibration { path: path.to_owned(), reason })?;
        Ok(Self { path: path.to_owned(), arrays })
    }

    /// Arrays that are in memory already, each named after a model input.
    pub fn from_arrays(arrays: Vec<NamedTensor>) -> Self {
        Self { path: PathBuf::from("in memory"), arrays }
    }

    /// Number of samples of the shortest array; 0 without arrays.
    pub fn len(&self) -> usize {
        let samples = self.arrays.iter().map(|array| array.shape.first().copied().unwrap_or(0));
        samples.min().unwrap_or(0)
    }

    /// BLAKE3 of names, shapes and elements.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for array in &self.arrays {
            // Serialising plain data into memory does not fail; if it did, the name is hashed.
            hasher
                .update(&postcard::to_stdvec(array).unwrap_or_else(|_| array.name.clone().into()));
        }
        Digest::from_bytes(*hasher.finalize().as_bytes())
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sample `index`, counted round and round, as inputs of the model in its order. Sample 0 comes
    /// again when the data runs out.
    ///
    /// # Errors
    /// [`Error::Calibration`] when an input is missing, not finite or does not fit the model.
    pub fn sample(&self, graph: &Graph, index: usize) -> Result<Vec<NamedTensor>> {
        let wrong = |reason: String| Error::Calibration { path: self.path.clone(), reason };
        let mut sample = vec![];
        for info in graph.inputs() {
            // The array of a .npy file has no name.
            let only = graph.inputs().len() == 1 && self.arrays.len() == 1;
            let named =
                |array: &&NamedTensor| array.name == info.name || (only && array.name.is_empty());
            let array = self.arrays.iter().find(named).ok_or_else(|| {
                let names: Vec<_> = self.arrays.iter().map(|a| format!("`{}`", a.name)).collect();
                wrong(format!("no array `{}`; it has {:?}", info.name, names))
            })?;
            let len: usize = info.shape.iter().product();
            let each = array.shape.iter().skip(1).product::<usize>();
            let samples = array.shape.first().copied().unwrap_or(0);
            let fits = each == len && samples > 0 && array.data.len() == samples * len;
            if !fits {
                return Err(wrong(format!(
                    "array `{}` has shape {:?}, expected [samples, ...] for the input's {:?}",
                    info.name, array.shape, info.shape
                )));
            }
            let start = (index % samples) * len;
            let tensor = NamedTensor {
                name: info.name.clone(),
                shape: info.shape.clone(),
                // The length was compared above.
                data: array.data.part(start, len).ok_or_else(|| {
                    wrong(format!("array `{}` is shorter than its shape says", info.name))
                })?,
            };
            tensor.check(info.dtype, &info.shape).map_err(|error| wrong(error.to_string()))?;
            sample.push(tensor);
        }
        Ok(sample)
    }
}
