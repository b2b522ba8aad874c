//! A model file: read, checked, and known by its digest.

use std::path::Path;

use prost::Message;
use tract_onnx::pb;

use super::digest::Digest;
use super::external::Beside;
use super::{external, tensor_data, validate};
use crate::error::{Error, Result};

/// The oldest operator set of the default domain that is read.
pub const MIN_OPSET: i64 = 7;
/// The newest operator set of the default domain that is read.
pub const MAX_OPSET: i64 = 25;

/// A checked ONNX model, with all its weights in memory.
///
/// Holding one means: there is a graph with inputs and outputs, its nodes are in order, every
/// name is known where it is used, and every tensor's data fits its shape.
#[derive(Debug, Clone)]
pub struct Model {
    name: String,
    digest: Digest,
    opset: i64,
    proto: pb::ModelProto,
    external_files: Vec<String>,
}

impl Model {
    /// Reads a model file, and the files beside it that hold its external tensors.
    ///
    /// # Errors
    /// When a file cannot be read, or what is in it is not a model that can be proved; the error
    /// names the tensor, node or file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Self::new(&name, &bytes, Beside::Folder(path.parent().unwrap_or(Path::new(""))))
    }

    /// Reads a model from memory; `name` is what messages call it.
    ///
    /// # Errors
    /// As [`Model::load`]; a model with external tensors must be loaded from a path.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        Self::from_parts(name, bytes, &[])
    }

    /// Reads a model from memory, with the files that hold its external tensors by location.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_parts(name: &str, bytes: &[u8], external: &[(&str, &[u8])]) -> Result<Self> {
        Self::new(name, bytes, Beside::Memory(external))
    }

    fn new(name: &str, bytes: &[u8], beside: Beside) -> Result<Self> {
        let not_onnx = |reason: String| Error::NotOnnx { model: name.to_string(), reason };
        if bytes.is_empty() {
            return Err(not_onnx("the file is empty".to_string()));
        }
        let mut proto = pb::ModelProto::decode(bytes).map_err(|e| not_onnx(e.to_string()))?;
        let opset = validate::opset(name, &proto)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        let graph = proto.graph.as_mut().ok_or_else(|| not_onnx("it holds no graph".into()))?;
        let external_files = external::resolve(name, graph, beside, &mut hasher)?;
        external::for_each_tensor(graph, &mut |tensor| {
            tensor_data::check(tensor).map_err(|reason| Error::InvalidGraph {
                model: name.to_string(),
                reason: format!("tensor `{}`: {reason}", tensor.name),
            })?;
            tensor_data::normalise(tensor);
            Ok(())
        })?;
        validate::graph(name, graph)?;
        validate::finite(name, graph)?;
        let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
        Ok(Self { name: name.to_string(), digest, opset, proto, external_files })
    }

    /// The file name, without its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// BLAKE3 of the file's bytes, followed for each external tensor in the order of the graph
    /// (initialisers, then the nodes' attributes) by its length as eight little-endian bytes and
    /// by its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The version of the default operator set, [`MIN_OPSET`] to [`MAX_OPSET`].
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// Locations of the files beside the model that hold its external tensors, relative to its
    /// folder, each once.
    pub fn external_files(&self) -> &[String] {
        &self.external_files
    }

    /// The message as it was read, except that external tensors hold their bytes.
    pub fn proto(&self) -> &pb::ModelProto {
        &self.proto
    }

    /// The graph, which every checked model has.
    pub(crate) fn graph(&self) -> Result<&pb::GraphProto> {
        self.proto.graph.as_ref().ok_or_else(|| Error::NotOnnx {
            model: self.name.clone(),
            reason: "it holds no graph".to_string(),
        })
    }
}
