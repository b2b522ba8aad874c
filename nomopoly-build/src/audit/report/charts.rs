//! The charts of the page, as SVG elements that stand in it. Each is narrow enough for a phone
//! and shows figures that a table of the page gives too.

use maud::{Markup, PreEscaped, html};
use nomopoly_manifest::{Audit, DeviationPoint, DriftPoint, OperationAudit, Rate};

use super::figures::Compared;
use super::words::{number, printable, shortened};
use crate::plots::PlotError;
use crate::plots::axis::{Axis, Tick, range};
use crate::plots::canvas::{
    BLUE, Canvas, DASH_DOT, DASHED, Dash, GREEN, LONG_DASH, Marker, ORANGE, PURPLE, Point, SOLID,
    Stroke, VERMILLION, draw,
};
use crate::plots::numbers::{power_of_ten, superscript};
use crate::plots::panel::{Frame, Look, Panel, legend, legend_height};
use crate::plots::summary::{SMALLEST_BOUND_EXPONENT, below_axis, bounds, cut};

/// Width of every chart in pixels.
const WIDTH: u32 = 400;
const RIGHT: f64 = WIDTH as f64 - 14.0;
const LEFT: f64 = 62.0;
/// Height below a panel for the labels and the title of its x axis.
const BELOW: f64 = 46.0;
const PANEL_HEIGHT: u32 = 290;

/// The SVG document `svg` as an element of a page, under the name `label`.
fn element(svg: &str, label: &str) -> Markup {
    let name = html! { (printable(label)) }.into_string();
    // In a page the namespace goes without saying.
    let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    PreEscaped(svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{name}\" "), 1))
}

/// A whisker from an observed rate to its 95 % upper bound.
fn whisker(
    canvas: &mut Canvas<'_>,
    (from, to): (Point, Point),
    color: Stroke,
) -> Result<(), PlotError> {
    let stroke = Stroke { width: 1.3, dash: SOLID, ..color };
    canvas.path(&[from, to], stroke)?;
    // The end stroke lies across the whisker.
    let (dx, dy) = if from.0 == to.0 { (3.5, 0.0) } else { (0.0, 3.5) };
    canvas.path(&[(to.0 - dx, to.1 - dy), (to.0 + dx, to.1 + dy)], stroke)
}

/// Acceptance against deviation, one panel for each operation, all on the same axes.
pub struct Agreement {
    deviations: (f64, f64),
    min_deviation: f64,
    measured: Look,
    none_accepted: Look,
    certified: Look,
    below: Look,
    smallest_wrong: Look,
    target: Look,
    /// log10 of the asked bound.
    target_log10: f64,
}

impl Agreement {
    /// `None` where no operation has such measurements.
    pub fn new(audit: &Audit) -> Option<Self> {
        let settings = &audit.settings;
        let measured = audit.operations.iter().flat_map(drawn).map(|point| point.deviation);
        let (low, high) = range(measured)?;
        let asked = Some(settings.min_deviation).filter(|asked| *asked > 0.0);
        let deviations = range([low, high].into_iter().chain(asked)).unwrap_or((low, high));
        let smallest = power_of_ten(SMALLEST_BOUND_EXPONENT);
        let bits = i32::try_from(settings.soundness_bits).unwrap_or(i32::MAX);
        Some(Self {
            deviations,
            min_deviation: settings.min_deviation,
            measured: Look::points(
                "measured, whisker to the 95 % upper bound",
                VERMILLION,
                Marker::Dot,
            ),
            none_accepted: Look::points(
                "none accepted: 95 % upper bound",
                ORANGE,
                Marker::RingArrow,
            ),
            certified: Look::line("certified bound", BLUE, SOLID, Marker::Square),
            below: Look::points(
                format!("certified bound below {smallest}"),
                BLUE,
                Marker::TriangleDown,
            ),
            smallest_wrong: Look::guide(
                format!("min_deviation {}", number(settings.min_deviation)),
                DASHED,
            ),
            target: Look::guide(
                format!("soundness_bits: 2{}", superscript(bits.saturating_neg())),
                DASH_DOT,
            ),
            target_log10: -f64::from(settings.soundness_bits) * std::f64::consts::LOG10_2,
        })
    }

