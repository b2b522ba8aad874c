//! A growing ONNX graph: fresh names, shared constants, and the file at the end.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use nomopoly_runtime::onnx::{builder, pb};
use nomopoly_runtime::{Result, artefact::ArtefactHeader};
use prost::Message;
use tract_onnx::prelude::DatumType;

/// Operator set of the files of single operations.
const OPSET: i64 = 19;
/// Version of the file format.
const IR_VERSION: i64 = 9;
/// The oldest operator set that all nodes can be written for.
pub(super) const MIN_OPSET: i64 = 11;

/// A tensor of the graph, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(String);

impl Value {
    /// A tensor that a graph has already.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// Nodes in the order in which they were added, so that each comes after what it reads.
pub(super) struct GraphBuilder {
    opset: i64,
    /// What the names start with that the builder makes up.
    prefix: &'static str,
    nodes: Vec<pb::NodeProto>,
    /// See [`GraphBuilder::checking`].
    checked: Option<String>,
    initializers: Vec<pb::TensorProto>,
    inputs: Vec<pb::ValueInfoProto>,
    outputs: Vec<pb::ValueInfoProto>,
    /// Counts up, so that no two names are equal; the names of inputs and outputs have no number.
    names: usize,
    /// By bits: -0 and 0 are two scalars.
    scalars: BTreeMap<u32, Value>,
    ints: BTreeMap<Vec<i64>, Value>,
    /// By what [`GraphBuilder::once`] calls them.
    known: BTreeMap<String, Value>,
}

impl Default for GraphBuilder {
    fn default() -> Self {
        Self::new(OPSET, "")
    }
}

impl GraphBuilder {
    /// An empty graph for an operator set from [`MIN_OPSET`] on.
    pub fn new(opset: i64, prefix: &'static str) -> Self {
        Self {
            opset,
            prefix,
            nodes: vec![],
            checked: None,
            initializers: vec![],
            inputs: vec![],
            outputs: vec![],
            names: 0,
            scalars: BTreeMap::new(),
            ints: BTreeMap::new(),
            known: BTreeMap::new(),
        }
    }

    fn fresh(&mut self, hint: &str) -> Value {
        self.names += 1;
        Value(format!("{}{}.{}", self.prefix, hint.to_ascii_lowercase(), self.names))
    }

    /// Says which of the model's tensors the nodes that follow check, in their names: a runtime that
    /// fails in one of them, at a claim of another size, names the node.
    pub fn checking(&mut self, tensor: Option<&str>) {
        self.checked = tensor.map(str::to_owned);
    }

    /// Nodes that exist already, each after what it reads, and their constants.
    pub fn extend(&mut self, nodes: Vec<pb::NodeProto>, constants: Vec<pb::TensorProto>) {
        self.nodes.extend(nodes);
        self.initializers.extend(constants);
    }

    /// A constant under its own name.
    pub fn constant(&mut self, tensor: pb::TensorProto) -> Value {
        let value = Value(tensor.name.clone());
        self.initializers.push(tensor);
        value
    }

    /// A graph input that is declared like this.
    pub fn declared_input(&mut self, info: pb::ValueInfoProto) -> Value {
        let value = Value(info.name.clone());
        self.inputs.push(info);
        value
    }

    /// Declares a tensor that the graph has as one of its outputs.
    pub fn declared_output(&mut self, info: pb::ValueInfoProto) {
        self.outputs.push(info);
    }

    /// Gives a tensor a name of its own choice, by a copy.
    pub fn copy_as(&mut self, value: &Value, name: &str) {
        self.nodes.push(builder::node("Identity", &[&value.0], &[name], vec![]));
    }

    /// A graph input.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        self.inputs.push(builder::value_info(name, DatumType::F32, shape));
        Value(name.to_owned())
    }

