//! `artefact.safetensors`: what the runtime needs of a compiled operation beside the model itself.
//! It holds the generator, the head and the certificate, a few kilobytes; the operation's weights
//! stay in the model file, and nothing in it is secret.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use nomopoly_manifest::{
    ARTEFACT_SCHEMA, Architecture, Certificate, Check, CompileOptions, OperationSpec,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::generator::Generator;
use crate::head::Head;
use crate::mlp::Mlp;
use crate::onnx::Digest;
use crate::{Error, Result};

/// Key of the header in the file's metadata.
const METADATA_KEY: &str = "nomopoly";
/// Most bytes of an artefact that are read: the largest baseline perceptron and some room.
pub const MAX_ARTEFACT_BYTES: usize = 256 << 20;

/// The description at the front of an artefact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtefactHeader {
    pub schema: u32,
    /// Registry entry, for messages.
    pub entry: String,
    /// Content id, 64 hexadecimal digits.
    pub id: String,
    pub operation: OperationSpec,
    pub options: CompileOptions,
    pub check: Check,
    /// Number of secret vectors; 0 for replay and for the baseline.
    pub sketches: u32,
    /// Seed of the generator's signs, 64 hexadecimal digits.
    pub generator_seed: String,
    pub certificate: Option<Certificate>,
}

/// The trained network that judges.
#[derive(Debug, Clone)]
pub enum Network {
    Residual(Head),
    Mlp(Mlp),
}

/// A compiled operation.
#[derive(Debug, Clone)]
pub struct Artefact {
    /// The header's content id.
    pub id: Digest,
    pub header: ArtefactHeader,
    pub generator: Generator,
    pub network: Network,
}

impl Artefact {
    /// Serialises the artefact; equal artefacts give equal bytes.
    ///
    /// # Errors
    /// When a tensor cannot be read from its device.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = self.generator.tensors()?;
        tensors.extend(match &self.network {
            Network::Residual(head) => head.tensors()?,
            Network::Mlp(mlp) => mlp.tensors()?,
        });
        let mut data = vec![];
        for (name, tensor) in tensors {
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            data.push((name, tensor.dims().to_vec(), bytes));
        }
        let views = data
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
                Ok((name.as_str(), view.map_err(|error| self.damaged(&error))?))
            })
            .collect::<Result<Vec<_>>>()?;
        let header = serde_json::to_string(&self.header).map_err(|error| self.damaged(&error))?;
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), header)]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> Error {
        Error::Artefact { artefact: self.header.entry.clone(), reason: reason.to_string() }
    }

    /// Reads an artefact. `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Artefact`] for anything that is not a complete artefact of this schema: truncated,
    /// foreign, another schema, weights missing, of wrong shape, not finite, or breaking the
    /// head's monotonicity.
    pub fn from_bytes(name: &str, bytes: &[u8], device: &Device) -> Result<Self> {
        Self::parse(bytes, device)
            .map_err(|reason| Error::Artefact { artefact: name.to_owned(), reason })
    }

    fn parse(bytes: &[u8], device: &Device) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        if bytes.len() > MAX_ARTEFACT_BYTES {
            return Err(format!("{} bytes are more than an artefact has", bytes.len()));
        }
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| text(&e))?;
        let header = metadata
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(METADATA_KEY))
            .ok_or("it has no Nomopoly header")?;
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let Schema { schema } = serde_json::from_str(header).map_err(|e| text(&e))?;
        if schema != ARTEFACT_SCHEMA {
            return Err(format!(
                "it has schema {schema}, this version reads {ARTEFACT_SCHEMA}; compile the model again"
            ));
        }
        let header: ArtefactHeader = serde_json::from_str(header).map_err(|e| text(&e))?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| text(&e))?;
        let get = |name: &str| -> Result<Tensor> {
            let damaged =
                |reason: String| Error::Artefact { artefact: header.entry.clone(), reason };
            let view = file.tensor(name).map_err(|error| damaged(error.to_string()))?;
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!("tensor {name} is not f32")));
            }
            let values: Vec<f32> = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Error::NonFinite { tensor: name.to_owned() });
            }
            Ok(Tensor::from_vec(values, view.shape(), device)?)
        };
        let spec = &header.operation;
        let (x_len, y_len) = checked_lens(spec).ok_or("its shapes overflow")?;
        let id = Digest::from_hex(&header.id)
            .map_err(|_| "its content id is not 64 hexadecimal digits")?;
        let seed = Digest::from_hex(&header.generator_seed)
            .map_err(|_| "its generator seed is not 64 hexadecimal digits")?;
        let generator = Generator::from_weights(
            *seed.as_bytes(),
            &spec.output_shape,
            get("generator.weights_1").map_err(|e| text(&e))?,
            get("generator.bias_1").map_err(|e| text(&e))?,
            get("generator.weights_2").map_err(|e| text(&e))?,
        )
        .map_err(|e| text(&e))?;
        let network = match header.options.architecture {
            Architecture::Residual => {
                Network::Residual(Head::from_tensors(get).map_err(|e| text(&e))?)
            }
            Architecture::Mlp => {
                let inputs = x_len + y_len + generator.proof_dim();
                Network::Mlp(Mlp::from_tensors(inputs, get).map_err(|e| text(&e))?)
            }
        };
        if header.check == Check::Sketch
            && header.options.architecture == Architecture::Residual
            && !(1..=MAX_SKETCHES).contains(&header.sketches)
        {
            return Err(format!("it asks for {} sketches", header.sketches));
        }
        Ok(Self { id, header, generator, network })
    }
}

/// Most secret vectors of one operation.
pub const MAX_SKETCHES: u32 = 128;

/// Elements of all inputs and of the output, unless a product overflows or is unreasonable.
fn checked_lens(spec: &OperationSpec) -> Option<(usize, usize)> {
    let product =
        |shape: &Vec<usize>| shape.iter().try_fold(1usize, |product, &d| product.checked_mul(d));
    let mut inputs = 0usize;
    for shape in &spec.input_shapes {
        inputs = inputs.checked_add(product(shape)?)?;
    }
    let output = product(&spec.output_shape)?;
    (inputs <= u32::MAX as usize && output <= u32::MAX as usize).then_some((inputs, output))
}
