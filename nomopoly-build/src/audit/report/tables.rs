//! The tables that the whole model and every operation have: honest runs and attacks.

use maud::{Markup, html};
use nomopoly_manifest::{
    Accepted, AttackFigures, Attacker, Defence, Family, HonestFigures, OperationAudit, Rate,
};

use super::figures::{is_of, kinds, present, presents_true_outputs};
use super::words::{at_most, bound, count, number, printable};
use crate::plots::numbers::superscript;

/// Stands for "not measured"; the page explains it once.
pub const NOT_MEASURED: &str = "–";

/// A table that scrolls sideways on a narrow screen, also by keyboard. `label` names it for those
/// who do not see its caption.
pub fn scrolled(label: &str, table: Markup) -> Markup {
    html! { div class="scroll" role="region" tabindex="0" aria-label=(label) { (table) } }
}

/// A name from a model file.
pub fn name(text: &str) -> Markup {
    // Isolated, so that a name's direction of reading cannot reach beyond it.
    html! { code { bdi { (printable(text)) } } }
}

/// The sign of something accepted that should not have been: not by colour alone.
pub fn mark(rate: &Rate) -> Markup {
    html! {
        @if rate.errors > 0 { span class="mark" role="img" aria-label="accepted" { "▲" } " " }
    }
}

/// Errors of trials above their bound.
fn rate_lines(rate: &Rate) -> Markup {
    html! { span class="n" { (count(rate)) } br; " " span class="b" { (bound(rate)) } }
}

/// A cell with a rate of wrong verdicts.
pub fn rate_cell(rate: Option<&Rate>, marked: bool) -> Markup {
    match rate.filter(|rate| rate.samples > 0) {
        None => html! { td class="num none" { (NOT_MEASURED) } },
        Some(rate) => html! {
            td class="num" { @if marked { (mark(rate)) } (rate_lines(rate)) }
        },
    }
}

/// Honest runs that were rejected, by runtime and scale of the inputs.
pub fn honest(label: &str, honest: &[HonestFigures]) -> Markup {
    let defences =
        present(|defence| honest.iter().any(|figures| figures.rejected.contains_key(&defence)));
    if honest.is_empty() {
        return html! { p { "No honest runs." } };
    }
    scrolled(
        label,
        html! {
            table class="rows" {
                caption { "Honest runs: wrongly rejected / tried, and 95 % upper bound" }
                thead { tr {
                    th scope="col" { "runtime" }
                    th scope="col" class="num" { "scale of inputs" }
                    @for defence in &defences { th scope="col" class="num" { (defence) } }
                    th scope="col" class="num" { "largest residual, rounding units" }
                } }
                tbody {
                    @for figures in honest {
                        tr {
                            th scope="row" { (printable(&figures.runtime)) }
                            td class="num" { (number(figures.scale)) }
                            @for defence in &defences {
                                (rate_cell(figures.rejected.get(defence), false))
                            }
                            td class="num" {
                                (figures.largest_residual
                                    .map_or_else(|| NOT_MEASURED.into(), at_most))
                            }
                        }
                    }
                }
            }
        },
    )
}

/// Attacks by family and attacker, with what every verifier accepted. Claims of deviations below
/// `min_deviation` stand apart.
pub fn attacks(
    label: &str,
    attacks: &[AttackFigures],
    suite: &[String],
    min_deviation: f64,
) -> Markup {
    if attacks.is_empty() {
        return html! { p { "No attacks were run." } };
    }
    let defences =
        present(|defence| attacks.iter().any(|attack| attack.accepted.contains_key(&defence)));
    let kinds = kinds(attacks, suite);
    let mut groups: Vec<(Family, Attacker)> =
        kinds.iter().map(|&(family, _, attacker)| (family, attacker)).collect();
    groups.sort_unstable();
    groups.dedup();
    let asked = number(min_deviation);
    let table = html! {
        table class="attacks" {
            caption {
                "Attacks: accepted / tried, and 95 % upper bound; "
                span class="mark" { "▲" } " where a claim was accepted"
            }
            thead {
                tr {
                    th scope="col" rowspan="2" { "attack, and its setting" }
                    th scope="col" rowspan="2" class="num" {
                        "deviations made: least, median, most"
                    }
                    @for defence in &defences {
                        th scope="colgroup" colspan="3" class="first" { (defence) }
                    }
                }
                tr {
                    @for _ in &defences {
                        th scope="col" class="num first" { "accepted, ≥\u{a0}" (asked) }
                        th scope="col" class="num dim" { "smaller*" }
                        th scope="col" class="num" { "largest accepted" }
                    }
                }
            }
            @for (family, attacker) in groups {
                tbody {
                    tr { th scope="rowgroup" class="group" colspan=(2 + 3 * defences.len()) {
                        (family) ", by " (attacker)
                    } }
                    @for kind in kinds.iter().filter(|of| (of.0, of.2) == (family, attacker)) {
                        @for attack in attacks.iter().filter(|attack| is_of(attack, *kind)) {
                            (row(attack, &defences))
                        }
                    }
                }
            }
        }
    };
    html! {
        (scrolled(label, table))
        p class="footnote" {
            "* Claims whose deviation is less than " (asked)
            ": within what honest rounding gives, or below what is promised."
            @if attacks.iter().any(presents_true_outputs) {
                " Attacks on true outputs forge the proof alone: to accept one is to accept no "
                "wrong output."
            }
        }
    }
}

