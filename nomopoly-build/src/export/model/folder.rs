//! Exported files on disk: weights beside a file that would be large, and what was written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nomopoly_runtime::onnx::pb;
use nomopoly_runtime::onnx::pb::tensor_proto::{DataLocation, DataType};
use prost::Message as _;

use super::{Exported, FileInfo, INTERFACE_SCHEMA, Interface};
use crate::whole_file::{Readers, write_whole};

/// Name of the file that describes the others.
const DESCRIPTION: &str = "export.json";
/// Tensors below this stay in the file.
const SMALL: usize = 1024;
/// Where a tensor may begin: pages, so that a runtime can map them.
const ALIGNMENT: usize = 4096;

/// A folder of exported files cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}", path = path.display())]
pub struct ExportError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// What is wrong with a folder of exported files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    #[error("cannot read {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not a description of exported files: {reason}", path = path.display())]
    NotADescription { path: PathBuf, reason: String },
    #[error("{path} has schema {got}, this version reads {INTERFACE_SCHEMA}: export the model again", path = path.display())]
    Schema { path: PathBuf, got: u64 },
    #[error("{path} was changed after it was exported: its SHA-256 is {got}, expected {expected}", path = path.display())]
    Changed { path: PathBuf, got: String, expected: String },
}

/// A model's file, and the one beside it with its weights where they are more than `inline_limit`.
pub(super) fn encode(
    name: &str,
    mut file: pb::ModelProto,
    inline_limit: usize,
) -> Vec<(String, Vec<u8>)> {
    let mut beside = vec![];
    if let Some(graph) = &mut file.graph {
        graph.initializer.iter_mut().for_each(as_bytes);
        let size: usize = graph.initializer.iter().map(|tensor| tensor.raw_data.len()).sum();
        if size > inline_limit {
            let location = format!("{name}.data");
            for tensor in &mut graph.initializer {
                if tensor.raw_data.len() >= SMALL {
                    move_out(tensor, &location, &mut beside);
                }
            }
        }
    }
    let mut files = vec![(name.to_owned(), file.encode_to_vec())];
    if !beside.is_empty() {
        files.push((format!("{name}.data"), beside));
    }
    files
}

/// Floats and int64 in fields of their own as bytes, which can lie elsewhere.
fn as_bytes(tensor: &mut pb::TensorProto) {
    if !tensor.float_data.is_empty() && tensor.data_type == DataType::Float as i32 {
        let floats = std::mem::take(&mut tensor.float_data);
        tensor.raw_data = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
    } else if !tensor.int64_data.is_empty() && tensor.data_type == DataType::Int64 as i32 {
        let ints = std::mem::take(&mut tensor.int64_data);
        tensor.raw_data = ints.iter().flat_map(|value| value.to_le_bytes()).collect();
    }
}

fn move_out(tensor: &mut pb::TensorProto, location: &str, data: &mut Vec<u8>) {
    data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
    let entry =
        |key: &str, value: String| pb::StringStringEntryProto { key: key.to_owned(), value };
    tensor.external_data = vec![
        entry("location", location.to_owned()),
        entry("offset", data.len().to_string()),
        entry("length", tensor.raw_data.len().to_string()),
    ];
    tensor.data_location = Some(DataLocation::External as i32);
    data.append(&mut tensor.raw_data);
}

impl Exported {
    /// Writes the files into a folder, which is made if it is not there, each whole or not at all and
    /// the description last. What an earlier export left there and this one does not have is removed.
    ///
    /// # Errors
    /// Names the file: a folder that cannot be written, a full disk.
    pub fn write(&self, folder: &Path) -> Result<(), ExportError> {
        fs::create_dir_all(folder)
            .map_err(|source| ExportError { path: folder.to_owned(), source })?;
        let write = |name: &str, bytes: &[u8], readers: Readers| {
            let path = folder.join(name);
            write_whole(&path, bytes, readers).map_err(|source| ExportError { path, source })
        };
        for (name, bytes) in &self.files {
            // What holds a key is for its owner only.
            let secret = self.interface.secret && name.starts_with("verifier.onnx");
            write(name, bytes, if secret { Readers::Owner } else { Readers::Everyone })?;
        }
        let mut description = serde_json::to_vec_pretty(&self.interface).map_err(|error| {
            ExportError { path: folder.join(DESCRIPTION), source: io::Error::other(error) }
        })?;
        description.push(b'\n');
        write(DESCRIPTION, &description, Readers::Everyone)?;
        for name in ["prover", "verifier", "key"].map(|role| format!("{role}.onnx.data")) {
            let path = folder.join(&name);
            if !self.interface.files.contains_key(&name) && path.is_file() {
                fs::remove_file(&path).map_err(|source| ExportError { path, source })?;
            }
        }
        Ok(())
    }
}

/// Checks that a folder holds what its `export.json` says, byte for byte. Whoever can change that too
/// is not noticed: keep it where you keep your program.
///
/// # Errors
/// [`Damage`] names the file.
pub fn check_folder(folder: &Path) -> Result<Interface, Damage> {
    let path = folder.join(DESCRIPTION);
    let text = fs::read(&path).map_err(|source| Damage::Io { path: path.clone(), source })?;
    let invalid = |error: serde_json::Error| Damage::NotADescription {
        path: path.clone(),
        reason: error.to_string(),
    };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(invalid)?;
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(schema) if schema == u64::from(INTERFACE_SCHEMA) => {}
        Some(got) => return Err(Damage::Schema { path, got }),
        None => {
            let reason = "it has no number `schema`".into();
            return Err(Damage::NotADescription { path, reason });
        }
    }
    let interface: Interface = serde_json::from_value(value).map_err(invalid)?;
    if let Some(name) = ["prover.onnx", "verifier.onnx", "key.onnx"]
        .into_iter()
        .find(|name| !interface.files.contains_key(*name))
    {
        let reason = format!("it does not name {name}");
        return Err(Damage::NotADescription { path, reason });
    }
    for (name, expected) in &interface.files {
        if Path::new(name).components().count() != 1 || name.contains("..") {
            let reason = format!("`{name}` is not the name of a file beside it");
            return Err(Damage::NotADescription { path, reason });
        }
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(|source| Damage::Io { path: path.clone(), source })?;
        let got = FileInfo::of(&bytes);
        if got != *expected {
            let (got, expected) = (got.sha256, expected.sha256.clone());
            return Err(Damage::Changed { path, got, expected });
        }
    }
    Ok(interface)
}
