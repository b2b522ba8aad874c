//! How a verifier chooses what to have opened, and how likely that catches a host that cheats.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::challenge::Part;
use crate::operations::linear::Slices;
use crate::{Error, Result};

/// Draws that a strategy in text may ask for.
const MOST_DRAWS: u32 = 1 << 16;

/// How operations are chosen. As text: `random:3`, `parts:3:4096`, `linear`, `everything`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Strategy {
    /// So many draws with replacement among the n operations whose outputs a transcript reveals.
    /// Each is as likely as the mean of its share of their multiply-accumulates and 1/n: costly ones
    /// are drawn more, and nothing is drawn next to never, such as a small last layer that decides
    /// the answer.
    Random { draws: u32 },
    /// The same, but each draw opens only some output channels or rows of the operation: as many as
    /// fit into so many elements, one at least.
    Parts { draws: u32, elements: u32 },
    /// Every operation whose output a transcript reveals: those that are checked by sketch.
    Linear,
    /// Every operation.
    Everything,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { draws } => write!(f, "random:{draws}"),
            Self::Parts { draws, elements } => write!(f, "parts:{draws}:{elements}"),
            Self::Linear => f.write_str("linear"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

impl FromStr for Strategy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |text: &str| text.parse::<u32>().ok();
        let several = |text: &str| number(text).filter(|n| (1..=MOST_DRAWS).contains(n));
        let fields: Vec<&str> = text.split(':').collect();
        let strategy = match fields[..] {
            ["random", draws] => several(draws).map(|draws| Self::Random { draws }),
            ["parts", draws, elements] => several(draws)
                .zip(number(elements))
                .map(|(draws, elements)| Self::Parts { draws, elements }),
            ["linear"] => Some(Self::Linear),
            ["everything"] => Some(Self::Everything),
            _ => None,
        };
        strategy.ok_or_else(|| {
            Error::Challenge(format!(
                "`{}` is no strategy: `random:DRAWS`, `parts:DRAWS:ELEMENTS`, `linear` or \
                 `everything`, with 1 to {MOST_DRAWS} draws",
                text.chars().take(80).collect::<String>()
            ))
        })
    }
}

/// What a strategy knows of one operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn {
    /// Multiply-accumulates of running it; absent where a transcript does not reveal it: the
    /// verifier recomputes it in any case.
    pub cost: Option<u64>,
    /// How its output falls into parts that can be checked alone.
    pub slices: Option<Slices>,
}

impl Slices {
    /// Whether every element has a number of 32 bits, as parts need.
    pub(super) fn are_numbered(&self) -> bool {
        let elements = self.each.checked_mul(self.run).and_then(|n| n.checked_mul(self.runs));
        elements.is_some_and(|elements| u32::try_from(elements).is_ok())
    }

    /// How many slices a part of at most about so many elements has.
    fn per_part(&self, elements: u32) -> usize {
        (elements as usize / self.each.max(1)).clamp(1, self.run.max(1))
    }

    /// How many parts there are to draw from.
    fn parts(&self, elements: u32) -> usize {
        self.runs * self.run.div_ceil(self.per_part(elements))
    }

    fn part(&self, elements: u32, place: usize) -> Part {
        let per_part = self.per_part(elements);
        let per_run = self.run.div_ceil(per_part);
        let first = place % per_run * per_part;
        let count = per_part.min(self.run - first);
        let first = (place / per_run * self.run + first) * self.each;
        Part { first: first as u32, count: (count * self.each) as u32 }
    }
}

