//! The generic cell rate algorithm: a token bucket whose whole state is one point in time.

/// A rate and a burst, in nanoseconds. Its state is the time at which the bucket is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// How long one unit takes to come back.
    interval: u64,
    /// How far ahead of now the state may be.
    tolerance: u64,
    /// How far ahead it may be after charges that nobody was asked about.
    most: u64,
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// When it would pass, in nanoseconds from now; `None`: never.
    pub retry_after: Option<u64>,
}

impl Gcra {
    /// `None` where a unit would take less than a nanosecond, or the burst centuries.
    pub fn new(requests: u64, per: u64, burst: u64) -> Option<Self> {
        let interval = per.checked_div(requests).filter(|interval| *interval > 0)?;
        let tolerance = interval.checked_mul(burst).filter(|tolerance| *tolerance < u64::MAX >> 4)?;
        Some(Self { interval, tolerance, most: tolerance.saturating_mul(2) })
    }

    /// The state after a charge of `cost`.
    pub fn take(&self, state: u64, now: u64, cost: u64) -> Result<u64, Denied> {
        let increment = self.interval.saturating_mul(cost);
        if increment > self.tolerance {
            return Err(Denied { retry_after: None });
        }
        let next = self.clamped(state, now).saturating_add(increment);
        match next.saturating_sub(now).saturating_sub(self.tolerance) {
            0 => Ok(next),
            early => Err(Denied { retry_after: Some(early) }),
        }
    }

    /// The state after a charge that cannot be refused any more. The debt is at most another burst.
    pub fn charge(&self, state: u64, now: u64, cost: u64) -> u64 {
        let next = self.clamped(state, now).saturating_add(self.interval.saturating_mul(cost));
        next.min(now.saturating_add(self.most))
    }

    /// The state after a charge is taken back.
    pub fn refund(&self, state: u64, cost: u64) -> u64 {
        state.saturating_sub(self.interval.saturating_mul(cost))
    }

    /// How many units are left, and how long until all are.
    pub fn left(&self, state: u64, now: u64) -> (u64, u64) {
        let ahead = self.clamped(state, now).saturating_sub(now);
        let units = self.tolerance.saturating_sub(ahead).checked_div(self.interval).unwrap_or(0);
        (units, ahead)
    }

    /// How many units there are at most.
    pub fn burst(&self) -> u64 {
        self.tolerance.checked_div(self.interval).unwrap_or(0)
    }

    /// The state cannot lie in the past, nor further ahead than this rate can bring it: so a client is not locked out
    /// by what a larger burst allowed it before.
    fn clamped(&self, state: u64, now: u64) -> u64 {
        state.clamp(now, now.saturating_add(self.most))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;
    use governor::{Quota, RateLimiter};
    use plugin_kit as _;

    use super::*;

    /// SplitMix64.
    struct Random(u64);

    impl Random {
        fn next(&mut self, below: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % below
        }
    }

    /// 200 quotas, 2000 decisions each, with pauses around the interval: as the crate `governor` decides.
    #[test]
    fn decides_as_governor_does() {
        let mut random = Random(42);
        let (mut decisions, mut denied) = (0, 0);
        for quota in 0..200 {
            let interval = 1 + random.next(2_000_000_000);
            let burst = 1 + random.next(50);
            let gcra = Gcra::new(1, interval, burst).unwrap();
            let clock = FakeRelativeClock::default();
            let cells = |count: u64| NonZeroU32::new(u32::try_from(count).unwrap()).unwrap();
            let reference = RateLimiter::direct_with_clock(
                Quota::with_period(Duration::from_nanos(interval)).unwrap().allow_burst(cells(burst)),
                clock.clone(),
            );
            let most = if quota % 2 == 0 { 1 } else { 4 };
            // Zero time is before governor's own start.
            let (mut now, mut state) = (1_000_000_000_000, 0);
            for _ in 0..2000 {
                let pause = random.next(interval.saturating_mul(most) + 2);
                now += pause;
                clock.advance(Duration::from_nanos(pause));
                let cost = 1 + random.next(most);
                let allowed = match most {
                    1 => reference.check().is_ok(),
                    _ => reference.check_n(cells(cost)).is_ok_and(|decided| decided.is_ok()),
                };
                let ours = gcra.take(state, now, cost);
                assert_eq!(ours.is_ok(), allowed, "interval={interval} burst={burst} now={now} cost={cost}");
                state = ours.unwrap_or(state);
                decisions += 1;
                denied += u32::from(!allowed);
            }
        }
        assert_eq!(decisions, 400_000);
        assert!((50_000..350_000).contains(&denied), "{denied}");
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_at_once_and_then_one_in_each_interval() {
        let gcra = Gcra::new(10, 10 * SECOND, 3).unwrap();
        let now = 100 * SECOND;
        let mut state = 0;
        for left in [2, 1, 0] {
            state = gcra.take(state, now, 1).unwrap();
            assert_eq!(gcra.left(state, now).0, left);
        }
        assert_eq!(gcra.take(state, now, 1), Err(Denied { retry_after: Some(SECOND) }));
        assert_eq!(gcra.take(state, now + SECOND - 1, 1), Err(Denied { retry_after: Some(1) }));
        assert!(gcra.take(state, now + SECOND, 1).is_ok());
    }

    #[test]
    fn what_costs_more_than_the_burst_never_passes() {
        let gcra = Gcra::new(10, 10 * SECOND, 3).unwrap();
        assert_eq!(gcra.take(0, SECOND, 4), Err(Denied { retry_after: None }));
        assert_eq!(gcra.take(0, SECOND, u64::MAX), Err(Denied { retry_after: None }));
    }

    #[test]
    fn a_refund_restores_what_a_charge_took() {
        let gcra = Gcra::new(10, 10 * SECOND, 5).unwrap();
        let before = gcra.take(0, SECOND, 2).unwrap();
        let after = gcra.take(before, SECOND, 3).unwrap();
        assert_eq!(gcra.refund(after, 3), before);
    }

    #[test]
    fn a_debt_is_at_most_another_burst() {
        let gcra = Gcra::new(10, 10 * SECOND, 5).unwrap();
        let state = gcra.charge(0, SECOND, 1_000_000);
        assert_eq!(gcra.left(state, SECOND), (0, 10 * SECOND));
    }

    #[test]
    fn a_smaller_burst_does_not_lock_out_who_used_a_larger_one() {
        let state = Gcra::new(1, SECOND, 1000).unwrap().take(0, SECOND, 1000).unwrap();
        let smaller = Gcra::new(1, SECOND, 2).unwrap();
        assert_eq!(smaller.left(state, SECOND), (0, 4 * SECOND));
    }

    #[test]
    fn a_rate_that_cannot_be_counted_is_none() {
        assert_eq!(Gcra::new(0, SECOND, 1), None);
        assert_eq!(Gcra::new(SECOND + 1, SECOND, 1), None);
        assert_eq!(Gcra::new(1, u64::MAX >> 8, 1000), None);
    }
}
