//! A panel: a frame with two axes, the series in it, and the legend above it.

use plotters::style::RGBColor;

use super::PlotError;
use super::axis::Axis;
use super::canvas::{
    BLACK, Canvas, Dash, FRAME, Font, GRID_LINE, Marker, NORMAL, Point, SMALL, SOLID, Stroke,
    text_width,
};

/// Markers of one series at most.
const MARKERS: usize = 12;
/// Length of the piece of line in a legend entry, and its distance to the text.
const SAMPLE: f64 = 30.0;
const SAMPLE_GAP: f64 = 6.0;
/// Height of one row of a legend.
const LEGEND_ROW: f64 = 16.0;

/// How a series looks, and what the legend calls it.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub label: String,
    pub color: RGBColor,
    pub dash: Dash,
    pub marker: Marker,
    /// Line width in pixels; 0 for markers alone.
    pub width: f64,
}

impl Look {
    pub fn line(label: impl Into<String>, color: RGBColor, dash: Dash, marker: Marker) -> Self {
        Self { label: label.into(), color, dash, marker, width: 1.8 }
    }

    pub fn points(label: impl Into<String>, color: RGBColor, marker: Marker) -> Self {
        Self { label: label.into(), color, dash: SOLID, marker, width: 0.0 }
    }

    /// A line that carries no data, such as a threshold.
    pub fn guide(label: impl Into<String>, dash: Dash) -> Self {
        Self { label: label.into(), color: FRAME, dash, marker: Marker::None, width: 1.4 }
    }

    pub fn stroke(&self) -> Stroke {
        Stroke { color: self.color, width: self.width, dash: self.dash }
    }
}

/// A line over the epochs.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub look: Look,
    pub points: Vec<Point>,
}

/// The rectangle between the axes, in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

/// A frame with its axes.
pub(crate) struct Panel {
    pub frame: Frame,
    pub x: Axis,
    pub y: Axis,
    /// Distance in pixels between the frame and the ends of the axes: room for half a marker.
    pub inset: f64,
}

impl Panel {
    pub fn new(frame: Frame, x: Axis, y: Axis) -> Self {
        Self { frame, x, y, inset: 7.0 }
    }

    pub fn x_at(&self, value: f64) -> f64 {
        let Frame { left, right, .. } = self.frame;
        left + self.inset + self.x.position(value) * (right - left - 2.0 * self.inset)
    }

    pub fn y_at(&self, value: f64) -> f64 {
        let Frame { top, bottom, .. } = self.frame;
        bottom - self.inset - self.y.position(value) * (bottom - top - 2.0 * self.inset)
    }

    pub fn at(&self, (x, y): Point) -> Point {
        (self.x_at(x), self.y_at(y))
    }

    /// Grid, frame, tick labels and titles. Without `x_labels` the panel shares the axis of the
    /// one below it.
    pub fn axes(&self, canvas: &mut Canvas<'_>, x_labels: bool) -> Result<(), PlotError> {
        let Frame { left, top, right, bottom } = self.frame;
        let grid = Stroke { color: GRID_LINE, width: 1.0, dash: SOLID };
        for tick in &self.x.ticks {
            let x = self.x_at(tick.value);
            canvas.path(&[(x, top), (x, bottom)], grid)?;
            if let Some(label) = tick.label.as_deref().filter(|_| x_labels) {
                canvas.text((x, bottom + 11.0), label, Font::centered(SMALL))?;
            }
        }
        for tick in &self.y.ticks {
            let y = self.y_at(tick.value);
            canvas.path(&[(left, y), (right, y)], grid)?;
            if let Some(label) = &tick.label {
                canvas.text((left - 6.0, y), label, Font::right(SMALL))?;
            }
        }
        let outline = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        canvas.path(&outline, Stroke { color: FRAME, width: 1.0, dash: SOLID })?;
        if x_labels {
            let at = ((left + right) / 2.0, bottom + 28.0);
            canvas.text(at, &self.x.title, Font::centered(NORMAL))?;
        }
        let at = (left - 46.0, (top + bottom) / 2.0);
        canvas.text(at, &self.y.title, Font::upwards(NORMAL))
    }

