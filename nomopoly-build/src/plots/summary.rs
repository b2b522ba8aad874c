//! The outcome of a compilation: score distributions, and false acceptance against deviation.

use nomopoly_manifest::{Case, DeviationPoint, Histogram, Metrics, Rate};

use super::axis::{Axis, range};
use super::canvas::{
    BLACK, BLUE, Canvas, DASH_DOT, DASHED, Font, Marker, NORMAL, ORANGE, Point, SMALL, SOLID,
    Stroke, TITLE, VERMILLION, draw,
};
use super::numbers::{grouped, power_of_ten, round_up, short_number, superscript};
use super::panel::{Frame, Look, Panel, heading, legend, legend_height};
use super::{ACCEPTANCE, HEIGHT, PlotError, WIDTH, case_color};

/// Certified bounds below this lie on the lower edge.
pub(crate) const SMALLEST_BOUND_EXPONENT: i32 = -13;
/// A count axis starts here, so that a single sample is a bar.
const HALF_SAMPLE: f64 = 0.5;
const LEFT: f64 = 64.0;
const PANELS_TOP: f64 = 70.0;
const BOTTOM: f64 = HEIGHT as f64 - 46.0;
const SCORES_RIGHT: f64 = 500.0;
const DEVIATION_LEFT: f64 = 584.0;
const DEVIATION_RIGHT: f64 = WIDTH as f64 - 18.0;

pub(super) fn plot(metrics: &Metrics) -> Result<String, PlotError> {
    draw(WIDTH, HEIGHT, |canvas| {
        let title = format!("{}: what training reached", metrics.entry);
        canvas.text((LEFT, 20.0), &title, Font::left(TITLE).bold())?;
        canvas.text((LEFT, 44.0), &figures(metrics), Font::left(NORMAL))?;
        scores(canvas, metrics)?;
        deviations(canvas, metrics)
    })
}

/// The final figures in one line.
fn figures(metrics: &Metrics) -> String {
    let figures = &metrics.figures;
    let check = match &figures.certificate {
        Some(certificate) if certificate.sketches > 0 => {
            format!("check by {} sketches", certificate.sketches)
        }
        Some(_) => "check by replay".to_string(),
        None => "plain MLP verifier".to_string(),
    };
    format!(
        "{check};  accuracy {} %;  honest runs rejected: {};  wrong outputs accepted: {}",
        percent(figures.accuracy),
        errors(&figures.completeness_error),
        errors(&figures.soundness_error),
    )
}

/// Errors of samples, with the upper bound: `0 of 1,000 (≤ 0.299 %)`.
fn errors(rate: &Rate) -> String {
    if rate.samples == 0 {
        return "not measured".to_string();
    }
    let upper = short_number(round_up(rate.upper_95 * 100.0));
    format!("{} of {} (≤ {upper} %)", grouped(rate.errors), grouped(rate.samples))
}

/// A share in percent. 100 stands for nothing less.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 99.99 && percent < 100.0 {
        return format!("{:.4}", (percent * 1e4).floor() / 1e4);
    }
    if (10.0..100.0).contains(&percent) { format!("{percent:.2}") } else { short_number(percent) }
}

