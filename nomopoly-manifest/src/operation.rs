//! What an operation is: the part of an ONNX node that decides its artefact.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of operation that have an artefact of their own. Every other kind that tract runs
/// takes part in a whole-model proof by replay and needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OperationKind {
    Add,
    AveragePool,
    BatchNormalization,
    Conv,
    Flatten,
    Gemm,
    MatMul,
    MaxPool,
    Relu,
    Reshape,
}

impl OperationKind {
    pub const ALL: [Self; 10] = [
        Self::Add,
        Self::AveragePool,
        Self::BatchNormalization,
        Self::Conv,
        Self::Flatten,
        Self::Gemm,
        Self::MatMul,
        Self::MaxPool,
        Self::Relu,
        Self::Reshape,
    ];

    /// The `op_type` of the ONNX node, in ONNX's spelling.
    pub fn op_type(self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::AveragePool => "AveragePool",
            Self::BatchNormalization => "BatchNormalization",
            Self::Conv => "Conv",
            Self::Flatten => "Flatten",
            Self::Gemm => "Gemm",
            Self::MatMul => "MatMul",
            Self::MaxPool => "MaxPool",
            Self::Relu => "Relu",
            Self::Reshape => "Reshape",
        }
    }

    /// The kind of an ONNX `op_type`, if it has artefacts.
    pub fn from_op_type(op_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.op_type() == op_type)
    }

    /// Whether the output is a linear function of the input (plus a bias), so that a random
    /// contraction of the output can be predicted from the input.
    pub fn is_linear(self) -> bool {
        matches!(self, Self::Conv | Self::Gemm | Self::MatMul)
    }

    /// Lower-case name for files and folders.
    pub fn slug(self) -> String {
        self.op_type().to_ascii_lowercase()
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op_type())
    }
}

/// How a verifier checks an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Secret random contractions of the output, compared with the contracted operation.
    Sketch,
    /// The verifier recomputes the output.
    Replay,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sketch => "sketch",
            Self::Replay => "replay",
        })
    }
}

/// An attribute of an operation in canonical form: defaults filled in, axes non-negative,
/// automatic padding resolved for the operation's shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(#[serde(deserialize_with = "finite")] f32),
    Text(String),
}

/// One operation without its constant inputs: kind, shapes and canonical attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationSpec {
    pub kind: OperationKind,
    /// Element type of inputs and output, `"f32"`.
    pub dtype: String,
    /// Shapes of the inputs that vary from run to run (constant inputs are not listed).
    pub input_shapes: Vec<Vec<usize>>,
    pub output_shape: Vec<usize>,
    /// Canonical attributes by their ONNX names.
    pub attributes: BTreeMap<String, Attribute>,
}

impl OperationSpec {
    /// File stem of the operation's artefacts, for example `conv_1x3x8x8`. Not unique: the
    /// registry appends part of the content hash.
    pub fn stem(&self) -> String {
        let dims = self.input_shapes.first().map_or_else(String::new, |shape| {
            shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
        });
        if dims.is_empty() {
            format!("{}_scalar", self.kind.slug())
        } else {
            format!("{}_{dims}", self.kind.slug())
        }
    }

    /// Number of elements of input `index`.
    pub fn input_len(&self, index: usize) -> usize {
        self.input_shapes[index].iter().product()
    }

    /// Number of elements of all varying inputs together.
    pub fn inputs_len(&self) -> usize {
        self.input_shapes.iter().map(|shape| shape.iter().product::<usize>()).sum()
    }

    /// Number of elements of the output.
    pub fn output_len(&self) -> usize {
        self.output_shape.iter().product()
    }
}

/// JSON has no infinity to write what f32 cannot hold.
fn finite<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    let value = f32::deserialize(deserializer)?;
    let error = || serde::de::Error::custom("a number beyond the range of f32");
    if value.is_finite() { Ok(value) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_op_type() {
        for kind in OperationKind::ALL {
            assert_eq!(OperationKind::from_op_type(kind.op_type()), Some(kind));
        }
        assert_eq!(OperationKind::from_op_type("Softmax"), None);
    }

    #[test]
    fn the_stem_names_kind_and_first_input_shape() {
        let spec = OperationSpec {
            kind: OperationKind::MaxPool,
            dtype: "f32".into(),
            input_shapes: vec![vec![1, 3, 8, 8]],
            output_shape: vec![1, 3, 4, 4],
            attributes: BTreeMap::new(),
        };
        assert_eq!(spec.stem(), "maxpool_1x3x8x8");
        assert_eq!(spec.output_len(), 48);
    }
}
