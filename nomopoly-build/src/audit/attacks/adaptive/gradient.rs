//! What gradient attacks share: the claim that they move, its gradient, and the sphere that they
//! stay on. An attacker wants an error of a given size, so the search is over directions.

use candle_core::{Tensor, Var};
use nomopoly_manifest::Attacker;
use rand_chacha::ChaCha20Rng;

use super::{Arena, Outcome, scaled};
use crate::audit::subject::{Claim, Scene, key};
use crate::audit::tally::Tally;
use crate::audit::verifiers::Round;
use crate::error::Result;
use crate::random as seeded;

/// What is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The negative logit: what decides.
    Logit,
    /// The evidence over all positions: smoother.
    Evidence,
}

/// Losses and gradients `[B]`, `[B, n]` of errors `[B, n]`, the mean over several verifiers.
pub fn gradient(
    scene: &Scene,
    rounds: &[Box<dyn Round>],
    loss: Loss,
    error: &Tensor,
) -> Result<(Vec<f32>, Tensor)> {
    let var = Var::from_tensor(error)?;
    let output = (&scene.truth + var.as_tensor().reshape(scene.truth.shape())?)?;
    // The proof follows the output exactly; no gradient needs to go through it.
    let proof = scene.subject.prove(&scene.folded, &output.detach())?;
    let claim = Claim { output, proof };
    let mut sum: Option<Tensor> = None;
    for round in rounds {
        let loss = match loss {
            Loss::Logit => round.logits(&claim)?.neg()?,
            Loss::Evidence => round.evidence(&claim)?,
        };
        sum = Some(match sum {
            Some(sum) => (sum + loss)?,
            None => loss,
        });
    }
    let zero = || error.zeros_like();
    let Some(losses) = sum else { return Ok((vec![], zero()?)) };
    let gradients = losses.sum_all()?.backward()?;
    let gradient = match gradients.get(&var) {
        Some(gradient) => gradient.clone(),
        None => zero()?,
    };
    Ok((losses.to_vec1::<f32>()?, unit_rows(&gradient)?))
}

/// Rows of length 1; rows that are not finite become zeros.
fn unit_rows(rows: &Tensor) -> Result<Tensor> {
    let most = (rows.abs()?.max_keepdim(1)? + f64::from(f32::MIN_POSITIVE))?;
    let rows = rows.broadcast_div(&most)?;
    let norm = (rows.sqr()?.sum_keepdim(1)?.sqrt()? + 1e-30)?;
    let rows = rows.broadcast_div(&norm)?;
    // Not equal to itself: not a number.
    let finite = rows.eq(&rows)?;
    Ok(finite.where_cond(&rows, &rows.zeros_like()?)?)
}

/// A search: from random errors of the wanted size to better ones of the same size.
pub type Search = fn(&Arena, &Scene, &Keys, Loss, Tensor, &mut ChaCha20Rng) -> Result<Tensor>;

/// The verifiers that a search may look at.
pub enum Keys {
    /// The attacker draws keys of its own and hopes that what they accept the real one accepts:
    /// expectation over transformations (Athalye, Carlini, Wagner, ICML 2018).
    Surrogate,
    /// The real one.
    Known(Box<dyn Round>),
}

/// Runs a search with both losses, without the key and with it.
pub fn run(
    arena: &Arena,
    random: &mut ChaCha20Rng,
    name: &str,
    search: Search,
) -> Result<Vec<Outcome>> {
    let effort = arena.effort;
    let mut outcomes = vec![];
    for loss in [Loss::Logit, Loss::Evidence] {
        let what = match loss {
            Loss::Logit => "logit",
            Loss::Evidence => "mean square",
        };
        let setting = |keys: String| {
            format!(
                "{name} on the {what}, {} restarts, {} steps{keys}, deviation {:.0e}",
                effort.restarts, effort.steps, arena.deviation
            )
        };
        let scene = starts(arena, 0)?;
        let error =
            search(arena, &scene, &Keys::Surrogate, loss, start(&scene, arena, random)?, random)?;
        let output = (&scene.truth + error.reshape(scene.truth.shape())?)?;
        let mut tally = arena.try_out(&scene, &output, random)?;
        tally.only_related(arena.defence);
        let keys = ", surrogate keys".to_owned();
        outcomes.push(Outcome { attacker: Attacker::Host, setting: setting(keys), tally });

        let mut tally = Tally::default();
        for turn in 0..effort.keys {
            let scene = starts(arena, turn * effort.inputs)?;
            let secret = key(random);
            let known = Keys::Known(arena.round(&secret, &scene)?);
            let error = search(arena, &scene, &known, loss, start(&scene, arena, random)?, random)?;
            let output = (&scene.truth + error.reshape(scene.truth.shape())?)?;
            let claim = scene.claim(output)?;
            let accepted = arena.round(&secret, &scene)?.accepts(&claim)?;
            arena.count_best(&mut tally, &scene, &claim, &accepted, effort.restarts)?;
        }
        let keys = format!(", {} keys known", effort.keys);
        outcomes.push(Outcome { attacker: Attacker::WhiteBox, setting: setting(keys), tally });
    }
    Ok(outcomes)
}

/// Every input as often as there are restarts.
fn starts<'a>(arena: &Arena<'a>, first: usize) -> Result<Scene<'a>> {
    let Arena { subject, effort, .. } = arena;
    let indices = (0..effort.inputs).flat_map(|i| vec![first + i; effort.restarts]);
    subject.scene_of(indices.collect())
}

/// Random errors of the wanted size.
fn start(scene: &Scene, arena: &Arena, random: &mut ChaCha20Rng) -> Result<Tensor> {
    let noise = seeded::normal(random, scene.truth.dims(), scene.truth.device())?;
    scaled(&noise, &scene.truth, arena.target())
}
