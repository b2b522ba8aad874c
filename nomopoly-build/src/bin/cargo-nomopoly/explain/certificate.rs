//! The certificate in words and numbers.

use nomopoly_build::manifest::{Certificate, Metrics};
use nomopoly_build::runtime::certificate::log2_bound;
use serde_json::{Value, json};

use crate::numbers::{deviation, power_of_two, rate};
use crate::table::{Align, Table};

/// Relative deviations at which the bound is shown.
const SHOWN: [f64; 5] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5];

pub fn text(metrics: &Metrics) -> String {
    let mut text = String::from("Certificate\n");
    match &metrics.figures.certificate {
        None => text.push_str("  none\n"),
        Some(certificate) => {
            text.push_str(&words(certificate, metrics.options.soundness_bits));
            text.push_str(&bounds(certificate).indented());
        }
    }
    if !metrics.deviations.is_empty() {
        text.push_str("\nDense random deviations of one size, with the public generator's proof\n");
        text.push_str(&measured(metrics).indented());
    }
    text
}

fn words(certificate: &Certificate, bits: u32) -> String {
    let Certificate { sketches, threshold, spread, median_spread, .. } = certificate;
    let units = format!(
        "t = {threshold:.2} rounding units (the largest residual that is accepted)\n  \
         s = {spread:.2e} for the worst held-out input, {median_spread:.2e} for the median one \
         (rounding units of all positions over the norm of the output)\n"
    );
    let reached = deviation(certificate.deviation_at_soundness_bits);
    if *sketches == 0 {
        return format!(
            "  A wrong output of relative deviation d = |y' - f(x)| / |f(x)| is rejected with \
             certainty when d > t s.\n  {units}  so every deviation above {reached} is rejected\n"
        );
    }
    format!(
        "  A wrong output of relative deviation d = |y' - f(x)| / |f(x)| passes with probability at \
         most\n  (2 Phi(t s / d) - 1)^k over the key, Phi being the normal distribution function.\n  \
         k = {sketches} secret vectors\n  {units}  so at most 2^-{bits} from a deviation of \
         {reached} on\n"
    )
}

fn bound(certificate: &Certificate, spread: f64, deviation: f64) -> f64 {
    log2_bound(certificate.sketches, certificate.threshold, spread, deviation)
}

fn bounds(certificate: &Certificate) -> Table {
    let mut table = Table::new(&[
        ("deviation", Align::Right),
        ("passes at most, worst input", Align::Right),
        ("median input", Align::Right),
    ]);
    for deviation in SHOWN {
        let cell = |spread| power_of_two(Some(bound(certificate, spread, deviation)));
        table.row([
            format!("{deviation:.0e}"),
            cell(certificate.spread),
            cell(certificate.median_spread),
        ]);
    }
    table
}

fn measured(metrics: &Metrics) -> Table {
    let mut table = Table::new(&[
        ("deviation", Align::Right),
        ("accepted", Align::Right),
        ("certified at most", Align::Right),
    ]);
    for point in &metrics.deviations {
        let certified = match metrics.figures.certificate {
            Some(_) => power_of_two(point.certified_log2),
            None => "-".into(),
        };
        table.row([format!("{:.1e}", point.deviation), rate(&point.measured), certified]);
    }
    table
}

/// The bound at the shown deviations; `null` stands for "always rejected".
pub fn json(metrics: &Metrics) -> Value {
    let Some(certificate) = &metrics.figures.certificate else { return Value::Null };
    SHOWN
        .iter()
        .map(|&deviation| {
            json!({
                "deviation": deviation,
                "log2_worst": bound(certificate, certificate.spread, deviation),
                "log2_median": bound(certificate, certificate.median_spread, deviation),
            })
        })
        .collect()
}
