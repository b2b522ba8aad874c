//! A model of one operation, and short ways to write one down.

use std::collections::BTreeMap;
use std::sync::Arc;

use nomopoly::onnx::pb::attribute_proto::AttributeType;
use nomopoly::onnx::pb::tensor_proto::DataType;
use nomopoly::onnx::{DatumType, Graph, Model, Plan, builder, pb};
use nomopoly::{NamedTensor, Result, TensorData};
use nomopoly_build::prost::Message;

/// The name of the first output of a node under test. Errors must mention it.
pub const ANSWER: &str = "answer";

/// What an operand holds.
#[derive(Debug, Clone)]
enum Fill {
    /// Numbers in this range that look random.
    Between(f32, f32),
    /// Bytes that look random.
    Unsigned,
    Signed,
    /// True and false in no order.
    Flags,
    Exactly(TensorData),
}

/// One operand of a node.
#[derive(Debug, Clone)]
pub struct Operand {
    shape: Vec<usize>,
    fill: Fill,
    is_constant: bool,
    is_absent: bool,
}

impl Operand {
    fn new(shape: &[usize], fill: Fill) -> Self {
        Self { shape: shape.to_vec(), fill, is_constant: false, is_absent: false }
    }

    /// The same as an initialiser of the model.
    pub fn constant(self) -> Self {
        Self { is_constant: true, ..self }
    }

    /// The same values in another shape.
    pub fn shaped(self, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), ..self }
    }

    fn tensor(&self, name: &str, seed: u32) -> NamedTensor {
        let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        let len = self.shape.iter().product();
        let data = match &self.fill {
            Fill::Between(low, high) => {
                let width = high - low;
                let number = |_| low + width * (next() as f32 / (1u32 << 24) as f32);
                TensorData::F32((0..len).map(number).collect())
            }
            Fill::Unsigned => TensorData::U8((0..len).map(|_| (next() >> 9) as u8).collect()),
            Fill::Signed => TensorData::I8((0..len).map(|_| (next() >> 9) as i8).collect()),
            Fill::Flags => TensorData::Bool((0..len).map(|_| next() % 2 == 0).collect()),
            Fill::Exactly(data) => data.clone(),
        };
        NamedTensor { name: name.to_owned(), shape: self.shape.clone(), data }
    }
}

/// Numbers of both signs.
pub fn floats(shape: &[usize]) -> Operand {
    Operand::new(shape, Fill::Between(-2., 2.))
}

pub fn between(low: f32, high: f32, shape: &[usize]) -> Operand {
    Operand::new(shape, Fill::Between(low, high))
}

pub fn unsigned_bytes(shape: &[usize]) -> Operand {
    Operand::new(shape, Fill::Unsigned)
}

pub fn signed_bytes(shape: &[usize]) -> Operand {
    Operand::new(shape, Fill::Signed)
}

pub fn flags(shape: &[usize]) -> Operand {
    Operand::new(shape, Fill::Flags)
}

pub fn exactly(shape: &[usize], data: TensorData) -> Operand {
    Operand::new(shape, Fill::Exactly(data))
}

/// An int64 operand with one dimension.
pub fn list(values: &[i64]) -> Operand {
    exactly(&[values.len()], TensorData::I64(values.to_vec().into()))
}

/// A constant int64 with one dimension: axes, shapes, bounds.
pub fn numbers(values: &[i64]) -> Operand {
    list(values).constant()
}

/// A constant int64 without dimensions.
pub fn number(value: i64) -> Operand {
    exactly(&[], TensorData::I64(vec![value].into())).constant()
}

/// A constant f32 without dimensions.
pub fn scalar(value: f32) -> Operand {
    exactly(&[], TensorData::F32(vec![value].into())).constant()
}

/// A constant uint8 without dimensions: a zero point.
pub fn zero_point(value: u8) -> Operand {
    exactly(&[], TensorData::U8(vec![value].into())).constant()
}

/// An optional operand that is left out before one that is not.
pub fn absent() -> Operand {
    Operand { is_absent: true, ..Operand::new(&[], Fill::Flags) }
}

/// A model that exercises one kind of operation, and what it is run on.
#[derive(Debug, Clone)]
pub struct Case {
    /// The ONNX `op_type`.
    pub kind: &'static str,
    /// Which form of it, in a few words.
    pub form: &'static str,
    /// The operator domain; empty for ONNX's own.
    pub domain: &'static str,
    /// For kinds that have artefacts: why this form has none.
    pub no_artefact: Option<&'static str>,
    pub inputs: Vec<NamedTensor>,
    nodes: Vec<pb::NodeProto>,
    constants: Vec<pb::TensorProto>,
    outputs: Vec<String>,
    opset: i64,
}

