//! The plots of a registry entry, as SVG text.
//!
//! A picture shows the figures of `compilation_metrics.json` and nothing else, so equal metrics
//! give equal bytes. No metrics, however odd, make it panic: values that are not finite are left
//! out, and an empty history is drawn as empty axes.
#![forbid(unsafe_code)]

pub(crate) mod axis;
pub(crate) mod canvas;
mod cost;
pub(crate) mod numbers;
pub(crate) mod panel;
pub(crate) mod summary;
mod training;

pub use cost::{Cost, Growth, cost_against_size, exponent};
use nomopoly_manifest::{Case, Metrics};
use plotters::style::RGBColor;

/// Size of every plot in pixels.
const WIDTH: u32 = 1100;
const HEIGHT: u32 = 760;
/// Scores from here on are accepted.
const ACCEPTANCE: f64 = 0.5;

/// The drawing library refused to draw.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw the plot: {message}")]
pub struct PlotError {
    message: String,
}

/// The history of a training run by epoch, 1100 x 760 pixels: held-out accuracy by case; the
/// adversary's fool rate and the smallest deviation of the fakes; the losses in nats; the mean
/// scores of honest and fake samples.
///
/// # Errors
/// [`PlotError`] if the drawing library fails, which no metrics are known to cause.
pub fn training_metrics(metrics: &Metrics) -> Result<String, PlotError> {
    training::plot(metrics)
}

/// What training reached, 1100 x 760 pixels: the scores of every case on the test inputs, and
/// false acceptance against deviation, measured and certified.
///
/// # Errors
/// [`PlotError`] if the drawing library fails, which no metrics are known to cause.
pub fn training_summary(metrics: &Metrics) -> Result<String, PlotError> {
    summary::plot(metrics)
}

/// The colour of a case in both plots.
fn case_color(case: Case) -> RGBColor {
    match case {
        Case::Honest => canvas::BLUE,
        Case::FakeOutputFakeProof => canvas::VERMILLION,
        Case::RealOutputFakeProof => canvas::GREEN,
        Case::FakeOutputRealProof => canvas::ORANGE,
        Case::FakeOutputGeneratedProof => canvas::PURPLE,
    }
}

#[cfg(test)]
mod tests;
