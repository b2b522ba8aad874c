//! The history of a training run: accuracy, adversary, losses and scores by epoch.

use nomopoly_manifest::{Case, Epoch, Metrics};

use super::axis::{Axis, range};
use super::canvas::{
    BLUE, Canvas, DASH_DOT, DASHED, DOTTED, Dash, Font, GREEN, LONG_DASH, Marker, ORANGE, PURPLE,
    Point, SOLID, TITLE, VERMILLION, draw,
};
use super::panel::{Frame, Look, Panel, Series, heading, legend, legend_height, mean_look};
use super::{ACCEPTANCE, HEIGHT, PlotError, WIDTH, case_color};

/// Epochs that are drawn at most; more would be finer than the pixels.
const DRAWN_EPOCHS: usize = 400;
/// Losses below this lie on the lower edge of a logarithmic axis.
const SMALLEST_LOSS: f64 = 1e-6;
const TICKS: u32 = 5;
/// A cell of the grid, and the distances within it.
const CELL: (f64, f64) = (WIDTH as f64 / 2.0, 356.0);
const CELLS_TOP: f64 = 42.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 18.0;
const BOTTOM: f64 = 46.0;

pub(super) fn plot(metrics: &Metrics) -> Result<String, PlotError> {
    let step = metrics.history.len().div_ceil(DRAWN_EPOCHS).max(1);
    let history: Vec<&Epoch> = metrics.history.iter().step_by(step).collect();
    let history = History { epochs: &history, step };
    draw(WIDTH, HEIGHT, |canvas| {
        let title = format!("{}: training", metrics.entry);
        canvas.text((LEFT, 20.0), &title, Font::left(TITLE).bold())?;
        accuracy(canvas, &history, cell(0, 0))?;
        adversary(canvas, &history, cell(1, 0))?;
        losses(canvas, &history, cell(0, 1))?;
        scores(canvas, &history, cell(1, 1))
    })
}

/// The epochs to draw.
struct History<'a> {
    epochs: &'a [&'a Epoch],
    /// Every how many epochs one is drawn.
    step: usize,
}

impl History<'_> {
    fn axis(&self) -> Axis {
        let (first, last) =
            range(self.epochs.iter().map(|epoch| f64::from(epoch.epoch))).unwrap_or((1.0, 2.0));
        let title = match self.step {
            1 => "epoch".to_string(),
            step => format!("epoch (1 in {step} drawn)"),
        };
        Axis::integer(title, first, last, 10)
    }

    fn series(&self, look: Look, value: impl Fn(&Epoch) -> f64) -> Series {
        let points = self.epochs.iter().map(|epoch| (f64::from(epoch.epoch), value(epoch)));
        Series { look, points: points.collect() }
    }
}

fn cell(column: u32, row: u32) -> Frame {
    let left = f64::from(column) * CELL.0;
    let top = CELLS_TOP + f64::from(row) * CELL.1;
    Frame { left: left + LEFT, top, right: left + CELL.0 - RIGHT, bottom: top + CELL.1 - BOTTOM }
}

/// Draws heading and legend at the top of `frame` and returns what is left below them.
fn headed(
    canvas: &mut Canvas<'_>,
    frame: Frame,
    title: &str,
    looks: &[&Look],
) -> Result<Frame, PlotError> {
    let width = frame.right - frame.left;
    heading(canvas, (frame.left, frame.top + 10.0), title)?;
    legend(canvas, looks, (frame.left, frame.top + 22.0), width)?;
    Ok(Frame { top: frame.top + 28.0 + legend_height(looks, width), ..frame })
}

fn values(series: &[Series]) -> impl Iterator<Item = f64> {
    series.iter().flat_map(|series| series.points.iter().map(|point: &Point| point.1))
}

/// The last part of every panel: axes, guides below the data, data or a word on its absence.
fn finish(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    series: &[Series],
    guide: Option<(f64, &Look)>,
    x_labels: bool,
) -> Result<(), PlotError> {
    panel.axes(canvas, x_labels)?;
    if values(series).all(|value| !value.is_finite()) {
        let empty = series.iter().all(|series| series.points.is_empty());
        let reason = if empty { "no epochs recorded" } else { "no value that this axis can show" };
        return panel.message(canvas, reason);
    }
    if let Some((y, look)) = guide {
        panel.horizontal(canvas, y, look)?;
    }
    panel.lines(canvas, series)
}

/// Dash and marker of a case; the colour is in [`case_color`].
fn case_style(case: Case) -> (Dash, Marker) {
    match case {
        Case::Honest => (SOLID, Marker::Ring),
        Case::FakeOutputFakeProof => (DASHED, Marker::Square),
        Case::RealOutputFakeProof => (DOTTED, Marker::TriangleUp),
        Case::FakeOutputRealProof => (DASH_DOT, Marker::Diamond),
        Case::FakeOutputGeneratedProof => (LONG_DASH, Marker::Cross),
    }
}

