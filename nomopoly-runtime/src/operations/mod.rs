//! Operations: one file per ONNX kind, and what they share.
//!
//! An [`Operation`] is an ONNX node with its attributes in canonical form, its constant inputs
//! and its shapes. It computes in candle on whole batches: every tensor has a leading dimension
//! B of samples before the operation's own shape, so that training and checking are one code.

mod add;
mod average_pool;
mod batch_normalization;
mod bias;
mod conv;
mod flatten;
mod gemm;
pub mod linear;
mod matmul;
mod max_pool;
mod node;
mod relu;
mod reshape;
pub mod window;

use candle_core::{DType, Device, Tensor};
use nomopoly_manifest::{CompileOptions, OperationKind, OperationSpec};
use tract_onnx::pb;

use linear::EPSILON;
pub use linear::Linear;
use node::{Constants, NodeView, Parsed};

use crate::onnx::Graph;
use crate::{Error, Result};

/// An operation that is checked by recomputing it.
pub trait Replayed: Send + Sync {
    /// `[B, ...input]` for every varying input to `[B, ...output]`.
    fn forward(&self, inputs: &[Tensor]) -> Result<Tensor>;
    /// Rounding unit of each output element, broadcastable to the output. It depends on the
    /// inputs and on what they give, never on what a host claims.
    fn unit(&self, inputs: &[Tensor], output: &Tensor) -> Result<Tensor>;
    /// Multiply-accumulates (or comparisons) of one sample.
    fn cost(&self) -> u64;
    /// The same on a part of the elements, whose output has this shape: the whole window's reach in
    /// each channel, any positions of each channel, or any elements, as [`Part`] says.
    fn on_part(&self, output_shape: &[usize]) -> Result<Box<dyn Replayed>>;
    /// What parts it can be computed on.
    fn part(&self) -> Part;
}

/// Parts of its inputs that a replayed operation can be computed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Any elements of the output with those of each input that they come from; a constant operand
    /// is given as one more input.
    Elements,
    /// Any positions, the same in every channel.
    Positions,
    /// Any channels, each whole.
    Channels,
}

/// How an operation computes.
pub enum Body {
    Linear(Box<dyn Linear>),
    Replayed(Box<dyn Replayed>),
}

/// One ONNX node that has an artefact of its own.
pub struct Operation {
    spec: OperationSpec,
    constants: Vec<Tensor>,
    varying: Vec<String>,
    output: String,
    /// Name of the initialiser or constant that holds the weights of a linear operation.
    weights: Option<String>,
    /// The constants by their names in the model.
    named: Constants,
    body: Body,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("spec", &self.spec).field("output", &self.output).finish()
    }
}

/// Why a node has no artefact of its own. It still takes part in whole-model proofs, replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoArtefact(pub String);

impl Operation {
    /// The operation of a node. The bias that exporters add behind a MatMul is a part of it: the node
    /// of that Add has the operation of both, and the node of the product has none.
    ///
    /// # Errors
    /// The outer error when tensor arithmetic fails; the inner one when the node is of a kind, or
    /// in a form, that has no artefact.
    pub fn from_node(
        graph: &Graph,
        node: &pb::NodeProto,
        device: &Device,
    ) -> Result<Result<Self, NoArtefact>> {
        Self::parse(graph, node, device, &Constants::new())
    }

    /// The same operation of the same model bound to other shapes. It shares the constants.
    ///
    /// # Errors
    /// When the operation has another form there.
    pub fn at(&self, graph: &Graph) -> Result<Self> {
        let wrong = |reason: String| Error::Operation { operation: self.output.clone(), reason };
        let node = graph.nodes().iter().find(|node| node.output.first() == Some(&self.output));
        let node = node.ok_or_else(|| wrong("the model has no such node".into()))?;
        let device = self.constants.first().map_or(Device::Cpu, |c| c.device().clone());
        let operation = Self::parse(graph, node, &device, &self.named)?;
        let operation = operation
            .map_err(|reason| wrong(format!("it has no artefact at these shapes: {}", reason.0)))?;
        if operation.spec.kind != self.spec.kind
            || operation.varying != self.varying
            || operation.constants.len() != self.constants.len()
        {
            return Err(wrong("it is another operation at these shapes".into()));
        }
        Ok(operation)
    }