/// A model of one node.
pub fn case<const N: usize>(
    kind: &'static str,
    form: &'static str,
    operands: [Operand; N],
    attributes: Vec<pb::AttributeProto>,
) -> Case {
    let names: Vec<String> = operands
        .iter()
        .enumerate()
        .map(|(index, operand)| match operand {
            Operand { is_absent: true, .. } => String::new(),
            Operand { is_constant: true, .. } => format!("constant{index}"),
            _ => format!("input{index}"),
        })
        .collect();
    let (mut inputs, mut constants) = (vec![], vec![]);
    for (seed, (operand, name)) in operands.iter().zip(&names).enumerate() {
        if operand.is_absent {
            continue;
        }
        let tensor = operand.tensor(name, seed as u32);
        if operand.is_constant {
            constants.push(constant(&tensor));
        } else {
            inputs.push(tensor);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = builder::node(kind, &names, &[ANSWER], attributes);
    Case { inputs, constants, ..several(kind, form, vec![], vec![node]) }
}

/// A model of several nodes, over the inputs `input0`, `input1` and so on.
pub fn several(
    kind: &'static str,
    form: &'static str,
    operands: Vec<Operand>,
    nodes: Vec<pb::NodeProto>,
) -> Case {
    let inputs = operands.iter().enumerate();
    let inputs = inputs.map(|(seed, operand)| operand.tensor(&format!("input{seed}"), seed as u32));
    Case {
        kind,
        form,
        domain: "",
        no_artefact: None,
        inputs: inputs.collect(),
        nodes,
        constants: vec![],
        outputs: vec![ANSWER.to_owned()],
        opset: 17,
    }
}

impl Case {
    /// With this version of the default operator set in the place of 17.
    pub fn opset(self, opset: i64) -> Self {
        Self { opset, ..self }
    }

    /// With so many outputs.
    pub fn outputs(mut self, count: usize) -> Self {
        self.outputs.extend((1..count).map(|index| format!("{ANSWER}{index}")));
        if let Some(node) = self.nodes.last_mut() {
            node.output = self.outputs.clone();
        }
        self
    }

    /// With these outputs.
    pub fn with_outputs(self, names: &[&str]) -> Self {
        Self { outputs: names.iter().map(|name| name.to_string()).collect(), ..self }
    }

    /// Of another operator domain.
    pub fn domain(mut self, domain: &'static str) -> Self {
        self.nodes.iter_mut().for_each(|node| node.domain = domain.to_owned());
        Self { domain, ..self }
    }

    /// A form of a kind with artefacts that has none, and a part of the reason.
    pub fn without_artefact(self, reason: &'static str) -> Self {
        Self { no_artefact: Some(reason), ..self }
    }

    /// With more initialisers.
    pub fn with(mut self, constants: Vec<pb::TensorProto>) -> Self {
        self.constants.extend(constants);
        self
    }

    /// What messages and the document call it.
    pub fn name(&self) -> String {
        match self.form {
            "" => self.kind.to_owned(),
            form => format!("{}: {form}", self.kind),
        }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let inputs = self.inputs.iter();
        let inputs =
            inputs.map(|input| builder::value_info(&input.name, dtype(&input.data), &input.shape));
        // Shapes and types of outputs are for the runtime to find out.
        let outputs = self.outputs.iter();
        let outputs =
            outputs.map(|name| pb::ValueInfoProto { name: name.clone(), ..Default::default() });
        let graph = builder::graph(
            "case",
            self.nodes.clone(),
            self.constants.clone(),
            inputs.collect(),
            outputs.collect(),
        );
        let mut model = builder::model(graph, self.opset);
        if !self.domain.is_empty() {
            let domain = self.domain.to_owned();
            model.opset_import.push(pb::OperatorSetIdProto { domain, version: 1 });
        }
        model.encode_to_vec()
    }

    /// The model at the shapes of the inputs.
    ///
    /// # Errors
    /// When the model is refused.
    pub fn bind(&self) -> Result<Arc<Graph>> {
        let model = Model::from_bytes(&self.name(), &self.bytes())?;
        Ok(Arc::new(Graph::bind(Arc::new(model), &BTreeMap::new())?))
    }

    /// The first output of the runtime, whether or not the model would be refused.
    ///
    /// # Errors
    /// When the runtime cannot run it.
    pub fn run_unchecked(&self) -> Result<NamedTensor> {
        let model = Model::from_bytes(&self.name(), &self.bytes())?;
        let plan = Plan::new(&self.name(), model.proto())?;
        let inputs: Vec<_> =
            self.inputs.iter().map(NamedTensor::to_tract).collect::<Result<_>>()?;
        NamedTensor::from_tract(ANSWER, &plan.run(inputs)?[0])
    }
}

fn dtype(data: &TensorData) -> DatumType {
    match data {
        TensorData::F64(_) => DatumType::F64,
        TensorData::I8(_) => DatumType::I8,
        TensorData::I32(_) => DatumType::I32,
        TensorData::I64(_) => DatumType::I64,
        TensorData::U8(_) => DatumType::U8,
        TensorData::Bool(_) => DatumType::Bool,
        _ => DatumType::F32,
    }
}

/// A tensor as an initialiser.
pub fn constant(tensor: &NamedTensor) -> pb::TensorProto {
    let (name, shape) = (tensor.name.as_str(), tensor.shape.as_slice());
    let raw = |dtype, bytes| builder::raw_tensor(name, shape, dtype, bytes);
    match &tensor.data {
        TensorData::F32(values) => builder::tensor_f32(name, shape, values),
        TensorData::I64(values) => builder::tensor_i64(name, shape, values),
        TensorData::U8(values) => raw(DataType::Uint8, values.to_vec()),
        TensorData::I8(values) => raw(DataType::Int8, values.iter().map(|&v| v as u8).collect()),
        TensorData::Bool(values) => {
            raw(DataType::Bool, values.iter().map(|&v| u8::from(v)).collect())
        }
        TensorData::I32(values) => {
            raw(DataType::Int32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        other => panic!("{name}: no constants of type {}", other.dtype()),
    }
}

/// A list of strings as an attribute.
pub fn texts(name: &str, values: &[&str]) -> pb::AttributeProto {
    let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    let r#type = AttributeType::Strings as i32;
    pb::AttributeProto { name: name.to_owned(), r#type, strings, ..Default::default() }
}
