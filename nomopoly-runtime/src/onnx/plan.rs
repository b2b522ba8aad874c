//! Running a graph.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tract_onnx::pb;
use tract_onnx::prelude::{
    DatumType, Framework, InferenceModelExt, IntoArcTensor, IntoRunnable, TValue, Tensor,
    TractError, TypedFact, TypedModel, TypedRunnableModel,
};
use tract_onnx::tract_core;

use super::graph::TensorInfo;
use super::infer::{guarded, plain_dtype, plain_tensor};
use super::support;
use crate::error::{Error, Result};
use crate::kernels;

/// A graph that tract has optimised and can run, from any number of threads at once.
#[derive(Clone)]
pub struct Plan {
    name: String,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    /// `None` for a graph without outputs, where there is nothing to run.
    runnable: Option<Arc<TypedRunnableModel>>,
    /// The places of the outputs that a node's slot gives.
    watched: HashMap<(usize, usize), Vec<usize>>,
}

impl Plan {
    /// Optimises a graph whose inputs have concrete shapes, such as those that
    /// [`cut`](super::cut) makes. `name` is what messages call it.
    ///
    /// # Errors
    /// [`Error::Execution`] when tract cannot run it, or the shape of an output depends on data.
    pub fn new(name: &str, proto: &pb::ModelProto) -> Result<Self> {
        let name = name.to_string();
        let outputs = proto.graph.iter().flat_map(|graph| &graph.output);
        let output_names: Vec<&str> = outputs.map(|output| output.name.as_str()).collect();
        if output_names.is_empty() {
            let watched = HashMap::new();
            return Ok(Self { name, inputs: vec![], outputs: vec![], runnable: None, watched });
        }
        let model: TypedModel =
            guarded(&name, || support::front_end().model_for_proto_model(proto)?.into_optimized())?;
        let inputs = proto.graph.iter().flat_map(|graph| &graph.input);
        let initializers = proto.graph.iter().flat_map(|graph| &graph.initializer);
        let initializers: Vec<&str> = initializers.map(|tensor| tensor.name.as_str()).collect();
        let real = inputs.filter(|input| !initializers.contains(&input.name.as_str()));
        let inputs = real
            .zip(model.inputs.iter())
            .map(|(input, outlet)| {
                info(&name, &input.name, guarded(&name, || model.outlet_fact(*outlet))?)
            })
            .collect::<Result<_>>()?;
        let outputs = output_names
            .into_iter()
            .zip(model.outputs.iter())
            .map(|(output, outlet)| {
                info(&name, output, guarded(&name, || model.outlet_fact(*outlet))?)
            })
            .collect::<Result<_>>()?;
        let mut watched: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
        for (place, outlet) in model.outputs.iter().enumerate() {
            watched.entry((outlet.node, outlet.slot)).or_default().push(place);
        }
        let runnable = Some(guarded(&name, || model.into_runnable())?);
        Ok(Self { name, inputs, outputs, runnable, watched })
    }

    /// What [`Plan::run`] takes, in order.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// What [`Plan::run`] gives, in order.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// Runs the graph once. `inputs` are `Tensor`s or `Arc<Tensor>`s in the order of
    /// [`Plan::inputs`]; the outputs come in the order of [`Plan::outputs`].
    ///
    /// # Errors
    /// When an input is missing or has another shape or element type, or tract fails.
    pub fn run<I>(&self, inputs: I) -> Result<Vec<Arc<Tensor>>>
    where
        I: IntoIterator,
        I::Item: Into<Arc<Tensor>>,
    {
        self.run_watched(inputs, |_, _| {})
    }

    /// As [`Plan::run`], and tells `watch` of outputs, by their places, as soon as they are there:
    /// work on them can begin while the rest is computed. Outputs that no node computes (constants,
    /// inputs) and integers that are shapes come with the others at the end.
    ///
    /// # Errors
    /// As [`Plan::run`].
    pub fn run_watched<I>(
        &self,
        inputs: I,
        mut watch: impl FnMut(usize, &Arc<Tensor>),
    ) -> Result<Vec<Arc<Tensor>>>
    where
        I: IntoIterator,
        I::Item: Into<Arc<Tensor>>,
    {
        let Some(runnable) = &self.runnable else { return Ok(Vec::new()) };
        let inputs: Vec<TValue> =
            inputs.into_iter().map(|input| TValue::from_const(input.into())).collect();
        self.check(&inputs)?;
        let outputs = guarded(&self.name, || {
            runnable.spawn()?.run_plan_with_eval(inputs.into(), |context, state, node, input| {
                let values = tract_core::plan::eval(context, state, node, input)?;
                kernels::clear_registers();
                for (slot, value) in values.iter().enumerate() {
                    if let Some(places) = self.watched.get(&(node.id, slot))
                        && let Some(tensor) = value.as_arc_tensor()
                        && tensor.datum_type() != DatumType::TDim
                    {
                        places.iter().for_each(|place| watch(*place, tensor));
                    }
                }
                Ok::<_, TractError>(values)
            })
        })?;
        outputs.into_iter().map(|output| plain_tensor(output.into_arc_tensor())).collect()
    }

