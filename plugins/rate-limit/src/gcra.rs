//! The generic cell rate algorithm: a token bucket whose whole state is one point in time.
//!
//! A unit takes `per / requests` nanoseconds to come back, which is rarely a whole number. So times are counted in
//! ticks, of which a nanosecond has `requests` and a unit takes `per`: no rounding adds up to more than the limit.

/// A rate and a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    requests: u64,
    /// In nanoseconds.
    per: u64,
    burst: u64,
}

/// The time at which a bucket is full again, on the clock that [`Gcra`] is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whole nanoseconds.
    pub nanos: u64,
    /// Ticks of the next nanosecond.
    pub ticks: u64,
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// When it would pass, in nanoseconds from now; `None`: never.
    pub retry_after: Option<u64>,
}

/// The longest time in nanoseconds that a burst may take to come back: 36 years.
pub const MAX_TOLERANCE: u64 = u64::MAX >> 4;

impl Gcra {
    /// `None` where a unit would take less than a nanosecond, or the burst longer than [`MAX_TOLERANCE`].
    pub fn new(requests: u64, per: u64, burst: u64) -> Option<Self> {
        let gcra = Self { requests, per, burst };
        let tolerance = gcra.tolerance().checked_div(requests.into())?;
        (per >= requests && tolerance < MAX_TOLERANCE.into()).then_some(gcra)
    }

    /// The state after a charge of `cost`.
    pub fn take(&self, state: State, now: u64, cost: u64) -> Result<State, Denied> {
        let increment = self.increment(cost);
        if increment > self.tolerance() {
            return Err(Denied { retry_after: None });
        }
        let next = self.ahead(state, now).saturating_add(increment);
        match next.saturating_sub(self.tolerance()) {
            0 => Ok(self.state(now, next)),
            early => Err(Denied { retry_after: Some(self.nanos(early)) }),
        }
    }

    /// The state after a charge that cannot be refused any more. The debt is at most another burst.
    pub fn charge(&self, state: State, now: u64, cost: u64) -> State {
        let next = self.ahead(state, now).saturating_add(self.increment(cost));
        self.state(now, next.min(self.most()))
    }

    /// The state after a charge is taken back.
    pub fn refund(&self, state: State, cost: u64) -> State {
        let ticks =
            u128::from(state.nanos).saturating_mul(self.requests.into()).saturating_add(state.ticks.into());
        self.state(0, ticks.saturating_sub(self.increment(cost)))
    }

    /// How many units are left, and how long until all are.
    pub fn left(&self, state: State, now: u64) -> (u64, u64) {
        let ahead = self.ahead(state, now);
        let units = self.tolerance().saturating_sub(ahead).checked_div(self.per.into());
        (units.and_then(|units| u64::try_from(units).ok()).unwrap_or(0), self.nanos(ahead))
    }

    /// The state that replaces one which this rate cannot have written: a larger burst did, or another plugin. `leeway` is
    /// the time that may lie between the clock readings of two workers.
    pub fn repaired(&self, state: State, now: u64, leeway: u64) -> Option<State> {
        let latest = self.state(now, self.most());
        (state.nanos > latest.nanos.saturating_add(leeway)).then_some(latest)
    }

    /// How many units there are at most.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// How far ahead of now the state may be, in ticks.
    fn tolerance(&self) -> u128 {
        self.increment(self.burst)
    }

    /// How far ahead it may be after charges that could not be refused.
    fn most(&self) -> u128 {
        self.tolerance().saturating_mul(2)
    }

    fn increment(&self, cost: u64) -> u128 {
        u128::from(self.per).saturating_mul(cost.into())
    }

    /// How far ahead of now a state is, in ticks. It cannot lie in the past, nor further ahead than this rate can bring
    /// it.
    fn ahead(&self, state: State, now: u64) -> u128 {
        let Some(nanos) = state.nanos.checked_sub(now) else { return 0 };
        // Ticks of another rate are not those of this one.
        let ticks = state.ticks.min(self.requests.saturating_sub(1));
        let ahead = u128::from(nanos).saturating_mul(self.requests.into()).saturating_add(ticks.into());
        ahead.min(self.most())
    }

