//! When a service that keeps failing is left alone for a while.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};

use crate::config;

const FAILURES: u32 = 5;
const OPEN_FOR: Duration = Duration::from_secs(1);

/// Failures in a row, of one worker's calls. Times are of the monotonic clock.
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

    /// Whether the service may be asked. While the breaker is open, one request in each `openFor` tries.
    pub fn admits(&mut self, now: Duration) -> bool {
        if !self.is_open() {
            return true;
        }
        let tries = now >= self.open_until;
        if tries {
            self.open_until = now.saturating_add(self.open_for);
        }
        tries
    }

    /// The service answered.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The service failed; `true` where that opens the breaker.
    pub fn failed(&mut self, now: Duration) -> bool {
        let was_open = self.is_open();
        self.failures = self.failures.saturating_add(1);
        if self.is_open() {
            self.open_until = now.saturating_add(self.open_for);
        }
        self.is_open() && !was_open
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

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_opens_after_failures_in_a_row() {
        let mut breaker = breaker(2);
        assert!(!breaker.failed(at(0)));
        breaker.succeeded();
        assert!(!breaker.failed(at(0)));
        assert!(breaker.admits(at(0)));
        assert!(breaker.failed(at(0)));
        assert!(!breaker.admits(at(999)));
    }

    #[test]
    fn then_one_request_in_each_period_tries() {
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
    fn with_zero_it_never_opens() {
        let mut breaker = breaker(0);
        (0..100).for_each(|_| assert!(!breaker.failed(at(0)) && breaker.admits(at(0))));
    }
}