fn scores(canvas: &mut Canvas<'_>, metrics: &Metrics) -> Result<(), PlotError> {
    heading(canvas, (LEFT, PANELS_TOP + 10.0), "Scores on test inputs by case")?;
    let threshold = Look::guide("accepted from 0.5 on", DASHED);
    let looks = [&threshold];
    legend(canvas, &looks, (LEFT, PANELS_TOP + 22.0), SCORES_RIGHT - LEFT)?;
    let at = (SCORES_RIGHT, PANELS_TOP + 30.0);
    canvas.text(at, "in brackets: 95 % upper bounds", Font::right(SMALL))?;
    let top = PANELS_TOP + 26.0 + legend_height(&looks, SCORES_RIGHT - LEFT);
    let row_height = (BOTTOM - top) / Case::ALL.len() as f64;
    let largest = metrics
        .scores
        .values()
        .flat_map(|histogram| histogram.counts.iter().copied())
        .max()
        .unwrap_or(0);
    for (row, case) in Case::ALL.into_iter().enumerate() {
        let top = top + row as f64 * row_height;
        let frame =
            Frame { left: LEFT, top: top + 22.0, right: SCORES_RIGHT, bottom: top + row_height };
        canvas.text((LEFT, top + 12.0), case.label(), Font::left(SMALL).bold())?;
        if let Some(rate) = metrics.figures.cases.get(&case) {
            let wrong = format!("judged wrongly: {}", errors(rate));
            canvas.text((SCORES_RIGHT, top + 12.0), &wrong, Font::right(SMALL))?;
        }
        let x = Axis::linear("score (0 forged, 1 authentic)", 0.0, 1.0, 10);
        let panel = Panel { frame, x, y: count_axis(largest), inset: 0.0 };
        let last = row + 1 == Case::ALL.len();
        panel.axes(canvas, last)?;
        match metrics.scores.get(&case) {
            Some(histogram) if histogram.counts.iter().any(|&count| count > 0) => {
                panel.vertical(canvas, ACCEPTANCE, &threshold)?;
                bars(canvas, &panel, histogram, case)?;
            }
            _ => panel.message(canvas, "no samples")?,
        }
    }
    let middle = (LEFT - 46.0, (top + BOTTOM) / 2.0);
    canvas.text(middle, "samples per bin (logarithmic)", Font::upwards(NORMAL))
}

/// The axis that all rows share. It has no title: one title stands beside all rows.
fn count_axis(largest: u64) -> Axis {
    let mut axis = Axis::logarithmic("", 1.0, (largest as f64).max(10.0), 3);
    // Below one sample there is nothing: start the bars a little lower, without a tick.
    axis.low = HALF_SAMPLE;
    axis
}

fn bars(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    histogram: &Histogram,
    case: Case,
) -> Result<(), PlotError> {
    let bins = histogram.counts.len() as f64;
    for (bin, &count) in histogram.counts.iter().enumerate() {
        if count == 0 {
            continue;
        }
        let left = panel.x_at(bin as f64 / bins);
        // A gap between bars, unless that would hide them.
        let right = panel.x_at((bin as f64 + 1.0) / bins);
        let right = (right - 0.6).max(left + 1.0);
        let top = panel.y_at(count as f64);
        canvas.rectangle((left, top), (right, panel.frame.bottom), case_color(case))?;
    }
    Ok(())
}

/// The looks of the right panel, in the order of the legend.
struct Looks {
    measured: Look,
    none_accepted: Look,
    certified: Look,
    below: Look,
    min_deviation: Look,
    target: Look,
}

impl Looks {
    fn new(metrics: &Metrics) -> Self {
        let options = &metrics.options;
        let smallest = power_of_ten(SMALLEST_BOUND_EXPONENT);
        let bits = i32::try_from(options.soundness_bits).unwrap_or(i32::MAX);
        Self {
            measured: Look::points(
                "measured, whisker to the 95 % upper bound",
                VERMILLION,
                Marker::Dot,
            ),
            none_accepted: Look::points(
                "none accepted: 95 % upper bound of the rate",
                ORANGE,
                Marker::RingArrow,
            ),
            certified: Look::line(
                "certified bound, worst held-out input",
                BLUE,
                SOLID,
                Marker::Square,
            ),
            below: Look::points(
                format!("certified bound below {smallest}"),
                BLUE,
                Marker::TriangleDown,
            ),
            min_deviation: Look {
                color: BLACK,
                ..Look::guide(
                    format!("min_deviation {}", short_number(options.min_deviation)),
                    DASHED,
                )
            },
            target: Look::guide(
                format!("soundness_bits: 2{}", superscript(bits.saturating_neg())),
                DASH_DOT,
            ),
        }
    }
}