    /// The state that is so many ticks after a time.
    fn state(&self, from: u64, ticks: u128) -> State {
        let requests = u128::from(self.requests);
        let whole =
            ticks.checked_div(requests).and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(u64::MAX);
        let rest = ticks.checked_rem(requests).and_then(|rest| u64::try_from(rest).ok()).unwrap_or(0);
        State { nanos: from.saturating_add(whole), ticks: rest }
    }

    /// Ticks as nanoseconds that are not too few.
    fn nanos(&self, ticks: u128) -> u64 {
        u64::try_from(ticks.div_ceil(self.requests.max(1).into())).unwrap_or(u64::MAX)
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
    use proptest::prelude::*;

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
            let (mut now, mut state) = (1_000_000_000_000, State::default());
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
    const MILLISECOND: u64 = 1_000_000;
    /// Of a bucket that nobody has taken from.
    const EMPTY: State = State { nanos: 0, ticks: 0 };

    #[test]
    fn a_rate_is_not_rounded() {
        // A unit takes 1.67 ns; rounded down to 1 ns, the rate would be 1,000,000 a millisecond.
        let gcra = Gcra::new(600_000, MILLISECOND, 2).unwrap();
        let mut state = EMPTY;
        let mut admitted = 0;
        for now in SECOND..SECOND + MILLISECOND {
            while let Ok(next) = gcra.take(state, now, 1) {
                state = next;
                admitted += 1;
            }
        }
        assert_eq!(admitted, 600_000 + 1, "two at once, and 599,999 in the nanoseconds after that");
    }

    /// A token bucket, with the level in parts of a token of which each request has `per`: `requests` of them come back
    /// in a nanosecond.
    struct Model {
        requests: u128,
        per: u128,
        burst: u128,
        level: u128,
        at: u64,
    }

    impl Model {
        fn take(&mut self, now: u64, cost: u64) -> bool {
            let back = u128::from(now - self.at) * self.requests;
            self.level = self.level.saturating_add(back).min(self.burst * self.per);
            self.at = now;
            let left = self.level.checked_sub(u128::from(cost) * self.per);
            self.level = left.unwrap_or(self.level);
            left.is_some()
        }
    }

    /// Every `requests`, `per` and `burst` that a configuration accepts, from 1 ms to 366 days.
    fn accepted() -> impl Strategy<Value = (u64, u64, u64)> {
        let per = prop_oneof![1_u64..=2000, 1_u64..=366 * 86_400_000].prop_map(|millis| millis * MILLISECOND);
        per.prop_flat_map(|per| {
            let requests = prop_oneof![1_u64..=1000, 1..=per, per - 10..=per];
            let burst = prop_oneof![1_u64..=20, 1_u64..=1_000_000_000, 1..=u64::MAX];
            (requests, Just(per), burst)
        })
        .prop_filter("the burst takes too long", |(requests, per, burst)| {
            Gcra::new(*requests, *per, *burst).is_some()
        })
    }

    proptest! {
        #[test]
        fn decides_as_an_exact_token_bucket_does(
            (requests, per, burst) in accepted(),
            start in 0_u64..=1 << 60,
            steps in proptest::collection::vec((any::<u64>(), 0_u8..6, any::<u64>()), 1..60),
        ) {
            let gcra = Gcra::new(requests, per, burst).unwrap();
            let mut model = Model {
                requests: requests.into(),
                per: per.into(),
                burst: burst.into(),
                level: u128::from(burst) * u128::from(per),
                at: start,
            };
            let (mut now, mut state, mut wait) = (start, EMPTY, 0);
            for (random, pause, cost) in steps {
                now += match pause {
                    0 | 1 => 0,
                    2 => wait,
                    3 => random % (per / requests + 2),
                    4 => random % (per + 1),
                    _ => random % (u64::MAX >> 12),
                };
                // Often one, often just about all that there is.
                let cost = match cost % 3 {
                    0 => 1,
                    1 => 1 + cost % burst.min(9),
                    _ => burst.saturating_sub(cost % 3).max(1),
                };
                let before = (state, model.level);
                let ours = gcra.take(state, now, cost);
                prop_assert_eq!(ours.is_ok(), model.take(now, cost), "now={} cost={} {:?}", now, cost, before);
                if let Err(Denied { retry_after: Some(retry) }) = ours {
                    wait = retry;
                    prop_assert!(gcra.take(state, now + retry, cost).is_ok());
                    prop_assert!(gcra.take(state, now + retry - 1, cost).is_err());
                }
                state = ours.unwrap_or(state);
                prop_assert_eq!(u128::from(gcra.left(state, now).0), model.level / u128::from(per));
            }
        }

        #[test]
        fn a_refund_undoes_a_charge_to_the_tick(
            (requests, per, burst) in accepted(), now in 0_u64..=1 << 60, first: u64, second: u64,
        ) {
            let gcra = Gcra::new(requests, per, burst).unwrap();
            let charged = |state, cost| gcra.take(state, now, cost);
            if let Ok(before) = charged(EMPTY, first % burst + 1)
                && let Ok(after) = charged(before, second % burst + 1)
            {
                prop_assert_eq!(gcra.refund(after, second % burst + 1), before);
            }
        }

        #[test]
        fn any_stored_state_recovers_within_twice_the_burst(
            (requests, per, burst) in accepted(), now in 0_u64..=1 << 60, nanos: u64, ticks: u64,
        ) {
            let gcra = Gcra::new(requests, per, burst).unwrap();
            let stored = State { nanos, ticks };
            let kept = gcra.repaired(stored, now, 0).unwrap_or(stored);
            let (_, reset) = gcra.left(kept, now);
            prop_assert!(u128::from(reset) <= (2 * u128::from(per) * u128::from(burst)).div_ceil(requests.into()));
            prop_assert_eq!(gcra.left(kept, now + reset), (burst, 0));
        }
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_in_each_interval() {
        let gcra = Gcra::new(10, 10 * SECOND, 3).unwrap();
        let now = 100 * SECOND;
        let mut state = State::default();
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
        assert_eq!(gcra.take(EMPTY, SECOND, 4), Err(Denied { retry_after: None }));
        assert_eq!(gcra.take(EMPTY, SECOND, u64::MAX), Err(Denied { retry_after: None }));
    }

    #[test]
    fn a_refund_restores_what_a_charge_took() {
        let gcra = Gcra::new(10, 10 * SECOND, 5).unwrap();
        let before = gcra.take(EMPTY, SECOND, 2).unwrap();
        let after = gcra.take(before, SECOND, 3).unwrap();
        assert_eq!(gcra.refund(after, 3), before);
    }

    #[test]
    fn a_debt_is_at_most_another_burst() {
        let gcra = Gcra::new(10, 10 * SECOND, 5).unwrap();
        let state = gcra.charge(EMPTY, SECOND, 1_000_000);
        assert_eq!(gcra.left(state, SECOND), (0, 10 * SECOND));
    }

    #[test]
    fn a_smaller_burst_does_not_lock_out_who_used_a_larger_one() {
        let state = Gcra::new(1, SECOND, 1000).unwrap().take(EMPTY, SECOND, 1000).unwrap();
        let smaller = Gcra::new(1, SECOND, 2).unwrap();
        let repaired = smaller.repaired(state, SECOND, 0).unwrap();
        assert_eq!(smaller.left(repaired, SECOND), (0, 4 * SECOND));
        assert!(smaller.take(repaired, 4 * SECOND, 1).is_ok());
        assert_eq!(smaller.repaired(repaired, SECOND, 0), None);
    }

    #[test]
    fn a_rate_that_cannot_be_counted_is_none() {
        assert_eq!(Gcra::new(0, SECOND, 1), None);
        assert_eq!(Gcra::new(SECOND + 1, SECOND, 1), None);
        assert_eq!(Gcra::new(1, u64::MAX >> 8, 1000), None);
    }
}
