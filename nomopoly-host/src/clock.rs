//! The wall clock, in milliseconds since 1970, and a way to replace it in tests.
//!
//! Expiry goes by the wall clock alone, since it is a time of day that was promised. When the clock
//! steps back, what is kept stays for longer by as much; nothing goes before its time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The end of the year 9999: later times cannot be told on every system.
pub(crate) const LATEST: u64 = 253_402_300_799_999;

pub(crate) fn wall() -> Clock {
    Arc::new(SystemTime::now)
}

/// Milliseconds since 1970, rounded down; 0 before.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(LATEST).min(LATEST)
}

pub(crate) fn time(millis: u64) -> SystemTime {
    // Every system can tell times up to `LATEST`.
    UNIX_EPOCH.checked_add(Duration::from_millis(millis.min(LATEST))).unwrap_or(UNIX_EPOCH)
}

/// `age` after `now`.
pub(crate) fn later(now: u64, age: Duration) -> u64 {
    let age = u64::try_from(age.as_millis()).unwrap_or(LATEST);
    now.saturating_add(age).min(LATEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_too_early_or_too_late() {
        assert_eq!(millis(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(millis(UNIX_EPOCH + Duration::from_micros(1999)), 1);
        assert_eq!(millis(time(LATEST)), LATEST);
        assert_eq!(time(u64::MAX), time(LATEST));
        assert_eq!(later(5, Duration::MAX), LATEST);
        assert_eq!(later(5, Duration::from_millis(7)), 12);
    }
}
