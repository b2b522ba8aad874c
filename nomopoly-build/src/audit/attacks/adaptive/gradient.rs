//! What gradient attacks share: the claim that they move, its gradient, and the sphere that they
//! stay on. An attacker wants an error of a given size, so the search is over directions.

use candle_core::{Tensor, Var};
use nomopoly_manifest::Attacker;
use rand_chacha::ChaCha20Rng;

use super::{Arena, Outcome, scaled};
use crate::audit::subject::{Claim, Scene, key, select};
use crate::audit::tally::Tally;
use crate::audit::verifiers::Round;
use crate::error::Result;
use crate::random as seeded;

/// Fresh surrogate keys by which a host chooses among its starts.
const REFEREES: usize = 8;

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
    // The proof follows the output, in the gradient too.
    let proof = scene.subject.prove(&output)?;
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
    let mut outcomes = vec![];
    for loss in [Loss::Logit, Loss::Evidence] {
        let attack = Attack { arena, name, search, loss };
        if arena.verifier.is_keyed() {
            outcomes.push(attack.without_key(random)?);
            outcomes.push(attack.with_key(random)?);
        } else {
            // Everyone knows all there is to know.
            outcomes.push(attack.in_the_open(random)?);
        }
    }
    Ok(outcomes)
}

struct Attack<'a, 'b> {
    arena: &'a Arena<'b>,
    name: &'a str,
    search: Search,
    loss: Loss,
}

impl Attack<'_, '_> {
    fn without_key(&self, random: &mut ChaCha20Rng) -> Result<Outcome> {
        let arena = self.arena;
        let all = starts(arena, 0)?;
        let claim = self.search(&all, &Keys::Surrogate, random)?;
        // Of several starts a host sends the one that fresh surrogates like best.
        let mut sums = vec![0f64; all.len()];
        for _ in 0..REFEREES {
            let round = arena.round(&key(random), &all)?;
            let losses = match self.loss {
                Loss::Logit => round.logits(&claim)?.neg()?,
                Loss::Evidence => round.evidence(&claim)?,
            };
            for (sum, loss) in sums.iter_mut().zip(losses.to_vec1::<f32>()?) {
                *sum += f64::from(loss);
            }
        }
        let restarts = arena.effort.restarts.max(1);
        let best = |(input, sums): (usize, &[f64])| {
            let start = (0..sums.len()).min_by(|a, b| sums[*a].total_cmp(&sums[*b]))?;
            Some(input * restarts + start)
        };
        let best: Vec<usize> = sums.chunks(restarts).enumerate().filter_map(best).collect();
        let scene = all.select(&best)?;
        let output = select(&claim.output, &best)?;
        let mut tally = arena.try_out(&scene, &output, random)?;
        tally.only_related(arena.defence);
        let setting = self.setting("surrogate keys");
        Ok(Outcome { attacker: Attacker::Host, setting, tally })
    }

    fn with_key(&self, random: &mut ChaCha20Rng) -> Result<Outcome> {
        let arena = self.arena;
        let mut tally = Tally::default();
        for turn in 0..arena.effort.keys {
            let scene = starts(arena, turn * arena.effort.inputs)?;
            let secret = key(random);
            let known = Keys::Known(arena.round(&secret, &scene)?);
            let claim = self.search(&scene, &known, random)?;
            let accepted = arena.round(&secret, &scene)?.accepts(&claim)?;
            let restarts = arena.effort.restarts;
            arena.count_best(&mut tally, arena.defence, &scene, &claim, &accepted, restarts)?;
        }
        let setting = self.setting(&format!("{} keys known", arena.effort.keys));
        Ok(Outcome { attacker: Attacker::WhiteBox, setting, tally })
    }

    fn in_the_open(&self, random: &mut ChaCha20Rng) -> Result<Outcome> {
        let arena = self.arena;
        let scene = starts(arena, 0)?;
        let secret = key(random);
        let known = Keys::Known(arena.round(&secret, &scene)?);
        let claim = self.search(&scene, &known, random)?;
        let mut tally = Tally::default();
        let verdicts = arena.judges.jury(&secret, &scene.inputs)?.verdicts(&claim)?;
        for (defence, accepted) in verdicts {
            let restarts = arena.effort.restarts;
            arena.count_best(&mut tally, defence, &scene, &claim, &accepted, restarts)?;
        }
        tally.only_related(arena.defence);
        let setting = self.setting("no key is involved");
        Ok(Outcome { attacker: Attacker::Host, setting, tally })
    }

    fn search(&self, scene: &Scene, keys: &Keys, random: &mut ChaCha20Rng) -> Result<Claim> {
        let start = start(scene, self.arena, random)?;
        let error = (self.search)(self.arena, scene, keys, self.loss, start, random)?;
        scene.claim((&scene.truth + error.reshape(scene.truth.shape())?)?)
    }

    fn setting(&self, keys: &str) -> String {
        let (effort, deviation) = (self.arena.effort, self.arena.deviation);
        let what = match self.loss {
            Loss::Logit => "logit",
            Loss::Evidence => "mean square",
        };
        format!(
            "{} on the {what}, {} inputs, {} restarts, {} steps, {keys}, deviation {deviation:.0e}",
            self.name, effort.inputs, effort.restarts, effort.steps
        )
    }
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
