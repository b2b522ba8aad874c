//! The summary of the page: a row for each operation, the matrix of attacks and operations, and
//! the verifiers compared.

use maud::{Markup, html};
use nomopoly_manifest::{Attacker, Audit, Defence, Family, OperationAudit, Rate};

use super::charts;
use super::figures::{
    Compared, Kind, Worst, compared, is_claimed, is_host, is_of, kinds, presents_true_outputs,
    rejected, worst, worst_forged_proof, worst_wrong_output,
};
use super::tables::{NOT_MEASURED, mark, name, rate_cell, scrolled};
use super::words::{
    bound, bytes, certified, certified_from, cost, count, counted, number, printable, shortened,
};
use crate::plots::PlotError;
use crate::plots::numbers::{grouped, superscript};

/// Operations beside each other in one matrix: what a printed page has room for.
const MATRIX_COLUMNS: usize = 14;
/// Characters of an operation's name in a narrow place.
const SHORT_NAME: usize = 28;

/// The anchor of an operation's section.
pub fn anchor(index: usize) -> String {
    format!("operation-{index}")
}

/// The operations that have a section, with their places in the model.
pub fn claimed(audit: &Audit) -> Vec<(usize, &OperationAudit)> {
    audit.operations.iter().enumerate().filter(|(_, operation)| is_claimed(operation)).collect()
}

pub fn section(audit: &Audit) -> Result<Markup, PlotError> {
    let claimed = claimed(audit);
    let recomputed = audit.operations.len() - claimed.len();
    Ok(html! {
        section aria-labelledby="summary" {
            h2 id="summary" { "Summary" }
            @if claimed.is_empty() {
                p {
                    "No operation of this model has an artefact: nothing is claimed and nothing "
                    "checked."
                }
            } @else {
                (table(audit, &claimed))
            }
            @if recomputed > 0 {
                p {
                    (counted(recomputed, "node has", "nodes have")) " no artefact: nothing is "
                    "claimed there. "
                    a href="#recomputed" { "They are listed below." }
                }
            }
            (matrix(audit, &claimed))
            (verifiers(audit)?)
        }
    })
}

fn table(audit: &Audit, claimed: &[(usize, &OperationAudit)]) -> Markup {
    let settings = &audit.settings;
    let bits = i32::try_from(settings.soundness_bits).unwrap_or(i32::MAX).saturating_neg();
    let asked = number(settings.min_deviation);
    scrolled(
        "Summary of the operations",
        html! {
            table class="summary" {
                caption {
                    "Operations. Rates are those of the compiled verifier: errors / trials and 95 "
                    "% upper bound. Attacks: the one accepted most, among wrong outputs of "
                    "deviation "
                    (asked) " or more; host includes outsider."
                }
                thead { tr {
                    th scope="col" { "operation" }
                    th scope="col" { "kind" }
                    th scope="col" { "checked by" }
                    th scope="col" class="num" { "certified at " (asked) }
                    th scope="col" class="num" { "2" (superscript(bits)) " from deviation" }
                    th scope="col" class="num" { "honest runs rejected" }
                    th scope="col" class="num" { "host, worst attack" }
                    th scope="col" class="num" { "oracle host, worst" }
                    th scope="col" class="num" { "white box, worst" }
                    th scope="col" class="num" { "forged proofs of true outputs, worst" }
                    th scope="col" class="num" { "check / recompute" }
                    th scope="col" class="num" { "bytes of a proof" }
                } }
                tbody {
                    @for &(index, operation) in claimed { (table_row(index, operation)) }
                }
            }
        },
    )
}

