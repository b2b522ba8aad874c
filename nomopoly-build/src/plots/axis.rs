//! Axes: the range of the data, rounded outwards to ticks.

use super::numbers::power_of_ten;

/// Larger magnitudes are drawn at this value, so that no arithmetic on a range can overflow.
const LARGEST: f64 = 1e12;

/// A mark on an axis. Unlabelled ones only carry a grid line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub value: f64,
    pub label: Option<String>,
}

/// One axis of a panel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// What is measured, and its unit.
    pub title: String,
    /// Both ends of the range; positive on a logarithmic axis, and never equal.
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<Tick>,
    logarithmic: bool,
}

impl Axis {
    /// A linear axis over `low` to `high` with about `count` ticks.
    pub fn linear(title: impl Into<String>, low: f64, high: f64, count: u32) -> Self {
        Self::with_step(title.into(), low, high, count, 0.0)
    }

    /// An axis over whole numbers: every tick is one.
    pub fn integer(title: impl Into<String>, low: f64, high: f64, count: u32) -> Self {
        let (low, high) = ordered(low, high);
        let mut axis = Self::with_step(title.into(), low, high, count, 1.0);
        // Counts start and end where the data do; a round end would leave a gap.
        if high - low >= 1.0 {
            (axis.low, axis.high) = (low, high);
            axis.ticks.retain(|tick| (low..=high).contains(&tick.value));
        }
        axis
    }

    fn with_step(title: String, low: f64, high: f64, count: u32, smallest_step: f64) -> Self {
        let (mut low, mut high) = ordered(low, high);
        // A constant series still needs a range.
        let shortest = (low.abs().max(high.abs()) * 1e-6).max(1e-9);
        if high - low < shortest {
            let half = (low.abs() * 0.05).max(0.05);
            (low, high) = (low - half, high + half);
        }
        let step = round_step((high - low) / f64::from(count.max(1))).max(smallest_step);
        // The slack keeps a value that is a tick up to rounding from opening one step more.
        let first = (low / step + 1e-6).floor();
        let last = (high / step - 1e-6).ceil();
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let ticks = (0..=40)
            .map(|i| first + f64::from(i))
            .take_while(|&i| i <= last)
            .map(|i| {
                // Adding 0 turns -0 into 0.
                let value = i * step + 0.0;
                Tick { value, label: Some(format!("{value:.decimals$}")) }
            })
            .collect();
        Self { title, low: first * step, high: last * step, ticks, logarithmic: false }
    }

    /// A logarithmic axis over the decades from `low` to `high` with at most `count` labels.
    /// Values that are not positive lie on its lower end.
    pub fn logarithmic(title: impl Into<String>, low: f64, high: f64, count: u32) -> Self {
        let decade = |value: f64| {
            if value > 0.0 { value.min(LARGEST).log10().clamp(-300.0, 300.0) } else { -300.0 }
        };
        let (low, high) = ordered(decade(low), decade(high));
        let first = (low + 1e-9).floor() as i32;
        let last = ((high - 1e-9).ceil() as i32).max(first + 1);
        let stride = (last - first).unsigned_abs().div_ceil(count.max(1)).max(1);
        // A panel with room for few labels has none for finer lines.
        let fine = last - first <= 4 && count > 5;
        let ticks = (first..=last)
            .flat_map(|exponent| {
                let decade = 10_f64.powi(exponent);
                let label = (last - exponent)
                    .unsigned_abs()
                    .is_multiple_of(stride)
                    .then(|| power_of_ten(exponent));
                let minor = if fine && exponent < last { 2..10 } else { 2..2 };
                std::iter::once(Tick { value: decade, label })
                    .chain(minor.map(move |i| Tick { value: decade * f64::from(i), label: None }))
            })
            .collect();
        Self {
            title: title.into(),
            low: 10_f64.powi(first),
            high: 10_f64.powi(last),
            ticks,
            logarithmic: true,
        }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end, clamped to both.
    pub fn position(&self, value: f64) -> f64 {
        let position = if self.logarithmic {
            // Differences of logarithms: the quotient of the ends can overflow.
            let low = self.low.log10();
            (value.max(self.low).log10() - low) / (self.high.log10() - low)
        } else {
            (value - self.low) / (self.high - self.low)
        };
        position.clamp(0.0, 1.0)
    }
}

/// The smallest and the largest finite value, or `None` without any.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

fn ordered(low: f64, high: f64) -> (f64, f64) {
    let tame = |value: f64| if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) };
    let (low, high) = (tame(low), tame(high));
    (low.min(high), low.max(high))
}

/// The next 1, 2 or 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let factor = match step / decade {
        ratio if ratio <= 1.0 + 1e-9 => 1.0,
        ratio if ratio <= 2.0 + 1e-9 => 2.0,
        ratio if ratio <= 5.0 + 1e-9 => 5.0,
        _ => 10.0,
    };
    factor * decade
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().filter_map(|tick| tick.label.clone()).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_range() {
        let axis = Axis::linear("", 0.03, 0.97, 5);
        assert_eq!(labels(&axis), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::logarithmic("", 2e-3, 0.5, 8)), ["10⁻³", "10⁻²", "10⁻¹", "1"]);
        assert_eq!(labels(&Axis::integer("", 1.0, 3.0, 8)), ["1", "2", "3"]);
        assert_eq!(
            labels(&Axis::integer("", 1.0, 40.0, 8)),
            ["5", "10", "15", "20", "25", "30", "35", "40"]
        );
    }

    #[test]
    fn every_range_gives_finite_positions_and_few_ticks() {
        let values = [f64::NEG_INFINITY, -1.0, 0.0, 1e-300, 1e-12, 1.0, 1e12, f64::MAX, f64::NAN];
        for low in values {
            for high in values {
                for axis in [
                    Axis::linear("", low, high, 5),
                    Axis::integer("", low, high, 5),
                    Axis::logarithmic("", low, high, 5),
                ] {
                    assert!(axis.low < axis.high, "{low} {high} {axis:?}");
                    assert!(axis.position(0.5).is_finite());
                    assert!((1..=9).contains(&labels(&axis).len()), "{low} {high} {axis:?}");
                }
            }
        }
    }
}
