//! Which registry entries a model needs, and where they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Device;
use nomopoly_manifest::{CompileOptions, LockedModel};
use nomopoly_runtime::CompiledModel;
use nomopoly_runtime::bundle::Bundle;
use nomopoly_runtime::onnx::{Digest, Graph, Model, node_id};
use nomopoly_runtime::operations::Operation;

use crate::error::{Error, Result};
use crate::registry::{self, Registry};

/// A node with an artefact of its own.
#[derive(Debug, Clone)]
pub struct PlannedNode {
    /// Name of the node's output.
    pub node: String,
    /// Name of the registry entry that it needs.
    pub entry: String,
    /// Content id of that entry.
    pub id: Digest,
    pub operation: Arc<Operation>,
}

/// The nodes of a model.
#[derive(Debug, Clone)]
pub struct ModelPlan {
    /// Nodes with an artefact, in the model's order. Equal operations need one entry.
    pub nodes: Vec<PlannedNode>,
    /// Nodes that are replayed in whole-model proofs without an artefact: name, kind, reason.
    pub replayed: Vec<(String, String, String)>,
}

impl ModelPlan {
    /// Works out the entries of a bound graph; nothing is trained or read from a registry.
    ///
    /// # Errors
    /// When tensor arithmetic fails.
    pub fn new(graph: &Graph, options: &CompileOptions, device: &Device) -> Result<Self> {
        let (mut nodes, mut replayed) = (vec![], vec![]);
        for node in graph.nodes() {
            if node.op_type == "Constant" {
                continue;
            }
            match Operation::from_node(graph, node, device)? {
                Ok(operation) => {
                    let id = Digest::from_bytes(operation.id(options)?);
                    let entry = entry_name(&operation, &id);
                    let node = operation.output().to_owned();
                    nodes.push(PlannedNode { node, entry, id, operation: Arc::new(operation) });
                }
                Err(reason) => {
                    replayed.push((node_id(node).to_owned(), node.op_type.clone(), reason.0));
                }
            }
        }
        Ok(Self { nodes, replayed })
    }

    /// The entries that the model needs, each once, with their ids.
    pub fn entries(&self) -> BTreeMap<&str, &PlannedNode> {
        // The first of equal operations: the last one put into the map stays.
        self.nodes.iter().rev().map(|node| (node.entry.as_str(), node)).collect()
    }

    /// What a lock file records of the model.
    pub fn locked(&self, graph: &Graph) -> LockedModel {
        let shapes = graph.inputs().iter().map(|info| (info.name.clone(), info.shape.clone()));
        LockedModel {
            digest: graph.model().digest().to_string(),
            // Whoever records the model keeps its audit while nodes and digest stay.
            audit: None,
            inputs: shapes.collect(),
            nodes: self.nodes.iter().map(|n| (n.node.clone(), n.entry.clone())).collect(),
        }
    }
}

/// Entry name: kind, first input shape and the first 12 digits of the content id.
fn entry_name(operation: &Operation, id: &Digest) -> String {
    let hex = id.to_string();
    format!("{}-{}", operation.spec().stem(), &hex[..registry::ID_DIGITS])
}

/// Loads a compiled model: the graph bound as it was compiled, with every operation's artefact,
/// hashes checked against the lock.
///
/// # Errors
/// [`Error::NotCompiled`] when the registry does not know this model as it is now, and the
/// registry's and the runtime's errors for damaged entries.
pub fn load_compiled(
    registry: &Registry,
    model: impl AsRef<std::path::Path>,
) -> Result<CompiledModel> {
    let model = Model::load(model)?;
    let name = model.name().to_owned();
    let lock = registry.read_lock()?;
    let locked = lock.models.get(&name).filter(|locked| {
        // The same name with other contents is another model.
        locked.digest == model.digest().to_string()
    });
    let Some(locked) = locked else {
        let missing = match lock.models.get(&name) {
            Some(_) => vec!["all (the model has changed since it was compiled)".to_owned()],
            None => vec!["all".to_owned()],
        };
        return Err(Error::NotCompiled { model: name, missing });
    };
    let absent = locked.nodes.iter().filter(|(_, entry)| !lock.entries.contains_key(*entry));
    let missing: Vec<String> = absent.map(|(node, _)| node.clone()).collect();
    if !missing.is_empty() {
        return Err(Error::NotCompiled { model: name, missing });
    }
    let mut artefacts = BTreeMap::new();
    for entry in locked.nodes.values() {
        if !artefacts.contains_key(entry) {
            let bytes = registry.read_verified(entry, registry::ARTEFACT)?;
            artefacts.insert(entry.clone(), bytes);
        }
    }
    let bundle = Bundle {
        model: model.digest(),
        inputs: locked.inputs.clone(),
        artefacts,
        operations: locked.nodes.clone(),
    };
    Ok(bundle.load(model, &Device::Cpu)?)
}
