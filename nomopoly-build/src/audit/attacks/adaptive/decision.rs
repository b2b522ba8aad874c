//! Accept or reject answers alone. What a sketch accepts at one position is a polytope around the true
//! output whose faces are the secret vectors: walk to a face, find its normal from where the face
//! is met in neighbouring directions, go on along it. In the line of the boundary attack
//! (Brendel, Rauber, Bethge, ICLR 2018) and HopSkipJump (Chen, Jordan, Wainwright, S&P 2020), which
//! estimate one normal of a curved boundary; here there are k flat ones to be collected.

use nomopoly_manifest::Attacker;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution, StandardNormal};

use super::null_space::orthonormal;
use super::{Adaptive, Arena, Outcome};
use crate::audit::subject::{Scene, key};
use crate::audit::tally::{Tally, deviations};
use crate::audit::verifiers::Round;
use crate::error::Result;

/// Answers under one key where keys are changed.
const ANSWERS_A_KEY: usize = 64;
/// Radii that are tried at once.
const GRID: usize = 16;

pub const ATTACK: Adaptive = Adaptive {
    name: "decision",
    run: |arena, random| {
        let mut outcomes = vec![];
        for rotate in [false, true] {
            let mut tally = Tally::default();
            let mut spent = vec![];
            for trial in 0..arena.effort.oracles {
                let scene = arena.subject.scene(trial, 1)?;
                let mut oracle = Oracle::new(arena, scene, rotate, random)?;
                oracle.attack()?;
                let hit = oracle.largest >= arena.subject.min_deviation();
                // Where it failed, the largest error that got through counts as small.
                let size = if hit || oracle.largest > 0. { oracle.largest } else { arena.target() };
                tally.count(
                    arena.defence,
                    &[oracle.largest > 0.],
                    &[size],
                    arena.subject.min_deviation(),
                    false,
                );
                if !hit {
                    let (reject, least) = ([false], arena.subject.min_deviation());
                    tally.count(arena.defence, &reject, &[arena.target()], least, false);
                }
                tally.note(&[size]);
                if hit {
                    spent.push(oracle.queries);
                }
            }
            spent.sort_unstable();
            let keys = match rotate {
                false => "one key".to_owned(),
                true => format!("a fresh key each {ANSWERS_A_KEY} answers"),
            };
            let median = match spent.get(spent.len() / 2) {
                Some(median) => format!("; median of the successful: {median} queries"),
                None => String::new(),
            };
            outcomes.push(Outcome {
                attacker: Attacker::Oracle,
                setting: format!(
                    "accept or reject answers, up to {} queries, {keys}, deviation {:.0e}{median}",
                    arena.effort.queries, arena.deviation
                ),
                tally,
            });
        }
        Ok(outcomes)
    },
};

/// One search on one input. Errors are vectors over the features at one position.
struct Oracle<'a, 'b> {
    arena: &'a Arena<'a>,
    scene: Scene<'a>,
    rotate: bool,
    random: &'b mut ChaCha20Rng,
    key: nomopoly_runtime::VerifierKey,
    /// Places of the position's features in the flat output.
    places: Vec<usize>,
    /// Norm of the true output.
    norm: f64,
    queries: usize,
    /// Largest deviation that was accepted.
    largest: f64,
}