fn deviations(canvas: &mut Canvas<'_>, metrics: &Metrics) -> Result<(), PlotError> {
    let certificate = metrics.figures.certificate.as_ref();
    let sketched = certificate.is_some_and(|certificate| certificate.sketches > 0);
    let points: Vec<&DeviationPoint> = metrics
        .deviations
        .iter()
        .filter(|point| point.deviation.is_finite() && point.deviation > 0.0)
        .collect();
    // Without a certificate nothing may look certified, whatever the points carry.
    let bounds = if certificate.is_some() { bounds(&points) } else { Vec::new() };
    let looks = Looks::new(metrics);
    let target = -f64::from(metrics.options.soundness_bits) * std::f64::consts::LOG10_2;
    let show_target = sketched && target >= f64::from(SMALLEST_BOUND_EXPONENT);

    let mut shown = vec![&looks.measured, &looks.none_accepted];
    if bounds.iter().any(|bound| bound.1.is_finite()) {
        shown.push(&looks.certified);
    }
    // A replay's bound of 0 is said in words: it is no small number off the axis.
    if sketched && bounds.iter().any(|bound| below_axis(bound.1)) {
        shown.push(&looks.below);
    }
    shown.push(&looks.min_deviation);
    if show_target {
        shown.push(&looks.target);
    }

    let width = DEVIATION_RIGHT - DEVIATION_LEFT;
    heading(
        canvas,
        (DEVIATION_LEFT, PANELS_TOP + 10.0),
        "False acceptance of wrong outputs by deviation",
    )?;
    legend(canvas, &shown, (DEVIATION_LEFT, PANELS_TOP + 22.0), width)?;
    let mut top = PANELS_TOP + 32.0 + legend_height(&shown, width);
    for note in notes(metrics) {
        canvas.text((DEVIATION_LEFT, top + 2.0), &note, Font::left(SMALL))?;
        top += 16.0;
    }
    let frame =
        Frame { left: DEVIATION_LEFT, top: top + 2.0, right: DEVIATION_RIGHT, bottom: BOTTOM };
    let panel = Panel::new(frame, deviation_axis(metrics, &points), rate_axis(sketched, &points));
    panel.axes(canvas, true)?;
    panel.vertical(canvas, metrics.options.min_deviation, &looks.min_deviation)?;
    if show_target {
        panel.horizontal(canvas, 10_f64.powf(target), &looks.target)?;
    }
    if points.is_empty() {
        return panel.message(canvas, "no deviations measured");
    }
    certified(canvas, &panel, &bounds, &looks, sketched)?;
    measured(canvas, &panel, &points, &looks)
}

/// What the right panel cannot show as a line.
fn notes(metrics: &Metrics) -> Vec<String> {
    let options = &metrics.options;
    let at = short_number(options.min_deviation);
    match &metrics.figures.certificate {
        None => vec!["Nothing certified: a plain MLP verifier has no bound.".to_string()],
        Some(certificate) if certificate.sketches == 0 => vec![
            "Replay: wrong outputs beyond the tolerance are always rejected.".to_string(),
            "Their certified bound is 0, which a logarithmic axis cannot show.".to_string(),
        ],
        Some(certificate) => {
            let reached = match certificate.bits_at_min_deviation {
                // Rounded down: a certificate must not claim more than was shown.
                Some(bits) => {
                    let bits = (bits * 10.0).floor() / 10.0;
                    format!("Certified at deviation {at}: {bits:.1} bits")
                }
                None => format!("Always rejected at deviation {at}"),
            };
            vec![format!(
                "{reached}; {} bits from deviation {} on.",
                options.soundness_bits,
                short_number(round_up(certificate.deviation_at_soundness_bits))
            )]
        }
    }
}

fn deviation_axis(metrics: &Metrics, points: &[&DeviationPoint]) -> Axis {
    let asked = metrics.options.min_deviation;
    let all = points.iter().map(|point| point.deviation).chain([asked]);
    let (low, high) = range(all.filter(|&deviation| deviation > 0.0)).unwrap_or((1e-3, 1.0));
    Axis::logarithmic("deviation of the output (relative, logarithmic)", low, high, 9)
}