fn row(attack: &AttackFigures, defences: &[Defence]) -> Markup {
    html! {
        tr {
            th scope="row" {
                (printable(&attack.attack)) br; span class="b" { (printable(&attack.setting)) }
            }
            td class="num made" {
                @match &attack.deviations {
                    Some(made) => {
                        (number(made.least)) ", " (number(made.median)) ", " (number(made.most))
                    }
                    None if presents_true_outputs(attack) => "true outputs",
                    None => (NOT_MEASURED),
                }
            }
            @for defence in defences {
                (accepted_cells(attack.accepted.get(defence)))
            }
        }
    }
}

fn accepted_cells(accepted: Option<&Accepted>) -> Markup {
    let wrong = accepted.map(|accepted| &accepted.wrong).filter(|rate| rate.samples > 0);
    let small = accepted.map(|accepted| &accepted.small).filter(|rate| rate.samples > 0);
    let largest = accepted.and_then(|accepted| accepted.largest);
    html! {
        @match wrong {
            None => td class="num first none" { (NOT_MEASURED) },
            Some(rate) => td class="num first" { (mark(rate)) (rate_lines(rate)) },
        }
        td class="num dim" { (small.map_or_else(|| NOT_MEASURED.into(), count)) }
        td class="num" { (largest.map_or_else(|| NOT_MEASURED.into(), at_most)) }
    }
}

/// Measured acceptance beside the certified bound.
pub fn agreement(operation: &OperationAudit) -> Markup {
    let label = format!("Measured and certified acceptance of {}", operation.operation);
    scrolled(
        &printable(&label),
        html! {
            table {
                caption {
                    "Errors that the bound is tight for: measured acceptance by the compiled "
                    "verifier beside the certified bound, both over the same inputs"
                }
                thead { tr {
                    th scope="col" class="num" { "deviation" }
                    th scope="col" class="num" { "accepted / tried" }
                    th scope="col" class="num" { "95 % upper bound" }
                    th scope="col" class="num" { "certified: at most" }
                } }
                tbody {
                    @for point in &operation.agreement {
                        tr {
                            th scope="row" class="num" { (number(point.deviation)) }
                            @if point.measured.samples == 0 {
                                td class="num none" { (NOT_MEASURED) }
                                td class="num none" { (NOT_MEASURED) }
                            } @else {
                                td class="num" { (count(&point.measured)) }
                                td class="num" { (bound(&point.measured)) }
                            }
                            td class="num" {
                                @if operation.certificate.is_some() {
                                    (power_of_two(point.certified_log2))
                                } @else { "nothing certified" }
                            }
                        }
                    }
                }
            }
        },
    )
}

/// `2⁻⁴⁰` from its exponent; none stands for a bound of 0.
fn power_of_two(log2: Option<f64>) -> Markup {
    // Rounded towards 1, the weaker claim.
    match log2.map(|log2| (log2 * 10.0).ceil() / 10.0) {
        None | Some(f64::NEG_INFINITY) => html! { "0" },
        Some(log2) if log2 >= 0.0 || log2.is_nan() => html! { "1" },
        Some(log2) if log2.fract() == 0.0 && log2 >= -9999.0 => {
            html! { "2" (superscript(log2 as i32)) }
        }
        Some(log2) => html! { "2" sup { "−" (format!("{:.1}", -log2)) } },
    }
}