    fn check(&self, inputs: &[TValue]) -> Result<()> {
        if let Some(missing) = self.inputs.get(inputs.len()) {
            return Err(Error::MissingInput { input: missing.name.clone() });
        }
        if inputs.len() > self.inputs.len() {
            let reason = format!("{} inputs given, expected {}", inputs.len(), self.inputs.len());
            return Err(Error::Execution { model: self.name.clone(), reason });
        }
        for (expected, got) in self.inputs.iter().zip(inputs) {
            let tensor = || expected.name.clone();
            if got.shape() != expected.shape {
                let (got, expected) = (got.shape().to_vec(), expected.shape.clone());
                return Err(Error::Shape { tensor: tensor(), got, expected });
            }
            if got.datum_type() != expected.dtype {
                let (got, expected) = (got.datum_type(), expected.dtype);
                return Err(Error::DType {
                    tensor: tensor(),
                    got: format!("{got:?}"),
                    expected: format!("{expected:?}"),
                });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The optimised graph prints every weight; its inputs and outputs say enough.
        f.debug_struct("Plan")
            .field("name", &self.name)
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

fn info(model: &str, name: &str, fact: &TypedFact) -> Result<TensorInfo> {
    let shape = fact.shape.as_concrete().ok_or_else(|| Error::Execution {
        model: model.to_string(),
        reason: format!("the shape of `{name}` depends on the data"),
    })?;
    let dtype = plain_dtype(fact.datum_type);
    Ok(TensorInfo { name: name.to_string(), dtype, shape: shape.to_vec() })
}

#[cfg(test)]
mod tests {
    use tract_onnx::prelude::DatumType;

    use super::*;
    use crate::onnx::builder::{graph, model, node, value_info};
    use crate::onnx::test_models::{chain, tensor};

    fn double() -> Plan {
        Plan::new("double", &chain(vec![node("Add", &["x", "x"], &["y"], vec![])], "y")).unwrap()
    }

    #[test]
    fn a_plan_runs_from_many_threads_at_once() {
        let plan = double();
        std::thread::scope(|scope| {
            for seed in 0..8 {
                let plan = &plan;
                scope.spawn(move || {
                    let x = tensor(&[2, 3], seed);
                    for _ in 0..50 {
                        let y = plan.run([x.clone()]).unwrap();
                        let expected: Vec<f32> = x
                            .try_as_plain_ram()
                            .unwrap()
                            .as_slice::<f32>()
                            .unwrap()
                            .iter()
                            .map(|v| v + v)
                            .collect();
                        assert_eq!(
                            y[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap(),
                            expected
                        );
                    }
                });
            }
        });
    }

    #[test]
    fn wrong_inputs_are_named() {
        let plan = double();
        let error = plan.run(Vec::<Tensor>::new()).unwrap_err();
        assert!(matches!(error, Error::MissingInput { .. }), "{error}");
        let error = plan.run([tensor(&[3, 2], 0)]).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        let error = plan.run([Tensor::zero::<i64>(&[2, 3]).unwrap()]).unwrap_err();
        assert!(matches!(error, Error::DType { .. }), "{error}");
        let error = plan.run([tensor(&[2, 3], 0), tensor(&[2, 3], 0)]).unwrap_err();
        assert!(error.to_string().contains("2 inputs given"), "{error}");
    }

    #[test]
    fn a_graph_without_outputs_gives_nothing() {
        let nothing = model(graph("g", vec![], vec![], vec![], vec![]), 17);
        let plan = Plan::new("nothing", &nothing).unwrap();
        assert!(plan.run(Vec::<Tensor>::new()).unwrap().is_empty());
        assert!(plan.outputs().is_empty());
    }

    #[test]
    fn shapes_come_out_as_int64() {
        let nodes = vec![node("Shape", &["x"], &["s"], vec![])];
        let x = value_info("x", DatumType::F32, &[2, 3]);
        let s = value_info("s", DatumType::I64, &[2]);
        let plan = Plan::new("s", &model(graph("g", nodes, vec![], vec![x], vec![s]), 17)).unwrap();
        assert_eq!(plan.outputs()[0].dtype, DatumType::I64);
        let s = plan.run([tensor(&[2, 3], 0)]).unwrap();
        assert_eq!(s[0].try_as_plain_ram().unwrap().as_slice::<i64>().unwrap(), [2, 3]);
    }

    #[test]
    fn a_panic_in_tract_is_an_error() {
        let error = guarded::<()>("m", || panic!("index {} out of bounds", 3)).unwrap_err();
        assert!(error.to_string().contains("tract panicked: index 3 out of bounds"), "{error}");
    }
}
