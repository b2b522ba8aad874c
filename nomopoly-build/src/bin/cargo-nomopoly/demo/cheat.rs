//! What a cheating host does: it has the model, the artefacts and their public proof generators,
//! everything but the verifier's key.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use nomopoly_build::runtime::onnx::cut::with_outputs;
use nomopoly_build::runtime::onnx::{Graph, Model, Plan};
use nomopoly_build::runtime::{CompiledModel, NamedTensor, OperationProof, Proof, TensorData};
use prost::Message as _;

use crate::failure::Failure;
use crate::inputs::largest;

/// Values of a run by name.
type Run = HashMap<String, NamedTensor>;

/// Lifts another class over the one that the model chose, and makes the proof vectors for the
/// edited output with the public generators. Also says what was done.
///
/// # Errors
/// When the model has no f32 output of two elements or more, or cannot run.
pub fn edited_output(
    compiled: &CompiledModel,
    image: &[NamedTensor],
    honest: &Proof,
) -> Result<(Proof, String), Failure> {
    let mut run = run(compiled, compiled.graph(), image)?;
    let output = honest.outputs.first().ok_or_else(|| unfit("it has no output"))?;
    let edited = run.get_mut(&output.name).ok_or_else(|| unfit("its output was not computed"))?;
    let TensorData::F32(values) = &mut edited.data else {
        return Err(unfit("its output is not f32"));
    };
    let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    let (best, top) = largest(&wide).ok_or_else(|| unfit("its output is empty"))?;
    let other = (best + 1) % values.len();
    values[other] = top as f32 + 0.1;
    let what = format!(
        "`{}` edited so that class {other} wins over {best}, its proof made anew",
        output.name
    );
    Ok((proof(compiled, image, &run)?, what))
}

/// Runs the model with the weights of one operation rounded to 8 bits and presents the result as
/// the original's. Also gives the relative deviation of the first output that differs.
///
/// # Errors
/// When there are no such f32 weights, or the altered model cannot run.
pub fn quantised_weights(
    compiled: &CompiledModel,
    image: &[NamedTensor],
    weights: &str,
) -> Result<(Proof, f64), Failure> {
    let model = compiled.graph().model();
    let mut altered = model.proto().clone();
    let tensor = altered
        .graph
        .iter_mut()
        .flat_map(|graph| &mut graph.initializer)
        .find(|tensor| tensor.name == weights && !tensor.raw_data.is_empty())
        .ok_or_else(|| unfit("it has no such weights"))?;
    let mut values: Vec<f32> = tensor
        .raw_data
        .chunks_exact(4)
        // chunks_exact gives four bytes each.
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    round_to_int8(&mut values);
    tensor.raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();

    let altered = Arc::new(Model::from_bytes(model.name(), &altered.encode_to_vec())?);
    let shapes = compiled.graph().inputs().iter().map(|i| (i.name.clone(), i.shape.clone()));
    let altered = Graph::bind(altered, &shapes.collect())?;
    let run_altered = run(compiled, &altered, image)?;
    let original = run(compiled, compiled.graph(), image)?;
    let first = compiled.transcript().next().or_else(|| compiled.proved().next());
    let first = first.ok_or_else(|| unfit("nothing in it is proved"))?.operation.output();
    let deviation = deviation(&original, &run_altered, first);
    Ok((proof(compiled, image, &run_altered)?, deviation))
}

/// Symmetric rounding to 255 levels up to the largest magnitude.
fn round_to_int8(values: &mut [f32]) {
    let step = values.iter().fold(0f32, |largest, value| largest.max(value.abs())) / 127.;
    if step > 0. {
        for value in values {
            *value = (*value / step).round() * step;
        }
    }
}

fn deviation(original: &Run, altered: &Run, name: &str) -> f64 {
    let values = |run: &Run| -> Vec<f64> {
        let values = run.get(name).and_then(NamedTensor::as_f32).unwrap_or_default();
        values.iter().map(|&value| f64::from(value)).collect()
    };
    let (original, altered) = (values(original), values(altered));
    let norm = original.iter().map(|value| value * value).sum::<f64>().sqrt();
    let difference = original.iter().zip(&altered).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    difference.sqrt() / norm
}

/// Runs a graph with everything exposed that proofs of `compiled` are made of.
fn run(compiled: &CompiledModel, graph: &Graph, image: &[NamedTensor]) -> Result<Run, Failure> {
    let mut names: Vec<&str> = vec![];
    for proved in compiled.proved() {
        names.push(proved.operation.output());
        names.extend(proved.operation.inputs().iter().map(String::as_str));
    }
    names.sort_unstable();
    names.dedup();
    let exposed = with_outputs(graph, &names)?;
    let plan = Plan::new(graph.model().name(), &exposed.proto)?;
    let inputs = image.iter().map(NamedTensor::to_tract).collect::<Result<Vec<_>, _>>()?;
    let results = plan.run(inputs)?;
    let named = exposed
        .outputs
        .iter()
        .zip(&results)
        .map(|(name, tensor)| Ok((name.clone(), NamedTensor::from_tract(name, tensor)?)));
    named.collect()
}

/// A proof of whatever the run gave, under the digest of the original model.
fn proof(compiled: &CompiledModel, image: &[NamedTensor], run: &Run) -> Result<Proof, Failure> {
    let value = |name: &str| {
        run.get(name).cloned().ok_or_else(|| unfit(&format!("it did not compute `{name}`")))
    };
    let sample = |name: &str| -> Result<Tensor, Failure> {
        let tensor = value(name)?;
        let values = tensor.as_f32().ok_or_else(|| unfit(&format!("`{name}` is not f32")))?;
        let shape: Vec<usize> = std::iter::once(1).chain(tensor.shape.iter().copied()).collect();
        Tensor::from_slice(values, shape, &Device::Cpu).map_err(arithmetic)
    };
    let mut operations = vec![];
    for proved in compiled.proved() {
        let operation = &proved.operation;
        let inputs =
            operation.inputs().iter().map(|name| sample(name)).collect::<Result<Vec<_>, _>>()?;
        let vector = proved.prove(&inputs, &sample(operation.output())?)?;
        operations.push(OperationProof {
            operation: operation.output().to_owned(),
            artefact: proved.artefact.id,
            vector: vector.flatten_all().and_then(|v| v.to_vec1()).map_err(arithmetic)?,
        });
    }
    let graph = compiled.graph();
    Ok(Proof {
        model: graph.model().digest(),
        inputs: image.iter().map(|input| (input.name.clone(), input.shape.clone())).collect(),
        outputs: graph.outputs().iter().map(|info| value(&info.name)).collect::<Result<_, _>>()?,
        transcript: compiled
            .transcript()
            .map(|proved| value(proved.operation.output()))
            .collect::<Result<_, _>>()?,
        operations,
    })
}

fn arithmetic(error: candle_core::Error) -> Failure {
    nomopoly_build::Error::from(error).into()
}

fn unfit(reason: &str) -> Failure {
    Failure::problem(format!("the demo model cannot be cheated with: {reason}"), "report this")
}
