//! A growing ONNX graph: fresh names, shared constants, and the file at the end.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use nomopoly_runtime::onnx::{builder, pb};
use nomopoly_runtime::{Result, artefact::ArtefactHeader};
use prost::Message;
use tract_onnx::prelude::DatumType;

/// Operator set of every exported file.
const OPSET: i64 = 19;
/// Version of the file format that goes with [`OPSET`].
const IR_VERSION: i64 = 9;

/// A tensor of the graph, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value(String);

/// Nodes in the order in which they were added, so that each comes after what it reads.
#[derive(Default)]
pub(super) struct GraphBuilder {
    nodes: Vec<pb::NodeProto>,
    initializers: Vec<pb::TensorProto>,
    inputs: Vec<pb::ValueInfoProto>,
    outputs: Vec<pb::ValueInfoProto>,
    /// Counts up, so that no two names are equal; the names of inputs and outputs have no number.
    names: usize,
    /// By bits: -0 and 0 are two scalars.
    scalars: BTreeMap<u32, Value>,
    ints: BTreeMap<Vec<i64>, Value>,
}

impl GraphBuilder {
    fn fresh(&mut self, hint: &str) -> Value {
        self.names += 1;
        Value(format!("{}.{}", hint.to_ascii_lowercase(), self.names))
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
        self.nodes.push(builder::node(op_type, &inputs, &[&output.0], attributes));
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

    /// Sum along one axis, which stays with size 1.
    pub fn sum_along(&mut self, value: &Value, axis: i64) -> Value {
        let axes = self.ints(&[axis]);
        self.op_with("ReduceSum", &[value, &axes], vec![builder::int_attribute("keepdims", 1)])
    }

    /// ReduceMax, ReduceMean or ReduceSum over all elements, `[1, 1]`.
    pub fn reduce_all(&mut self, op_type: &str, value: &Value) -> Value {
        let flat = self.flat(value);
        self.op_with(op_type, &[&flat], vec![builder::int_attribute("keepdims", 1)])
    }

    /// Largest absolute value, `[1, 1]`, never zero: squares of what is divided by it cannot
    /// overflow.
    pub fn scale_of(&mut self, value: &Value) -> Value {
        let magnitudes = self.op("Abs", &[value]);
        let largest = self.reduce_all("ReduceMax", &magnitudes);
        self.affine(&largest, 1., f64::from(f32::MIN_POSITIVE))
    }

    /// The file; equal graphs give equal bytes.
    pub fn finish(
        self,
        role: &str,
        header: &ArtefactHeader,
        more_metadata: &[(&str, &str)],
    ) -> Vec<u8> {
        let name = format!("{}_{role}", header.operation.stem());
        let graph = builder::graph(&name, self.nodes, self.initializers, self.inputs, self.outputs);
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
        let property = |&(key, value): &(&str, &str)| pb::StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let model = pb::ModelProto {
            ir_version: IR_VERSION,
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            metadata_props: metadata.iter().chain(more_metadata).map(property).collect(),
            ..builder::model(graph, OPSET)
        };
        model.encode_to_vec()
    }
}