    /// Whether the operation has something to draw.
    pub fn has(&self, operation: &OperationAudit) -> bool {
        drawn(operation).next().is_some()
    }

    fn shows_target(&self) -> bool {
        !below_axis(self.target_log10)
    }

    /// The legend that all panels share.
    pub fn legend(&self) -> Result<Markup, PlotError> {
        let mut looks = vec![
            &self.measured,
            &self.none_accepted,
            &self.certified,
            &self.below,
            &self.smallest_wrong,
        ];
        if self.shows_target() {
            looks.push(&self.target);
        }
        // One column: labels that stand below each other are found faster.
        let width = 340.0;
        let height = legend_height(&looks, width) + 8.0;
        let svg = draw(WIDTH, height as u32, |canvas| legend(canvas, &looks, (6.0, 4.0), width))?;
        let names: Vec<&str> = looks.iter().map(|look| look.label.as_str()).collect();
        Ok(element(&svg, &format!("Legend: {}", names.join("; "))))
    }

    /// The panel of one operation.
    pub fn panel(&self, operation: &OperationAudit) -> Result<Markup, PlotError> {
        let points: Vec<&DeviationPoint> = drawn(operation).collect();
        // Without a certificate nothing may look certified, whatever the points carry.
        let sketched = operation.certificate.as_ref().is_some_and(|found| found.sketches > 0);
        let bounds = if operation.certificate.is_some() { bounds(&points) } else { Vec::new() };
        let svg = draw(WIDTH, PANEL_HEIGHT, |canvas| {
            let frame = Frame {
                left: LEFT,
                top: 10.0,
                right: RIGHT,
                bottom: f64::from(PANEL_HEIGHT) - BELOW,
            };
            let (low, high) = self.deviations;
            let x = Axis::logarithmic("relative deviation of the output", low, high, 5);
            let low = 10_f64.powi(SMALLEST_BOUND_EXPONENT);
            let y = Axis::logarithmic("share accepted", low, 1.0, 7);
            let panel = Panel::new(frame, x, y);
            panel.axes(canvas, true)?;
            if self.min_deviation > 0.0 {
                panel.vertical(canvas, self.min_deviation, &self.smallest_wrong)?;
            }
            if self.shows_target() {
                panel.horizontal(canvas, 10_f64.powf(self.target_log10), &self.target)?;
            }
            self.certified(canvas, &panel, &bounds, sketched)?;
            self.measured(canvas, &panel, &points)
        })?;
        let label = format!(
            "Share of wrong outputs accepted against their deviation, measured and certified, for \
             {}; the table in its section gives the figures",
            operation.operation
        );
        Ok(element(&svg, &label))
    }

    fn certified(
        &self,
        canvas: &mut Canvas<'_>,
        panel: &Panel,
        bounds: &[Point],
        sketched: bool,
    ) -> Result<(), PlotError> {
        let at = |(deviation, log10): Point| panel.at((deviation, 10_f64.powf(log10)));
        for pair in bounds.windows(2) {
            if let &[from, to] = pair
                && let Some((from, to)) = cut(from, to)
            {
                canvas.path(&[at(from), at(to)], self.certified.stroke())?;
            }
        }
        for &(deviation, log10) in bounds {
            if !below_axis(log10) {
                canvas.marker(at((deviation, log10)), Marker::Square, self.certified.color)?;
            } else if sketched {
                // A replay's bound of 0 is said in words: it is no small number off the axis.
                let edge = (panel.x_at(deviation), panel.frame.bottom - 7.0);
                canvas.marker(edge, Marker::TriangleDown, self.below.color)?;
            }
        }
        Ok(())
    }

