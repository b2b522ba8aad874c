//! Whole models as ONNX files that any ONNX runtime hosts: no Rust on either side.
//!
//! - `prover.onnx`: a drop-in for the model, with the transcript and the proof vectors as further
//!   outputs ([`nomopoly_runtime::exchange`] names them);
//! - `verifier.onnx`: inputs, all that the prover gave, and the key's tensors to one verdict;
//! - `key.onnx`: secret random numbers to the key's tensors, for clients without Rust;
//! - `export.json`: what the files are, by name and SHA-256 ([`Interface`]).
//!
//! Every node of ours is of the standard domain, in the model's own operator set, and none depends on the
//! shapes that the model was compiled at where the model leaves dimensions open.

mod comparison;
mod declare;
mod folder;
mod interface;
mod key;
mod prover;
mod verifier;

use std::collections::BTreeSet;

use nomopoly_runtime::artefact::Network;
use nomopoly_runtime::exchange::{IDENTITY, IDENTITY_LEN, PREFIX, identity};
use nomopoly_runtime::generator::Generator;
use nomopoly_runtime::onnx::{DatumType, Digest, builder, pb};
use nomopoly_runtime::{CompiledModel, CompiledOperation, Error, VerifierKey, typed_dtype};

pub use folder::{Damage, ExportError, check_folder};
pub use interface::{FileInfo, INTERFACE_SCHEMA, Interface, ModelInfo, OperationInfo, TensorInfo};
pub use key::key_tensors;

use super::generator::Size;
use super::graph::{GraphBuilder, MIN_OPSET, Value};
use super::node::Slide;

/// Bytes of tensors up to which a file holds its weights itself: 64 MiB.
pub const INLINE_LIMIT: usize = 64 << 20;

/// Names of the verifier's outputs.
pub const VERDICT: &str = "nomopoly.verdict";
pub const SCORES: &str = "nomopoly.scores";
pub const RESIDUALS: &str = "nomopoly.residuals";
pub const SAME_MODEL: &str = "nomopoly.same_model";
pub const SAME_KEY: &str = "nomopoly.same_key";
pub const SAME_SHAPES: &str = "nomopoly.same_shapes";

/// What to export.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// A key to put into the verifier, which is a secret file then.
    pub bake: Option<&'a VerifierKey>,
    /// Bytes of tensors from which on a file keeps them in another one beside it.
    pub inline_limit: usize,
    /// What an audit measured, for the guarantee in the files' metadata.
    pub audit: Option<&'a nomopoly_manifest::Audit>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { bake: None, inline_limit: INLINE_LIMIT, audit: None }
    }
}

/// The files of a model, by name.
#[derive(Debug, Clone)]
pub struct Exported {
    pub interface: Interface,
    files: Vec<(String, Vec<u8>)>,
}

impl Exported {
    /// Name and bytes of each file but `export.json`.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }
}

/// Writes a compiled model as ONNX files; equal inputs give equal bytes.
///
/// # Errors
/// [`Error::Operation`] and [`Error::InvalidGraph`] with the reason when the model has a form that
/// cannot be exported: an operator set before 11, tensors with names of ours, an input that is an
/// output as well, operations that the baseline perceptron judges.
pub fn export(model: &CompiledModel, options: &Options) -> Result<Exported, Error> {
    let subject = Subject::new(model)?;
    let mut interface = Interface::new(&subject, options)?;
    let mut files = vec![];
    for (name, proto) in [
        ("prover.onnx", prover::export(&subject, &interface)?),
        ("verifier.onnx", verifier::export(&subject, &interface, options.bake)?),
        ("key.onnx", key::export(&subject, &interface)?),
    ] {
        files.extend(folder::encode(name, proto, options.inline_limit));
    }
    interface.files =
        files.iter().map(|(name, bytes)| (name.clone(), FileInfo::of(bytes))).collect();
    Ok(Exported { interface, files })
}

/// What exported files name a model by: its own digest, and that of its compiled operations.
pub fn digests(model: &CompiledModel) -> (Digest, Digest) {
    let digest = model.graph().model().digest();
    let identity = identity(&digest, model.proved());
    let mut operations = [0; 32];
    operations.copy_from_slice(&identity[32..]);
    (digest, Digest::from_bytes(operations))
}

/// A model that is being exported.
struct Subject<'a> {
    model: &'a CompiledModel,
    proto: &'a pb::ModelProto,
    graph: &'a pb::GraphProto,
    /// In the model's order.
    proved: Vec<&'a CompiledOperation>,
    size: Size,
}

