//! What a reader has to know before the figures: what was asked for, and what the words mean.

use maud::{Markup, html};
use nomopoly_manifest::{Attacker, Audit, Defence};

use super::tables::NOT_MEASURED;
use super::words::{counted, number, printable};
use crate::plots::numbers::grouped;

/// Model, digest and settings.
pub fn header(audit: &Audit) -> Markup {
    let settings = &audit.settings;
    let runtimes: Vec<String> =
        settings.runtimes.iter().map(|runtime| printable(runtime)).collect();
    html! {
        header {
            h1 { "Audit of " bdi { (printable(&audit.model)) } }
            p { "What every operation's proof is worth, certified and measured." }
            dl class="settings" {
                (setting("model digest (BLAKE3)", &html! { code { (printable(&audit.digest)) } }))
                (setting("samples", &html! {
                    (grouped(settings.samples.into()))
                    " trials of each cheap attack on each operation, and honest runs; costly "
                    "attacks have fewer"
                }))
                (setting("distinct inputs", &html! {
                    (grouped(settings.distinct_inputs.into())) "; further trials repeat them under "
                    "fresh keys"
                }))
                (setting("data", &html! { bdi { (printable(&settings.data)) } }))
                (setting("runtimes of honest runs", &html! {
                    @if runtimes.is_empty() { "none" } @else { (runtimes.join(", ")) }
                }))
                (setting("seed", &html! { (settings.seed) }))
                (setting("min_deviation", &html! {
                    (number(settings.min_deviation))
                    ", the smallest relative deviation that counts as a wrong output"
                }))
                (setting("soundness_bits", &html! { (settings.soundness_bits) }))
                (setting("attacks asked for", &html! {
                    @if settings.attacks.is_empty() { "none" } @else {
                        (counted(settings.attacks.len(), "attack", "attacks")) ": "
                        (settings.attacks.iter().map(|name| printable(name)).collect::<Vec<_>>()
                            .join(", "))
                    }
                }))
            }
        }
    }
}

fn setting(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// The meaning of the words and signs.
pub fn section(audit: &Audit) -> Markup {
    html! {
        section aria-labelledby="reading" {
            h2 id="reading" { "How to read this" }
            div class="reading" {
                div {
                    h3 { "Words" }
                    (words(audit))
                }
                div {
                    h3 { "Attackers" }
                    dl {
                        @for attacker in Attacker::ALL {
                            dt { (attacker) }
                            dd { (holds(attacker)) }
                        }
                    }
                    h3 { "Verifiers" }
                    dl {
                        @for defence in Defence::ALL {
                            dt { (defence) }
                            dd { (does(defence)) }
                        }
                    }
                }
            }
        }
    }
}

fn words(audit: &Audit) -> Markup {
    let distinct = audit.settings.distinct_inputs;
    html! {
        dl {
            dt { "Certified" }
            dd {
                "A formula bounds the probability, over the verifier's secret key, that an error "
                "of a given size is accepted. It holds whatever a host without the key sends, also "
                "for attacks that nobody has tried; its scale is that of the worst held-out input."
            }
            dt { "Measured" }
            dd {
                "Counts of trials of the attacks named here. They say nothing of attacks that were "
                "not run."
            }
            dt { "Rates" }
            dd {
                "Errors / trials, with the exact one-sided 95 % upper bound of Clopper and "
                "Pearson: 0/1,000 (≤ 0.3 %) means that none of 1,000 trials failed, and that the "
                "true rate is at most 0.3 % with 95 % confidence. Each bound stands for itself: of "
                "many, about one in twenty may be exceeded. Trials count as independent, although "
                "they "
                "share " (counted(distinct as usize, "input", "inputs")) ". "
                (NOT_MEASURED) " stands for “not measured”."
            }
            dt { "Deviation" }
            dd {
                "Relative L2 error of a claimed output y′ of an operation f on the input x: "
                "‖y′ − f(x)‖₂ / ‖f(x)‖₂."
            }
            dt { "Rounding units" }
            dd {
                "Residuals are measured in the rounding error that honest floating-point runs may "
                "have, a scale that depends on input and weights and never on what the host sends."
            }
        }
    }
}

fn holds(attacker: Attacker) -> &'static str {
    match attacker {
        Attacker::Outsider => {
            "Sees the traffic and can replace messages; holds neither model nor prover."
        }
        Attacker::Host => {
            "Runs the model: holds its weights, the whole prover and the verifier's trained part, \
             but not the verifier's key. This is the attacker that a proof is meant to stop, the \
             default claim."
        }
        Attacker::Oracle => {
            "A host that also sees whether its forgeries are accepted, or their scores where an \
             attack says so, and adapts. Enough answers under one key leak it."
        }
        Attacker::WhiteBox => {
            "A host that holds the key too. It can always forge, for any designated verifier: this \
             is measured, and nothing is promised."
        }
    }
}

fn does(defence: Defence) -> &'static str {
    match defence {
        Defence::Learned => {
            "The verifier that the build made: residuals against secret sketches, judged by the \
             trained head."
        }
        Defence::FixedThreshold => {
            "The same residuals against one fixed threshold: nothing learned."
        }
        Defence::Perceptron => {
            "A plain perceptron trained on input, output and proof, for comparison. Nothing is \
             certified for it."
        }
        Defence::Recompute => {
            "Running the operation again and comparing outputs within rounding: the costly way, \
             for comparison. It ignores proofs."
        }
    }
}