fn accuracy(canvas: &mut Canvas<'_>, history: &History<'_>, frame: Frame) -> Result<(), PlotError> {
    let mean = mean_look("mean of the five cases");
    let mut series = vec![history.series(mean, |epoch| epoch.mean_accuracy)];
    for case in Case::ALL {
        let (dash, marker) = case_style(case);
        let look = Look::line(case.label(), case_color(case), dash, marker);
        // An epoch that did not measure a case is left out of its line.
        let share = |epoch: &Epoch| epoch.accuracy.get(&case).copied().unwrap_or(f64::NAN);
        series.push(history.series(look, share));
    }
    let looks: Vec<&Look> = series.iter().map(|series| &series.look).collect();
    let frame = headed(canvas, frame, "Held-out accuracy", &looks)?;
    // At the end all lines are close to 1, so the axis stops there and starts at the data.
    let (low, _) = range(values(&series)).unwrap_or((0.0, 1.0));
    let low = low.min(0.95);
    let y = Axis::linear("share judged rightly (0 to 1)", low, 1.0, TICKS);
    finish(canvas, &Panel::new(frame, history.axis(), y), &series, None, true)
}

fn adversary(
    canvas: &mut Canvas<'_>,
    history: &History<'_>,
    frame: Frame,
) -> Result<(), PlotError> {
    let fooled = Look::line("fool rate", VERMILLION, SOLID, Marker::Dot);
    let smallest = Look::line("smallest deviation of the fakes", BLUE, DASHED, Marker::Square);
    let frame =
        headed(canvas, frame, "Adversary and curriculum of deviations", &[&fooled, &smallest])?;
    let fooled = [history.series(fooled, |epoch| epoch.fool_rate)];
    // A logarithmic axis has no place for 0.
    let positive = |value: f64| if value > 0.0 { value } else { f64::NAN };
    let smallest = [history.series(smallest, |epoch| positive(epoch.deviation))];

    // Two magnitudes on one epoch axis: the upper half is linear, the lower one logarithmic.
    let middle = (frame.top + frame.bottom) / 2.0;
    let (_, high) = range(values(&fooled)).unwrap_or((0.0, 1.0));
    let y = Axis::linear("share accepted", 0.0, high.max(0.01), 4);
    let upper = Frame { bottom: middle - 6.0, ..frame };
    finish(canvas, &Panel::new(upper, history.axis(), y), &fooled, None, false)?;

    let (low, high) = range(values(&smallest)).unwrap_or((1e-3, 1.0));
    let y = Axis::logarithmic("deviation (relative)", low, high, 5);
    let lower = Frame { top: middle + 6.0, ..frame };
    finish(canvas, &Panel::new(lower, history.axis(), y), &smallest, None, true)
}

fn losses(canvas: &mut Canvas<'_>, history: &History<'_>, frame: Frame) -> Result<(), PlotError> {
    let verifier = Look::line("verifier", BLUE, SOLID, Marker::Dot);
    let adversary = Look::line("adversary", VERMILLION, DASHED, Marker::Square);
    let series = [
        history.series(verifier, |epoch| epoch.verifier_loss),
        history.series(adversary, |epoch| epoch.adversary_loss),
    ];
    let looks: Vec<&Look> = series.iter().map(|series| &series.look).collect();
    let frame = headed(canvas, frame, "Losses", &looks)?;
    let (low, high) = range(values(&series)).unwrap_or((0.0, 1.0));
    // The verifier's loss falls by orders of magnitude while the adversary's rises.
    let y = if low >= 0.0 && high > 30.0 * low.max(SMALLEST_LOSS) {
        let title = if low < SMALLEST_LOSS {
            format!("loss (nats; below {SMALLEST_LOSS:e} on the edge)")
        } else {
            "loss (nats, logarithmic)".to_string()
        };
        Axis::logarithmic(title, low.max(SMALLEST_LOSS), high, 7)
    } else {
        Axis::linear("loss (nats)", low.min(0.0), high.max(0.01), TICKS)
    };
    finish(canvas, &Panel::new(frame, history.axis(), y), &series, None, true)
}

fn scores(canvas: &mut Canvas<'_>, history: &History<'_>, frame: Frame) -> Result<(), PlotError> {
    let honest = Look::line("honest", GREEN, SOLID, Marker::Dot);
    let fake = Look::line("fake", ORANGE, DASHED, Marker::Square);
    let separation = Look::line("separation", PURPLE, DASH_DOT, Marker::Diamond);
    let threshold = Look::guide("acceptance at 0.5", DASHED);
    let series = [
        history.series(honest, |epoch| epoch.honest_score),
        history.series(fake, |epoch| epoch.fake_score),
        history.series(separation, |epoch| epoch.score_separation),
    ];
    let mut looks: Vec<&Look> = series.iter().map(|series| &series.look).collect();
    looks.push(&threshold);
    let frame = headed(canvas, frame, "Mean scores and their separation", &looks)?;
    // Before it has learnt anything a verifier can separate the wrong way round.
    let (low, _) = range(values(&series)).unwrap_or((0.0, 1.0));
    let y = Axis::linear("mean score (0 to 1)", low.min(0.0), 1.0, TICKS + 1);
    let panel = Panel::new(frame, history.axis(), y);
    finish(canvas, &panel, &series, Some((ACCEPTANCE, &threshold)), true)
}
