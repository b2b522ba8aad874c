//! The same graph with other weights: what a dishonest host might run, for audits and tests.

use std::sync::Arc;

use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

use super::graph::Graph;
use super::model::Model;
use crate::Result;

impl Graph {
    /// A graph of the same form whose f32 initialisers and constants `alter` may change in place: it
    /// is given each one's name, shape and values in row-major order.
    ///
    /// # Errors
    /// When the altered model is none that can run, for example because a weight became NaN.
    pub fn with_altered_weights(
        &self,
        mut alter: impl FnMut(&str, &[usize], &mut [f32]),
    ) -> Result<Self> {
        let mut proto: pb::ModelProto = self.model().proto().clone();
        if let Some(graph) = &mut proto.graph {
            for tensor in &mut graph.initializer {
                let name = tensor.name.clone();
                alter_tensor(&name, tensor, &mut alter);
            }
            for node in graph.node.iter_mut().filter(|node| node.op_type == "Constant") {
                let value = node.attribute.iter_mut().find(|attribute| attribute.name == "value");
                let tensor = value.and_then(|attribute| attribute.t.as_mut());
                if let (Some(name), Some(tensor)) = (node.output.first(), tensor) {
                    alter_tensor(name, tensor, &mut alter);
                }
            }
        }
        let altered = Model::from_bytes(self.model().name(), &proto.encode_to_vec())?;
        let shapes = self.inputs().iter().map(|info| (info.name.clone(), info.shape.clone()));
        Self::bind(Arc::new(altered), &shapes.collect())
    }
}

fn alter_tensor(
    name: &str,
    tensor: &mut pb::TensorProto,
    alter: &mut impl FnMut(&str, &[usize], &mut [f32]),
) {
    if tensor.data_type != DataType::Float as i32 {
        return;
    }
    let shape: Vec<usize> = tensor.dims.iter().map(|&dim| dim.max(0) as usize).collect();
    // A checked model holds its floats in one of two fields.
    let mut values: Vec<f32> = if tensor.raw_data.is_empty() {
        std::mem::take(&mut tensor.float_data)
    } else {
        let words = tensor.raw_data.chunks_exact(4);
        words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    alter(name, &shape, &mut values);
    tensor.raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
}

/// Symmetric rounding to 255 levels up to the largest magnitude: int8 weights, one scale for the
/// tensor.
pub fn round_to_int8(values: &mut [f32]) {
    let step = values.iter().fold(0f32, |largest, value| largest.max(value.abs())) / 127.;
    if step > 0. {
        values.iter_mut().for_each(|value| *value = (*value / step).round() * step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_models::small_net;

    #[test]
    fn weights_change_and_shapes_stay() {
        let model = Model::from_bytes("m", &small_net().encode_to_vec()).unwrap();
        let graph = Graph::bind(Arc::new(model), &Default::default()).unwrap();
        let mut seen = vec![];
        let altered = graph
            .with_altered_weights(|name, shape, values| {
                assert_eq!(shape.iter().product::<usize>(), values.len());
                seen.push(name.to_owned());
                round_to_int8(values);
            })
            .unwrap();
        assert!(seen.len() > 1);
        assert_eq!(altered.outputs(), graph.outputs());
        assert_ne!(altered.model().digest(), graph.model().digest());
        assert!(graph.with_altered_weights(|_, _, values| values[0] = f32::NAN).is_err());
    }

    #[test]
    fn weights_that_are_constant_nodes_change_too() {
        let mut proto = small_net();
        let graph = proto.graph.as_mut().unwrap();
        let weights = graph.initializer.remove(0);
        let (name, value) = (
            weights.name.clone(),
            pb::AttributeProto {
                name: "value".into(),
                r#type: pb::attribute_proto::AttributeType::Tensor as i32,
                t: Some(weights),
                ..Default::default()
            },
        );
        let constant = crate::onnx::builder::node("Constant", &[], &[&name], vec![value]);
        graph.node.insert(0, constant);
        let model = Model::from_bytes("m", &proto.encode_to_vec()).unwrap();
        let graph = Graph::bind(Arc::new(model), &Default::default()).unwrap();
        let mut seen = vec![];
        let altered = graph
            .with_altered_weights(|other, _, values| {
                if other == name {
                    seen.push(values.len());
                    values[0] += 1.;
                }
            })
            .unwrap();
        assert_eq!(seen.len(), 1);
        assert_ne!(altered.model().digest(), graph.model().digest());
    }
}