fn table_row(index: usize, operation: &OperationAudit) -> Markup {
    let certificate = operation.certificate.as_ref();
    let worst_by =
        |by: fn(Attacker) -> bool| worst_wrong_output(&operation.attacks, Defence::Learned, by);
    html! {
        tr {
            th scope="row" {
                a href={ "#" (anchor(index)) } title=(printable(&operation.operation)) {
                    (name(&shortened(&operation.operation, SHORT_NAME)))
                }
            }
            td { (printable(&operation.kind)) }
            td { (operation.checked) }
            td class="num" { (certified(certificate)) }
            td class="num" { (certified_from(certificate)) }
            (rate_cell(Some(&rejected(&operation.honest, Defence::Learned)), false))
            (worst_cell(worst_by(is_host)))
            (worst_cell(worst_by(|attacker| attacker == Attacker::Oracle)))
            (worst_cell(worst_by(|attacker| attacker == Attacker::WhiteBox)))
            (worst_cell(worst_forged_proof(&operation.attacks, Defence::Learned)))
            td class="num" { (cost(operation.cost.as_ref())) }
            td class="num" { (bytes(operation.bytes)) }
        }
    }
}

fn worst_cell(worst: Option<Worst<'_>>) -> Markup {
    match worst {
        None => html! { td class="num none" { (NOT_MEASURED) } },
        Some(Worst { attack, wrong }) => html! {
            td class="num" {
                (mark(wrong)) span class="n" { (count(wrong)) } br;
                span class="b" { (bound(wrong)) } br;
                span class="by" title=(printable(&attack.setting)) {
                    (shortened(&attack.attack, 20))
                }
            }
        },
    }
}

/// False acceptance by attack and operation.
fn matrix(audit: &Audit, claimed: &[(usize, &OperationAudit)]) -> Markup {
    let by_hosts = claimed
        .iter()
        .flat_map(|(_, operation)| &operation.attacks)
        .filter(|attack| is_host(attack.attacker));
    let rows = kinds(by_hosts, &audit.settings.attacks);
    html! {
        h3 { "Attacks by a host, operation by operation" }
        @if rows.is_empty() {
            p { "No attack by a host was run." }
        } @else {
            p {
                "What the compiled verifier accepted of attacks without key and without answers: "
                "the 95 % upper bound of false acceptance, and accepted / tried, for deviations of "
                (number(audit.settings.min_deviation)) " or more. " span class="mark" { "▲" }
                " marks a cell where something was accepted; " (NOT_MEASURED) " one that was not "
                "measured. The shade follows the bound, which few trials make wide: "
                @for (class, words) in SHADES {
                    span class={ "swatch " (class) } { (words) } " "
                }
            }
            // Parts of equal width, so that the last is not a narrow rest.
            @let parts = claimed.len().div_ceil(MATRIX_COLUMNS);
            @for operations in claimed.chunks(claimed.len().div_ceil(parts)) {
                (matrix_part(&rows, operations))
            }
        }
    }
}

/// Classes of bounds, for shades: the last holds everything above.
const SHADES: [(&str, &str); 5] =
    [("s0", "≤ 0.1 %"), ("s1", "≤ 1 %"), ("s2", "≤ 10 %"), ("s3", "≤ 50 %"), ("s4", "more")];

fn shade(rate: &Rate) -> &'static str {
    match rate.upper_95 {
        bound if bound <= 0.001 => "s0",
        bound if bound <= 0.01 => "s1",
        bound if bound <= 0.1 => "s2",
        bound if bound <= 0.5 => "s3",
        _ => "s4",
    }
}

