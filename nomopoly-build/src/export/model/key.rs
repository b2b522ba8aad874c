//! The key's tensors, from a key or from random numbers by `key.onnx`.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use nomopoly_runtime::exchange::IDENTITY_LEN;
use nomopoly_runtime::onnx::{builder, pb};
use nomopoly_runtime::operations::Linear;
use nomopoly_runtime::{
    CompiledModel, CompiledOperation, Error, NamedTensor, OperationVerifier, TensorData,
    VerifierKey,
};

use super::super::graph::GraphBuilder;
use super::super::matrix::without_sample_axis;
use super::super::node;
use super::super::sketch::{Key, turned, with_kernel};
use super::Subject;
use super::interface::Interface;

/// Name of the identity among a key's tensors.
pub const KEY_IDENTITY: &str = "nomopoly.key/identity";

pub(super) fn vectors_name(operation: &str) -> String {
    format!("nomopoly.key/vectors/{operation}")
}

pub(super) fn weights_name(operation: &str) -> String {
    format!("nomopoly.key/weights/{operation}")
}

pub(super) fn random_name(operation: &str) -> String {
    format!("nomopoly.random/{operation}")
}

/// The tensors that `verifier.onnx` takes for a key. **Secret**, as the key is.
///
/// # Errors
/// As [`super::export`].
pub fn key_tensors(model: &CompiledModel, key: &VerifierKey) -> Result<Vec<NamedTensor>, Error> {
    let subject = Subject::new(model)?;
    let mut tensors = vec![NamedTensor {
        name: KEY_IDENTITY.into(),
        shape: vec![IDENTITY_LEN],
        data: TensorData::U8(subject.identity().to_vec().into()),
    }];
    for (name, tensor) in parts(&subject, key)? {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        tensors.push(NamedTensor::from_f32(&name, tensor.dims(), values));
    }
    Ok(tensors)
}

/// Vectors and contracted weights of every sketched operation, by name.
///
/// # Errors
/// When tensor arithmetic fails.
pub(super) fn parts(
    subject: &Subject,
    key: &VerifierKey,
) -> Result<BTreeMap<String, Tensor>, Error> {
    let mut parts = BTreeMap::new();
    for (compiled, linear) in sketched(subject) {
        let verifier = OperationVerifier::new((*compiled).clone(), key, &Device::Cpu)?;
        let operation = &compiled.operation;
        let contracted = verifier.contracted().ok_or_else(|| Error::Operation {
            operation: operation.output().to_owned(),
            reason: "cannot be exported: it is revealed, and nothing sketches it".into(),
        })?;
        let slide = subject.slide(compiled);
        let Key { vectors, weights, .. } = Key::new(operation, linear, &slide, contracted)?;
        parts.insert(vectors_name(operation.output()), vectors);
        parts.insert(weights_name(operation.output()), weights);
    }
    Ok(parts)
}

/// The operations that have a secret.
pub(super) fn sketched<'a>(
    subject: &'a Subject,
) -> impl Iterator<Item = (&'a CompiledOperation, &'a dyn Linear)> {
    let proved = subject.proved.iter().copied().filter(|compiled| compiled.in_transcript());
    proved.filter_map(|compiled| Some((compiled, compiled.operation.linear()?)))
}

/// Shapes of an operation's vectors and contracted weights.
///
/// # Errors
/// When an attribute is missing.
pub(super) fn shapes(
    subject: &Subject,
    compiled: &CompiledOperation,
    linear: &dyn Linear,
) -> Result<[Vec<usize>; 2], Error> {
    let k = compiled.artefact.header.sketches as usize;
    let spec = compiled.operation.spec();
    if linear.is_channels_first() {
        let kernel = node::kernel(spec)?;
        let channels = spec.input_shapes[0][1];
        let transposed = subject.slide(compiled).transposed().is_some();
        let [outer, inner] = if transposed { [channels, k] } else { [k, channels] };
        return Ok([vec![k, linear.features()], with_kernel(&[outer, inner], &kernel)]);
    }
    let mut weights = without_sample_axis(linear.weights())?.dims().to_vec();
    if let Some(last) = weights.last_mut() {
        *last = k;
    }
    Ok([vec![linear.features(), k], weights])
}

/// `key.onnx`: standard normal numbers `nomopoly.random/<operation>` `[features, k]` to the key's
/// tensors. It holds the weights of the sketched operations, and no secret.
///
/// # Errors
/// When a weight cannot be read from its device.
pub(super) fn export(subject: &Subject, interface: &Interface) -> Result<pb::ModelProto, Error> {
    let mut graph = subject.builder();
    for (compiled, linear) in sketched(subject) {
        contraction(subject, &mut graph, compiled, linear)?;
    }
    subject.give_identity(&mut graph, KEY_IDENTITY);
    Ok(subject.finish("key", interface, false, graph))
}

fn contraction(
    subject: &Subject,
    graph: &mut GraphBuilder,
    compiled: &CompiledOperation,
    linear: &dyn Linear,
) -> Result<(), Error> {
    let operation = &compiled.operation;
    let (name, k) = (operation.output(), compiled.artefact.header.sketches as usize);
    let features = linear.features();
    let [vectors_shape, weights_shape] = shapes(subject, compiled, linear)?;
    let random = graph.input(&random_name(name), &[features, k]);
    let wide = |shape: &[usize]| -> Vec<i64> { shape.iter().map(|&d| d as i64).collect() };
    let (vectors, weights) = if linear.is_channels_first() {
        let groups = node::int(operation.spec(), "group")? as usize;
        let outs = features / groups;
        let columns = linear.weights().elem_count() / features;
        let perm = |perm: &[i64]| vec![builder::ints_attribute("perm", perm)];
        let vectors = graph.op_with("Transpose", &[&random], perm(&[1, 0]));
        // Each group's channels contract to k kernels over that group's inputs.
        let by_group = graph.reshape(&random, &wide(&[groups, outs, k]));
        let by_group = graph.op_with("Transpose", &[&by_group], perm(&[0, 2, 1]));
        let transposed = subject.slide(compiled).transposed().is_some();
        let kernels = if transposed { turned(linear.weights())? } else { linear.weights().clone() };
        let taps = kernels.dim(kernels.rank() - 1)?;
        let weights = graph.tensor_as("weights", &kernels, &[groups, outs, columns])?;
        let weights = graph.op("MatMul", &[&by_group, &weights]);
        let weights = if transposed {
            let apart = graph.reshape(&weights, &wide(&[groups, k, columns / taps, taps]));
            graph.op_with("Transpose", &[&apart], perm(&[0, 2, 1, 3]))
        } else {
            graph.op_with("Transpose", &[&weights], perm(&[1, 0, 2]))
        };
        (vectors, graph.reshape(&weights, &wide(&weights_shape)))
    } else {
        let weights = graph.tensor("weights", &without_sample_axis(linear.weights())?)?;
        (graph.op("Identity", &[&random]), graph.op("MatMul", &[&weights, &random]))
    };
    graph.output(&vectors, &vectors_name(name), &vectors_shape);
    graph.output(&weights, &weights_name(name), &weights_shape);
    Ok(())
}
