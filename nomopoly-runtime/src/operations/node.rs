//! Reading an ONNX node: attributes, shapes and constant inputs.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor};
use nomopoly_manifest::Attribute;
use tract_onnx::pb;
use tract_onnx::prelude::DatumType;

use super::Body;
use super::window::Window;
use crate::onnx::Graph;

/// Why a node has no artefact, in words for the scan table.
#[derive(Debug)]
pub(super) struct Refusal(pub String);

impl From<crate::Error> for Refusal {
    fn from(error: crate::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<candle_core::Error> for Refusal {
    fn from(error: candle_core::Error) -> Self {
        Self(error.to_string())
    }
}

/// What a kind's parser returns.
pub(super) struct Parsed {
    pub attributes: BTreeMap<String, Attribute>,
    /// Indices of the inputs that vary from run to run.
    pub varying: Vec<usize>,
    pub constants: Vec<Tensor>,
    pub body: Body,
}

/// A node in its graph.
pub(super) struct NodeView<'a> {
    graph: &'a Graph,
    node: &'a pb::NodeProto,
    pub device: &'a Device,
    shapes: Vec<Vec<usize>>,
    output_shape: Vec<usize>,
    /// Constants that were read before, at other shapes.
    known: &'a Constants,
    read: RefCell<Constants>,
}

/// Constants of a graph by name, as the operation computes with them.
pub(super) type Constants = HashMap<String, Tensor>;

impl<'a> NodeView<'a> {
    pub fn new(
        graph: &'a Graph,
        node: &'a pb::NodeProto,
        device: &'a Device,
        known: &'a Constants,
    ) -> Result<Self, Refusal> {
        let shape_of = |name: &str| -> Result<Vec<usize>, Refusal> {
            let value = graph
                .value(name)
                .ok_or_else(|| Refusal(format!("shape of `{name}` is unknown")))?;
            Ok(value.shape.clone())
        };
        let mut shapes = Vec::with_capacity(node.input.len());
        for name in &node.input {
            shapes.push(if name.is_empty() { vec![] } else { shape_of(name)? });
        }
        let output = node.output.first().filter(|name| !name.is_empty());
        let output = output.ok_or_else(|| Refusal("the node has no output".into()))?;
        let float = |name: &str| graph.value(name).is_some_and(|v| v.dtype == DatumType::F32);
        let first_is_float = node.input.first().is_some_and(|name| float(name));
        if !first_is_float || !float(output) {
            return Err(Refusal("element type is not f32".into()));
        }
        let output_shape = shape_of(output)?;
        let read = RefCell::default();
        Ok(Self { graph, node, device, shapes, output_shape, known, read })
    }

    /// The constants that were read.
    pub fn into_constants(self) -> Constants {
        self.read.into_inner()
    }

    pub fn output_shape(&self) -> &[usize] {
        &self.output_shape
    }

    /// Shape of input `index`; empty for an absent one.
    pub fn shape(&self, index: usize) -> &[usize] {
        self.shapes.get(index).map_or(&[], Vec::as_slice)
    }