    fn measured(
        &self,
        canvas: &mut Canvas<'_>,
        panel: &Panel,
        points: &[&DeviationPoint],
    ) -> Result<(), PlotError> {
        for point in points {
            let rate = &point.measured;
            if rate.samples == 0 || !rate.upper_95.is_finite() {
                continue;
            }
            let upper = panel.at((point.deviation, rate.upper_95));
            if rate.errors == 0 {
                canvas.marker(upper, Marker::RingArrow, self.none_accepted.color)?;
                continue;
            }
            let at = panel.at((point.deviation, rate.observed()));
            whisker(canvas, (at, upper), self.measured.stroke())?;
            canvas.marker(at, Marker::Dot, self.measured.color)?;
        }
        Ok(())
    }
}

fn drawn(operation: &OperationAudit) -> impl Iterator<Item = &DeviationPoint> {
    let has_place = |point: &&DeviationPoint| point.deviation.is_finite() && point.deviation > 0.0;
    operation.agreement.iter().filter(has_place)
}

/// A share of the runs of a drift attack.
pub struct DriftShare {
    /// Of the y axis, and for whom the picture is read.
    pub title: &'static str,
    pub rate: fn(&DriftPoint) -> &Rate,
}

/// A share against the share of the tolerance that was spent, one line for each attacker and
/// direction.
pub fn drift(points: &[DriftPoint], share: &DriftShare) -> Result<Markup, PlotError> {
    const STYLES: [(plotters::style::RGBColor, Dash, Marker); 6] = [
        (BLUE, SOLID, Marker::Ring),
        (VERMILLION, DASHED, Marker::Square),
        (GREEN, DASH_DOT, Marker::Diamond),
        (PURPLE, LONG_DASH, Marker::TriangleUp),
        (ORANGE, SOLID, Marker::Cross),
        (BLUE, DASHED, Marker::Dot),
    ];
    let mut lines: Vec<(Look, Vec<&DriftPoint>)> = Vec::new();
    for (attacker, direction) in drift_kinds(points) {
        let style = STYLES.get(lines.len() % STYLES.len()).copied();
        let (color, dash, marker) = style.unwrap_or((BLUE, SOLID, Marker::Dot));
        let label = shortened(&format!("{attacker}, {direction}"), 36);
        let mut line: Vec<&DriftPoint> = points
            .iter()
            .filter(|point| point.attacker == attacker && point.direction == direction)
            .filter(|point| point.spent.is_finite() && point.spent > 0.0)
            .filter(|point| (share.rate)(point).samples > 0)
            .collect();
        line.sort_by(|a, b| a.spent.total_cmp(&b.spent));
        lines.push((Look::line(label, color, dash, marker), line));
    }
    let looks: Vec<&Look> = lines.iter().map(|(look, _)| look).collect();
    let top = 14.0 + legend_height(&looks, RIGHT - LEFT);
    let height = PANEL_HEIGHT + top as u32;
    let svg = draw(WIDTH, height, |canvas| {
        legend(canvas, &looks, (LEFT, 4.0), RIGHT - LEFT)?;
        let frame = Frame { left: LEFT, top, right: RIGHT, bottom: f64::from(height) - BELOW };
        let spent = lines.iter().flat_map(|(_, line)| line.iter().map(|point| point.spent));
        let (low, high) = range(spent).unwrap_or((0.1, 1.0));
        let title = "share of every acceptance threshold spent";
        let x = Axis::logarithmic(title, low, high, 5);
        let panel = Panel::new(frame, x, Axis::linear(share.title, 0.0, 1.0, 5));
        panel.axes(canvas, true)?;
        if lines.iter().all(|(_, line)| line.is_empty()) {
            return panel.message(canvas, "not measured");
        }
        for (look, line) in &lines {
            let at = |point: &DriftPoint, share: f64| panel.at((point.spent, share));
            let observed: Vec<Point> =
                line.iter().map(|point| at(point, (share.rate)(point).observed())).collect();
            canvas.path(&observed, look.stroke())?;
            for (point, &observed) in line.iter().zip(&observed) {
                let upper = (share.rate)(point).upper_95;
                if upper.is_finite() {
                    whisker(canvas, (observed, at(point, upper)), look.stroke())?;
                }
                canvas.marker(observed, look.marker, look.color)?;
            }
        }
        Ok(())
    })?;
    let label = format!(
        "{} by the share of every operation's acceptance threshold that a drift attack spends; \
         whiskers reach to the 95 % upper bounds; the table below gives the figures",
        capitalised(share.title)
    );
    Ok(element(&svg, &label))
}

