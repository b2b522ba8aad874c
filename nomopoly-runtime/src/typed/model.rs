//! The trait that the attribute `#[nomopoly::model]` implements.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;

use super::ledger::Ledger;
use super::operation::OperationIndex;
use crate::bundle::Bundle;
use crate::device::DeviceChoice;
use crate::model::CompiledModel;
use crate::onnx::{Digest, Model as OnnxModel};
use crate::report::CheckedBy;
use crate::tensor::NamedTensor;
use crate::{Error, Result};

/// A model that was compiled at build time. Implemented by `#[nomopoly::model("model.onnx")]`.
pub trait Model: Sized + Send + Sync + 'static {
    /// One named, typed field per input of the model.
    type Input: Tensors;
    /// One named, typed field per output of the model.
    type Output: Tensors;

    /// File name of the model.
    const NAME: &'static str;
    /// BLAKE3 of the model file and of its external tensors.
    const DIGEST: Digest;
    /// Every node of the model in its order, with what its proof is worth.
    const OPERATIONS: &'static [Guarantee];
    /// Where tensors are computed.
    const DEVICE: DeviceChoice;
    /// Where the model and its compiled operations are.
    const SOURCE: Source;
    /// What an audit measured, attack by attack. `None` when the model was never audited: then the
    /// figures of its compilation in [`Model::OPERATIONS`] are all that is known.
    const LEDGER: Option<&'static Ledger> = None;

    /// Loads the model and its compiled operations, for computing on `device`.
    ///
    /// # Errors
    /// [`Error::ModelChanged`] when the file is not the one that was compiled;
    /// [`Error::NotBuilt`] in a build that only made the types (`NOMOPOLY_MODE=stub`).
    fn load(device: &Device) -> Result<Arc<CompiledModel>> {
        let model = match Self::SOURCE {
            Source::Embedded { model, external, .. } => {
                OnnxModel::from_parts(Self::NAME, model, external)
            }
            Source::File { path, .. } => OnnxModel::load(path),
            Source::Unavailable { reason } => Err(Error::NotBuilt { model: Self::NAME, reason }),
        };
        Self::join(model?, device)
    }

    /// As [`Model::load`], with the model file at another path than at build time.
    ///
    /// # Errors
    /// As [`Model::load`].
    fn load_file(path: &Path, device: &Device) -> Result<Arc<CompiledModel>> {
        Self::join(OnnxModel::load(path)?, device)
    }

    /// The guarantee of one operation, by the name of its output or by its position.
    ///
    /// # Errors
    /// [`Error::UnknownOperation`] lists the names there are.
    fn guarantee<'a>(operation: impl Into<OperationIndex<'a>>) -> Result<&'static Guarantee> {
        let index = operation.into();
        let names = || Self::OPERATIONS.iter().map(|guarantee| guarantee.operation);
        let position = index.position(Self::NAME, names)?;
        Ok(&Self::OPERATIONS[position])
    }

    /// The model with its compiled operations, if it is the one that the types were made from.
    #[doc(hidden)]
    fn join(model: OnnxModel, device: &Device) -> Result<Arc<CompiledModel>> {
        let bundle = match Self::SOURCE {
            Source::Embedded { bundle, .. } | Source::File { bundle, .. } => bundle,
            Source::Unavailable { reason } => {
                return Err(Error::NotBuilt { model: Self::NAME, reason });
            }
        };
        let model = Bundle::from_bytes(bundle)?.load(model, device)?;
        Self::check(&model)?;
        Ok(Arc::new(model))
    }

    /// Whether the loaded model is the one that the types were made from.
    #[doc(hidden)]
    fn check(model: &CompiledModel) -> Result<()> {
        let graph = model.graph();
        let got = graph.model().digest();
        let stale = |got: String, expected: String| {
            Err(Error::ModelChanged { model: Self::NAME.to_owned(), got, expected })
        };
        if got != Self::DIGEST {
            return stale(got.to_string(), Self::DIGEST.to_string());
        }
        for (infos, fields) in
            [(graph.inputs(), Self::Input::FIELDS), (graph.outputs(), Self::Output::FIELDS)]
        {
            let named = infos.iter().map(|info| info.name.as_str());
            if !named.eq(fields.iter().copied()) {
                let names: Vec<&str> = infos.iter().map(|info| info.name.as_str()).collect();
                return stale(format!("{names:?}"), format!("{fields:?}"));
            }
        }
        let entries = model
            .operations()
            .iter()
            .map(|compiled| (compiled.operation.output(), compiled.artefact.header.entry.as_str()));
        let stated = Self::OPERATIONS.iter().filter_map(|g| Some((g.operation, g.entry?)));
        if !entries.clone().eq(stated.clone()) {
            let list = |pairs: Vec<(&str, &str)>| format!("{pairs:?}");
            return stale(list(entries.collect()), list(stated.collect()));
        }
        Ok(())
    }
}