    /// Makes a node's output a graph output of this name and shape.
    pub fn output(&mut self, value: &Value, name: &str, shape: &[usize]) -> Value {
        for node in &mut self.nodes {
            for place in node.input.iter_mut().chain(&mut node.output) {
                if *place == value.0 {
                    *place = name.to_owned();
                }
            }
            if node.name == value.0 {
                node.name = name.to_owned();
            }
        }
        self.outputs.push(builder::value_info(name, DatumType::F32, shape));
        Value(name.to_owned())
    }

    /// The output of a new node without attributes.
    pub fn op(&mut self, op_type: &str, inputs: &[&Value]) -> Value {
        self.op_with(op_type, inputs, vec![])
    }

    /// The output of a new node.
    pub fn op_with(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: Vec<pb::AttributeProto>,
    ) -> Value {
        let output = self.fresh(op_type);
        let inputs: Vec<&str> = inputs.iter().map(|value| value.0.as_str()).collect();
        let mut node = builder::node(op_type, &inputs, &[&output.0], attributes);
        if let Some(tensor) = &self.checked {
            let own = output.0.strip_prefix(self.prefix).unwrap_or(&output.0);
            node.name = format!("{}check/{tensor}/{own}", self.prefix);
        }
        self.nodes.push(node);
        output
    }

    /// A constant, rounded to f32.
    pub fn scalar(&mut self, value: f64) -> Value {
        let value = value as f32;
        if let Some(known) = self.scalars.get(&value.to_bits()) {
            return known.clone();
        }
        let constant = self.floats("scalar", &[], &[value]);
        self.scalars.insert(value.to_bits(), constant.clone());
        constant
    }