impl<'a, 'b> Oracle<'a, 'b> {
    fn new(
        arena: &'a Arena<'a>,
        scene: Scene<'a>,
        rotate: bool,
        random: &'b mut ChaCha20Rng,
    ) -> Result<Self> {
        let dims = scene.truth.dims().to_vec();
        let axis = scene.subject.feature_axis().min(dims.len() - 1);
        let (features, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
        let row = scene.rows()?.concat();
        // The position with the largest output, where rounding units tend to be largest too.
        let size = |position: usize| -> f64 {
            (0..features).map(|c| f64::from(row[c * inner + position]).powi(2)).sum()
        };
        let position = (0..inner).max_by(|a, b| size(*a).total_cmp(&size(*b))).unwrap_or(0);
        let places = (0..features).map(|c| c * inner + position).collect();
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let key = key(random);
        Ok(Self { arena, scene, rotate, random, key, places, norm, queries: 0, largest: 0. })
    }

    fn out_of_queries(&self) -> bool {
        self.queries >= self.arena.effort.queries
    }

    /// Whether the claims with these errors are accepted.
    fn ask(&mut self, errors: &[Vec<f64>]) -> Result<Vec<bool>> {
        let mut answers = vec![];
        for errors in errors.chunks(ANSWERS_A_KEY) {
            (self.arena.check_stop)()?;
            if self.rotate {
                self.key = key(self.random);
            }
            let row = self.scene.rows()?.concat();
            let mut claims = vec![];
            for error in errors {
                let mut claim = row.clone();
                for (place, error) in self.places.iter().zip(error) {
                    claim[*place] = (f64::from(claim[*place]) + error) as f32;
                }
                claims.push(claim);
            }
            let batch = self.scene.repeated(errors.len())?;
            let claim = batch.claim(batch.outputs(claims)?)?;
            let round: Box<dyn Round> = self.arena.round(&self.key, &batch)?;
            let accepted = round.accepts(&claim)?;
            for (size, accepted) in
                deviations(&claim.output, &batch.truth)?.into_iter().zip(&accepted)
            {
                if *accepted && size.is_finite() {
                    self.largest = self.largest.max(size);
                }
            }
            self.queries += errors.len();
            answers.extend(accepted);
        }
        Ok(answers)
    }

    /// How far each direction can be followed, between two radii: grids of radii, each finer.
    fn radii(
        &mut self,
        directions: &[Vec<f64>],
        from: f64,
        to: f64,
        rounds: usize,
    ) -> Result<Vec<f64>> {
        let mut spans = vec![(from, to); directions.len()];
        for _ in 0..rounds {
            let mut errors = vec![];
            for (direction, (low, high)) in directions.iter().zip(&spans) {
                for step in 1..=GRID {
                    let share = step as f64 / (GRID + 1) as f64;
                    let radius = low * (high / low).powf(share);
                    errors.push(direction.iter().map(|v| v * radius).collect::<Vec<f64>>());
                }
            }
            let answers = self.ask(&errors)?;
            for ((low, high), answers) in spans.iter_mut().zip(answers.chunks(GRID)) {
                let accepted = answers.iter().take_while(|accepted| **accepted).count();
                let at = |step: usize| *low * (*high / *low).powf(step as f64 / (GRID + 1) as f64);
                (*low, *high) = (at(accepted), at(accepted + 1));
            }
        }
        Ok(spans.into_iter().map(|(low, high)| (low * high).sqrt()).collect())
    }

    fn attack(&mut self) -> Result<()> {
        if self.norm == 0. {
            return Ok(());
        }
        let n = self.places.len();
        let wanted = self.arena.target() * self.norm;
        let mut normals: Vec<Vec<f32>> = vec![];
        let mut first = None;
        while !self.out_of_queries() {
            // A direction along all faces that are known.
            let Some(direction) = self.direction(&normals) else { return Ok(()) };
            let most = 4. * wanted;
            let radius = self.radii(std::slice::from_ref(&direction), 1e-9 * wanted, most, 4)?[0];
            if radius >= wanted || self.largest >= self.arena.deviation {
                return Ok(());
            }
            let first = *first.get_or_insert(radius);
            // Where the same face is met a little to each side of the direction: 1 / radius is
            // linear in the direction.
            let aside = 0.3 * first / radius;
            let mut sides = vec![];
            for feature in 0..n {
                let mut side = direction.clone();
                side[feature] += aside;
                sides.push(side);
            }
            let met = self.radii(&sides, radius / 8., radius * 8., 3)?;
            let normal: Vec<f32> =
                met.iter().map(|met| ((1. / met - 1. / radius) / aside) as f32).collect();
            let length = normal.iter().map(|v| v * v).sum::<f32>().sqrt();
            if !(length > 0. && length.is_finite()) {
                continue;
            }
            let normal: Vec<f32> = normal.into_iter().map(|v| v / length).collect();
            // A better view of a known face replaces the old one.
            let same = |known: &Vec<f32>| {
                known.iter().zip(&normal).map(|(a, b)| a * b).sum::<f32>().abs() > 0.7
            };
            match normals.iter().position(same) {
                Some(place) => normals[place] = normal,
                None => normals.push(normal),
            }
            if normals.len() + 1 >= n {
                normals.clear();
            }
        }
        Ok(())
    }

    /// A random unit vector orthogonal to the known normals.
    fn direction(&mut self, normals: &[Vec<f32>]) -> Option<Vec<f64>> {
        let basis = orthonormal(normals.to_vec());
        let mut direction: Vec<f64> =
            self.places.iter().map(|_| StandardNormal.sample(self.random)).collect();
        for other in &basis {
            let along: f64 = direction.iter().zip(other).map(|(a, b)| a * b).sum();
            direction.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
        }
        let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
        (length > 1e-9).then(|| direction.into_iter().map(|v| v / length).collect())
    }
}
