//! What a build puts into the program beside the model file: the artefact of every operation and
//! the shapes that the model was compiled for. `NMPBUNDL` in the envelope of `wire.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::artefact::Artefact;
use crate::model::CompiledModel;
use crate::onnx::{Digest, Graph, Model};
use crate::operation_check::CompiledOperation;
use crate::operations::Operation;
use crate::wire::{Fault, Format};
use crate::{Error, Result};

const FORMAT: Format = Format { magic: b"NMPBUNDL", schema: 1 };
const WHAT: &str = "the bundle of compiled operations";

/// The compiled operations of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bundle {
    /// Digest of the model.
    pub model: Digest,
    /// Shapes of the model's inputs.
    pub inputs: BTreeMap<String, Vec<usize>>,
    /// Contents of `artefact.safetensors` by entry.
    pub artefacts: BTreeMap<String, Vec<u8>>,
    /// Operation (name of its output) to entry.
    pub operations: BTreeMap<String, String>,
}

impl Bundle {
    /// The bundle as bytes; equal bundles give equal bytes.
    ///
    /// # Errors
    /// Never in practice: serialising plain data into memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        FORMAT.seal(self).map_err(|reason| Error::Stored { what: WHAT, reason })
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// [`Error::Stored`] for foreign, truncated or altered bytes, or another version's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        FORMAT.open(bytes).map_err(|fault| Error::Stored {
            what: WHAT,
            reason: match fault {
                Fault::Damaged(reason) => format!("{reason}; build again"),
                Fault::Schema(got) => format!(
                    "it has schema {got}, this version reads {}; use one version of every Nomopoly crate",
                    FORMAT.schema
                ),
            },
        })
    }

    /// Joins the bundle and its model, for computing on `device`.
    ///
    /// # Errors
    /// [`Error::ModelChanged`] when the model is another one, and [`Error::Artefact`] when an
    /// artefact is of another operation.
    pub fn load(&self, model: Model, device: &Device) -> Result<CompiledModel> {
        if model.digest() != self.model {
            return Err(Error::ModelChanged {
                model: model.name().to_owned(),
                got: model.digest().to_string(),
                expected: self.model.to_string(),
            });
        }
        let graph = Arc::new(Graph::bind(Arc::new(model), &self.inputs)?);
        let mut artefacts: BTreeMap<&str, Arc<Artefact>> = BTreeMap::new();
        let mut operations = vec![];
        for node in graph.nodes() {
            let Some(entry) = node.output.first().and_then(|name| self.operations.get(name)) else {
                continue;
            };
            let artefact = match artefacts.get(entry.as_str()) {
                Some(artefact) => artefact.clone(),
                None => {
                    let bytes = self.artefacts.get(entry).ok_or_else(|| Error::Stored {
                        what: WHAT,
                        reason: format!("{entry} is missing; build again"),
                    })?;
                    let artefact = Artefact::from_bytes(entry, bytes, device)?;
                    let artefact = Arc::new(artefact);
                    artefacts.insert(entry, artefact.clone());
                    artefact
                }
            };
            let operation = Operation::from_node(&graph, node, device)?;
            let operation = operation.map_err(|reason| Error::Operation {
                operation: node.output[0].clone(),
                reason: reason.0,
            })?;
            operations.push(CompiledOperation::new(Arc::new(operation), artefact)?);
        }
        CompiledModel::new(graph, operations)
    }
}
