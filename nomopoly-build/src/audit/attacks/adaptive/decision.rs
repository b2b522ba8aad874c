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
/// Bisections of the radius for a direction whose face may be anywhere.
const FAR: usize = 17;
/// The same for a direction whose face is near a known one.
const NEAR: usize = 5;
/// How far aside a face is looked at, as a share of its distance.
const ASIDE: f64 = 0.3;

pub const ATTACK: Adaptive = Adaptive {
    name: "decision",
    run: |arena, random| {
        if !arena.verifier.is_keyed() {
            // A host can ask itself.
            return Ok(vec![]);
        }
        let mut outcomes = vec![];
        for rotate in [false, true] {
            let mut tally = Tally::default();
            let mut spent = vec![];
            for trial in 0..arena.effort.oracles {
                let scene = arena.subject.scene(trial, 1)?;
                let mut oracle = Oracle::new(arena, scene, rotate, random)?;
                oracle.attack()?;
                let least = arena.subject.min_deviation();
                let hit = oracle.largest >= least;
                if oracle.norm == 0. {
                    // An output of zeros: nothing was tried.
                    continue;
                }
                if oracle.largest > 0. {
                    // Where the search failed, this is the largest small error that got through.
                    tally.count(arena.defence, &[true], &[oracle.largest], least, false);
                    tally.note(&[oracle.largest]);
                }
                if !hit {
                    tally.count(arena.defence, &[false], &[arena.target()], least, false);
                }
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
        let axis = scene.feature_axis();
        let (features, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
        let row = scene.rows()?.concat();
        // The position with the largest output, where rounding units tend to be largest too.
        let first = |position: usize| position / inner * features * inner + position % inner;
        let size = |position: usize| -> f64 {
            (0..features).map(|c| f64::from(row[c * inner + first(position)]).powi(2)).sum()
        };
        let positions = row.len() / features.max(1);
        let position =
            (0..positions).max_by(|a, b| size(*a).total_cmp(&size(*b))).unwrap_or_default();
        let places = (0..features).map(|c| c * inner + first(position)).collect();
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
        let mut rest = errors;
        while !rest.is_empty() {
            (self.arena.check_stop)()?;
            let answered = self.queries % ANSWERS_A_KEY;
            if self.rotate && answered == 0 {
                self.key = key(self.random);
            }
            let (errors, later) = rest.split_at(rest.len().min(ANSWERS_A_KEY - answered));
            rest = later;
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

    /// How far each direction can be followed, between two radii: bisections of their logarithm.
    fn radii(
        &mut self,
        directions: &[Vec<f64>],
        (from, to): (f64, f64),
        bisections: usize,
    ) -> Result<Vec<f64>> {
        let mut spans = vec![(from, to); directions.len()];
        for _ in 0..bisections {
            let errors: Vec<Vec<f64>> = directions
                .iter()
                .zip(&spans)
                .map(|(direction, (low, high))| {
                    direction.iter().map(|v| v * (low * high).sqrt()).collect()
                })
                .collect();
            for ((low, high), accepted) in spans.iter_mut().zip(self.ask(&errors)?) {
                let middle = (*low * *high).sqrt();
                if accepted { *low = middle } else { *high = middle }
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
        // Normals n of known faces, so that n·δ is 1 on the face.
        let mut faces: Vec<Vec<f64>> = vec![];
        let mut nearest = None;
        while !self.out_of_queries() {
            let known = orthonormal(faces.clone());
            let Some(direction) = self.direction(&known) else { return Ok(()) };
            let span = (1e-9 * wanted, 4. * wanted);
            let radius = self.radii(std::slice::from_ref(&direction), span, FAR)?[0];
            if radius >= wanted || self.largest >= self.arena.deviation {
                return Ok(());
            }
            let nearest = *nearest.get_or_insert(radius);
            // Looked at along the known normals, and along everything else. Along a known normal the
            // face is as near as it was at first; along the rest it is as far as now, so that
            // what is left of its normal there is seen the better the farther it is.
            let rest = complement(&known, n);
            let aside = |index: usize| {
                if index < known.len() { ASIDE * nearest / radius } else { ASIDE }
            };
            let axes: Vec<&Vec<f64>> = known.iter().chain(&rest).collect();
            let sides: Vec<Vec<f64>> = axes
                .iter()
                .enumerate()
                .map(|(index, axis)| {
                    direction.iter().zip(*axis).map(|(v, a)| v + aside(index) * a).collect()
                })
                .collect();
            let met = self.radii(&sides, (radius / 2., radius * 2.), NEAR)?;
            let mut normal = vec![0.; n];
            for (index, (axis, met)) in axes.iter().zip(met).enumerate() {
                // 1 / radius is linear in the direction.
                let along = (1. / met - 1. / radius) / aside(index);
                normal.iter_mut().zip(*axis).for_each(|(v, a)| *v += along * a);
            }
            if !normal.iter().any(|v| *v != 0.) {
                continue;
            }
            // A better view of a known face replaces the old one.
            match faces.iter().position(|face| cosine(face, &normal).abs() > 0.7) {
                Some(place) => faces[place] = normal,
                None => faces.push(normal),
            }
            if faces.len() + 1 >= n {
                faces.remove(0);
            }
        }
        Ok(())
    }

    /// A random unit vector orthogonal to an orthonormal basis.
    fn direction(&mut self, basis: &[Vec<f64>]) -> Option<Vec<f64>> {
        let mut direction: Vec<f64> =
            self.places.iter().map(|_| StandardNormal.sample(self.random)).collect();
        for other in basis {
            let along: f64 = direction.iter().zip(other).map(|(a, b)| a * b).sum();
            direction.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
        }
        let length = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
        (length > 1e-9).then(|| direction.into_iter().map(|v| v / length).collect())
    }
}

/// An orthonormal basis of what is orthogonal to an orthonormal basis of `n` dimensions.
fn complement(basis: &[Vec<f64>], n: usize) -> Vec<Vec<f64>> {
    let unit = |index: usize| (0..n).map(|place| f64::from(u8::from(place == index))).collect();
    let all: Vec<Vec<f64>> = basis.iter().cloned().chain((0..n).map(unit)).collect();
    orthonormal(all).split_off(basis.len())
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_and_its_complement_span_everything() {
        let basis = orthonormal(vec![vec![1., 2., 3., 4.], vec![0., 1., 0., -1.]]);
        let rest = complement(&basis, 4);
        assert_eq!(rest.len(), 2);
        for (index, a) in basis.iter().chain(&rest).enumerate() {
            for (other, b) in basis.iter().chain(&rest).enumerate() {
                let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!((dot - f64::from(u8::from(index == other))).abs() < 1e-12);
            }
        }
    }
}
