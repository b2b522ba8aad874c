//! Gemm: alpha A' B' + beta C. <https://onnx.ai/onnx/operators/onnx__Gemm.html>
//!
//! Opset 7 and later; C is optional since opset 11.

use std::collections::BTreeMap;

use nomopoly_manifest::Attribute;

use super::Body;
use super::linear::Matrix;
use super::node::{NodeView, Parsed, Refusal};

pub(super) fn parse(node: &NodeView) -> Result<Parsed, Refusal> {
    let b = node.weights(1, "the right operand")?;
    let c = node.optional_weights(2, "the bias")?;
    let (alpha, beta) = (node.float("alpha", 1.), node.float("beta", 1.));
    let (trans_a, trans_b) = (node.int("transA", 0) != 0, node.int("transB", 0) != 0);
    let (a, y) = (node.shape(0), node.output_shape());
    if a.len() != 2 || b.rank() != 2 || y.len() != 2 {
        return Err(Refusal(format!("input {a:?} and weights {:?} do not fit", b.dims())));
    }
    let attributes = BTreeMap::from([
        ("alpha".into(), Attribute::Float(alpha)),
        ("beta".into(), Attribute::Float(beta)),
        ("transA".into(), Attribute::Int(trans_a.into())),
        ("transB".into(), Attribute::Int(trans_b.into())),
    ]);
    let constants = std::iter::once(b.clone()).chain(c.clone()).collect();
    let weights = if trans_b { b.t()?.contiguous()? } else { b };
    // alpha and beta are folded into the constants: one more rounding, well inside the unit.
    let weights = if alpha == 1. { weights } else { (weights * f64::from(alpha))? };
    let (rows, k) = if trans_a { (a[1], a[0]) } else { (a[0], a[1]) };
    let n = weights.dim(1)?;
    if weights.dim(0)? != k || y != [rows, n] {
        return Err(Refusal(format!("input {a:?} and weights {:?} do not fit", weights.dims())));
    }
    let bias = match c {
        Some(c) => {
            // A bias that varies by row keeps its rows; any other is one row.
            let bias_rows = if c.rank() == 2 { c.dim(0)? } else { 1 };
            let c = c.broadcast_as((bias_rows, n))?.contiguous()?;
            if bias_rows != 1 && bias_rows != rows {
                return Err(Refusal(format!("the bias has {bias_rows} rows, not {rows}")));
            }
            Some((c * f64::from(beta))?)
        }
        None => None,
    };
    let matrix = Matrix::new(weights, bias, vec![rows, k], vec![rows, n], vec![rows, n], trans_a)?;
    Ok(Parsed { attributes, varying: vec![0], constants, body: Body::Linear(Box::new(matrix)) })
}