    /// An int64 vector: a shape, or axes.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        if let Some(known) = self.ints.get(values) {
            return known.clone();
        }
        let constant = self.fresh("ints");
        self.initializers.push(builder::tensor_i64(&constant.0, &[values.len()], values));
        self.ints.insert(values.to_vec(), constant.clone());
        constant
    }

    /// An int64 table of so many columns.
    pub fn int_table(&mut self, columns: usize, values: &[i64]) -> Value {
        self.once(&format!("table {columns} {values:?}"), |graph| {
            let table = graph.fresh("table");
            let dims = [values.len() / columns.max(1), columns];
            graph.initializers.push(builder::tensor_i64(&table.0, &dims, values));
            table
        })
    }

    /// A constant of shape `dims`.
    pub fn floats(&mut self, hint: &str, dims: &[usize], values: &[f32]) -> Value {
        let constant = self.fresh(hint);
        self.initializers.push(builder::tensor_f32(&constant.0, dims, values));
        constant
    }

    /// A constant with the elements of `tensor` in the shape `dims`.
    ///
    /// # Errors
    /// When the tensor cannot be read from its device.
    pub fn tensor_as(&mut self, hint: &str, tensor: &Tensor, dims: &[usize]) -> Result<Value> {
        let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.reshape(dims)?;
        Ok(self.floats(hint, dims, &tensor.flatten_all()?.to_vec1::<f32>()?))
    }

    /// A constant with the elements and the shape of `tensor`.
    ///
    /// # Errors
    /// When the tensor cannot be read from its device.
    pub fn tensor(&mut self, hint: &str, tensor: &Tensor) -> Result<Value> {
        self.tensor_as(hint, tensor, tensor.dims())
    }

    /// `factor value + summand`.
    pub fn affine(&mut self, value: &Value, factor: f64, summand: f64) -> Value {
        let mut value = value.clone();
        if factor != 1. {
            let factor = self.scalar(factor);
            value = self.op("Mul", &[&value, &factor]);
        }
        if summand != 0. {
            let summand = self.scalar(summand);
            value = self.op("Add", &[&value, &summand]);
        }
        value
    }

    /// The square of each element.
    pub fn square(&mut self, value: &Value) -> Value {
        self.op("Mul", &[value, value])
    }

    /// The same elements in another shape; at most one dimension may be -1.
    pub fn reshape(&mut self, value: &Value, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.op("Reshape", &[value, &shape])
    }

    /// `[1, elements]`.
    pub fn flat(&mut self, value: &Value) -> Value {
        self.reshape(value, &[1, -1])
    }

    /// A reduction along one axis, which stays with size 1. The axis is an input since operator set 13
    /// of ReduceSum and 18 of the others.
    pub fn reduce_along(&mut self, op_type: &str, value: &Value, axis: i64) -> Value {
        let mut attributes = vec![builder::int_attribute("keepdims", 1)];
        if self.opset < if op_type == "ReduceSum" { 13 } else { 18 } {
            attributes.push(builder::ints_attribute("axes", &[axis]));
            return self.op_with(op_type, &[value], attributes);
        }
        let axes = self.ints(&[axis]);
        self.op_with(op_type, &[value, &axes], attributes)
    }

    /// So many zeros, one constant for all of a size.
    pub fn zeros(&mut self, count: usize) -> Value {
        self.once(&format!("zeros {count}"), |graph| {
            graph.floats("zeros", &[count], &vec![0.; count])
        })
    }

    /// What `f` adds, the first time that it is asked for under this name.
    pub fn once(&mut self, name: &str, f: impl FnOnce(&mut Self) -> Value) -> Value {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let value = f(self);
        self.known.insert(name.to_owned(), value.clone());
        value
    }

    /// A vector cut into parts of these sizes, under these names. The sizes are an input since operator
    /// set 13.
    pub fn split_as(&mut self, value: &Value, parts: &[(String, usize)]) {
        let sizes: Vec<i64> = parts.iter().map(|(_, size)| *size as i64).collect();
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let mut attributes = vec![builder::int_attribute("axis", 0)];
        let node = if self.opset < 13 {
            attributes.push(builder::ints_attribute("split", &sizes));
            builder::node("Split", &[&value.0], &names, attributes)
        } else {
            let sizes = self.ints(&sizes);
            builder::node("Split", &[&value.0, &sizes.0], &names, attributes)
        };
        self.nodes.push(node);
        for (name, size) in parts {
            self.outputs.push(builder::value_info(name, DatumType::F32, &[*size]));
        }
    }

    /// The extents of a tensor.
    pub fn shape(&mut self, value: &Value) -> Value {
        self.once(&format!("shape {value:?}"), |graph| graph.op("Shape", &[value]))
    }

    /// ReduceMax, ReduceMean or ReduceSum over all elements, `[1, 1]`.
    pub fn reduce_all(&mut self, op_type: &str, value: &Value) -> Value {
        let flat = self.flat(value);
        self.reduce_matrix(op_type, &flat)
    }

    /// As [`GraphBuilder::reduce_all`], of a tensor of two axes.
    pub fn reduce_matrix(&mut self, op_type: &str, value: &Value) -> Value {
        self.op_with(op_type, &[value], vec![builder::int_attribute("keepdims", 1)])
    }

    /// The file; equal graphs give equal bytes.
    pub fn finish(
        self,
        role: &str,
        header: &ArtefactHeader,
        more_metadata: &[(&str, &str)],
    ) -> Vec<u8> {
        let name = format!("{}_{role}", header.operation.stem());
        let schema = header.schema.to_string();
        let architecture = header.options.architecture.to_string();
        let check = header.check.to_string();
        let metadata = [
            ("nomopoly.schema", schema.as_str()),
            ("nomopoly.entry", &header.entry),
            ("nomopoly.role", role),
            ("nomopoly.id", &header.id),
            ("nomopoly.architecture", &architecture),
            ("nomopoly.check", &check),
        ];
        let metadata: Vec<(&str, &str)> =
            metadata.into_iter().chain(more_metadata.iter().copied()).collect();
        self.into_model(&name, &metadata).encode_to_vec()
    }

    /// The graph as a model.
    pub fn into_model(self, name: &str, metadata: &[(&str, &str)]) -> pb::ModelProto {
        let graph = builder::graph(name, self.nodes, self.initializers, self.inputs, self.outputs);
        let property = |&(key, value): &(&str, &str)| pb::StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        pb::ModelProto {
            ir_version: IR_VERSION,
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            metadata_props: metadata.iter().map(property).collect(),
            ..builder::model(graph, self.opset)
        }
    }
}
