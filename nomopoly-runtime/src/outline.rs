//! What of a model its proofs are read by: names, shapes and kinds, no weights.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tract_onnx::prelude::DatumType;

use crate::onnx::{Digest, Graph, TensorInfo};
use crate::operations::Operation;
use crate::proof::Proof;
use crate::tensor::{NamedTensor, dtype_by_name, typed_dtype};
use crate::{Error, Result};

/// The outside of a compiled model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// File name of the model.
    pub name: String,
    pub digest: Digest,
    #[serde(with = "tensor_infos")]
    pub inputs: Vec<TensorInfo>,
    #[serde(with = "tensor_infos")]
    pub outputs: Vec<TensorInfo>,
    /// Every node that computes something, in the model's order.
    pub nodes: Vec<OutlineNode>,
    /// Name and shape of the f32 tensors that a proof reveals, in the model's order.
    pub transcript: Vec<(String, Vec<usize>)>,
}

/// One node of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlineNode {
    /// Names of its outputs; the first is the node's id.
    pub outputs: Vec<String>,
    /// ONNX `op_type`; `MatMul` for one with its bias, whose output is the Add's.
    pub kind: String,
}

impl Outline {
    pub(crate) fn new(graph: &Graph, transcript: Vec<(String, Vec<usize>)>) -> Self {
        let nodes = graph.nodes().iter().filter(|node| {
            node.op_type != "Constant" && Operation::absorbed_by(graph, node).is_none()
        });
        let nodes = nodes.map(|node| OutlineNode {
            outputs: node.output.iter().filter(|name| !name.is_empty()).cloned().collect(),
            kind: Operation::kind_of(graph, node).to_owned(),
        });
        Self {
            name: graph.model().name().to_owned(),
            digest: graph.model().digest(),
            inputs: graph.inputs().to_vec(),
            outputs: graph.outputs().to_vec(),
            nodes: nodes.filter(|node| !node.outputs.is_empty()).collect(),
            transcript,
        }
    }

    /// Checks that a proof says it is of this model.
    ///
    /// # Errors
    /// [`Error::OtherModel`].
    pub(crate) fn of_this_model(&self, proof: &Proof) -> Result<()> {
        if proof.model == self.digest {
            return Ok(());
        }
        Err(Error::OtherModel { got: proof.model.to_string(), expected: self.digest.to_string() })
    }

    /// Whether inputs in the model's order have the shapes that the model was compiled at.
    pub(crate) fn has_shapes_of(&self, ordered: &[&NamedTensor]) -> bool {
        self.inputs.iter().zip(ordered).all(|(info, input)| info.shape == input.shape)
    }

    /// The given inputs in the model's order, and of the shapes it was compiled at.
    ///
    /// # Errors
    /// As [`Outline::order_inputs`], and [`Error::Shape`].
    pub(crate) fn inputs_as_compiled<'a>(
        &self,
        inputs: &'a [NamedTensor],
    ) -> Result<Vec<&'a NamedTensor>> {
        let ordered = self.order_inputs(inputs)?;
        for (info, input) in self.inputs.iter().zip(&ordered) {
            input.check(info.dtype, &info.shape)?;
        }
        Ok(ordered)
    }

    /// The given inputs in the model's order, checked but for what shapes the model takes.
    ///
    /// # Errors
    /// Unknown, missing or repeated names, wrong element types, values that are not finite or not as
    /// many as the shape says.
    pub(crate) fn order_inputs<'a>(
        &self,
        inputs: &'a [NamedTensor],
    ) -> Result<Vec<&'a NamedTensor>> {
        for (index, input) in inputs.iter().enumerate() {
            let known = self.inputs.iter().any(|info| info.name == input.name);
            let repeated = inputs[..index].iter().any(|other| other.name == input.name);
            if !known || repeated {
                return Err(Error::UnknownInput {
                    model: self.name.clone(),
                    got: input.name.clone(),
                    expected: self.inputs.iter().map(|info| info.name.clone()).collect(),
                });
            }
        }
        self.inputs
            .iter()
            .map(|info| {
                let input = inputs
                    .iter()
                    .find(|input| input.name == info.name)
                    .ok_or_else(|| Error::MissingInput { input: info.name.clone() })?;
                input.check(info.dtype, &input.shape)?;
                Ok(input)
            })
            .collect()
    }
}

/// Tensors by name, element type and shape; engines' own types are not for the wire.
mod tensor_infos {
    use super::*;

    pub fn serialize<S: Serializer>(
        infos: &[TensorInfo],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let plain = |info: &TensorInfo| {
            let dtype = typed_dtype(info.dtype).unwrap_or("unsupported");
            (info.name.clone(), dtype.to_owned(), info.shape.clone())
        };
        infos.iter().map(plain).collect::<Vec<(String, String, Vec<usize>)>>().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<TensorInfo>, D::Error> {
        let plain = Vec::<(String, String, Vec<usize>)>::deserialize(deserializer)?;
        let info = |(name, dtype, shape): (String, String, Vec<usize>)| {
            let dtype: Option<DatumType> = dtype_by_name(&dtype);
            let dtype = dtype.ok_or_else(|| de::Error::custom("unknown element type"))?;
            Ok(TensorInfo { name, dtype, shape })
        };
        plain.into_iter().map(info).collect()
    }
}