/// Draws operations, by their places, with the parts that are asked for (none: all).
pub(super) fn draw(
    strategy: Strategy,
    operations: &[Drawn],
    random: &mut impl Rng,
) -> BTreeMap<u32, Vec<Part>> {
    let all = operations.iter().enumerate().map(|(index, drawn)| (index as u32, drawn));
    let (draws, elements) = match strategy {
        Strategy::Everything => return all.map(|(index, _)| (index, vec![])).collect(),
        Strategy::Linear => {
            let linear = all.filter(|(_, drawn)| drawn.cost.is_some());
            return linear.map(|(index, _)| (index, vec![])).collect();
        }
        Strategy::Random { draws } => (draws, None),
        Strategy::Parts { draws, elements } => (draws, Some(elements)),
    };
    let weights = weights(operations);
    let total: u128 = weights.iter().sum();
    let mut chosen: BTreeMap<u32, BTreeSet<Part>> = BTreeMap::new();
    if total == 0 {
        return BTreeMap::new();
    }
    for _ in 0..draws {
        let mut place = below(random, total);
        for ((index, drawn), weight) in all.clone().zip(&weights) {
            if place >= *weight {
                place -= weight;
                continue;
            }
            let parts = chosen.entry(index).or_default();
            if let (Some(elements), Some(slices)) = (elements, drawn.slices) {
                let place = below(random, slices.parts(elements) as u128) as usize;
                parts.insert(slices.part(elements, place));
            }
            break;
        }
    }
    chosen.into_iter().map(|(index, parts)| (index, parts.into_iter().collect())).collect()
}

/// How likely each is, up to a factor: n times its cost, and the costs of all.
fn weights(operations: &[Drawn]) -> Vec<u128> {
    let costs = || operations.iter().filter_map(|drawn| drawn.cost).map(u128::from);
    let (count, total) = (costs().count() as u128, costs().sum::<u128>().max(1));
    let weight = |cost| u128::from(cost) * count + total;
    operations.iter().map(|drawn| drawn.cost.map_or(0, weight)).collect()
}

/// A number below `total`, with a bias of 2^-64 at most for any model that can be run.
fn below(random: &mut impl Rng, total: u128) -> u128 {
    ((u128::from(random.next_u64()) << 64) | u128::from(random.next_u64())) % total.max(1)
}

/// How likely a challenge meets a host that cheats. A host that cheats states for one operation at
/// least an output that is not what the operation makes of its inputs; the challenge is drawn after
/// it has committed to that. What is met is then judged as the certificate of the operation says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Detection {
    /// Probability that a wrong operation (of [`Strategy::Parts`]: a wrong output channel or row) is
    /// among those that are checked, for the least likely one. It assumes that the host cheats there
    /// alone.
    pub least: f64,
    /// The same for a host that cheats in every operation.
    pub everywhere: f64,
}

impl Detection {
    pub(super) fn of(strategy: Strategy, operations: &[Drawn]) -> Self {
        let (draws, elements) = match strategy {
            Strategy::Linear | Strategy::Everything => return Self { least: 1., everywhere: 1. },
            Strategy::Random { draws } => (draws, None),
            Strategy::Parts { draws, elements } => (draws, Some(elements)),
        };
        let weights = weights(operations);
        let total = weights.iter().sum::<u128>() as f64;
        // What no transcript reveals is recomputed.
        if total == 0. {
            return Self { least: 1., everywhere: 1. };
        }
        if draws == 0 {
            return Self { least: 0., everywhere: 0. };
        }
        let share = |(drawn, weight): (&Drawn, &u128)| {
            let parts = elements.zip(drawn.slices).map_or(1, |(elements, s)| s.parts(elements));
            *weight as f64 / total / parts as f64
        };
        let drawn = operations.iter().zip(&weights).filter(|(_, weight)| **weight > 0);
        let least = drawn.map(share).fold(1., f64::min);
        Self { least: -(f64::from(draws) * (-least).ln_1p()).exp_m1(), everywhere: 1. }
    }

