//! Gives every graph input a concrete shape.

use std::collections::{BTreeMap, HashMap, HashSet};

use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::type_proto;
use tract_onnx::prelude::DatumType;

use super::graph::TensorInfo;
use super::model::Model;
use crate::error::{Error, Result};

/// More elements than any input has; a larger shape would overflow sizes later on.
const MAX_ELEMENTS: usize = 1 << 40;

/// A dimension as the model declares it.
#[derive(Debug, Clone, PartialEq)]
enum Dim {
    Fixed(usize),
    Symbol(String),
    /// No value and no symbol. Some exporters write 0 or -1 for this.
    Unknown,
}

/// A graph input as the model declares it; `dims` is `None` if not even the rank is known.
struct Declared {
    name: String,
    dtype: DatumType,
    dims: Option<Vec<Dim>>,
}

/// The model's real inputs (those that no initialiser fills) with concrete shapes, and a note
/// for every dimension that was chosen here.
///
/// # Errors
/// When a shape is for no input or disagrees with the model, when a dimension that nothing binds
/// is not a batch, and when an input is not a tensor of a type that tract has.
pub(crate) fn bind(
    model: &Model,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<(Vec<TensorInfo>, Vec<String>)> {
    let inputs = declared(model)?;
    if let Some(got) = shapes.keys().find(|name| inputs.iter().all(|i| i.name != **name)) {
        let expected = inputs.into_iter().map(|input| input.name).collect();
        return Err(Error::UnknownInput { model: model.name().into(), got: got.clone(), expected });
    }
    // Shapes that were given bind symbols first, wherever their inputs stand in the list.
    let mut symbols = HashMap::new();
    for input in &inputs {
        if let Some(shape) = shapes.get(&input.name) {
            agree(model, input, shape, &mut symbols)?;
        }
    }
    let mut notes = Vec::new();
    let mut bound = Vec::with_capacity(inputs.len());
    for input in inputs {
        let shape = match shapes.get(&input.name) {
            Some(shape) => shape.clone(),
            None => choose(model, &input, &mut symbols, &mut notes)?,
        };
        bound.push(TensorInfo { name: input.name, dtype: input.dtype, shape });
    }
    Ok((bound, notes))
}

fn declared(model: &Model) -> Result<Vec<Declared>> {
    let graph = model.graph()?;
    let initializers: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let real = graph.input.iter().filter(|input| !initializers.contains(input.name.as_str()));
    real.map(|input| {
        let (dtype, dims) = tensor_type(input).map_err(|reason| Error::InvalidGraph {
            model: model.name().to_string(),
            reason: format!("input `{}`: {reason}", input.name),
        })?;
        Ok(Declared { name: input.name.clone(), dtype, dims })
    })
    .collect()
}

fn tensor_type(input: &pb::ValueInfoProto) -> Result<(DatumType, Option<Vec<Dim>>), String> {
    let value = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = value else {
        return Err("expected a tensor, not a sequence, a map or an optional".to_string());
    };
    let code = DataType::try_from(tensor.elem_type)
        .map_err(|_| format!("unknown element type {}", tensor.elem_type))?;
    let dtype = DatumType::try_from(code).ok().filter(|dtype| *dtype != DatumType::String);
    let dtype = dtype.ok_or_else(|| format!("element type {} cannot run", code.as_str_name()))?;
    let dims = tensor.shape.as_ref().map(|shape| {
        let dim = |dim: &pb::tensor_shape_proto::Dimension| match &dim.value {
            Some(dimension::Value::DimValue(v)) if *v > 0 => {
                usize::try_from(*v).map_or(Dim::Unknown, Dim::Fixed)
            }
            Some(dimension::Value::DimParam(s)) if !s.is_empty() && s != "?" => {
                Dim::Symbol(s.clone())
            }
            _ => Dim::Unknown,
        };
        shape.dim.iter().map(dim).collect()
    });
    Ok((dtype, dims))
}

/// Checks a given shape against the declared one and learns its symbols.
fn agree(
    model: &Model,
    input: &Declared,
    shape: &[usize],
    symbols: &mut HashMap<String, usize>,
) -> Result<()> {
    countable(model, input, shape)?;
    let Some(dims) = &input.dims else { return Ok(()) };
    let expected: Vec<usize> = dims
        .iter()
        .enumerate()
        .map(|(axis, dim)| match dim {
            Dim::Fixed(n) => *n,
            Dim::Symbol(s) => {
                let given = shape.get(axis).copied().unwrap_or(1);
                *symbols.entry(s.clone()).or_insert(given)
            }
            Dim::Unknown => shape.get(axis).copied().unwrap_or(1),
        })
        .collect();
    if expected == shape {
        Ok(())
    } else {
        Err(Error::Shape { tensor: input.name.clone(), got: shape.to_vec(), expected })
    }
}

/// Completes a declared shape: known symbols, and 1 for a first dimension, which is a batch.
fn choose(
    model: &Model,
    input: &Declared,
    symbols: &mut HashMap<String, usize>,
    notes: &mut Vec<String>,
) -> Result<Vec<usize>> {
    let unbound = |symbol: String, example: String| Error::UnboundDimension {
        model: model.name().to_string(),
        input: input.name.clone(),
        symbol,
        example,
    };
    let Some(dims) = &input.dims else {
        return Err(unbound("the rank".to_string(), "1,3,224,224".to_string()));
    };
    let mut shape = Vec::with_capacity(dims.len());
    let mut batch = None;
    for (axis, dim) in dims.iter().enumerate() {
        let known = match dim {
            Dim::Fixed(n) => Some(*n),
            Dim::Symbol(s) => symbols.get(s).copied(),
            Dim::Unknown => None,
        };
        let called = match dim {
            Dim::Symbol(s) => s.clone(),
            _ => axis.to_string(),
        };
        match known {
            Some(n) => shape.push(n),
            None if axis == 0 => {
                if let Dim::Symbol(s) = dim {
                    symbols.insert(s.clone(), 1);
                }
                batch = Some(called);
                shape.push(1);
            }
            None => return Err(unbound(called, example(dims, symbols))),
        }
    }
    countable(model, input, &shape)?;
    if let Some(symbol) = batch {
        let example: Vec<String> = shape.iter().map(usize::to_string).collect();
        notes.push(format!(
            "dimension `{symbol}` of input `{name}` bound to 1 (a batch); bind another with --input {name}={}",
            example.join(","),
            name = input.name,
        ));
    }
    Ok(shape)
}

/// A shape that would do, to show how one is written.
fn example(dims: &[Dim], symbols: &HashMap<String, usize>) -> String {
    let likely = |axis: usize| match (axis, dims.len()) {
        (0, _) => 1,
        (1, 4) => 3,
        (_, 4) => 224,
        _ => 128,
    };
    let number = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(n) => n.to_string(),
        Dim::Symbol(s) => symbols.get(s).copied().unwrap_or(likely(axis)).to_string(),
        Dim::Unknown => likely(axis).to_string(),
    };
    dims.iter().enumerate().map(number).collect::<Vec<_>>().join(",")
}

