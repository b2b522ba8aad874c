//! The same graph with other weights: what a dishonest host might run, for audits and tests.

use std::sync::Arc;

use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

use super::graph::Graph;
use super::model::Model;
use crate::Result;

impl Graph {
    /// A graph of the same form whose f32 initialisers `alter` may change in place: it is given
    /// each one's name, shape and values in row-major order.
    ///
    /// # Errors
    /// When the altered model is none that can run, for example because a weight became NaN.
    pub fn with_altered_weights(
        &self,
        mut alter: impl FnMut(&str, &[usize], &mut [f32]),
    ) -> Result<Self> {
        let mut proto: pb::ModelProto = self.model().proto().clone();
        for tensor in proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            if tensor.data_type != DataType::Float as i32 {
                continue;
            }
            let shape: Vec<usize> = tensor.dims.iter().map(|&dim| dim.max(0) as usize).collect();
            // A checked model holds its floats in one of two fields.
            let mut values: Vec<f32> = if tensor.raw_data.is_empty() {
                std::mem::take(&mut tensor.float_data)
            } else {
                let words = tensor.raw_data.chunks_exact(4);
                words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            };
            alter(&tensor.name, &shape, &mut values);
            tensor.raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        }
        let altered = Model::from_bytes(self.model().name(), &proto.encode_to_vec())?;
        let shapes = self.inputs().iter().map(|info| (info.name.clone(), info.shape.clone()));
        Self::bind(Arc::new(altered), &shapes.collect())
    }
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
}
