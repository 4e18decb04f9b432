//! Stops calls to a service that cannot be reached, for a while.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};

use crate::config;

const FAILURES: u32 = 5;
const OPEN_FOR: Duration = Duration::from_secs(1);

/// Counts the calls of a worker that failed in a row. Times are of the monotonic clock; `None` if it failed, and then
/// the breaker does nothing.
#[derive(Debug)]
pub struct Breaker {
    /// Zero: it never opens.
    limit: u32,
    open_for: Duration,
    failures: u32,
    open_until: Duration,
}

impl Breaker {
    /// A closed breaker.
    ///
    /// # Errors
    /// Where it would open for no time, or for more than an hour.
    pub fn compile(config: &config::Breaker) -> Result<Self, ConfigError> {
        let open_for = config.open_for.map_or(OPEN_FOR, |time| time.0);
        if open_for.is_zero() || open_for > Duration::from_secs(3600) {
            return Err(ConfigError::new("must be from 1ms to 1h")).at("openFor");
        }
        let limit = config.failures.unwrap_or(FAILURES);
        Ok(Self { limit, open_for, failures: 0, open_until: Duration::ZERO })
    }

    /// Whether a call may be made. While the breaker is open, one call in each `openFor` may.
    pub fn admits(&mut self, now: Option<Duration>) -> bool {
        let Some(now) = now.filter(|_| self.is_open()) else { return true };
        let tries = now >= self.open_until;
        if tries {
            self.open_until = now.saturating_add(self.open_for);
        }
        tries
    }

    /// The service responded to a call.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// A call failed; `true` if that opens the breaker.
    pub fn failed(&mut self, now: Option<Duration>) -> bool {
        let Some(now) = now else { return false };
        let was_open = self.is_open();
        self.failures = self.failures.saturating_add(1);
        if self.is_open() {
            self.open_until = now.saturating_add(self.open_for);
        }
        self.is_open() && !was_open
    }

    /// How many calls in a row have failed.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    const fn is_open(&self) -> bool {
        self.limit > 0 && self.failures >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(failures: u32) -> Breaker {
        Breaker::compile(&config::Breaker { failures: Some(failures), open_for: None }).unwrap()
    }

    const fn at(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn opens_after_failures_in_a_row() {
        let mut breaker = breaker(2);
        assert!(!breaker.failed(at(0)));
        breaker.succeeded();
        assert!(!breaker.failed(at(0)));
        assert!(breaker.admits(at(0)));
        assert!(breaker.failed(at(0)));
        assert!(!breaker.admits(at(999)));
    }

    #[test]
    fn admits_one_call_in_each_period_while_open() {
        let mut breaker = breaker(1);
        breaker.failed(at(0));
        assert!(breaker.admits(at(1000)));
        assert!(!breaker.admits(at(1001)), "one, though its answer may never come");
        assert!(breaker.admits(at(2000)));
        assert!(!breaker.failed(at(2300)), "it was open already");
        assert!(!breaker.admits(at(3299)));
        assert!(breaker.admits(at(3300)));
        breaker.succeeded();
        assert!(breaker.admits(at(3301)) && breaker.admits(at(3301)));
    }

    #[test]
    fn does_nothing_while_the_clock_fails() {
        let mut breaker = breaker(1);
        assert!(!breaker.failed(None) && breaker.admits(at(0)));
        breaker.failed(at(0));
        assert!(breaker.admits(None) && breaker.admits(None));
        assert!(!breaker.failed(None) && !breaker.admits(at(999)) && breaker.admits(at(1000)));
    }

    #[test]
    fn never_opens_with_zero() {
        let mut breaker = breaker(0);
        (0..100).for_each(|_| assert!(!breaker.failed(at(0)) && breaker.admits(at(0))));
    }
}