/// Attackers and directions in the order in which they come.
pub fn drift_kinds(points: &[DriftPoint]) -> Vec<(nomopoly_manifest::Attacker, &str)> {
    let mut kinds = Vec::new();
    for point in points {
        let kind = (point.attacker, point.direction.as_str());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// Verifiers below each other on one logarithmic axis of error rates.
pub fn compared(
    verifiers: &[Compared<'_>],
    title: &str,
    rate: impl Fn(&Compared<'_>) -> Option<Rate>,
) -> Result<Markup, PlotError> {
    const ROW: f64 = 30.0;
    let height = 10.0 + ROW * verifiers.len().max(1) as f64 + BELOW;
    let rates: Vec<Option<Rate>> = verifiers
        .iter()
        .map(|verifier| rate(verifier).filter(|rate| rate.samples > 0 && rate.upper_95 > 0.0))
        .collect();
    let shown = rates.iter().flatten().flat_map(|rate| [rate.observed(), rate.upper_95]);
    let (low, _) = range(shown.filter(|&share| share > 0.0)).unwrap_or((1e-3, 1.0));
    // Half of the smallest: room for the arrow.
    let svg = draw(WIDTH, height as u32, |canvas| {
        let frame = Frame { left: 112.0, top: 10.0, right: RIGHT, bottom: height - BELOW };
        let x = Axis::logarithmic(format!("{title} (logarithmic)"), low.max(1e-12) / 2.0, 1.0, 5);
        let panel = Panel::new(frame, x, rows(verifiers));
        panel.axes(canvas, true)?;
        for (row, (verifier, rate)) in verifiers.iter().zip(&rates).enumerate() {
            let Some(rate) = rate else { continue };
            let color = if verifier.defence == nomopoly_manifest::Defence::Learned {
                BLUE
            } else {
                VERMILLION
            };
            let stroke = Stroke { color, width: 1.3, dash: SOLID };
            let place = |share: f64| panel.at((share, row as f64 + 0.5));
            if rate.errors == 0 {
                let (x, y) = place(rate.upper_95);
                canvas.marker((x, y), Marker::Ring, color)?;
                canvas.path(&[(x - 4.5, y), (x - 16.0, y)], stroke)?;
                canvas.path(&[(x - 12.0, y - 4.0), (x - 16.0, y), (x - 12.0, y + 4.0)], stroke)?;
                continue;
            }
            let observed = place(rate.observed());
            whisker(canvas, (observed, place(rate.upper_95)), stroke)?;
            canvas.marker(observed, Marker::Dot, color)?;
        }
        Ok(())
    })?;
    let label = format!(
        "{} of {} on a logarithmic axis, with 95 % upper bounds; the table below gives the figures",
        capitalised(title),
        verifiers.iter().map(|verifier| verifier.defence.label()).collect::<Vec<_>>().join(", ")
    );
    Ok(element(&svg, &label))
}

/// An axis with a named row for each verifier, the first at the top.
fn rows(verifiers: &[Compared<'_>]) -> Axis {
    let mut axis = Axis::linear("", 0.0, 1.0, 1);
    // The low end is the bottom of the panel.
    (axis.low, axis.high) = (verifiers.len().max(1) as f64, 0.0);
    axis.ticks = verifiers
        .iter()
        .enumerate()
        .map(|(row, verifier)| Tick {
            value: row as f64 + 0.5,
            label: Some(verifier.defence.label().to_string()),
        })
        .collect();
    axis
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
