//! The cheap attacks: claims by the thousand, all of them on the same inputs under the same keys.

use candle_core::Tensor;
use nomopoly_manifest::{AttackFigures, Attacker, Family};
use nomopoly_runtime::operations::Linear;

use super::attacks::{Forgery, Substitution, forgeries, substituted};
use super::subject::{Claim, Subject, key};
use super::tally::{Tally, deviations};
use super::verifiers::Judges;
use crate::error::Result;
use crate::random;

/// An attack with what it needs and what it got.
struct Running {
    name: &'static str,
    family: Family,
    attacker: Attacker,
    setting: &'static str,
    kind: Kind,
    tally: Tally,
    stopped: bool,
}

enum Kind {
    Forged(&'static Forgery),
    /// The operation with other weights.
    Substituted(Box<dyn Linear>),
}

/// Tries the named attacks, `trials` claims each.
///
/// # Errors
/// When tensor arithmetic fails or `check_stop` says so.
pub fn run(
    subject: &Subject,
    judges: &dyn Judges,
    names: &[&str],
    trials: usize,
    seed: u64,
    check_stop: &dyn Fn() -> Result<()>,
) -> Result<Vec<AttackFigures>> {
    let id = subject.compiled.artefact.id.to_string();
    let mut attacks = vec![];
    for forgery in forgeries().into_iter().filter(|attack| names.contains(&attack.name)) {
        attacks.push(running(forgery.name, forgery.family, Kind::Forged(forgery)));
    }
    for substitution in substituted::ALL.iter().filter(|attack| names.contains(&attack.name)) {
        if let Some(kind) = substitute(subject, substitution, seed)? {
            attacks.push(running(substitution.name, Family::Substituted, kind));
        }
    }
    let mut done = 0;
    let mut turn = 0;
    while done < trials && attacks.iter().any(|attack| !attack.stopped) {
        check_stop()?;
        let size = subject.chunk_size().min(trials - done);
        let scene = subject.scene(done, size)?;
        let keys = &mut random::stream(seed, &id, &format!("audit key {turn}"));
        let jury = judges.jury(&key(keys), &scene.inputs)?;
        let honest = scene.claim(scene.truth.clone())?;
        for attack in attacks.iter_mut().filter(|attack| !attack.stopped) {
            let claim = match &attack.kind {
                Kind::Forged(forgery) => {
                    let purpose = format!("audit {} {turn}", attack.name);
                    (forgery.forge)(&scene, &mut random::stream(seed, &id, &purpose))?
                }
                Kind::Substituted(linear) => Some(scene.claim(linear.forward(&scene.inputs[0])?)?),
            };
            let Some(claim) = claim else {
                attack.stopped = true;
                continue;
            };
            let sizes = deviations(&claim.output, &scene.truth)?;
            let mut verdicts = jury.verdicts(&claim)?;
            // Two inputs may be the same: their proofs are then no forgeries.
            let forged = differ(&claim, &honest)?;
            let keep = |index: &usize| forged[*index];
            let sizes: Vec<f64> = (0..sizes.len()).filter(keep).map(|index| sizes[index]).collect();
            for accepted in verdicts.values_mut() {
                *accepted = (0..accepted.len()).filter(keep).map(|i| accepted[i]).collect();
            }
            let proofs = attack.family == Family::Proofs;
            attack.tally.claims(&verdicts, &sizes, subject.min_deviation(), proofs);
        }
        done += size;
        turn += 1;
    }
    Ok(attacks.into_iter().filter_map(figures).collect())
}

/// Which claims are others than the honest ones.
fn differ(claim: &Claim, honest: &Claim) -> Result<Vec<bool>> {
    let batch = claim.proof.dim(0)?;
    let difference = |a: &Tensor, b: &Tensor| -> Result<Vec<f32>> {
        Ok((a - b)?.abs()?.reshape((batch, ()))?.sum(1)?.to_vec1::<f32>()?)
    };
    let outputs = difference(&claim.output, &honest.output)?;
    let proofs = difference(&claim.proof, &honest.proof)?;
    // What is not a number differs.
    Ok(outputs.into_iter().zip(proofs).map(|pair| pair != (0., 0.)).collect())
}

fn running(name: &'static str, family: Family, kind: Kind) -> Running {
    let (attacker, setting) = match &kind {
        Kind::Forged(forgery) => (forgery.attacker, forgery.setting),
        Kind::Substituted(_) => {
            let all = substituted::ALL.iter().find(|attack| attack.name == name);
            (Attacker::Host, all.map_or("", |attack| attack.setting))
        }
    };
    Running { name, family, attacker, setting, kind, tally: Tally::default(), stopped: false }
}

fn figures(attack: Running) -> Option<AttackFigures> {
    if attack.tally.is_empty() {
        return None;
    }
    let (accepted, deviations) = attack.tally.finish();
    Some(AttackFigures {
        attack: attack.name.to_owned(),
        family: attack.family,
        attacker: attack.attacker,
        setting: attack.setting.to_owned(),
        accepted,
        deviations,
    })
}

/// The weights that a substitution gives an operation, the same here and in a whole model.
pub fn weights(
    subject: &Subject,
    substitution: &Substitution,
    seed: u64,
) -> Result<Option<Tensor>> {
    if subject.linear().is_none() {
        return Ok(None);
    }
    let id = subject.compiled.artefact.id.to_string();
    let purpose = format!("audit weights {}", substitution.name);
    let mut random = random::stream(seed, &id, &purpose);
    (substitution.weights)(subject, &mut random).map(Some)
}

fn substitute(subject: &Subject, substitution: &Substitution, seed: u64) -> Result<Option<Kind>> {
    let (Some(linear), Some(weights)) = (subject.linear(), weights(subject, substitution, seed)?)
    else {
        return Ok(None);
    };
    Ok(Some(Kind::Substituted(linear.with_weights(weights)?)))
}
