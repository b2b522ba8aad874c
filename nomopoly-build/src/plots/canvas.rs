//! The drawing surface: lines, markers and text in pixels, written as SVG by plotters.

use std::fmt::Display;

use plotters::backend::DrawingBackend;
use plotters::prelude::{Color as _, FontTransform, IntoFont as _, RGBColor, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, ShapeStyle, TextStyle};

use super::PlotError;

/// A position in pixels from the upper left corner.
pub(crate) type Point = (f64, f64);

/// User units per pixel. plotters draws at whole coordinates; a finer grid keeps slanted dashes
/// straight.
const GRID: f64 = 10.0;
/// plotters divides a font size by this before it writes it.
const FONT_FACTOR: f64 = 1.24;

/// Font sizes in pixels.
pub(super) const SMALL: f64 = 11.0;
pub(super) const NORMAL: f64 = 12.0;
pub(super) const TITLE: f64 = 16.0;

/// The palette of Okabe and Ito, which stays distinguishable under colour blindness
/// (<https://jfly.uni-koeln.de/color/>), and greys for frames.
pub(super) const BLACK: RGBColor = RGBColor(0, 0, 0);
pub(crate) const ORANGE: RGBColor = RGBColor(0xE6, 0x9F, 0x00);
pub(crate) const GREEN: RGBColor = RGBColor(0x00, 0x9E, 0x73);
pub(crate) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
pub(crate) const VERMILLION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
pub(crate) const PURPLE: RGBColor = RGBColor(0xCC, 0x79, 0xA7);
pub(super) const FRAME: RGBColor = RGBColor(0x60, 0x60, 0x60);
pub(super) const GRID_LINE: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);
const WHITE: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);

/// Lengths of strokes and gaps in pixels, alternating. Empty: a solid line.
pub(crate) type Dash = &'static [f64];
pub(crate) const SOLID: Dash = &[];
pub(crate) const DASHED: Dash = &[7.0, 4.0];
pub(super) const DOTTED: Dash = &[2.0, 3.0];
pub(crate) const DASH_DOT: Dash = &[9.0, 3.0, 2.0, 3.0];
pub(crate) const LONG_DASH: Dash = &[13.0, 5.0];

/// The shape that marks a point of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    None,
    Dot,
    Ring,
    Square,
    TriangleUp,
    TriangleDown,
    Diamond,
    Cross,
    /// A ring with an arrow downwards: the value lies below.
    RingArrow,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stroke {
    pub color: RGBColor,
    /// In pixels.
    pub width: f64,
    pub dash: Dash,
}

/// How a text is drawn: centred vertically on its position (across its reading direction), and
/// starting, centred or ending there.
#[derive(Clone, Copy)]
pub(crate) struct Font {
    pub size: f64,
    pub horizontal: HPos,
    pub bold: bool,
    /// Turned to read from bottom to top.
    pub upwards: bool,
}

impl Font {
    /// Text that starts at its position and is centred on it vertically.
    pub fn left(size: f64) -> Self {
        Self { size, horizontal: HPos::Left, bold: false, upwards: false }
    }

    pub fn right(size: f64) -> Self {
        Self { horizontal: HPos::Right, ..Self::left(size) }
    }

    pub fn centered(size: f64) -> Self {
        Self { horizontal: HPos::Center, ..Self::left(size) }
    }

    pub fn upwards(size: f64) -> Self {
        Self { upwards: true, ..Self::centered(size) }
    }

    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

/// Width in pixels that `text` takes at most in a common sans-serif font. An estimate: the font
/// is chosen by whoever shows the SVG.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.6
}

/// A white sheet.
pub(crate) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