fn countable(model: &Model, input: &Declared, shape: &[usize]) -> Result<()> {
    let product = shape
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(dim))
        .filter(|&product| product > 0 && product <= MAX_ELEMENTS);
    match product {
        Some(_) => Ok(()),
        None => Err(Error::InvalidGraph {
            model: model.name().to_string(),
            reason: format!(
                "input `{}` with shape {shape:?} is empty or too large (at most 2^40 elements)",
                input.name
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tract_onnx::pb::tensor_shape_proto::dimension::Value::{self, DimParam, DimValue};

    use super::*;
    use crate::onnx::builder;

    fn model(inputs: Vec<(&str, Vec<Value>)>) -> Model {
        let output = builder::value_info("y", DatumType::F32, &[1]);
        let node = builder::node("Relu", &[inputs[0].0], &["y"], vec![]);
        let inputs = inputs
            .into_iter()
            .map(|(name, dims)| builder::value_info_with(name, DatumType::F32, dims))
            .collect();
        let graph = builder::graph("g", vec![node], vec![], inputs, vec![output]);
        Model::from_bytes("m", &builder::model(graph, 17).encode_to_vec()).unwrap()
    }

    fn shapes(given: &[(&str, &[usize])]) -> BTreeMap<String, Vec<usize>> {
        given.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect()
    }

    fn symbol(s: &str) -> Value {
        DimParam(s.to_string())
    }

    #[test]
    fn a_batch_defaults_to_one_and_is_noted() {
        let model = model(vec![("image", vec![symbol("N"), DimValue(3), DimValue(8)])]);
        let (inputs, notes) = bind(&model, &BTreeMap::new()).unwrap();
        assert_eq!(inputs[0].shape, [1, 3, 8]);
        assert_eq!(
            notes,
            [
                "dimension `N` of input `image` bound to 1 (a batch); bind another with --input image=1,3,8"
            ]
        );
        let (inputs, notes) = bind(&model, &shapes(&[("image", &[4, 3, 8])])).unwrap();
        assert_eq!((inputs[0].shape.as_slice(), notes.len()), (&[4, 3, 8][..], 0));
    }

    #[test]
    fn a_symbol_has_one_value_everywhere() {
        let model = model(vec![
            ("ids", vec![symbol("N"), symbol("S")]),
            ("mask", vec![symbol("N"), symbol("S")]),
        ]);
        let (inputs, notes) = bind(&model, &shapes(&[("mask", &[2, 7])])).unwrap();
        assert_eq!((inputs[0].shape.as_slice(), notes.len()), (&[2, 7][..], 0));
        let error = bind(&model, &shapes(&[("mask", &[2, 7]), ("ids", &[2, 6])])).unwrap_err();
        let Error::Shape { tensor, got, expected } = error else { panic!("{error}") };
        assert_eq!((tensor.as_str(), got, expected), ("mask", vec![2, 7], vec![2, 6]));
    }

    #[test]
    fn other_dimensions_must_be_bound() {
        let model = model(vec![("x", vec![symbol("N"), DimValue(3), symbol("H"), symbol("W")])]);
        let error = bind(&model, &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("dimension `H` of input `x`"), "{error}");
        assert!(error.contains("--input x=1,3,224,224"), "{error}");
    }

    #[test]
    fn zero_and_negative_dimensions_are_unknown() {
        let model = model(vec![("x", vec![DimValue(0), DimValue(5)])]);
        let (inputs, notes) = bind(&model, &BTreeMap::new()).unwrap();
        assert_eq!((inputs[0].shape.as_slice(), notes.len()), (&[1, 5][..], 1));
    }

    #[test]
    fn shapes_that_disagree_are_refused() {
        let model = model(vec![("x", vec![symbol("N"), DimValue(3)])]);
        for wrong in [&[1, 4][..], &[3], &[1, 3, 1], &[]] {
            let error = bind(&model, &shapes(&[("x", wrong)])).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{error}");
        }
        for wrong in [&[0, 3][..], &[usize::MAX, 3]] {
            let error = bind(&model, &shapes(&[("x", wrong)])).unwrap_err();
            assert!(error.to_string().contains("empty or too large"), "{error}");
        }
        let error = bind(&model, &shapes(&[("y", &[1, 3])])).unwrap_err();
        assert!(matches!(error, Error::UnknownInput { .. }), "{error}");
    }

    #[test]
    fn inputs_that_are_not_numbers_are_refused() {
        let text = builder::value_info("x", DatumType::String, &[1]);
        let untyped = pb::ValueInfoProto { name: "x".into(), ..Default::default() };
        for (input, words) in [(text, "STRING cannot run"), (untyped, "expected a tensor")] {
            let node = builder::node("Relu", &["x"], &["y"], vec![]);
            let output = builder::value_info("y", DatumType::F32, &[1]);
            let graph = builder::graph("g", vec![node], vec![], vec![input], vec![output]);
            let bytes = builder::model(graph, 17).encode_to_vec();
            let model = Model::from_bytes("m", &bytes).unwrap();
            let error = bind(&model, &BTreeMap::new()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
