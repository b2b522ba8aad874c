//! A section for each operation, and the table of the nodes that the verifier recomputes.

use maud::{Markup, html};
use nomopoly_manifest::{Audit, AuditSettings, Certificate, CheckedHow, OperationAudit};

use super::charts::Agreement;
use super::figures::is_claimed;
use super::overview::{anchor, claimed};
use super::tables::{agreement, attacks, honest, name, scrolled};
use super::words::{at_most, bytes, certified_from, cost, number, printable};
use crate::plots::PlotError;
use crate::plots::numbers::grouped;

pub fn section(audit: &Audit) -> Result<Markup, PlotError> {
    let claimed = claimed(audit);
    Ok(html! {
        section aria-labelledby="operations" {
            h2 id="operations" { "Operations" }
            (small_multiples(audit, &claimed)?)
            @for (index, operation) in &claimed { (one(*index, operation, &audit.settings)) }
            (recomputed(audit))
        }
    })
}

/// Acceptance against deviation for every operation that has it.
fn small_multiples(
    audit: &Audit,
    claimed: &[(usize, &OperationAudit)],
) -> Result<Markup, PlotError> {
    let Some(charts) = Agreement::new(audit) else { return Ok(html! {}) };
    Ok(html! {
        h3 { "Measured acceptance against the certified bound" }
        p {
            "Errors of one size, of the shape for which the bound is tight. Where the bound is "
            "right, no measured share lies above it by more than chance."
        }
        figure class="chart legend" {
            (charts.legend()?)
            figcaption { "Legend of the charts below." }
        }
        div class="charts" {
            @for (index, operation) in claimed {
                @if charts.has(operation) {
                    figure class="chart" {
                        (charts.panel(operation)?)
                        figcaption {
                            a href={ "#" (anchor(*index)) } { (name(&operation.operation)) }
                            (panel_words(operation))
                        }
                    }
                }
            }
        }
    })
}

fn panel_words(operation: &OperationAudit) -> &'static str {
    match &operation.certificate {
        None => ": nothing certified.",
        Some(certificate) if certificate.sketches == 0 => {
            ": replay. Beyond the tolerance the bound is 0, which this axis cannot show."
        }
        Some(_) => "",
    }
}

fn one(index: usize, operation: &OperationAudit, settings: &AuditSettings) -> Markup {
    let id = anchor(index);
    let label = |what: &str| printable(&format!("{what} {}", operation.operation));
    html! {
        section class="operation" aria-labelledby=(id) {
            h3 id=(id) { (name(&operation.operation)) ", " (printable(&operation.kind)) }
            p {
                (how(operation.checked))
                @if let Some(entry) = &operation.entry { " Registry entry " (name(entry)) "." }
            }
            (certificate(operation, settings))
            p {
                @match &operation.cost {
                    Some(macs) => {
                        "One check takes " (grouped(macs.verify)) " multiply-accumulates and one "
                        "recompute " (grouped(macs.recompute))
                        @if macs.recompute > 0 { ": a ratio of " (cost(Some(macs))) }
                        ". "
                    }
                    None => "The cost of a check was not counted. ",
                }
                "A proof holds " (bytes(operation.bytes)) " for it."
            }
            @if let Some(sentence) = &operation.no_better_than_fixed {
                p class="note" { strong { "Nothing gained by learning: " } (printable(sentence)) }
            }
            (honest(&label("Honest runs of"), &operation.honest))
            (attacks(
                &label("Attacks on"),
                &operation.attacks,
                &settings.attacks,
                settings.min_deviation,
            ))
            @if !operation.agreement.is_empty() { (agreement(operation)) }
        }
    }
}

fn how(checked: CheckedHow) -> &'static str {
    match checked {
        CheckedHow::Sketch => {
            "Checked by sketch: the revealed output is compared with secret random combinations of \
             the operation."
        }
        CheckedHow::Replay => {
            "Checked by replay: the claimed output is compared with the recomputed one."
        }
        CheckedHow::Recomputed => {
            "Recomputed: in a check of the whole model the verifier computes it itself and the \
             host claims nothing about it."
        }
        CheckedHow::Unverified => {
            "Unverified: a perceptron judges it, or nothing does. No bound holds."
        }
    }
}

fn certificate(operation: &OperationAudit, settings: &AuditSettings) -> Markup {
    let Some(certificate) = &operation.certificate else {
        return html! { p { "Certificate: none." } };
    };
    let asked = number(settings.min_deviation);
    let threshold = at_most(certificate.threshold);
    let spread = at_most(certificate.spread);
    html! {
        @if certificate.sketches == 0 {
            p {
                "Certificate: an output of relative deviation d is rejected with certainty where d "
                "> t·s."
            }
            p class="formula" {
                "t·s = " (threshold) " · " (spread) " = " (certified_from(Some(certificate)))
            }
        } @else {
            p {
                "Certificate: a wrong output of relative deviation d is accepted with probability "
                "at most"
            }
            p class="formula" {
                "(2Φ(t·s/d) − 1)" sup { "k" } " = (2Φ(" (threshold) " · " (spread) " / d) − 1)"
                sup { (certificate.sketches) }
            }
        }
        p {
            (reached(certificate, &asked))
            @if certificate.sketches > 0 {
                " At most 2" sup { "−" (settings.soundness_bits) } " "
                @if certificate.deviation_at_soundness_bits.is_finite() {
                    "from d = " (certified_from(Some(certificate))) " on."
                } @else { "is reached at no deviation." }
            }
        }
        p class="footnote" {
            @if certificate.sketches > 0 {
                "Φ: the distribution function of the standard normal distribution. k = "
                (certificate.sketches) ": secret sketches. "
            }
            "t = " (threshold) ": the largest residual accepted, in rounding units. s = " (spread)
            ": root of the sum over positions of the squared rounding unit, over the norm of the "
            "true "
            "output, for the worst held-out input (" (number(certificate.median_spread)) " for the "
            "median one). Numbers are rounded so that they claim less."
        }
    }
}

/// What the certificate gives at `min_deviation`.
fn reached(certificate: &Certificate, asked: &str) -> Markup {
    match certificate.bits_at_min_deviation {
        None => html! { "At d = " (asked) " the bound is 0." },
        Some(bits) if bits.is_finite() && bits >= 0.1 => html! {
            // Rounded down: a certificate must not claim more than was shown.
            "At d = " (asked) " this is at most 2"
            sup { "−" (format!("{:.1}", (bits * 10.0).floor() / 10.0)) } "."
        },
        Some(_) => html! { "At d = " (asked) " nothing is certified." },
    }
}

fn recomputed(audit: &Audit) -> Markup {
    let nodes: Vec<&OperationAudit> =
        audit.operations.iter().filter(|operation| !is_claimed(operation)).collect();
    if nodes.is_empty() {
        return html! {};
    }
    html! {
        h3 id="recomputed" { "Nodes without an artefact" }
        (scrolled(
            "Nodes without an artefact",
            html! {
                table {
                    caption { "Nothing is claimed about these nodes, so nothing was attacked." }
                    thead { tr {
                        th scope="col" { "node" }
                        th scope="col" { "kind" }
                        th scope="col" { "checked by" }
                    } }
                    tbody {
                        @for node in nodes {
                            tr {
                                th scope="row" { (name(&node.operation)) }
                                td { (printable(&node.kind)) }
                                td { (node.checked) }
                            }
                        }
                    }
                }
            },
        ))
    }
}
