//! The attacks, one file each, with its source. None of them is used in training.

pub mod adaptive;
pub mod outputs;
pub mod proofs;
pub mod substituted;

use candle_core::Tensor;
use nomopoly_manifest::{Attacker, Family};
use rand_chacha::ChaCha20Rng;

use super::subject::{Claim, Scene, Subject};
use crate::error::Result;

/// Names of attacks on whole models that no operation has.
pub const WHOLE_MODEL: [&str; 4] = ["one-layer", "edited-output", "replayed-inference", "drift"];

/// A claim that is made without regard to the verifier.
pub struct Forgery {
    pub name: &'static str,
    pub family: Family,
    pub attacker: Attacker,
    pub setting: &'static str,
    /// Forges claims of a batch; `None` where the attack makes no sense for the operation.
    pub forge: fn(&Scene, &mut ChaCha20Rng) -> Result<Option<Claim>>,
}

/// Other weights for a linear operation, in the layout of `Linear::weights`.
pub struct Substitution {
    pub name: &'static str,
    pub setting: &'static str,
    pub weights: fn(&Subject, &mut ChaCha20Rng) -> Result<Tensor>,
}

/// Every forgery, in the order of reports.
pub fn forgeries() -> Vec<&'static Forgery> {
    outputs::ALL.iter().copied().chain(proofs::ALL).collect()
}

/// Every name that `--attacks` takes, in the order of reports.
pub fn names() -> Vec<&'static str> {
    let outputs = outputs::ALL.iter().map(|attack| attack.name);
    let substituted = substituted::ALL.iter().map(|attack| attack.name);
    let proofs = proofs::ALL.iter().map(|attack| attack.name);
    let adaptive = adaptive::ALL.iter().map(|attack| attack.name);
    outputs.chain(substituted).chain(proofs).chain(adaptive).chain(WHOLE_MODEL).collect()
}

/// The attacks of a group: a family's, or the one of this name.
pub fn group(name: &str) -> Option<Vec<&'static str>> {
    Some(match name {
        "all" => names(),
        "outputs" => outputs::ALL.iter().map(|attack| attack.name).collect(),
        "substituted" => substituted::ALL.iter().map(|attack| attack.name).collect(),
        "proofs" => proofs::ALL.iter().map(|attack| attack.name).collect(),
        "adaptive" => adaptive::ALL.iter().map(|attack| attack.name).collect(),
        "whole-model" => WHOLE_MODEL.to_vec(),
        name => vec![names().into_iter().find(|known| *known == name)?],
    })
}

/// Names of the groups.
pub const GROUPS: [&str; 6] =
    ["all", "outputs", "substituted", "proofs", "adaptive", "whole-model"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_a_name_of_its_own() {
        let mut names = names();
        let count = names.len();
        names.extend(GROUPS);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count + GROUPS.len());
    }

    #[test]
    fn groups_and_names_are_found() {
        for name in names() {
            assert_eq!(group(name), Some(vec![name]));
        }
        assert_eq!(group("all").unwrap(), names());
        assert_eq!(group("int9"), None);
    }
}