    /// Probability that a host that cheats in every of `calls` inferences, in its least likely
    /// operation, meets a challenge that catches it, when each call is challenged with probability
    /// `share`.
    pub fn over(&self, calls: u64, share: f64) -> f64 {
        let each = (self.least * share).clamp(0., 1.);
        -((calls as f64) * (-each).ln_1p()).exp_m1()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    const EACH: Slices = Slices { each: 10, run: 7, runs: 2 };

    fn of_costs(costs: &[u64]) -> Vec<Drawn> {
        // A cost of 0 stands for an operation that is not revealed.
        let drawn = |&cost: &u64| match cost {
            0 => Drawn { cost: None, slices: None },
            cost => Drawn { cost: Some(cost), slices: Some(EACH) },
        };
        costs.iter().map(drawn).collect()
    }

    #[test]
    fn strategies_are_written_and_read() {
        let all = ["random:3", "parts:3:4096", "linear", "everything"];
        for text in all {
            assert_eq!(text.parse::<Strategy>().unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "random",
            "random:0",
            "parts:65537:1",
            "random:-1",
            "random:x",
            "parts:3",
            "all",
            "linear:1",
        ] {
            let error = wrong.parse::<Strategy>().unwrap_err().to_string();
            assert!(error.contains("random:DRAWS"), "{error}");
        }
    }

    #[test]
    fn operations_are_drawn_by_their_cost() {
        let operations = of_costs(&[1, 0, 3, 96]);
        let mut random = ChaCha20Rng::from_seed([1; 32]);
        let mut counts = [0u32; 4];
        for _ in 0..20_000 {
            for index in draw(Strategy::Random { draws: 1 }, &operations, &mut random).keys() {
                counts[*index as usize] += 1;
            }
        }
        assert_eq!(counts[1], 0);
        for (count, share) in counts.iter().zip([0.01, 0., 0.03, 0.96]) {
            let share = if share > 0. { (share + 1. / 3.) / 2. } else { 0. };
            assert!((f64::from(*count) / 20_000. - share).abs() < 0.012, "{counts:?}");
        }
        assert_eq!(draw(Strategy::Everything, &operations, &mut random).len(), 4);
        assert_eq!(draw(Strategy::Linear, &operations, &mut random).len(), 3);
        assert!(draw(Strategy::Random { draws: 5 }, &of_costs(&[0, 0]), &mut random).is_empty());
    }

    #[test]
    fn parts_cover_every_slice_and_none_crosses_a_run() {
        for elements in [0, 1, 10, 25, 30, 1000] {
            let mut met = vec![0; 14];
            for place in 0..EACH.parts(elements) {
                let part = EACH.part(elements, place);
                let range = part.range();
                assert!(range.start.is_multiple_of(10) && range.end.is_multiple_of(10), "{part:?}");
                assert_eq!(range.start / 70, (range.end - 1) / 70, "{part:?}");
                (range.start / 10..range.end / 10).for_each(|slice| met[slice] += 1);
            }
            assert_eq!(met, vec![1; 14], "{elements}");
        }
    }

    #[test]
    fn detection_is_what_draws_give() {
        let operations = of_costs(&[10, 30, 60]);
        let parts = |draws| Strategy::Parts { draws, elements: 30 };
        for strategy in
            [1, 3, 8].into_iter().flat_map(|d| [Strategy::Random { draws: d }, parts(d)])
        {
            let detection = Detection::of(strategy, &operations);
            let mut random = ChaCha20Rng::from_seed([2; 32]);
            let trials = 20_000;
            let first = |chosen: BTreeMap<u32, Vec<Part>>| {
                let parts = chosen.get(&0)?;
                (parts.is_empty() || parts.iter().any(|part| part.first == 0)).then_some(())
            };
            let draws = (0..trials).filter_map(|_| first(draw(strategy, &operations, &mut random)));
            let met = draws.count() as f64 / f64::from(trials);
            assert!((met - detection.least).abs() < 0.012, "{strategy} {met} {detection:?}");
        }
        let detection = Detection::of(Strategy::Random { draws: 1 }, &operations);
        let share: f64 = (0.1 + 1. / 3.) / 2.;
        assert!((detection.over(2, 1.) - (1. - (1. - share).powi(2))).abs() < 1e-12);
        assert!((detection.over(100, 0.1) - (1. - (1. - share / 10.).powi(100))).abs() < 1e-12);
        assert_eq!(detection.over(0, 1.), 0.);
        let nothing = Detection::of(Strategy::Random { draws: 1 }, &of_costs(&[0]));
        assert_eq!(nothing.least, 1.);
    }
}
