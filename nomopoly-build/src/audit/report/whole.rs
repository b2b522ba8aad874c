//! The section of the model as a whole: honest runs, attacks on the whole check, and drift.

use maud::{Markup, html};
use nomopoly_manifest::{Audit, DriftPoint, WholeModelAudit};

use super::charts::{self, DriftShare};
use super::tables::{NOT_MEASURED, attacks, honest, rate_cell, scrolled};
use super::words::{at_most, bytes, cost, number, printable};
use crate::plots::PlotError;
use crate::plots::numbers::grouped;

const ACCEPTED: DriftShare =
    DriftShare { title: "share of runs accepted", rate: |point| &point.accepted };
const CHANGED: DriftShare =
    DriftShare { title: "accepted runs with another class", rate: |point| &point.class_changed };

pub fn section(audit: &Audit) -> Result<Markup, PlotError> {
    let whole = &audit.whole;
    Ok(html! {
        section aria-labelledby="whole" {
            h2 id="whole" { "The whole model" }
            (size(whole))
            h3 { "Honest runs" }
            (honest("Honest runs of the whole model", &whole.honest))
            h3 { "Substituted models and edited outputs" }
            (attacks(
                "Attacks on the whole model",
                &whole.attacks,
                &audit.settings.attacks,
                audit.settings.min_deviation,
            ))
            (drift(&whole.drift)?)
        }
    })
}

fn size(whole: &WholeModelAudit) -> Markup {
    html! {
        p {
            "One proof holds " (bytes(whole.proof_bytes)) ". Checking the operations that have an "
            "artefact takes " (grouped(whole.cost.verify)) " multiply-accumulates and running them "
            (grouped(whole.cost.recompute))
            @if whole.cost.recompute > 0 { ": a ratio of " (cost(Some(&whole.cost))) }
            "."
        }
    }
}

fn drift(points: &[DriftPoint]) -> Result<Markup, PlotError> {
    Ok(html! {
        h3 { "Drift" }
        @if points.is_empty() {
            p { "No drift attack was run." }
        } @else {
            p {
                "Every operation's tolerance is spent at once, in a direction sought to change the "
                "model's answer. A drift that stays within all tolerances is accepted by design: "
                "what counts is how far it moves the answer."
            }
            div class="charts" {
                figure class="chart" {
                    (charts::drift(points, &ACCEPTED)?)
                    figcaption {
                        "Runs accepted, by the share of every acceptance threshold spent."
                    }
                }
                figure class="chart" {
                    (charts::drift(points, &CHANGED)?)
                    figcaption {
                        "Accepted runs whose largest output element is another one than in the "
                        "honest run."
                    }
                }
            }
            p class="footnote" { "Whiskers reach to the 95 % upper bounds." }
            (drift_table(points))
        }
    })
}

fn drift_table(points: &[DriftPoint]) -> Markup {
    scrolled(
        "Drift attacks",
        html! {
            table class="rows" {
                caption {
                    "Drift attacks. Moved: relative deviation of the model's first output over the "
                    "accepted runs."
                }
                thead { tr {
                    th scope="col" { "attacker" }
                    th scope="col" { "direction" }
                    th scope="col" class="num" { "share of thresholds spent" }
                    th scope="col" class="num" { "runs accepted" }
                    th scope="col" class="num" { "moved, median" }
                    th scope="col" class="num" { "moved, most" }
                    th scope="col" class="num" { "accepted with another class" }
                } }
                tbody {
                    @for point in points {
                        tr {
                            th scope="row" { (point.attacker) }
                            td { (printable(&point.direction)) }
                            td class="num" { (number(point.spent)) }
                            (rate_cell(Some(&point.accepted), false))
                            td class="num" { (moved(point.moved)) }
                            td class="num" { (moved(point.most_moved)) }
                            (rate_cell(Some(&point.class_changed), true))
                        }
                    }
                }
            }
        },
    )
}

fn moved(deviation: Option<f64>) -> String {
    deviation.map_or_else(|| NOT_MEASURED.into(), at_most)
}
