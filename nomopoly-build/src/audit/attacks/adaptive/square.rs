//! Random search through an oracle that tells its score (Andriushchenko, Croce, Flammarion, Hein,
//! Square attack, ECCV 2020): change the error on a random run of elements, keep what scores
//! better, ever shorter runs. A verifier that answers accept or reject tells less.

use nomopoly_manifest::Attacker;
use rand::Rng;

use super::{Adaptive, Outcome, scaled};
use crate::audit::subject::key;
use crate::audit::tally::Tally;
use crate::random as seeded;

/// Share of the elements that the first changes touch.
const FIRST_SHARE: f64 = 0.5;
/// Queries of each search; random search gains little from more.
const MOST_QUERIES: usize = 2_000;

pub const ATTACK: Adaptive = Adaptive {
    name: "square",
    run: |arena, random| {
        if !arena.verifier.is_keyed() {
            // A host can ask itself.
            return Ok(vec![]);
        }
        let queries = arena.effort.queries.min(MOST_QUERIES);
        let mut outcomes = vec![];
        for rotate in [false, true] {
            let scene = arena.subject.scene(0, arena.effort.oracles)?;
            let (count, n) = (scene.len(), scene.truth.elem_count() / scene.len().max(1));
            let mut round = arena.round(&key(random), &scene)?;
            let noise = seeded::normal(random, scene.truth.dims(), scene.truth.device())?;
            let mut errors = scaled(&noise, &scene.truth, arena.target())?.to_vec2::<f32>()?;
            let mut best = vec![f32::NEG_INFINITY; count];
            let mut hit: Vec<Option<f64>> = vec![None; count];
            for query in 0..queries {
                (arena.check_stop)()?;
                if rotate {
                    round = arena.round(&key(random), &scene)?;
                }
                let share = FIRST_SHARE / (1. + 10. * query as f64 / queries as f64);
                let run = ((share * n as f64) as usize).max(1);
                let mut candidates = errors.clone();
                if query > 0 {
                    for row in &mut candidates {
                        let start = random.next_u64() as usize % n;
                        let size =
                            row.iter().map(|v| v * v).sum::<f32>().sqrt() / (n as f32).sqrt();
                        for index in 0..run {
                            let sign = if random.next_u64() % 2 == 0 { 1. } else { -1. };
                            row[(start + index) % n] = sign * size;
                        }
                    }
                }
                let output = scene.outputs(candidates)?;
                let error = scaled(&output, &scene.truth, arena.target())?;
                let candidates = error.to_vec2::<f32>()?;
                let claim = scene.claim((&scene.truth + error.reshape(scene.truth.shape())?)?)?;
                let logits = round.logits(&claim)?.to_vec1::<f32>()?;
                let accepted = round.accepts(&claim)?;
                let sizes = crate::audit::tally::deviations(&claim.output, &scene.truth)?;
                for (row, candidate) in candidates.into_iter().enumerate() {
                    if accepted[row] && hit[row].is_none() {
                        hit[row] = Some(sizes[row]);
                    }
                    // Under another key the old score says nothing.
                    if rotate || logits[row] > best[row] {
                        best[row] = logits[row];
                        errors[row] = candidate;
                    }
                }
                if hit.iter().all(Option::is_some) {
                    break;
                }
            }
            let mut tally = Tally::default();
            for hit in hit {
                let (accepted, size) = (hit.is_some(), hit.unwrap_or(arena.target()));
                tally.count(
                    arena.defence,
                    &[accepted],
                    &[size],
                    arena.subject.min_deviation(),
                    false,
                );
                tally.note(&[size]);
            }
            let keys = if rotate { "a fresh key each query" } else { "one key" };
            outcomes.push(Outcome {
                attacker: Attacker::Oracle,
                setting: format!(
                    "random search on scores, {queries} queries, {keys}, deviation {:.0e}",
                    arena.deviation
                ),
                tally,
            });
        }
        Ok(outcomes)
    },
};