    /// Lines with markers, the first at the bottom. Where there are many points, the markers of
    /// the series are staggered, so that lines on top of each other can be told apart.
    pub fn lines(&self, canvas: &mut Canvas<'_>, series: &[Series]) -> Result<(), PlotError> {
        for (index, one) in series.iter().enumerate() {
            let points: Vec<Point> = one
                .points
                .iter()
                .filter(|(x, y)| x.is_finite() && y.is_finite())
                .map(|&point| self.at(point))
                .collect();
            canvas.path(&points, one.look.stroke())?;
            let step = points.len().div_ceil(MARKERS).max(1);
            let shift = index * step / series.len().max(1);
            for &point in points.iter().skip(shift).step_by(step) {
                canvas.marker(point, one.look.marker, one.look.color)?;
            }
        }
        Ok(())
    }

    /// A guide across the frame at the height of `y`.
    pub fn horizontal(
        &self,
        canvas: &mut Canvas<'_>,
        y: f64,
        look: &Look,
    ) -> Result<(), PlotError> {
        let y = self.y_at(y);
        canvas.path(&[(self.frame.left, y), (self.frame.right, y)], look.stroke())
    }

    /// A guide from the top to the bottom of the frame at `x`.
    pub fn vertical(&self, canvas: &mut Canvas<'_>, x: f64, look: &Look) -> Result<(), PlotError> {
        let x = self.x_at(x);
        canvas.path(&[(x, self.frame.bottom), (x, self.frame.top)], look.stroke())
    }

    /// A sentence in place of data.
    pub fn message(&self, canvas: &mut Canvas<'_>, text: &str) -> Result<(), PlotError> {
        let Frame { left, top, right, bottom } = self.frame;
        canvas.text(((left + right) / 2.0, (top + bottom) / 2.0), text, Font::centered(NORMAL))
    }
}

/// The bold line above a panel.
pub(super) fn heading(canvas: &mut Canvas<'_>, at: Point, text: &str) -> Result<(), PlotError> {
    canvas.text(at, text, Font::left(NORMAL + 1.0).bold())
}

/// Height that [`legend`] takes.
pub(crate) fn legend_height(looks: &[&Look], width: f64) -> f64 {
    rows(&places(looks, width)) * LEGEND_ROW
}

/// Draws a legend that starts at `(left, top)` and is at most `width` wide.
pub(crate) fn legend(
    canvas: &mut Canvas<'_>,
    looks: &[&Look],
    (left, top): Point,
    width: f64,
) -> Result<(), PlotError> {
    for (look, (x, row)) in looks.iter().zip(places(looks, width)) {
        let (x, y) = (left + x, top + (row + 0.5) * LEGEND_ROW);
        if look.width > 0.0 {
            canvas.path(&[(x, y), (x + SAMPLE, y)], look.stroke())?;
        }
        // The arrow hangs below its ring: start higher, so that it stays in its row.
        let lift = if look.marker == Marker::RingArrow { 4.0 } else { 0.0 };
        canvas.marker((x + SAMPLE / 2.0, y - lift), look.marker, look.color)?;
        canvas.text((x + SAMPLE + SAMPLE_GAP, y), &look.label, Font::left(SMALL))?;
    }
    Ok(())
}

/// Column offset in pixels and row of every entry: one row if all fit, else equal columns.
fn places(looks: &[&Look], width: f64) -> Vec<(f64, f64)> {
    let gap = 14.0;
    let widths: Vec<f64> = looks
        .iter()
        .map(|look| SAMPLE + SAMPLE_GAP + text_width(&look.label, SMALL) + gap)
        .collect();
    if widths.iter().sum::<f64>() <= width + gap {
        let mut x = 0.0;
        let place = |width: &f64| {
            let at = (x, 0.0);
            x += width;
            at
        };
        return widths.iter().map(place).collect();
    }
    let widest = widths.iter().copied().fold(1.0, f64::max);
    let columns = ((width + gap) / widest).floor().max(1.0) as usize;
    let column_width = (width + gap) / columns as f64;
    (0..looks.len()).map(|i| ((i % columns) as f64 * column_width, (i / columns) as f64)).collect()
}

fn rows(places: &[(f64, f64)]) -> f64 {
    places.last().map_or(0.0, |(_, row)| row + 1.0)
}

/// The black line for a mean over the other series: wide, so that it shows below them.
pub(super) fn mean_look(label: &str) -> Look {
    Look { width: 3.2, ..Look::line(label, BLACK, SOLID, Marker::Dot) }
}
