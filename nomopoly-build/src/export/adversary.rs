//! `adversary.onnx`: x to a fake output and a fake proof, [`Adversary`] in ONNX.

use candle_core::Tensor;
use nomopoly_runtime::operations::{Linear, Operation};
use nomopoly_runtime::{CompiledOperation, Result};

use super::generator::Size;
use super::graph::{GraphBuilder, Value};
use super::matrix::Product;
use super::node::Slide;
use super::sketch::with_kernel;
use super::{generator, inputs, node};
use crate::training::adversary::{Adversary, Fake, RMS_FLOOR};

/// # Errors
/// When the adversary does not fit the operation, or a tensor cannot be read.
pub(super) fn export(compiled: &CompiledOperation, adversary: &Adversary) -> Result<Vec<u8>> {
    let (operation, generator) = (compiled.operation.as_ref(), &compiled.artefact.generator);
    let spec = operation.spec();
    let mut graph = GraphBuilder::default();
    let x = inputs(&mut graph, spec);
    let y = match (&adversary.fake, operation.linear()) {
        (Fake::LowRank { down, up }, Some(linear)) if linear.is_channels_first() => {
            convolution(&mut graph, operation, down, up, &x[0])?
        }
        (Fake::LowRank { down, up }, Some(linear)) => {
            product(&mut graph, operation, linear, down, up, &x[0])?
        }
        (Fake::Directed { scale, shift, deviation }, _) => {
            let truth = node::apply(&mut graph, operation, &x)?;
            directed(&mut graph, operation, scale, shift, *deviation, &truth)?
        }
        (Fake::LowRank { .. }, None) => {
            return Err(super::cannot(spec, "its adversary is one of a linear operation".into()));
        }
    };
    let y = graph.output(&y, "y", &spec.output_shape);
    let folded = generator::fold(&mut graph, &[(&generator.fold, y)], Size::Fixed);
    let folded = graph.flat(&folded);
    let weights = graph.tensor("proof_weights", &adversary.proof_weights)?;
    let proof = graph.op("MatMul", &[&folded, &weights]);
    let proof = graph.op("Tanh", &[&proof]);
    graph.output(&proof, "proof", &[1, generator.proof_dim()]);
    Ok(graph.finish("adversary", &compiled.artefact.header, &[]))
}

/// Down to a few channels at every position, then up to all of them.
fn convolution(
    graph: &mut GraphBuilder,
    operation: &Operation,
    down: &Tensor,
    up: &Tensor,
    x: &Value,
) -> Result<Value> {
    let spec = operation.spec();
    let kernel = node::kernel(spec)?;
    let groups = node::int(spec, "group")? as usize;
    let per_group = spec.input_shapes[0][1] / groups;
    let (features, rank) = up.dims2()?;
    let bias = operation.constants().get(1);
    let bias = bias.map(|bias| graph.tensor("bias", bias)).transpose()?;
    if groups > 1 {
        // Every group would need its own way down; the weights of a grouped convolution are
        // small anyway.
        let shape = with_kernel(&[features, per_group], &kernel);
        let weights = graph.tensor_as("low_rank", &up.matmul(down)?, &shape)?;
        let parts: Vec<&Value> = [x, &weights].into_iter().chain(&bias).collect();
        return Ok(Slide::of(spec).conv(graph, &parts, groups));
    }
    let down = graph.tensor_as("down", down, &with_kernel(&[rank, per_group], &kernel))?;
    let ones = vec![1; kernel.len()];
    let up = graph.tensor_as("up", up, &with_kernel(&[features, rank], &ones))?;
    let inner = Slide::of(spec).conv(graph, &[x, &down], 1);
    let parts: Vec<&Value> = [&inner, &up].into_iter().chain(&bias).collect();
    Ok(graph.op("Conv", &parts))
}

fn product(
    graph: &mut GraphBuilder,
    operation: &Operation,
    linear: &dyn Linear,
    down: &Tensor,
    up: &Tensor,
    x: &Value,
) -> Result<Value> {
    let product = Product::new(operation, linear)?;
    let rows = product.rows_of_x(graph, x);
    let down = graph.tensor("down", down)?;
    let up = graph.tensor("up", up)?;
    let inner = graph.op("MatMul", &[&rows, &down]);
    let mut y = graph.op("MatMul", &[&inner, &up]);
    if let Some(bias) = &product.bias {
        let bias = graph.tensor("bias", bias)?;
        y = graph.op("Add", &[&y, &bias]);
    }
    let y = product.spread(graph, &y);
    Ok(product.finish(graph, &y))
}

/// `y + deviation rms(y) u / rms(u)` with `u = tanh(scale y / rms(y) + shift)`.
fn directed(
    graph: &mut GraphBuilder,
    operation: &Operation,
    scale: &Tensor,
    shift: &Tensor,
    deviation: f64,
    truth: &Value,
) -> Result<Value> {
    let directions = scale.elem_count();
    let y = graph.reshape(truth, &[-1, directions as i64]);
    let rms = root_mean_square(graph, &y);
    let scale = graph.tensor_as("scale", scale, &[1, directions])?;
    let shift = graph.tensor_as("shift", shift, &[1, directions])?;
    let u = graph.op("Div", &[&y, &rms]);
    let u = graph.op("Mul", &[&u, &scale]);
    let u = graph.op("Add", &[&u, &shift]);
    let u = graph.op("Tanh", &[&u]);
    let u_rms = root_mean_square(graph, &u);
    let step = graph.affine(&rms, deviation, 0.);
    let delta = graph.op("Div", &[&u, &u_rms]);
    let delta = graph.op("Mul", &[&delta, &step]);
    let fake = graph.op("Add", &[&y, &delta]);
    let shape: Vec<i64> = operation.spec().output_shape.iter().map(|&d| d as i64).collect();
    Ok(graph.reshape(&fake, &shape))
}

/// √(mean(v²) + RMS_FLOOR), `[1, 1]`, by way of a power that cannot overflow or vanish: the
/// largest of |v| and √RMS_FLOOR is divided out first.
fn root_mean_square(graph: &mut GraphBuilder, value: &Value) -> Value {
    let magnitudes = graph.op("Abs", &[value]);
    let largest = graph.reduce_all("ReduceMax", &magnitudes);
    let floor = graph.scalar(RMS_FLOOR.sqrt());
    let scale = graph.op("Max", &[&largest, &floor]);
    let scaled = graph.op("Div", &[value, &scale]);
    let squares = graph.square(&scaled);
    let mean = graph.reduce_all("ReduceMean", &squares);
    let floor = graph.op("Div", &[&floor, &scale]);
    let floor = graph.square(&floor);
    let mean = graph.op("Add", &[&mean, &floor]);
    let root = graph.op("Sqrt", &[&mean]);
    graph.op("Mul", &[&root, &scale])
}
