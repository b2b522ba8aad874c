//! Figures that the reports derive from an audit: the worst attack, sums of honest runs, the
//! matrix of attacks and operations.

use nomopoly_manifest::{
    AttackFigures, Attacker, Audit, Defence, Family, HonestFigures, OperationAudit, Rate,
};

use crate::statistics;

/// Whether the default claim covers an attacker: a host without the key, which can do whatever
/// an outsider can.
pub fn is_host(attacker: Attacker) -> bool {
    matches!(attacker, Attacker::Outsider | Attacker::Host)
}

/// Whether the attack presents true outputs: to accept one of its claims is to accept no wrong
/// output.
pub fn presents_true_outputs(attack: &AttackFigures) -> bool {
    attack.family == Family::Proofs && attack.deviations.is_none()
}

/// Whether a node gets a section. The verifier recomputes the others itself.
pub fn is_claimed(operation: &OperationAudit) -> bool {
    operation.entry.is_some() || !operation.attacks.is_empty() || !operation.honest.is_empty()
}

/// What a verifier accepted of the attack that was accepted most.
#[derive(Debug, Clone, Copy)]
pub struct Worst<'a> {
    pub attack: &'a AttackFigures,
    pub wrong: &'a Rate,
}

/// The attack that `defence` accepts most, by the observed share and then by its bound, among
/// those with enough trials to tell; the first of equals. `None` when none was tried.
pub fn worst<'a>(
    attacks: impl IntoIterator<Item = &'a AttackFigures>,
    defence: Defence,
) -> Option<Worst<'a>> {
    let tried: Vec<Worst<'a>> = attacks
        .into_iter()
        .filter_map(|attack| Some((attack, &attack.accepted.get(&defence)?.wrong)))
        .filter(|(_, wrong)| wrong.samples > 0)
        .map(|(attack, wrong)| Worst { attack, wrong })
        .collect();
    let most = tried.iter().map(|worst| worst.wrong.samples).max()?;
    let telling = tried.into_iter().filter(|worst| worst.wrong.is_telling(most));
    telling.reduce(|worst, one| if is_worse(one.wrong, worst.wrong) { one } else { worst })
}

/// What was seen counts first.
fn is_worse(one: &Rate, other: &Rate) -> bool {
    one.observed()
        .total_cmp(&other.observed())
        .then(one.upper_95.total_cmp(&other.upper_95))
        .is_gt()
}

/// The worst attack with wrong outputs among those by attackers that `by` selects.
pub fn worst_wrong_output(
    attacks: &[AttackFigures],
    defence: Defence,
    by: impl Fn(Attacker) -> bool,
) -> Option<Worst<'_>> {
    let selected =
        attacks.iter().filter(|attack| by(attack.attacker) && !presents_true_outputs(attack));
    worst(selected, defence)
}

/// The worst attack with forged proofs of true outputs, by any attacker without the key.
pub fn worst_forged_proof(attacks: &[AttackFigures], defence: Defence) -> Option<Worst<'_>> {
    let selected = attacks
        .iter()
        .filter(|attack| attack.attacker != Attacker::WhiteBox && presents_true_outputs(attack));
    worst(selected, defence)
}

/// Honest runs rejected by `defence`, over all of `honest`.
pub fn rejected<'a>(honest: impl IntoIterator<Item = &'a HonestFigures>, defence: Defence) -> Rate {
    let (errors, samples) = honest
        .into_iter()
        .filter_map(|figures| figures.rejected.get(&defence))
        .fold((0u64, 0u64), |(errors, samples), rate| {
            (errors.saturating_add(rate.errors), samples.saturating_add(rate.samples))
        });
    statistics::rate(errors, samples)
}

/// The defences that `has` finds in a table, in their order.
pub fn present(has: impl Fn(Defence) -> bool) -> Vec<Defence> {
    Defence::ALL.into_iter().filter(|&defence| has(defence)).collect()
}

/// Family, name and attacker: what one attack is told from another by.
pub type Kind<'a> = (Family, &'a str, Attacker);

pub fn is_of(attack: &AttackFigures, kind: Kind<'_>) -> bool {
    (attack.family, attack.attack.as_str(), attack.attacker) == kind
}

/// The kinds of the attacks of `attacks`, family by family, in the order of the
/// suite: first those that `suite` lists, then others as they come.
pub fn kinds<'a>(
    attacks: impl IntoIterator<Item = &'a AttackFigures>,
    suite: &[String],
) -> Vec<Kind<'a>> {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    for attack in attacks {
        let kind = (attack.family, attack.attack.as_str(), attack.attacker);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let place = |name: &str| suite.iter().position(|listed| listed == name).unwrap_or(suite.len());
    // The sort is stable: attacks that the suite does not list stay as they came.
    kinds.sort_by_key(|&(family, name, attacker)| (family, place(name), attacker));
    kinds
}

/// One verifier over the whole audit.
#[derive(Debug, Clone)]
pub struct Compared<'a> {
    pub defence: Defence,
    /// Host attacks with wrong outputs on one operation that it was measured on.
    pub attacks: usize,
    /// The one it accepted most, and the operation.
    pub worst: Option<(&'a OperationAudit, Worst<'a>)>,
    /// Honest runs of single operations.
    pub rejected: Rate,
}

/// The verifiers that were measured.
pub fn compared(audit: &Audit) -> Vec<Compared<'_>> {
    let one = |defence| {
        let mut attacks = 0;
        let mut worst: Option<(&OperationAudit, Worst<'_>)> = None;
        for operation in &audit.operations {
            attacks += operation
                .attacks
                .iter()
                .filter(|attack| is_host(attack.attacker) && !presents_true_outputs(attack))
                .filter_map(|attack| attack.accepted.get(&defence))
                .filter(|accepted| accepted.wrong.samples > 0)
                .count();
            if let Some(here) = worst_wrong_output(&operation.attacks, defence, is_host)
                && worst.is_none_or(|(_, worst)| is_worse(here.wrong, worst.wrong))
            {
                worst = Some((operation, here));
            }
        }
        let honest = audit.operations.iter().flat_map(|operation| &operation.honest);
        Compared { defence, attacks, worst, rejected: rejected(honest, defence) }
    };
    Defence::ALL
        .into_iter()
        .map(one)
        .filter(|compared| compared.attacks > 0 || compared.rejected.samples > 0)
        .collect()
}
