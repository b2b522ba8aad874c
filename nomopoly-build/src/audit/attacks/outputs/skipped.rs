//! The operation is left out: its input is passed on as its output, cut or repeated to fit.

use candle_core::Tensor;
use nomopoly_manifest::{Attacker, Family};

use crate::audit::attacks::Forgery;

pub const ATTACK: Forgery = Forgery {
    name: "skipped",
    family: Family::Outputs,
    attacker: Attacker::Host,
    setting: "the input as output, cut or repeated to fit",
    forge: |scene, _| {
        let Some(input) = scene.inputs.first() else { return Ok(None) };
        let input = input.reshape((scene.len(), ()))?;
        let (have, want) = (input.dim(1)?, scene.truth.elem_count() / scene.len().max(1));
        let indices: Vec<u32> = (0..want).map(|index| (index % have) as u32).collect();
        let indices = Tensor::from_vec(indices, want, input.device())?;
        let output = input.index_select(&indices, 1)?.reshape(scene.truth.shape())?;
        Ok(Some(scene.claim(output)?))
    },
};
