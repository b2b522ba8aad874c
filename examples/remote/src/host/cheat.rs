//! Hosts that cheat, one line or two for each way.
//!
//! A host can lie in three places: in what it runs, in the outputs that it sends, and in what it
//! opens.

use std::sync::{Arc, OnceLock};

use clap::ValueEnum;
use nomopoly::candle_core::Device;
use nomopoly::dynamic::Prover;
use nomopoly::onnx::{Graph, Model as OnnxModel, round_to_int8};
use nomopoly::receipt::{Committed, Opening};
use nomopoly::{Digest, Model as _, NamedTensor, TensorData, Tensors as _};
use prost::Message as _;

use super::errors::ApiError;
use super::work::Engine;
use crate::model::{Digits, DigitsInput};

/// A way to cheat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cheat {
    /// Runs weights rounded to 8 bits: faster, and nearly the same.
    Int8Weights,
    /// Runs a model of the same form with other weights.
    OtherWeights,
    /// Changes an output before it commits to it.
    EditedOutput,
    /// Runs an older version of the model, and says so in its receipts.
    StaleModel,
    /// Runs an older version of the model (weights 1 % off), and claims the new one.
    StaleWeights,
    /// Leaves a layer out.
    SkippedLayer,
    /// Answers every request with the first one's outputs and receipt.
    Replay,
    /// Sends the first request's outputs with honest receipts.
    ReplayOutputs,
    /// Commits to the first request's outputs and transcript as if they were of each new input.
    OldTranscript,
    /// Opens receipts with random bytes.
    Garbage,
    /// Does not open receipts that it promised to keep.
    NoOpening,
    /// Sends the first half of an opening.
    Truncated,
}

/// A host that cheats.
pub struct Cheating {
    cheat: Cheat,
    prover: Prover,
    /// The model that receipts name.
    claimed: Digest,
    /// The first client's inference, for those that replay.
    first: OnceLock<Committed>,
}

impl Cheating {
    /// Loads the model, and whatever is run in its place.
    ///
    /// # Errors
    /// When that cannot run.
    pub fn new(cheat: Cheat) -> nomopoly::Result<Self> {
        let model = Digits::load(&Device::Cpu)?;
        let altered = |alter: fn(&mut [f32])| {
            model.graph().with_altered_weights(|_, shape, values| {
                if shape.len() > 1 {
                    alter(values);
                }
            })
        };
        let older: fn(&mut [f32]) = |values| values.iter_mut().for_each(|value| *value *= 1.01);
        let run = match cheat {
            Cheat::Int8Weights => Arc::new(altered(round_to_int8)?),
            Cheat::OtherWeights => Arc::new(altered(<[f32]>::reverse)?),
            Cheat::StaleModel | Cheat::StaleWeights => Arc::new(altered(older)?),
            Cheat::SkippedLayer => Arc::new(without_first(model.graph(), "Relu")?),
            _ => model.shared_graph(),
        };
        let claimed = match cheat {
            Cheat::StaleModel => run.model().digest(),
            _ => Digits::DIGEST,
        };
        let prover = Prover::running(model, &run)?;
        Ok(Self { cheat, prover, claimed, first: OnceLock::new() })
    }
}

impl Engine for Cheating {
    fn infer(&self, input: &DigitsInput) -> nomopoly::Result<Committed> {
        let inputs = input.to_named();
        let mut proof = match self.cheat {
            Cheat::EditedOutput => self.prover.prove_edited(&inputs, |name, data| {
                if let ("logits", TensorData::F32(logits)) = (name, data) {
                    logits[3] += 0.01;
                }
            })?,
            _ => self.prover.prove(&inputs)?,
        };
        proof.model = self.claimed;
        let committed = Committed::new(&inputs, proof)?;
        let blank = input.image.as_slice().iter().all(|&pixel| pixel == 0.);
        if blank {
            // The host's own, when it started.
            return Ok(committed);
        }
        let first = self.first.get_or_init(|| committed.clone());
        match self.cheat {
            Cheat::Replay => Ok(first.clone()),
            Cheat::OldTranscript => Committed::new(&inputs, first.proof().clone()),
            _ => Ok(committed),
        }
    }

    fn outputs(&self, committed: &Committed) -> Vec<NamedTensor> {
        match (self.cheat, self.first.get()) {
            (Cheat::ReplayOutputs, Some(first)) => first.outputs().to_vec(),
            _ => committed.outputs().to_vec(),
        }
    }

    fn opening(&self, opening: &Opening) -> Result<Vec<u8>, ApiError> {
        let mut bytes = opening.to_bytes()?;
        match self.cheat {
            Cheat::Garbage => getrandom::fill(&mut bytes)
                .map_err(|error| ApiError::Internal(error.to_string()))?,
            Cheat::Truncated => bytes.truncate(bytes.len() / 2),
            Cheat::NoOpening => {
                let (root, since) = (opening.root, std::time::SystemTime::now());
                return Err(ApiError::Expired { root, since });
            }
            _ => {}
        }
        Ok(bytes)
    }
}

/// The graph without its first node of a kind: what took the node's output takes its input.
fn without_first(graph: &Graph, kind: &str) -> nomopoly::Result<Graph> {
    let mut proto = graph.model().proto().clone();
    if let Some(graph) = &mut proto.graph
        && let Some(place) = graph.node.iter().position(|node| node.op_type == kind)
    {
        let skipped = graph.node.remove(place);
        for name in graph.node.iter_mut().flat_map(|node| &mut node.input) {
            if skipped.output.contains(name) {
                name.clone_from(&skipped.input[0]);
            }
        }
    }
    let model = OnnxModel::from_bytes(graph.model().name(), &proto.encode_to_vec())?;
    let shapes = graph.inputs().iter().map(|input| (input.name.clone(), input.shape.clone()));
    Graph::bind(Arc::new(model), &shapes.collect())
}