/// Where the parts of a model are.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// In the program.
    Embedded {
        model: &'static [u8],
        /// Files with the model's external tensors, by location.
        external: &'static [(&'static str, &'static [u8])],
        bundle: &'static [u8],
    },
    /// The compiled operations are in the program, the model is a file.
    File { path: &'static str, bundle: &'static [u8] },
    /// Only the types exist.
    Unavailable { reason: &'static str },
}

/// What the proof of one node of a model is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guarantee {
    /// Name of the node's output.
    pub operation: &'static str,
    /// ONNX `op_type`.
    pub kind: &'static str,
    /// How a whole-model check treats it.
    pub checked_by: CheckedBy,
    /// Dimensions of the node's output, outermost first.
    pub output_shape: &'static [usize],
    /// Length of the vector that a proof holds for this node; 0 where it holds none, because the
    /// verifier recomputes the node.
    pub proof_dim: usize,
    /// Whether a proof reveals the node's output.
    pub revealed: bool,
    /// Registry entry of the node's artefact.
    pub entry: Option<&'static str>,
    /// Number of secret vectors; 0 where no sketch is taken.
    pub sketches: u32,
    /// `-log2` of the probability that a deviation of the compile option `min_deviation` passes,
    /// for the worst held-out input. `None` where the bound is not probabilistic (replay) or
    /// nothing is certified.
    pub certified_bits: Option<f64>,
    /// Smallest relative deviation that is rejected with probability 1 - 2^-`soundness_bits`.
    pub certified_deviation: Option<f64>,
    /// Honest runs rejected (FRR).
    pub completeness_error: Option<Measured>,
    /// Wrong outputs accepted (FAR).
    pub soundness_error: Option<Measured>,
}

/// An error rate that was measured on inputs that training never saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Wrong judgements.
    pub errors: u64,
    /// Of so many.
    pub samples: u64,
    /// Exact one-sided 95 % upper bound (Clopper-Pearson).
    pub upper_95: f64,
}

/// The inputs or outputs of a model as a struct.
pub trait Tensors: Sized + Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// ONNX names of the fields, in the model's order.
    const FIELDS: &'static [&'static str];
    /// Whether each field's first dimension counts samples.
    const BATCHED: &'static [bool];

    /// The fields as untyped tensors, in the model's order.
    fn to_named(&self) -> Vec<NamedTensor>;

    /// The struct from untyped tensors, checked.
    ///
    /// # Errors
    /// [`Error::MissingInput`], [`Error::Shape`], [`Error::DType`] name the tensor.
    fn from_named(tensors: NamedTensors) -> Result<Self>;

    /// One struct per sample, where the first dimension of every field counts samples.
    ///
    /// # Errors
    /// [`Error::Shape`] when fields have different numbers of samples.
    fn samples(&self) -> Result<Vec<Self>> {
        let named = self.to_named();
        // A typed tensor with a batch has a first dimension.
        let count = |tensor: &NamedTensor| tensor.shape.first().copied().unwrap_or(1);
        let batched = || named.iter().zip(Self::BATCHED).filter(|(_, batched)| **batched);
        let samples = batched().next().map_or(1, |(tensor, _)| count(tensor));
        if let Some((odd, _)) = batched().find(|(tensor, _)| count(tensor) != samples) {
            let mut expected = odd.shape.clone();
            if let Some(first) = expected.first_mut() {
                *first = samples;
            }
            let (tensor, got) = (odd.name.clone(), odd.shape.clone());
            return Err(Error::Shape { tensor, got, expected });
        }
        (0..samples)
            .map(|sample| {
                let part = |(tensor, batched): (&NamedTensor, &bool)| {
                    if *batched { tensor.sample(sample) } else { Some(tensor.clone()) }
                };
                let parts = named.iter().zip(Self::BATCHED).map(part);
                let parts: Option<Vec<NamedTensor>> = parts.collect();
                // Every batched tensor has this many samples.
                Self::from_named(NamedTensors(parts.unwrap_or_default()))
            })
            .collect()
    }
}

/// Untyped tensors that are taken out one by one.
#[derive(Debug, Clone)]
pub struct NamedTensors(pub(crate) Vec<NamedTensor>);

impl NamedTensors {
    /// Takes the tensor of this name.
    ///
    /// # Errors
    /// [`Error::MissingInput`] when there is none.
    pub fn take(&mut self, name: &str) -> Result<NamedTensor> {
        match self.0.iter().position(|tensor| tensor.name == name) {
            Some(position) => Ok(self.0.swap_remove(position)),
            None => Err(Error::MissingInput { input: name.to_owned() }),
        }
    }
}