fn matrix_part(rows: &[Kind<'_>], operations: &[(usize, &OperationAudit)]) -> Markup {
    scrolled(
        "False acceptance by attack and operation",
        html! {
            table class="matrix" {
                caption { "False acceptance by the compiled verifier, by attack and operation" }
                thead { tr {
                    th scope="col" { "attack" }
                    @for (index, operation) in operations {
                        th scope="col" class="upright" {
                            a href={ "#" (anchor(*index)) }
                                title=(printable(&operation.operation)) {
                                (name(&shortened(&operation.operation, SHORT_NAME)))
                            }
                        }
                    }
                } }
                @for family in Family::ALL {
                    @let of_family: Vec<_> = rows.iter().filter(|row| row.0 == family).collect();
                    @if !of_family.is_empty() {
                        tbody {
                            tr { th scope="rowgroup" class="group" colspan=(1 + operations.len()) {
                                (family)
                            } }
                            @for row in of_family { (matrix_row(*row, operations)) }
                        }
                    }
                }
            }
        },
    )
}

fn matrix_row(kind: Kind<'_>, operations: &[(usize, &OperationAudit)]) -> Markup {
    let (_, attack, attacker) = kind;
    let cell = |operation: &OperationAudit| {
        let of_row = operation.attacks.iter().filter(|attack| is_of(attack, kind));
        // One attack in several settings: the worst of them.
        match worst(of_row, Defence::Learned) {
            None => html! { td class="num none" { (NOT_MEASURED) } },
            Some(Worst { wrong, .. }) => html! {
                td class={ "num " (shade(wrong)) } {
                    (mark(wrong)) span class="b" { (bound(wrong)) } br;
                    span class="n" { (count(wrong)) }
                }
            },
        }
    };
    let on_true_outputs = operations
        .iter()
        .flat_map(|(_, operation)| &operation.attacks)
        .any(|attack| is_of(attack, kind) && presents_true_outputs(attack));
    html! {
        tr {
            th scope="row" {
                (printable(attack))
                @if attacker != Attacker::Host { " (" (attacker) ")" }
                @if on_true_outputs { " (true outputs)" }
            }
            @for (_, operation) in operations { (cell(operation)) }
        }
    }
}

fn verifiers(audit: &Audit) -> Result<Markup, PlotError> {
    let verifiers = compared(audit);
    if verifiers.is_empty() {
        return Ok(html! {});
    }
    let accepted = charts::compared(&verifiers, "wrong outputs accepted", |verifier| {
        verifier.worst.map(|(_, worst)| *worst.wrong)
    })?;
    let rejected =
        charts::compared(&verifiers, "honest runs rejected", |verifier| Some(verifier.rejected))?;
    Ok(html! {
        h3 { "Verifiers compared" }
        div class="charts" {
            figure class="chart" {
                (accepted)
                figcaption {
                    "False acceptance: of all operations and host attacks with wrong outputs, the "
                    "one that the verifier accepted most."
                }
            }
            figure class="chart" {
                (rejected)
                figcaption { "False rejection: all honest runs of single operations together." }
            }
        }
        p class="footnote" {
            "Dots are observed shares, whiskers reach to the 95 % upper bound; a ring with an "
            "arrow is the upper bound where nothing was observed."
        }
        (verifiers_table(&verifiers))
    })
}

fn verifiers_table(verifiers: &[Compared<'_>]) -> Markup {
    scrolled(
        "Verifiers compared",
        html! {
            table {
                caption {
                    "Verifiers compared, over single operations. They are measured on the same "
                    "attacks only where the counts of attacks agree."
                }
                thead { tr {
                    th scope="col" { "verifier" }
                    th scope="col" class="num" { "wrong outputs accepted, worst" }
                    th scope="col" { "by" }
                    th scope="col" class="num" { "host attacks measured on" }
                    th scope="col" class="num" { "honest runs rejected" }
                } }
                tbody {
                    @for verifier in verifiers {
                        tr {
                            th scope="row" { (verifier.defence) }
                            (rate_cell(verifier.worst.map(|(_, worst)| worst.wrong), true))
                            td {
                                @if let Some((operation, worst)) = verifier.worst {
                                    (printable(&worst.attack.attack)) " on "
                                    (name(&shortened(&operation.operation, SHORT_NAME)))
                                }
                            }
                            td class="num" { (grouped(verifier.attacks as u64)) }
                            (rate_cell(Some(&verifier.rejected), false))
                        }
                    }
                }
            }
        },
    )
}
