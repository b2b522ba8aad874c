//! Cost against size, one panel for each way to grow.

use super::axis::{Axis, range};
use super::canvas::{BLUE, DASHED, Font, GREEN, Marker, SOLID, TITLE, VERMILLION, draw};
use super::panel::{Frame, Look, Panel, Series, heading, legend, legend_height};
use super::{HEIGHT, PlotError, WIDTH};

/// What growing in one way costs.
#[derive(Debug, Clone)]
pub struct Growth {
    /// What grows, for the axis.
    pub size: String,
    pub points: Vec<Cost>,
}

/// The costs at one size.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub size: f64,
    /// Seconds of plain inference.
    pub plain: f64,
    /// Seconds of an inference with its proof.
    pub prove: f64,
    /// Seconds of a check.
    pub verify: f64,
}

const TOP: f64 = 84.0;
const BOTTOM: f64 = 60.0;
const LEFT: f64 = 76.0;

/// Seconds against size on logarithmic axes, where growing in proportion is a straight line of slope
/// one; 1100 x 760 pixels.
///
/// # Errors
/// [`PlotError`] if the drawing library fails, which no figures are known to cause.
pub fn cost_against_size(title: &str, growths: &[Growth]) -> Result<String, PlotError> {
    let looks = [
        Look::line("plain inference in tract", BLUE, DASHED, Marker::Ring),
        Look::line("inference with proof", GREEN, SOLID, Marker::Square),
        Look::line("check", VERMILLION, SOLID, Marker::Dot),
        Look::guide("in proportion to the size", DASHED),
    ];
    let looks: Vec<&Look> = looks.iter().collect();
    let all = || growths.iter().flat_map(|growth| &growth.points);
    let seconds = all().flat_map(|cost| [cost.plain, cost.prove, cost.verify]);
    let (low, high) = range(seconds.filter(|s| *s > 0.0)).unwrap_or((1e-3, 1.0));
    draw(WIDTH, HEIGHT, |canvas| {
        canvas.text((LEFT, 20.0), title, Font::left(TITLE).bold())?;
        legend(canvas, &looks, (LEFT, 34.0), f64::from(WIDTH) - 2.0 * LEFT)?;
        let top = TOP + legend_height(&looks, f64::from(WIDTH) - 2.0 * LEFT);
        let width = f64::from(WIDTH) / growths.len().max(1) as f64;
        for (column, growth) in growths.iter().enumerate() {
            let left = column as f64 * width;
            let frame = Frame {
                left: left + LEFT,
                top,
                right: left + width - 16.0,
                bottom: f64::from(HEIGHT) - BOTTOM,
            };
            let sizes = growth.points.iter().map(|cost| cost.size);
            let (least, most) = range(sizes).unwrap_or((1.0, 10.0));
            let x = Axis::logarithmic(format!("{} (logarithmic)", growth.size), least, most, 6);
            let y = Axis::logarithmic("seconds (logarithmic)", low, high, 8);
            let panel = Panel::new(frame, x, y);
            heading(canvas, (frame.left, frame.top - 14.0), &growth.size)?;
            panel.axes(canvas, true)?;
            let series = |look: &Look, of: fn(&Cost) -> f64| Series {
                look: look.clone(),
                points: growth.points.iter().map(|cost| (cost.size, of(cost))).collect(),
            };
            // A line of slope one through the last check.
            let guide = growth.points.last().map(|last| {
                let at = |size: f64| (size, last.verify * size / last.size);
                let from = (last.size * low / last.verify).max(least);
                Series { look: looks[3].clone(), points: vec![at(from), at(last.size)] }
            });
            let drawn: Vec<Series> = guide
                .into_iter()
                .chain([
                    series(looks[0], |cost| cost.plain),
                    series(looks[1], |cost| cost.prove),
                    series(looks[2], |cost| cost.verify),
                ])
                .collect();
            panel.lines(canvas, &drawn)?;
        }
        Ok(())
    })
}

/// How a cost grows with size: the slope of the least-squares line through the logarithms, 1 where it
/// grows in proportion. `None` with fewer than two sizes.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    (variance > 0.0).then(|| covariance / variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_a_power_is_its_power() {
        let points: Vec<(f64, f64)> =
            (1..6).map(|i| (f64::from(i), 3. * f64::from(i).powf(1.5))).collect();
        assert!((exponent(&points).unwrap() - 1.5).abs() < 1e-9);
        assert_eq!(exponent(&points[..1]), None);
        assert_eq!(exponent(&[]), None);
    }

    #[test]
    fn odd_figures_are_drawn_too() {
        let cost = |size: f64| Cost { size, plain: f64::NAN, prove: 0., verify: size };
        for points in [vec![], vec![cost(1.)], vec![cost(1.), cost(1e9), cost(f64::INFINITY)]] {
            let growth = Growth { size: "operations".into(), points };
            let svg = cost_against_size("t", &[growth.clone(), growth]).unwrap();
            assert!(svg.contains("operations"));
        }
        assert!(cost_against_size("t", &[]).unwrap().starts_with("<svg"));
    }
}
