//! The baseline verifier: a plain multilayer perceptron on the concatenated input, output and
//! proof. It is here to be compared with; it certifies nothing.

use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// Widths of the two hidden layers.
pub const MLP_HIDDEN: [usize; 2] = [64, 32];
/// Most elements of input, output and proof together: beyond, the first layer would be larger
/// than many models.
pub const MLP_MOST_INPUTS: usize = 1 << 18;

/// Layers of the perceptron, each `[in, out]` weights and `[1, out]` bias, ReLU between.
#[derive(Debug, Clone)]
pub struct Mlp {
    pub layers: Vec<(Tensor, Tensor)>,
    /// Typical magnitude of the inputs, which are divided by it.
    pub x_scale: f64,
    pub y_scale: f64,
}

impl Mlp {
    /// `[B, ...]` inputs, output and proof to `[B, 1]` logits.
    pub fn logits(&self, inputs: &[Tensor], output: &Tensor, proof: &Tensor) -> Result<Tensor> {
        let batch = output.dim(0)?;
        let mut parts = vec![];
        for input in inputs {
            parts.push((input.reshape((batch, ()))? / self.x_scale)?);
        }
        parts.push((output.reshape((batch, ()))? / self.y_scale)?);
        parts.push(proof.clone());
        let mut z = Tensor::cat(&parts, 1)?;
        for (index, (weights, bias)) in self.layers.iter().enumerate() {
            z = z.matmul(weights)?.broadcast_add(bias)?;
            if index + 1 < self.layers.len() {
                z = z.relu()?;
            }
        }
        Ok(z)
    }

    /// Multiply-accumulates of one judgement.
    pub fn cost(&self) -> u64 {
        self.layers.iter().map(|(weights, _)| weights.elem_count() as u64).sum()
    }

    /// The weights by name, for the artefact.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut out = vec![(
            "mlp.scales".to_owned(),
            Tensor::new(&[self.x_scale as f32, self.y_scale as f32], &Device::Cpu)?,
        )];
        for (index, (weights, bias)) in self.layers.iter().enumerate() {
            out.push((format!("mlp.{index}.weights"), weights.to_device(&Device::Cpu)?));
            out.push((format!("mlp.{index}.bias"), bias.to_device(&Device::Cpu)?));
        }
        Ok(out)
    }

    /// A perceptron from stored weights, for `inputs` concatenated elements.
    ///
    /// # Errors
    /// When the layers do not fit each other.
    pub fn from_tensors(inputs: usize, get: impl Fn(&str) -> Result<Tensor>) -> Result<Self> {
        let scales = get("mlp.scales")?.flatten_all()?.to_vec1::<f32>()?;
        let [x_scale, y_scale] = scales[..] else {
            return Err(Error::Shape {
                tensor: "mlp.scales".into(),
                got: vec![scales.len()],
                expected: vec![2],
            });
        };
        let widths = [inputs, MLP_HIDDEN[0], MLP_HIDDEN[1], 1];
        let mut layers = vec![];
        for index in 0..widths.len() - 1 {
            let expected = [widths[index], widths[index + 1]];
            let name = format!("mlp.{index}.weights");
            let weights = get(&name)?;
            if weights.dims() != expected {
                return Err(Error::Shape {
                    tensor: name,
                    got: weights.dims().to_vec(),
                    expected: expected.to_vec(),
                });
            }
            let bias = get(&format!("mlp.{index}.bias"))?.reshape((1, expected[1]))?;
            layers.push((weights, bias));
        }
        Ok(Self { layers, x_scale: f64::from(x_scale), y_scale: f64::from(y_scale) })
    }
}