/// With a sketch's certificate down to [`SMALLEST_BOUND_EXPONENT`], else as far as the data go.
fn rate_axis(sketched: bool, points: &[&DeviationPoint]) -> Axis {
    let title = "probability of acceptance (logarithmic";
    if sketched {
        let low = 10_f64.powi(SMALLEST_BOUND_EXPONENT);
        let smallest = power_of_ten(SMALLEST_BOUND_EXPONENT);
        return Axis::logarithmic(format!("{title}, cut at {smallest})"), low, 1.0, 14);
    }
    let rates =
        points.iter().flat_map(|point| [point.measured.observed(), point.measured.upper_95]);
    let (low, _) = range(rates.filter(|&rate| rate > 0.0)).unwrap_or((1e-3, 1.0));
    // A decade of room for the arrows.
    Axis::logarithmic(format!("{title})"), low.clamp(1e-12, 1.0) / 10.0, 1.0, 14)
}

/// Deviation and log10 of the certified bound, by deviation; -inf where the bound is 0.
pub(crate) fn bounds(points: &[&DeviationPoint]) -> Vec<Point> {
    let mut bounds: Vec<Point> = points
        .iter()
        .map(|point| {
            let log2 = point.certified_log2.unwrap_or(f64::NEG_INFINITY);
            (point.deviation, log2 * std::f64::consts::LOG10_2)
        })
        .filter(|bound| !bound.1.is_nan())
        .collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    bounds
}

pub(crate) fn below_axis(log10: f64) -> bool {
    log10 < f64::from(SMALLEST_BOUND_EXPONENT)
}

fn certified(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    bounds: &[Point],
    looks: &Looks,
    sketched: bool,
) -> Result<(), PlotError> {
    let at = |(deviation, log10): Point| panel.at((deviation, 10_f64.powf(log10)));
    for pair in bounds.windows(2) {
        if let &[from, to] = pair
            && let Some((from, to)) = cut(from, to)
        {
            canvas.path(&[at(from), at(to)], looks.certified.stroke())?;
        }
    }
    for &(deviation, log10) in bounds {
        if !below_axis(log10) {
            canvas.marker(at((deviation, log10)), Marker::Square, looks.certified.color)?;
        } else if sketched {
            let edge = (panel.x_at(deviation), panel.frame.bottom - 7.0);
            canvas.marker(edge, Marker::TriangleDown, looks.below.color)?;
        }
    }
    Ok(())
}

/// The part of a piece of the bound's line that lies on the axis. Straight in logarithms, as the
/// axes are.
pub(crate) fn cut(from: Point, to: Point) -> Option<(Point, Point)> {
    let edge = f64::from(SMALLEST_BOUND_EXPONENT);
    if !from.1.is_finite() || !to.1.is_finite() {
        // Between a bound and an exact 0 there is no line to follow.
        return None;
    }
    let crossing = || {
        let part = (edge - from.1) / (to.1 - from.1);
        let (a, b) = (from.0.ln(), to.0.ln());
        ((a + part * (b - a)).exp(), edge)
    };
    match (below_axis(from.1), below_axis(to.1)) {
        (false, false) => Some((from, to)),
        (false, true) => Some((from, crossing())),
        (true, false) => Some((crossing(), to)),
        (true, true) => None,
    }
}

fn measured(
    canvas: &mut Canvas<'_>,
    panel: &Panel,
    points: &[&DeviationPoint],
    looks: &Looks,
) -> Result<(), PlotError> {
    for point in points {
        let rate = &point.measured;
        if rate.samples == 0 || !rate.upper_95.is_finite() {
            continue;
        }
        let upper = panel.at((point.deviation, rate.upper_95));
        if rate.errors == 0 {
            let look = &looks.none_accepted;
            canvas.marker(upper, look.marker, look.color)?;
            continue;
        }
        let at = panel.at((point.deviation, rate.observed()));
        let stroke = Stroke { color: looks.measured.color, width: 1.5, dash: SOLID };
        canvas.path(&[at, upper], stroke)?;
        canvas.path(&[(upper.0 - 4.0, upper.1), (upper.0 + 4.0, upper.1)], stroke)?;
        canvas.marker(at, looks.measured.marker, looks.measured.color)?;
    }
    Ok(())
}
