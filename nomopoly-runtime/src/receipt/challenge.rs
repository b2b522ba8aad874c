//! Which operations of a receipt are to be opened, drawn by the verifier after it has the receipt.

use std::collections::BTreeSet;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::commit::{RECEIPT_SCHEMA, stored};
use crate::onnx::Digest;
use crate::wire::Format;
use crate::{Error, Result};

const FORMAT: Format = Format { magic: b"NMPCHALL", schema: RECEIPT_SCHEMA };

/// How operations are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// So many draws with replacement, each operation as likely as its share of the model's
    /// multiply-accumulates.
    Random { draws: u32 },
    /// Every operation.
    Everything,
}

/// The operations that a host is asked to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Root of the receipt.
    pub root: Digest,
    /// Operations that are to be checked, by their places, in ascending order.
    pub operations: Vec<u32>,
    /// Operations that those are computed from: only their outputs are needed.
    pub producers: Vec<u32>,
}

impl Challenge {
    /// Every place that is to be opened, in ascending order.
    pub fn opened(&self) -> Vec<u32> {
        let all: BTreeSet<u32> = self.operations.iter().chain(&self.producers).copied().collect();
        all.into_iter().collect()
    }

    /// The wire format.
    ///
    /// # Errors
    /// Never in practice: serialising plain data into memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        FORMAT.seal(self).map_err(|reason| Error::Stored { what: WHAT, reason })
    }

    /// Reads the wire format.
    ///
    /// # Errors
    /// [`Error::Stored`] for foreign, truncated or altered bytes, or another version's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        FORMAT.open(bytes).map_err(|fault| stored(fault, WHAT))
    }
}

const WHAT: &str = "the challenge";

/// Draws operations by their costs.
pub(super) fn draw(strategy: Strategy, costs: &[u64], random: &mut impl Rng) -> BTreeSet<u32> {
    let Strategy::Random { draws } = strategy else {
        return (0..costs.len() as u32).collect();
    };
    let total: u128 = costs.iter().map(|cost| u128::from(*cost)).sum();
    let mut chosen = BTreeSet::new();
    if total == 0 {
        return chosen;
    }
    for _ in 0..draws {
        // A bias of 2^-64 at most for any model that can be run.
        let wide = (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64());
        let mut place = wide % total;
        for (index, cost) in costs.iter().enumerate() {
            if place < u128::from(*cost) {
                chosen.insert(index as u32);
                break;
            }
            place -= u128::from(*cost);
        }
    }
    chosen
}

/// How likely a challenge meets a host that cheats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Probability that a wrong operation is among those that are checked, for the least likely
    /// one. It assumes that the host cheats in that operation alone.
    pub least: f64,
    /// The same for a host that cheats in every operation.
    pub everywhere: f64,
}

impl Detection {
    pub(super) fn of(strategy: Strategy, costs: &[u64]) -> Self {
        let Strategy::Random { draws } = strategy else {
            return Self { least: 1., everywhere: 1. };
        };
        let total: f64 = costs.iter().map(|cost| *cost as f64).sum();
        if total == 0. || draws == 0 {
            return Self { least: 0., everywhere: 0. };
        }
        let least = costs.iter().map(|cost| *cost as f64 / total).fold(1., f64::min);
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

    #[test]
    fn operations_are_drawn_by_their_cost() {
        let costs = [1, 0, 3, 96];
        let mut random = ChaCha20Rng::from_seed([1; 32]);
        let mut counts = [0u32; 4];
        for _ in 0..20_000 {
            for index in draw(Strategy::Random { draws: 1 }, &costs, &mut random) {
                counts[index as usize] += 1;
            }
        }
        assert_eq!(counts[1], 0);
        for (count, share) in counts.iter().zip([0.01, 0., 0.03, 0.96]) {
            assert!((f64::from(*count) / 20_000. - share).abs() < 0.005, "{counts:?}");
        }
        assert_eq!(draw(Strategy::Everything, &costs, &mut random).len(), 4);
        assert!(draw(Strategy::Random { draws: 5 }, &[0, 0], &mut random).is_empty());
    }

    #[test]
    fn detection_is_what_draws_give() {
        let costs = [10, 30, 60];
        for draws in [1, 3, 8] {
            let strategy = Strategy::Random { draws };
            let detection = Detection::of(strategy, &costs);
            let mut random = ChaCha20Rng::from_seed([2; 32]);
            let trials = 20_000;
            let met = (0..trials).filter(|_| draw(strategy, &costs, &mut random).contains(&0));
            let met = met.count() as f64 / f64::from(trials);
            assert!((met - detection.least).abs() < 0.012, "{met} {detection:?}");
        }
        let detection = Detection::of(Strategy::Random { draws: 1 }, &costs);
        assert!((detection.over(2, 1.) - (1. - 0.9f64.powi(2))).abs() < 1e-12);
        assert!((detection.over(100, 0.1) - (1. - 0.99f64.powi(100))).abs() < 1e-12);
        assert_eq!(detection.over(0, 1.), 0.);
    }
}
