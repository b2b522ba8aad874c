//! What a client found, over its calls.

use std::fmt;
use std::time::Duration;

use nomopoly::receipt::{Detection, Strategy};

use super::{Answer, Caught, Checked};

/// Calls, checks, and what was wrong.
#[derive(Debug)]
pub struct Summary {
    pub strategy: Strategy,
    /// Share of the calls that were to be challenged.
    pub share: f64,
    pub detection: Detection,
    /// Answers that came.
    pub calls: u64,
    /// Challenges that were answered and found right.
    pub accepted: u64,
    /// Call and fault of each answer that was refused.
    pub caught: Vec<(usize, Caught)>,
    /// Bodies, in bytes.
    pub sent: u64,
    pub received: u64,
    /// Requests that were repeated because the host was full.
    pub retried: u64,
    asking: Duration,
    checks: Vec<Checked>,
}

impl Summary {
    pub(super) fn new(strategy: Strategy, share: f64, detection: Detection) -> Self {
        Self {
            strategy,
            share,
            detection,
            calls: 0,
            accepted: 0,
            caught: vec![],
            sent: 0,
            received: 0,
            retried: 0,
            asking: Duration::ZERO,
            checks: vec![],
        }
    }

    pub(super) fn add(&mut self, call: usize, outcome: Result<(Answer, Option<Checked>), Caught>) {
        self.calls += 1;
        match outcome {
            Err(caught) => self.caught.push((call, caught)),
            Ok((answer, checked)) => {
                self.asking += answer.took;
                self.accepted += u64::from(checked.is_some());
                self.checks.extend(checked);
            }
        }
    }

    /// Bytes of an opening, on average.
    pub fn opened(&self) -> f64 {
        self.mean(|check| check.opened as f64)
    }

    /// Microseconds of a check without the way to the host, on average.
    pub fn check_microseconds(&self) -> f64 {
        self.mean(|check| check.took.as_secs_f64() * 1e6)
    }

    fn mean(&self, of: impl Fn(&Checked) -> f64) -> f64 {
        self.checks.iter().map(of).sum::<f64>() / self.checks.len().max(1) as f64
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, accepted, detection, share, strategy, .. } = self;
        let answered = calls - self.caught.len() as u64;
        let each = self.asking.as_secs_f64() * 1e3 / answered.max(1) as f64;
        writeln!(
            f,
            "{calls} calls, {each:.2} ms each; {} bytes sent, {} received",
            self.sent, self.received
        )?;
        if self.retried > 0 {
            writeln!(f, "{} requests repeated, for the host was full", self.retried)?;
        }
        writeln!(
            f,
            "{accepted} checked ({strategy}) and accepted, {} refused; {:.0} bytes opened and {:.0} µs for a check",
            self.caught.len(),
            self.opened(),
            self.check_microseconds(),
        )?;
        let waited = self.mean(|check| check.waited.as_secs_f64() * 1e3);
        writeln!(f, "{waited:.2} ms from a challenge to its opening")?;
        writeln!(
            f,
            "a host that cheats in one operation is met with {} a challenge, {} over {calls} calls \
             with {} challenged",
            percent(detection.least),
            percent(detection.over(*calls, *share)),
            percent(*share),
        )?;
        write!(
            f,
            "one that cheats in all of them with {} a challenge. Assumed: it cannot foresee challenges, \
             which\nare drawn after its receipt; and not opening counts as caught",
            percent(detection.everywhere)
        )?;
        for (call, caught) in self.caught.iter().take(SHOWN) {
            write!(f, "\ncall {call}: {caught}")?;
        }
        match self.caught.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// Refusals that are printed.
const SHOWN: usize = 5;

/// A probability in percent, not rounded up to certainty.
pub fn percent(probability: f64) -> String {
    match probability * 100. {
        certain if certain >= 100. => "100 %".to_owned(),
        near if near > 99.99 => "over 99.99 %".to_owned(),
        high if high > 99. => format!("{:.2} %", (high * 100.).floor() / 100.),
        other => format!("{other:.0} %"),
    }
}