    fn parse(
        graph: &Graph,
        node: &pb::NodeProto,
        device: &Device,
        known: &Constants,
    ) -> Result<Result<Self, NoArtefact>> {
        let output = match node.output.first().filter(|name| !name.is_empty()) {
            Some(output) => output.clone(),
            None => return Ok(Err(NoArtefact("the node has no output".into()))),
        };
        if let Some(add) = bias::of(graph, node) {
            let add = &add.output[0];
            return Ok(Err(NoArtefact(format!("checked with its bias, as `{add}`"))));
        }
        let biased = bias::product_of(graph, node);
        let node = biased.map_or(node, |(product, _)| product);
        let Some(kind) = OperationKind::from_op_type(&node.op_type) else {
            return Ok(Err(NoArtefact(format!("{} has no artefact", node.op_type))));
        };
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return Ok(Err(NoArtefact(format!("domain {} is not ONNX's own", node.domain))));
        }
        let view = match NodeView::new(graph, node, device, known) {
            Ok(view) => view,
            Err(refusal) => return Ok(Err(NoArtefact(refusal.0))),
        };
        let parsed = match kind {
            OperationKind::Add => add::parse(&view),
            OperationKind::AveragePool => average_pool::parse(&view),
            OperationKind::BatchNormalization => batch_normalization::parse(&view),
            OperationKind::Conv => conv::parse(&view),
            OperationKind::Flatten => flatten::parse(&view),
            OperationKind::Gemm => gemm::parse(&view),
            OperationKind::MatMul => matmul::parse(&view, biased.map(|(_, bias)| bias)),
            OperationKind::MaxPool => max_pool::parse(&view),
            OperationKind::Relu => relu::parse(&view),
            OperationKind::Reshape => reshape::parse(&view),
        };
        let Parsed { attributes, varying, constants, body } = match parsed {
            Ok(parsed) => parsed,
            Err(refusal) => return Ok(Err(NoArtefact(refusal.0))),
        };
        let spec = OperationSpec {
            kind,
            dtype: "f32".into(),
            input_shapes: varying.iter().map(|&i| view.shape(i).to_vec()).collect(),
            output_shape: view.output_shape().to_vec(),
            attributes,
        };
        if spec.inputs_len() == 0 || spec.output_len() == 0 {
            return Ok(Err(NoArtefact("an input or the output has no elements".into())));
        }
        let weights = matches!(body, Body::Linear(_)).then(|| node.input.get(1).cloned()).flatten();
        Ok(Ok(Self {
            spec,
            constants,
            varying: varying.iter().map(|&i| node.input[i].clone()).collect(),
            output,
            weights,
            named: view.into_constants(),
            body,
        }))
    }

    /// The operation that this node is a part of, by its output, where that is another node's.
    pub fn absorbed_by<'a>(graph: &'a Graph, node: &pb::NodeProto) -> Option<&'a str> {
        bias::of(graph, node).map(|add| add.output[0].as_str())
    }

    /// The ONNX `op_type` that a node is known by: a bias by that of the product before it.
    pub fn kind_of<'a>(graph: &'a Graph, node: &'a pb::NodeProto) -> &'a str {
        &bias::product_of(graph, node).map_or(node, |(product, _)| product).op_type
    }

    /// The operation on parts of its inputs, for training: `body` computes on `input_shapes`.
    pub fn on_part(
        &self,
        input_shapes: Vec<Vec<usize>>,
        output_shape: Vec<usize>,
        body: Body,
    ) -> Self {
        Self {
            spec: OperationSpec { input_shapes, output_shape, ..self.spec.clone() },
            constants: self.constants.clone(),
            varying: self.varying.clone(),
            output: self.output.clone(),
            weights: self.weights.clone(),
            named: Constants::new(),
            body,
        }
    }

    /// A linear operation without its weights, for a verifier that does not hold them.
    pub(crate) fn without_weights(
        spec: OperationSpec,
        varying: Vec<String>,
        output: String,
        linear: Box<dyn Linear>,
    ) -> Self {
        let (constants, named, body) = (vec![], Constants::new(), Body::Linear(linear));
        Self { spec, constants, varying, output, weights: None, named, body }
    }

    pub fn spec(&self) -> &OperationSpec {
        &self.spec
    }

    /// Constant inputs in the order of the node's inputs; absent optional ones are left out.
    pub fn constants(&self) -> &[Tensor] {
        &self.constants
    }

    /// Names of the node's varying inputs.
    pub fn inputs(&self) -> &[String] {
        &self.varying
    }

    /// Name of the constant that holds the weights of a linear operation in its model.
    pub fn weights_name(&self) -> Option<&str> {
        self.weights.as_deref()
    }

    /// Name of the node's output: the operation's name within its model.
    pub fn output(&self) -> &str {
        &self.output
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The linear form, for kinds that have one.
    pub fn linear(&self) -> Option<&dyn Linear> {
        match &self.body {
            Body::Linear(linear) => Some(linear.as_ref()),
            Body::Replayed(_) => None,
        }
    }

    /// `[B, ...input]` for every varying input to `[B, ...output]`.
    ///
    /// # Errors
    /// When a tensor's shape does not fit.
    pub fn forward(&self, inputs: &[Tensor]) -> Result<Tensor> {
        match &self.body {
            Body::Linear(linear) => linear.forward(self.first(inputs)?),
            Body::Replayed(replayed) => replayed.forward(inputs),
        }
    }

    /// Rounding unit of each output element, broadcastable to the output.
    pub fn element_unit(&self, inputs: &[Tensor], output: &Tensor) -> Result<Tensor> {
        match &self.body {
            Body::Linear(linear) => linear.element_unit(self.first(inputs)?),
            Body::Replayed(replayed) => replayed.unit(inputs, output),
        }
    }

    fn first<'a>(&self, inputs: &'a [Tensor]) -> Result<&'a Tensor> {
        inputs.first().ok_or_else(|| Error::MissingInput { input: self.varying[0].clone() })
    }

    /// Multiply-accumulates of recomputing one sample.
    pub fn recompute_cost(&self) -> u64 {
        match &self.body {
            Body::Linear(linear) => linear.cost(0).0,
            Body::Replayed(replayed) => replayed.cost(),
        }
    }

    /// The content id of the artefact: BLAKE3 of kind, element type, shapes, canonical
    /// attributes, constant inputs, compile options and artefact schema.
    ///
    /// # Errors
    /// When a constant cannot be read back from its device.
    pub fn id(&self, options: &CompileOptions) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        let json = |error: serde_json::Error| Error::Operation {
            operation: self.output.clone(),
            reason: error.to_string(),
        };
        part(&nomopoly_manifest::ARTEFACT_SCHEMA.to_le_bytes());
        part(&serde_json::to_vec(&self.spec).map_err(json)?);
        part(&serde_json::to_vec(options).map_err(json)?);
        for constant in &self.constants {
            part(
                &constant.dims().iter().flat_map(|&d| (d as u64).to_le_bytes()).collect::<Vec<_>>(),
            );
            let values = constant.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            part(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

/// Unit of an operation that copies or selects values: one rounding of the value itself.
fn copy_unit(value: &Tensor) -> Result<Tensor> {
    Ok(value.abs()?.affine(EPSILON, f64::from(f32::MIN_POSITIVE))?)
}