    pub fn has_input(&self, index: usize) -> bool {
        self.node.input.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Whether any output but the first is used.
    pub fn uses_more_outputs(&self) -> bool {
        self.node.output.iter().skip(1).any(|name| !name.is_empty())
    }

    /// Whether input `index` is constant.
    pub fn is_constant(&self, index: usize) -> bool {
        self.constant_tensor(index).is_some()
    }

    fn constant_tensor(&self, index: usize) -> Option<&tract_onnx::prelude::Tensor> {
        let name = self.node.input.get(index).filter(|name| !name.is_empty())?;
        self.graph.value(name)?.constant.as_deref()
    }

    /// A constant of the graph as f32.
    pub fn constant_named(&self, name: &str, what: &str) -> Result<Tensor, Refusal> {
        let tensor = match self.known.get(name) {
            Some(known) => known.clone(),
            None => {
                let constant = self.graph.value(name).and_then(|value| value.constant.as_deref());
                let absent = || Refusal(format!("{what} is not constant"));
                floats(constant.ok_or_else(absent)?, what, self.device)?
            }
        };
        self.read.borrow_mut().insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    /// The constant input `index` as f32.
    pub fn weights(&self, index: usize, what: &str) -> Result<Tensor, Refusal> {
        let name = self.node.input.get(index).map_or("", String::as_str);
        self.constant_named(name, what)
    }

    /// An optional constant input as f32.
    pub fn optional_weights(&self, index: usize, what: &str) -> Result<Option<Tensor>, Refusal> {
        self.has_input(index).then(|| self.weights(index, what)).transpose()
    }

    fn attribute(&self, name: &str) -> Option<&pb::AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.attribute(name).map(|attribute| String::from_utf8_lossy(&attribute.s).into_owned())
    }

    fn sizes(&self, name: &str, count: usize, default: usize) -> Result<Vec<usize>, Refusal> {
        let Some(attribute) = self.attribute(name) else { return Ok(vec![default; count]) };
        let bad = || Refusal(format!("attribute {name} is {:?}", attribute.ints));
        if attribute.ints.len() != count {
            return Err(bad());
        }
        attribute.ints.iter().map(|&v| usize::try_from(v).map_err(|_| bad())).collect()
    }

    /// The sliding window of a convolution or pooling over the spatial axes of input 0, with
    /// automatic padding resolved. `kernel` defaults to the attribute `kernel_shape`.
    pub fn window(&self, kernel: Option<Vec<usize>>) -> Result<Window, Refusal> {
        let input = self.shape(0).get(2..).unwrap_or(&[]).to_vec();
        let output = self.output_shape.get(2..).unwrap_or(&[]).to_vec();
        let axes = input.len();
        if axes == 0 || output.len() != axes {
            return Err(Refusal("the input has no spatial axes".into()));
        }
        let kernel = match kernel {
            Some(kernel) => kernel,
            None if self.attribute("kernel_shape").is_some() => {
                self.sizes("kernel_shape", axes, 1)?
            }
            None => return Err(Refusal("attribute kernel_shape is missing".into())),
        };
        let strides = self.sizes("strides", axes, 1)?;
        let dilations = self.sizes("dilations", axes, 1)?;
        if kernel.len() != axes || [&kernel, &strides, &dilations].iter().any(|v| v.contains(&0)) {
            return Err(Refusal("kernel, strides and dilations must be positive".into()));
        }
        let auto = self.text("auto_pad").unwrap_or_default();
        let (pads_begin, pads_end) = match auto.as_str() {
            "" | "NOTSET" => {
                let pads = self.sizes("pads", 2 * axes, 0)?;
                (pads[..axes].to_vec(), pads[axes..].to_vec())
            }
            "VALID" => (vec![0; axes], vec![0; axes]),
            "SAME_UPPER" | "SAME_LOWER" => {
                let total = |axis: usize| {
                    let span = (output[axis].max(1) - 1) * strides[axis]
                        + (kernel[axis] - 1) * dilations[axis]
                        + 1;
                    span.saturating_sub(input[axis])
                };
                let small: Vec<usize> = (0..axes).map(|axis| total(axis) / 2).collect();
                let large: Vec<usize> = (0..axes).map(|axis| total(axis) - small[axis]).collect();
                if auto == "SAME_UPPER" { (small, large) } else { (large, small) }
            }
            other => return Err(Refusal(format!("auto_pad {other} is unknown"))),
        };
        let window = Window { kernel, strides, dilations, pads_begin, pads_end, input, output };
        // Gather tables hold 32-bit indices; anything larger could not be executed anyway.
        let size = window.taps().checked_mul(window.positions());
        if size.is_none_or(|size| size >= u32::MAX as usize) {
            return Err(Refusal("the window table has more than 2^32 entries".into()));
        }
        Ok(window)
    }
}

fn floats(
    tensor: &tract_onnx::prelude::Tensor,
    what: &str,
    device: &Device,
) -> Result<Tensor, Refusal> {
    let view = tensor
        .to_plain_array_view::<f32>()
        .map_err(|_| Refusal(format!("{what} is {:?}, not f32", tensor.datum_type())))?;
    let values: Vec<f32> = view.iter().copied().collect();
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(Refusal(format!("{what} holds {value}")));
    }
    Ok(Tensor::from_vec(values, tensor.shape(), device)?)
}

/// Attribute map of a window in canonical form.
pub(super) fn window_attributes(window: &Window) -> BTreeMap<String, Attribute> {
    let ints = |values: &[usize]| Attribute::Ints(values.iter().map(|&v| v as i64).collect());
    let mut pads = window.pads_begin.clone();
    pads.extend(&window.pads_end);
    BTreeMap::from([
        ("kernel_shape".into(), ints(&window.kernel)),
        ("strides".into(), ints(&window.strides)),
        ("dilations".into(), ints(&window.dilations)),
        ("pads".into(), ints(&pads)),
    ])
}