impl<'a> Subject<'a> {
    fn new(model: &'a CompiledModel) -> Result<Self, Error> {
        let loaded = model.graph().model();
        let invalid = |reason: String| Error::InvalidGraph { model: loaded.name().into(), reason };
        if loaded.opset() < MIN_OPSET {
            return Err(invalid(format!(
                "its operator set is {}, exported files need {MIN_OPSET} or newer: export the model \
                 again with a newer one, or convert it with onnx.version_converter",
                loaded.opset()
            )));
        }
        let proto = loaded.proto();
        let graph = proto.graph.as_ref().ok_or_else(|| invalid("it holds no graph".into()))?;
        let defined = graph.node.iter().flat_map(|node| &node.output);
        let defined = defined.chain(graph.input.iter().map(|input| &input.name));
        let defined = defined.chain(graph.initializer.iter().map(|tensor| &tensor.name));
        if let Some(name) = defined.into_iter().find(|name| name.starts_with(PREFIX)) {
            return Err(invalid(format!(
                "its tensor `{name}` has a name of an exported file: is it one already?"
            )));
        }
        for output in &graph.output {
            let made = graph.node.iter().any(|node| node.output.contains(&output.name));
            if !made {
                return Err(invalid(format!(
                    "its output `{}` is computed by no node",
                    output.name
                )));
            }
        }
        let named = model.graph().inputs().iter().chain(model.graph().outputs());
        for info in named {
            if typed_dtype(info.dtype).is_none() {
                return Err(invalid(format!(
                    "its input or output `{}` has elements of type {:?}, which proofs do not carry",
                    info.name, info.dtype
                )));
            }
        }
        let proved: Vec<_> = model.proved().collect();
        for compiled in &proved {
            if matches!(compiled.artefact.network, Network::Mlp(_)) {
                return Err(Error::Operation {
                    operation: compiled.operation.output().to_owned(),
                    reason: "the baseline perceptron judges it, which is not exported: compile \
                             without --architecture mlp"
                        .into(),
                });
            }
        }
        // Their proofs are made side by side.
        let dims: BTreeSet<usize> =
            proved.iter().map(|compiled| compiled.artefact.generator.proof_dim()).collect();
        if dims.len() > 1 {
            return Err(invalid(format!(
                "its operations were compiled with proof vectors of several lengths ({dims:?}): \
                 compile them with one --proof-dim"
            )));
        }
        let size = if declare::is_open(model) { Size::Open } else { Size::Fixed };
        Ok(Self { model, proto, graph, proved, size })
    }

    /// How a convolution of the model slides, whatever the size of its input.
    fn slide(&self, compiled: &CompiledOperation) -> Slide {
        let (spec, name) = (compiled.operation.spec(), compiled.operation.output());
        let of = |node: &&pb::NodeProto| node.output.first().is_some_and(|output| output == name);
        let node = self.graph.node.iter().find(of);
        node.map_or_else(|| Slide::of(spec), |node| Slide::of_node(spec, node))
    }

    /// The generators of all operations that are proved, with the outputs that they prove.
    fn generators(&self) -> Vec<(&'a Generator, Value)> {
        let of = |compiled: &&'a CompiledOperation| {
            let output = Value::named(compiled.operation.output());
            (&compiled.artefact.generator, output)
        };
        self.proved.iter().map(of).collect()
    }

    fn builder(&self) -> GraphBuilder {
        GraphBuilder::new(self.model.graph().model().opset(), PREFIX)
    }

    fn identity(&self) -> [u8; IDENTITY_LEN] {
        identity(&self.model.graph().model().digest(), self.proved.iter().copied())
    }

    /// The identity as a constant of a graph.
    fn identity_in(&self, graph: &mut GraphBuilder) -> Value {
        let (name, dtype) = (format!("{IDENTITY}.constant"), pb::tensor_proto::DataType::Uint8);
        let bytes = self.identity().to_vec();
        graph.constant(builder::raw_tensor(&name, &[IDENTITY_LEN], dtype, bytes))
    }

    /// Makes the identity an output of a graph.
    fn give_identity(&self, graph: &mut GraphBuilder, name: &str) {
        let constant = self.identity_in(graph);
        graph.copy_as(&constant, name);
        graph.declared_output(builder::value_info(name, DatumType::U8, &[IDENTITY_LEN]));
    }

    /// A graph's parts as a file: the model's operator sets, and what the file is.
    fn finish(
        &self,
        role: &str,
        interface: &Interface,
        secret: bool,
        graph: GraphBuilder,
    ) -> pb::ModelProto {
        let text = interface.metadata(role, secret);
        let metadata: Vec<(&str, &str)> =
            text.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let name = format!("{}_{role}", self.model.graph().model().name());
        pb::ModelProto {
            ir_version: self.proto.ir_version.max(8),
            opset_import: self.proto.opset_import.clone(),
            ..graph.into_model(&name, &metadata)
        }
    }
}
