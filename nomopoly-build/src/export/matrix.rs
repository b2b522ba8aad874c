//! Shapes of a matrix product (Gemm, MatMul) as rows times columns.

use candle_core::Tensor;
use nomopoly_manifest::{OperationKind, OperationSpec};
use nomopoly_runtime::Result;
use nomopoly_runtime::onnx::builder;
use nomopoly_runtime::operations::{Linear, Operation};

use super::graph::{GraphBuilder, Value};
use super::node;

/// y = x W + b over rows, as the runtime sees it: vectors are matrices of one row or column.
pub(super) struct Product<'a> {
    spec: &'a OperationSpec,
    /// The input after `transpose`, `[.., rows, K]`.
    x_shape: Vec<usize>,
    /// `[.., rows, N]`.
    y_shape: Vec<usize>,
    /// `[K, N]`, or `[.., K, N]` where the right operand is batched.
    pub weights: Tensor,
    /// Broadcastable to `[rows, N]`, with Gemm's beta applied.
    pub bias: Option<Tensor>,
    transpose: bool,
}

impl<'a> Product<'a> {
    /// # Errors
    /// When tensor arithmetic fails.
    pub fn new(operation: &'a Operation, linear: &dyn Linear) -> Result<Self> {
        let spec = operation.spec();
        let weights = without_sample_axis(linear.weights())?;
        let mut x_shape = spec.input_shapes[0].clone();
        let transpose =
            spec.kind == OperationKind::Gemm && node::int(spec, "transA").is_ok_and(|t| t != 0);
        if transpose {
            x_shape.reverse();
        }
        if x_shape.len() < 2 {
            x_shape.insert(0, 1);
        }
        let bias = match (spec.kind, operation.constants().get(1)) {
            (OperationKind::Gemm, Some(c)) => Some((c * node::float(spec, "beta")?)?),
            (_, bias) => bias.cloned(),
        };
        // Broadcasting, from the right: each is 1 or they are equal.
        let mut y_shape = x_shape.clone();
        while y_shape.len() < weights.rank() {
            y_shape.insert(0, 1);
        }
        let batch = y_shape.len() - 2;
        let skipped = y_shape.len() - weights.rank();
        for (y, &w) in y_shape[skipped..batch].iter_mut().zip(weights.dims()) {
            *y = w.max(*y);
        }
        y_shape[batch + 1] = linear.features();
        Ok(Self { spec, x_shape, y_shape, weights, bias, transpose })
    }

    /// Axes of the output as rows.
    pub fn rank(&self) -> usize {
        self.y_shape.len()
    }

    /// The input as `[.., rows, K]`.
    pub fn rows_of_x(&self, graph: &mut GraphBuilder, x: &Value) -> Value {
        if self.transpose {
            return graph.op_with(
                "Transpose",
                &[x],
                vec![builder::ints_attribute("perm", &[1, 0])],
            );
        }
        reshape(graph, x, &self.spec.input_shapes[0], &self.x_shape)
    }

    /// The output as `[.., rows, N]`.
    pub fn rows_of_y(&self, graph: &mut GraphBuilder, y: &Value) -> Value {
        reshape(graph, y, &self.spec.output_shape, &self.y_shape)
    }

    /// `[.., rows, N]` as the operation's output.
    pub fn finish(&self, graph: &mut GraphBuilder, y: &Value) -> Value {
        reshape(graph, y, &self.y_shape, &self.spec.output_shape)
    }

    /// Repeats `[.., rows, N]` over the batches of the right operand.
    pub fn spread(&self, graph: &mut GraphBuilder, y: &Value) -> Value {
        if self.weights.rank() == 2 {
            return y.clone();
        }
        let shape: Vec<i64> = self.y_shape.iter().map(|&d| d as i64).collect();
        let shape = graph.ints(&shape);
        graph.op("Expand", &[y, &shape])
    }
}

/// Batched right operands have a leading dimension of 1 in the runtime, over which samples
/// broadcast; a file holds one sample.
pub(super) fn without_sample_axis(weights: &Tensor) -> Result<Tensor> {
    Ok(if weights.rank() > 2 { weights.squeeze(0)? } else { weights.clone() })
}

/// Between a tensor and the same with an axis of 1 at its end: whatever its other extents are.
fn reshape(graph: &mut GraphBuilder, value: &Value, from: &[usize], to: &[usize]) -> Value {
    if from == to {
        return value.clone();
    }
    // 0 stands for the extent that is there.
    let target = if to.split_last() == Some((&1, from)) {
        [vec![0; from.len()], vec![1]].concat()
    } else if from.split_last() == Some((&1, to)) {
        vec![0; to.len()]
    } else {
        to.iter().map(|&d| d as i64).collect()
    };
    graph.reshape(value, &target)
}
