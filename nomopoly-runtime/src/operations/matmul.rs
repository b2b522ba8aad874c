//! MatMul with a constant right operand, as numpy.matmul, and the bias behind it.
//! <https://onnx.ai/onnx/operators/onnx__MatMul.html>
//!
//! Opsets 1, 9 and 13 differ in element types only.

use std::collections::BTreeMap;

use super::Body;
use super::linear::Matrix;
use super::node::{NodeView, Parsed, Refusal};

/// `bias` names a constant vector of one value per column that is added to the product.
pub(super) fn parse(node: &NodeView, bias: Option<&str>) -> Result<Parsed, Refusal> {
    let weights = node.weights(1, "the right operand")?;
    let bias = bias.map(|name| node.constant_named(name, "the bias")).transpose()?;
    let constants = std::iter::once(weights.clone()).chain(bias.clone()).collect();
    let a = node.shape(0);
    let refuse = || Refusal(format!("operands {a:?} and {:?} do not fit", weights.dims()));
    if a.is_empty() || weights.rank() == 0 {
        return Err(refuse());
    }
    // numpy's rule for vectors: a vector on the left is one row, on the right one column; the
    // added dimension is dropped again.
    let x_shape = if a.len() == 1 { vec![1, a[0]] } else { a.to_vec() };
    let w = if weights.rank() == 1 { weights.reshape(((), 1))? } else { weights.clone() };
    let (x_rank, w_rank) = (x_shape.len(), w.rank());
    let (rows, k, n) = (x_shape[x_rank - 2], x_shape[x_rank - 1], w.dim(w_rank - 1)?);
    if w.dim(w_rank - 2)? != k {
        return Err(refuse());
    }
    let rank = x_rank.max(w_rank);
    let pad = |dims: &[usize]| {
        let mut out = vec![1; rank - dims.len()];
        out.extend(dims);
        out
    };
    let (x_batch, w_batch) = (pad(&x_shape), pad(w.dims()));
    let mut y_shape = vec![];
    for (&x, &w) in x_batch.iter().zip(&w_batch).take(rank - 2) {
        if x != w && x != 1 && w != 1 {
            return Err(refuse());
        }
        y_shape.push(if x == 1 { w } else { x });
    }
    y_shape.extend([rows, n]);
    let y_len: usize = y_shape.iter().product();
    if node.output_shape().iter().product::<usize>() != y_len {
        return Err(refuse());
    }
    // Batched right operands keep a leading dimension for the samples to broadcast over.
    let (x_shape, w) =
        if w_rank > 2 { (x_batch, w.reshape(w_batch)?.unsqueeze(0)?) } else { (x_shape, w) };
    let bias = bias.map(|bias| bias.reshape((1, ()))).transpose()?;
    let matrix = Matrix::new(w, bias, x_shape, y_shape, node.output_shape().to_vec(), false)?;
    let body = Body::Linear(Box::new(matrix));
    Ok(Parsed { attributes: BTreeMap::new(), varying: vec![0], constants, body })
}
