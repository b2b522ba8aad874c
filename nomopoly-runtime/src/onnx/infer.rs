//! Asks tract for the element type, shape and, where it is constant, the value of every tensor.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::pb;
use tract_onnx::prelude::{DatumType, InferenceModelExt, Tensor, TractResult, TypedFact};
use tract_onnx::tract_hir::infer::Factoid;

use super::graph::Value;
use super::model::Model;
use super::support;
use crate::error::{Error, Result};

/// Runs a call into tract; a panic in it becomes an error.
///
/// tract indexes and unwraps on attributes that it takes for granted (axes in range, strides that
/// are not zero, ...). A hostile file can break those, and a service must outlive such a file.
/// Asserting unwind safety is sound for our data: a call that panicked leaves nothing that is used
/// again, for models are built anew and every run has a state of its own. The panic hook still
/// prints its line, and with `panic = "abort"` the process ends as it would without this.
pub(crate) fn guarded<T>(model: &str, call: impl FnOnce() -> TractResult<T>) -> Result<T> {
    let error = |reason: String| Error::Execution { model: model.to_string(), reason };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(error(format!("{reason:#}"))),
        Err(panic) => Err(error(format!("tract panicked: {}", panic_message(&*panic)))),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// What tract says of the initialisers and of the outputs of `proto`, whose inputs have concrete
/// shapes. Tensors whose shape depends on the data are left out.
///
/// # Errors
/// [`Error::UnsupportedNodes`] lists the nodes that tract refuses by themselves; otherwise
/// [`Error::Execution`] says what tract said of the whole.
pub(crate) fn values(model: &Model, proto: &pb::ModelProto) -> Result<HashMap<String, Value>> {
    let onnx = support::front_end();
    let parsed = guarded(model.name(), || onnx.parse(proto, None)).map_err(|error| {
        let nodes = support::refused(model, proto, &onnx);
        if nodes.is_empty() {
            return error;
        }
        Error::UnsupportedNodes { model: model.name().to_string(), nodes }
    })?;
    let graph = proto.graph.as_ref();
    let mut values = HashMap::new();
    for tensor in graph.iter().flat_map(|graph| &graph.initializer) {
        // The parsed model already holds the tensor; taking it from there avoids a copy.
        let Some(outlet) = parsed.outlets_by_name.get(&tensor.name) else { continue };
        let fact = guarded(model.name(), || parsed.model.outlet_fact(*outlet))?;
        if let Some(constant) = fact.value.concretize() {
            values.insert(tensor.name.clone(), constant_value(constant)?);
        }
    }
    let typed = guarded(model.name(), || parsed.model.into_typed())?;
    let names = graph.iter().flat_map(|graph| &graph.output);
    for (output, outlet) in names.zip(typed.outputs.iter()) {
        let fact = guarded(model.name(), || typed.outlet_fact(*outlet))?;
        if let Some(value) = typed_value(fact)? {
            values.insert(output.name.clone(), value);
        }
    }
    Ok(values)
}

fn typed_value(fact: &TypedFact) -> Result<Option<Value>> {
    if let Some(constant) = &fact.konst
        && let Ok(value) = constant_value(constant.clone())
    {
        return Ok(Some(value));
    }
    let dtype = plain_dtype(fact.datum_type);
    Ok(fact.shape.as_concrete().map(|shape| Value { dtype, shape: shape.to_vec(), constant: None }))
}

fn constant_value(constant: Arc<Tensor>) -> Result<Value> {
    let constant = plain_tensor(constant)?;
    let (dtype, shape) = (constant.datum_type(), constant.shape().to_vec());
    Ok(Value { dtype, shape, constant: Some(constant) })
}

/// tract computes shapes in a type of its own, where ONNX has int64.
pub(crate) fn plain_dtype(dtype: DatumType) -> DatumType {
    if dtype == DatumType::TDim { DatumType::I64 } else { dtype }
}

/// The tensor with dimensions as int64.
pub(crate) fn plain_tensor(tensor: Arc<Tensor>) -> Result<Arc<Tensor>> {
    if tensor.datum_type() != DatumType::TDim {
        return Ok(tensor);
    }
    guarded("a shape", || Ok(tensor.cast_to::<i64>()?.into_owned().into()))
}
