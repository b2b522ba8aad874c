//! A verifier key that has been expanded for one model: the secret vectors, the weights contracted
//! with them, and the rest of the graph. Whoever holds it can verify without the weights of the
//! sketched operations, and can forge, as with the key itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use candle_core::Device;
use nomopoly_manifest::OperationKind;
use prost::Message;
use serde::{Deserialize, Serialize};
use tract_onnx::pb;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::verifier::cut_graph;
use crate::artefact::Artefact;
use crate::key::VerifierKey;
use crate::model::CompiledModel;
use crate::onnx::{CutGraph, Graph, Model};
use crate::operation_check::{CompiledOperation, OperationVerifier};
use crate::operations::Operation;
use crate::operations::linear::{Array, Contracted, Weightless};
use crate::outline::Outline;
use crate::wire::{Fault, Format};
use crate::{Error, Result};

const FORMAT: Format = Format { magic: b"NMPXPKEY", schema: 1 };
const WHAT: &str = "the expanded key";

/// A verifier key expanded for one model, as bytes. Secret: it is wiped on drop and never printed.
/// (The tensors of a verifier that was made from it are not wiped: candle owns their memory.)
///
/// It holds no weights of sketched operations, only k random combinations of their output channels;
/// but operations that are checked by recomputing (too small for a sketch, or not linear) stay in
/// it as they are.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ExpandedKey(Vec<u8>);

impl fmt::Debug for ExpandedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExpandedKey(secret)")
    }
}

/// What the bytes hold.
#[derive(Serialize, Deserialize)]
struct Body {
    outline: Outline,
    /// The cut graph as an ONNX model.
    graph: Vec<u8>,
    graph_inputs: Vec<String>,
    graph_outputs: Vec<String>,
    operations: Vec<Expanded>,
}

#[derive(Serialize, Deserialize)]
struct Expanded {
    /// Name of the operation's output.
    output: String,
    artefact: Vec<u8>,
    /// Absent for operations that are recomputed: they are nodes of the cut graph.
    sketch: Option<Sketch>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Sketch {
    #[zeroize(skip)]
    inputs: Vec<String>,
    #[zeroize(skip)]
    operation: Weightless,
    vectors: Array,
    weights: Array,
}

/// An expanded key, ready to verify with.
pub(super) struct Parts {
    pub outline: Outline,
    pub operations: Vec<OperationVerifier>,
    pub cut: CutGraph,
}

impl ExpandedKey {
    /// Expands a key for a model: what the trusted party does that holds the weights.
    ///
    /// # Errors
    /// When the model was compiled with the baseline, which has no key to expand, or its graph
    /// cannot be cut.
    pub fn new(model: &CompiledModel, key: &VerifierKey) -> Result<Self> {
        let mut operations = vec![];
        for compiled in model.proved() {
            let verifier = OperationVerifier::new(compiled.clone(), key, &Device::Cpu)?;
            let operation = &compiled.operation;
            let sketch = match (operation.linear(), verifier.contracted()) {
                (Some(linear), Some(contracted)) => Some(Sketch {
                    inputs: operation.inputs().to_vec(),
                    operation: linear.weightless()?,
                    vectors: Array::from_tensor(&contracted.vectors)?,
                    weights: Array::from_tensor(&contracted.weights)?,
                }),
                _ if compiled.in_transcript() => {
                    return Err(Error::Operation {
                        operation: operation.output().to_owned(),
                        reason: "the baseline perceptron has no key to expand".into(),
                    });
                }
                _ => None,
            };
            let output = operation.output().to_owned();
            operations.push(Expanded { output, artefact: compiled.artefact.to_bytes()?, sketch });
        }
        let cut = cut_graph(model)?;
        let body = Body {
            outline: model.outline().clone(),
            graph: cut.proto.encode_to_vec(),
            graph_inputs: cut.inputs,
            graph_outputs: cut.outputs,
            operations,
        };
        FORMAT.seal(&body).map(Self).map_err(|reason| Error::Stored { what: WHAT, reason })
    }

