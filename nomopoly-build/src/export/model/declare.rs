//! Declarations of graph inputs and outputs: the model's own where it has them.

use nomopoly_runtime::onnx::pb::tensor_shape_proto::{Dimension, dimension};
use nomopoly_runtime::onnx::{DatumType, TensorInfo, builder, pb};
use nomopoly_runtime::{CompiledModel, CompiledOperation};

use super::super::generator::Size;

/// Whether the model leaves a dimension of an input open.
pub(super) fn is_open(model: &CompiledModel) -> bool {
    let inputs = model.graph().inputs();
    inputs.iter().any(|input| {
        let declared = declared_input(model, &input.name);
        dims(declared).is_none_or(|dims| {
            dims.iter().any(|dim| match dim.value {
                Some(dimension::Value::DimValue(value)) => value <= 0,
                _ => true,
            })
        })
    })
}

/// The model's inputs as it declares them. Initialisers that are listed as inputs too are left out:
/// they would not be constants to an optimiser.
pub(super) fn inputs(model: &CompiledModel) -> Vec<pb::ValueInfoProto> {
    let declared = |info: &TensorInfo| {
        let input = declared_input(model, &info.name).cloned();
        input.unwrap_or_else(|| builder::value_info(&info.name, info.dtype, &info.shape))
    };
    model.graph().inputs().iter().map(declared).collect()
}

fn declared_input<'a>(model: &'a CompiledModel, name: &str) -> Option<&'a pb::ValueInfoProto> {
    let graph = model.graph().model().proto().graph.as_ref()?;
    graph.input.iter().find(|input| input.name == name)
}

/// The model's outputs as it declares them; some exporters leave type or rank out, which are filled in.
pub(super) fn outputs(model: &CompiledModel, size: Size) -> Vec<pb::ValueInfoProto> {
    let declared = |name: &str| {
        let graph = model.graph().model().proto().graph.as_ref()?;
        graph.output.iter().find(|output| output.name == name)
    };
    let outputs = model.graph().outputs().iter();
    let complete = outputs.map(|info| match declared(&info.name) {
        Some(output) if extents(output).is_some() && size == Size::Open => output.clone(),
        _ => {
            let mut output = builder::value_info(&info.name, info.dtype, &info.shape);
            if let (Size::Open, Some(dims)) = (size, dims_mut(&mut output)) {
                dims.iter_mut().for_each(|dim| *dim = Dimension::default());
            }
            output
        }
    });
    complete.collect()
}

/// Whether a tensor is an output of the model.
pub(super) fn is_output(model: &CompiledModel, name: &str) -> bool {
    model.graph().outputs().iter().any(|output| output.name == name)
}

/// A tensor of the transcript: of an open model only its features are known.
pub(super) fn transcript(compiled: &CompiledOperation, size: Size) -> pb::ValueInfoProto {
    let operation = &compiled.operation;
    let shape = &operation.spec().output_shape;
    let mut info = builder::value_info(operation.output(), DatumType::F32, shape);
    if size == Size::Open {
        let features = match operation.linear() {
            Some(linear) if linear.is_channels_first() => 1,
            _ => shape.len().saturating_sub(1),
        };
        if let Some(dims) = dims_mut(&mut info) {
            for (axis, dim) in dims.iter_mut().enumerate() {
                if axis != features {
                    *dim = Dimension::default();
                }
            }
        }
    }
    info
}

/// The same declaration of a tensor with another name.
pub(super) fn renamed(info: &pb::ValueInfoProto, name: &str) -> pb::ValueInfoProto {
    pb::ValueInfoProto { name: name.to_owned(), ..info.clone() }
}

/// Extents, `None` for those that are open; `None` in all where not even the rank is known.
pub(super) fn extents(info: &pb::ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let extent = |dim: &Dimension| match dim.value {
        Some(dimension::Value::DimValue(value)) => usize::try_from(value).ok().filter(|v| *v > 0),
        _ => None,
    };
    dims(Some(info)).map(|dims| dims.iter().map(extent).collect())
}

fn dims(info: Option<&pb::ValueInfoProto>) -> Option<&Vec<Dimension>> {
    let pb::type_proto::Value::TensorType(tensor) = info?.r#type.as_ref()?.value.as_ref()?;
    tensor.shape.as_ref().map(|shape| &shape.dim)
}

fn dims_mut(info: &mut pb::ValueInfoProto) -> Option<&mut Vec<Dimension>> {
    let pb::type_proto::Value::TensorType(tensor) = info.r#type.as_mut()?.value.as_mut()?;
    tensor.shape.as_mut().map(|shape| &mut shape.dim)
}
