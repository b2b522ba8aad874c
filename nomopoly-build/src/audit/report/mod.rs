//! An audit for people: one HTML page that needs nothing else, and a summary for a terminal.
//!
//! Both show the figures of `audit.json` and what follows from them, so equal audits give equal
//! bytes. No audit, however odd, makes them panic.

mod charts;
mod figures;
mod grid;
mod operations;
mod overview;
mod reading;
mod tables;
mod text;
mod whole;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use nomopoly_manifest::Audit;

pub use self::text::summary;
use self::words::printable;
use crate::plots::PlotError;

const STYLE: &str = include_str!("style.css");

/// A page with everything that the audit measured: style and charts stand in it, and it loads
/// nothing.
///
/// # Errors
/// [`PlotError`] if the drawing library fails, which no audit is known to cause.
pub fn html(audit: &Audit) -> Result<String, PlotError> {
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Audit of " (printable(&audit.model)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (reading::header(audit))
                main {
                    (reading::section(audit))
                    (overview::section(audit)?)
                    (whole::section(audit)?)
                    (operations::section(audit)?)
                    (not_run(audit))
                }
                (footer(audit))
            }
        }
    };
    Ok(page.into_string())
}

fn not_run(audit: &Audit) -> Markup {
    markup! {
        section aria-labelledby="not-run" {
            h2 id="not-run" { "Not run" }
            @if audit.skipped.is_empty() {
                p { "Everything that was asked for was run." }
            } @else {
                p { "Asked for and not run; nothing here says anything of it." }
                ul {
                    @for skipped in &audit.skipped {
                        li {
                            bdi { (printable(&skipped.what)) } ": " (printable(&skipped.reason))
                        }
                    }
                }
            }
        }
    }
}

/// The methods that the page names, without links: it needs no network.
const SOURCES: [&str; 5] = [
    "R. Freivalds, Probabilistic machines can use less running time. IFIP Congress, 1977.",
    "C. J. Clopper, E. S. Pearson, The use of confidence or fiducial limits illustrated in the \
     case of the binomial. Biometrika 26, 1934.",
    "F. Croce, M. Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse \
     parameter-free attacks. ICML, 2020.",
    "M. Andriushchenko, F. Croce, N. Flammarion, M. Hein, Square attack: a query-efficient \
     black-box adversarial attack via random search. ECCV, 2020.",
    "A. Athalye, N. Carlini, D. Wagner, Obfuscated gradients give a false sense of security: \
     circumventing defenses to adversarial examples. ICML, 2018.",
];

fn footer(audit: &Audit) -> Markup {
    markup! {
        footer {
            p {
                "Audit schema " (audit.schema) ", nomopoly-build " (printable(&audit.version)) "."
            }
            h2 { "Sources" }
            ul { @for source in SOURCES { li { (source) } } }
        }
    }
}

#[cfg(test)]
mod tests;