/// Draws a sheet of `width` x `height` pixels and returns it as SVG.
pub(crate) fn draw(
    width: u32,
    height: u32,
    content: impl FnOnce(&mut Canvas<'_>) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let units = (width * GRID as u32, height * GRID as u32);
    let mut svg = String::new();
    let mut canvas = Canvas { backend: SVGBackend::with_string(&mut svg, units) };
    canvas.rectangle((0.0, 0.0), (f64::from(width), f64::from(height)), WHITE)?;
    content(&mut canvas)?;
    canvas.backend.present().map_err(failed)?;
    drop(canvas);
    // The view box stays in grid units; the sheet is shown at its size in pixels.
    let in_units = format!("<svg width=\"{}\" height=\"{}\"", units.0, units.1);
    Ok(svg.replacen(&in_units, &format!("<svg width=\"{width}\" height=\"{height}\""), 1))
}

fn failed(error: impl Display) -> PlotError {
    PlotError { message: error.to_string() }
}

/// Grid units of a position. A cast saturates, so that no input can overflow.
fn units((x, y): Point) -> (i32, i32) {
    ((x * GRID).round() as i32, (y * GRID).round() as i32)
}

impl Canvas<'_> {
    pub fn rectangle(
        &mut self,
        upper_left: Point,
        lower_right: Point,
        color: RGBColor,
    ) -> Result<(), PlotError> {
        self.backend.draw_rect(units(upper_left), units(lower_right), &color, true).map_err(failed)
    }

    /// A line through `points`.
    pub fn path(&mut self, points: &[Point], stroke: Stroke) -> Result<(), PlotError> {
        if stroke.dash.is_empty() {
            return self.solid(points, stroke);
        }
        for piece in dashes(points, stroke.dash) {
            self.solid(&piece, stroke)?;
        }
        Ok(())
    }

    fn solid(&mut self, points: &[Point], stroke: Stroke) -> Result<(), PlotError> {
        if points.len() < 2 {
            return Ok(());
        }
        let style = ShapeStyle {
            color: stroke.color.to_rgba(),
            filled: false,
            stroke_width: (stroke.width * GRID).round() as u32,
        };
        self.backend.draw_path(points.iter().copied().map(units), &style).map_err(failed)
    }

    fn polygon(&mut self, points: &[Point], color: RGBColor) -> Result<(), PlotError> {
        self.backend.fill_polygon(points.iter().copied().map(units), &color).map_err(failed)
    }

    pub fn marker(
        &mut self,
        (x, y): Point,
        marker: Marker,
        color: RGBColor,
    ) -> Result<(), PlotError> {
        let around =
            |offsets: &[Point]| offsets.iter().map(|(dx, dy)| (x + dx, y + dy)).collect::<Vec<_>>();
        let stroke = Stroke { color, width: 1.5, dash: SOLID };
        match marker {
            Marker::None => Ok(()),
            Marker::Dot => self.circle((x, y), 3.0, color, true),
            Marker::Ring => self.circle((x, y), 4.5, color, false),
            Marker::Square => self.rectangle((x - 2.8, y - 2.8), (x + 2.8, y + 2.8), color),
            Marker::TriangleUp => {
                self.polygon(&around(&[(-4.0, 3.0), (4.0, 3.0), (0.0, -4.0)]), color)
            }
            Marker::TriangleDown => {
                self.polygon(&around(&[(-4.0, -3.0), (4.0, -3.0), (0.0, 4.0)]), color)
            }
            Marker::Diamond => {
                self.polygon(&around(&[(-4.2, 0.0), (0.0, -4.2), (4.2, 0.0), (0.0, 4.2)]), color)
            }
            Marker::Cross => {
                self.solid(&around(&[(-3.5, -3.5), (3.5, 3.5)]), stroke)?;
                self.solid(&around(&[(-3.5, 3.5), (3.5, -3.5)]), stroke)
            }
            Marker::RingArrow => {
                self.circle((x, y), 3.5, color, false)?;
                self.solid(&around(&[(0.0, 3.5), (0.0, 8.0)]), stroke)?;
                self.polygon(&around(&[(-3.0, 6.5), (3.0, 6.5), (0.0, 11.5)]), color)
            }
        }
    }

    fn circle(
        &mut self,
        center: Point,
        radius: f64,
        color: RGBColor,
        filled: bool,
    ) -> Result<(), PlotError> {
        let style = ShapeStyle {
            color: color.to_rgba(),
            filled,
            stroke_width: (1.5 * GRID).round() as u32,
        };
        let radius = (radius * GRID).round() as u32;
        self.backend.draw_circle(units(center), radius, &style, filled).map_err(failed)
    }

    pub fn text(&mut self, at: Point, text: &str, font: Font) -> Result<(), PlotError> {
        // XML has no way to write control characters, not even escaped.
        let text: String =
            text.chars().map(|c| if is_xml_char(c) { c } else { '\u{FFFD}' }).collect();
        let size = font.size * GRID * FONT_FACTOR;
        let face = ("sans-serif", size).into_font();
        let face = if font.bold { face.style(FontStyle::Bold) } else { face };
        let face = if font.upwards { face.transform(FontTransform::Rotate270) } else { face };
        let style =
            TextStyle::from(face).color(&BLACK).pos(Pos::new(font.horizontal, VPos::Center));
        self.backend.draw_text(&text, &style, units(at)).map_err(failed)
    }
}

fn is_xml_char(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{FFFE}' | '\u{FFFF}')
}

/// Cuts a line into the strokes of a dash pattern: the SVG backend has solid lines only.
fn dashes(points: &[Point], pattern: Dash) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let (Some(&first), Some(&length)) = (points.first(), pattern.first()) else {
        return pieces;
    };
    let mut piece = vec![first];
    let (mut index, mut left) = (0_usize, length);
    for pair in points.windows(2) {
        let &[from, to] = pair else { continue };
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy);
        let mut done = 0.0;
        while done + left < length {
            done += left;
            let at = (from.0 + dx * done / length, from.1 + dy * done / length);
            if index.is_multiple_of(2) {
                piece.push(at);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![at];
            }
            index += 1;
            // A pattern that ended on nothing would never advance.
            left = pattern.get(index % pattern.len()).copied().unwrap_or(1.0).max(0.5);
        }
        left -= length - done;
        if index.is_multiple_of(2) {
            piece.push(to);
        }
    }
    pieces.push(piece);
    pieces
}