    /// The bytes, to be kept as secret as a key. The caller wipes copies.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key from stored bytes.
    ///
    /// # Errors
    /// [`Error::Stored`] for foreign, truncated or altered bytes, or another version's.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        let key = Self(bytes);
        FORMAT.open::<Body>(&key.0).map_err(stored)?;
        Ok(key)
    }

    pub(super) fn parts(&self, device: &Device) -> Result<Parts> {
        let body: Body = FORMAT.open(&self.0).map_err(stored)?;
        let unfit = |reason: &str| Error::Stored { what: WHAT, reason: reason.to_owned() };
        let model = &body.outline.name;
        let graph = Arc::new(Model::from_bytes(model, &body.graph)?);
        let graph = Graph::bind(graph, &BTreeMap::new())?;
        let proto = pb::ModelProto::decode(body.graph.as_slice())
            .map_err(|error| unfit(&error.to_string()))?;
        let mut operations = vec![];
        for expanded in body.operations {
            let artefact = Artefact::from_bytes(&expanded.output, &expanded.artefact, device)?;
            let artefact = Arc::new(artefact);
            let Some(sketch) = expanded.sketch else {
                let node = graph.nodes().iter().find(|n| n.output.contains(&expanded.output));
                let node = node.ok_or_else(|| unfit("an operation is not in its graph"))?;
                let operation = Operation::from_node(&graph, node, device)?
                    .map_err(|reason| unfit(&reason.0))?;
                let compiled = CompiledOperation::new(Arc::new(operation), artefact)?;
                // No sketch, no secret: any key will do.
                let key = VerifierKey::from_bytes([0; 32]);
                operations.push(OperationVerifier::new(compiled, &key, device)?);
                continue;
            };
            let spec = artefact.header.operation.clone();
            let linear = sketch.operation.operation(&spec, device)?;
            let contracted = Contracted {
                vectors: sketch.vectors.to_tensor("secret vectors", device)?,
                weights: sketch.weights.to_tensor("contracted weights", device)?,
            };
            let header = &artefact.header;
            let k = header.sketches as usize;
            // f·r keeps the input's side of f: kernels [k, C_in, taps] or matrices [.., K, k].
            let dims = contracted.weights.dims();
            let fits = match spec.kind {
                OperationKind::Conv => dims.len() == 3 && dims[0] == k,
                _ => dims.len() >= 2 && dims[dims.len() - 2..] == [linear.reduction(), k],
            };
            if contracted.vectors.dims() != [linear.features(), k] || !fits {
                return Err(unfit("its secret vectors do not fit an operation"));
            }
            let (inputs, output) = (sketch.inputs.clone(), expanded.output);
            let operation = Operation::without_weights(spec, inputs, output, linear);
            let compiled = CompiledOperation { operation: Arc::new(operation), artefact };
            operations.push(OperationVerifier::with_contracted(compiled, contracted)?);
        }
        let checked = |name: &String| {
            operations.iter().any(|verifier| verifier.compiled().operation.output() == name)
        };
        let wanted = operations.iter().flat_map(|verifier| verifier.compiled().operation.inputs());
        let wanted = wanted.chain(body.outline.outputs.iter().map(|output| &output.name));
        if !body.outline.transcript.iter().all(|(name, _)| checked(name))
            || !wanted.into_iter().all(|name| body.graph_outputs.contains(name))
        {
            return Err(unfit("it does not check everything that a proof claims"));
        }
        let cut = CutGraph { proto, inputs: body.graph_inputs, outputs: body.graph_outputs };
        Ok(Parts { outline: body.outline, operations, cut })
    }
}

fn stored(fault: Fault) -> Error {
    let reason = match fault {
        Fault::Damaged(reason) => reason,
        Fault::Schema(got) => {
            format!("it has schema {got}, this version reads {}", FORMAT.schema)
        }
    };
    Error::Stored { what: WHAT, reason }
}
