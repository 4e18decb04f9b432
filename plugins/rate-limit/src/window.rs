//! Windows aligned to the clock: fixed, and sliding over two of them.

use crate::gcra::Denied;

/// A count in windows of equal length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    requests: u64,
    /// In nanoseconds.
    length: u64,
    sliding: bool,
}

/// What was counted. Absent is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of the window since 1970.
    pub window: u64,
    /// In the window before.
    pub previous: u32,
    /// In the window.
    pub current: u32,
}

impl Window {
    /// `None` where the numbers cannot be counted.
    pub fn new(requests: u64, length: u64, sliding: bool) -> Option<Self> {
        (length > 0 && (1..=u64::from(u32::MAX)).contains(&requests)).then_some(Self {
            requests,
            length,
            sliding,
        })
    }

    /// The counts after a charge of `cost`.
    pub fn take(&self, counts: Counts, now: u64, cost: u64) -> Result<Counts, Denied> {
        if cost > self.requests {
            return Err(Denied { retry_after: None });
        }
        let (counts, elapsed) = self.at(counts, now);
        let after = u64::from(counts.current).saturating_add(cost);
        let used = self.weighted(counts.previous.into(), elapsed).saturating_add(self.whole(after));
        if used > self.whole(self.requests) {
            return Err(Denied { retry_after: Some(self.retry_after(counts, elapsed, cost)) });
        }
        Ok(Counts { current: u32::try_from(after).unwrap_or(u32::MAX), ..counts })
    }

    /// The counts after a charge that cannot be refused any more. The debt is at most another limit.
    pub fn charge(&self, counts: Counts, now: u64, cost: u64) -> Counts {
        let (counts, _) = self.at(counts, now);
        let after = u64::from(counts.current).saturating_add(cost);
        Counts { current: self.bounded(after), ..counts }
    }

    /// At most the count that this limit can reach, whatever a larger limit or another plugin wrote.
    fn bounded(&self, count: u64) -> u32 {
        u32::try_from(count.min(self.requests.saturating_mul(2))).unwrap_or(u32::MAX)
    }

    /// The counts after a charge is taken back: out of the window it was made in, which may have ended since.
    pub fn refund(&self, counts: Counts, now: u64, cost: u64) -> Counts {
        let (counts, _) = self.at(counts, now);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        match counts.current.checked_sub(cost) {
            Some(current) => Counts { current, ..counts },
            None => Counts { previous: counts.previous.saturating_sub(cost), ..counts },
        }
    }

    /// How many are left, and how long the window lasts.
    pub fn left(&self, counts: Counts, now: u64) -> (u64, u64) {
        let (counts, elapsed) = self.at(counts, now);
        let used =
            self.weighted(counts.previous.into(), elapsed).saturating_add(self.whole(counts.current.into()));
        let left = self.whole(self.requests).saturating_sub(used).checked_div(self.length.into());
        (left.and_then(|left| u64::try_from(left).ok()).unwrap_or(0), self.length.saturating_sub(elapsed))
    }

    /// How many there are at most.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// When the counts have no effect any more.
    pub fn end(&self, counts: Counts) -> u64 {
        counts.window.saturating_add(if self.sliding { 2 } else { 1 }).saturating_mul(self.length)
    }

    /// The counts whose effect ends at `end`.
    pub fn ending(&self, end: u64, previous: u32, current: u32) -> Counts {
        let after = end.checked_div(self.length).unwrap_or(0);
        let window = after.saturating_sub(if self.sliding { 2 } else { 1 });
        Counts { window, previous: self.bounded(previous.into()), current: self.bounded(current.into()) }
    }

    /// The counts as they are at `now`, and how much of the window is over.
    ///
    /// A worker may read the clock just before a boundary and come to the table after another one that read it just
    /// after: counts of the next window are then those of this one, as if `now` were its beginning.
    fn at(&self, counts: Counts, now: u64) -> (Counts, u64) {
        let window = now.checked_div(self.length).unwrap_or(0);
        let elapsed = now.checked_rem(self.length).unwrap_or(0);
        let (ahead, behind) = (counts.window.checked_sub(window), window.checked_sub(counts.window));
        match (ahead, behind) {
            (Some(0), _) => (counts, elapsed),
            (Some(1), _) => (counts, 0),
            (_, Some(1)) if self.sliding => {
                (Counts { window, previous: counts.current, current: 0 }, elapsed)
            }
            _ => (Counts { window, ..Counts::default() }, elapsed),
        }
    }

    /// What the window before still counts for, times the length of a window.
    fn weighted(&self, previous: u64, elapsed: u64) -> u128 {
        if !self.sliding {
            return 0;
        }
        u128::from(previous).saturating_mul(self.length.saturating_sub(elapsed).into())
    }

    /// A count, times the length of a window.
    fn whole(&self, count: u64) -> u128 {
        u128::from(count).saturating_mul(self.length.into())
    }

    fn retry_after(&self, counts: Counts, elapsed: u64, cost: u64) -> u64 {
        let rest = self.length.saturating_sub(elapsed);
        if !self.sliding {
            return rest;
        }
        let room = self.requests.saturating_sub(cost);
        match room.checked_sub(counts.current.into()) {
            // The window before has faded enough within this one.
            Some(room) => self.faded(counts.previous.into(), room).saturating_sub(elapsed),
            // This window fades within the next one.
            None => rest.saturating_add(self.faded(counts.current.into(), room)),
        }
    }

    /// How far into a window the one before it counts for at most `room`.
    fn faded(&self, previous: u64, room: u64) -> u64 {
        let excess = self.whole(previous.saturating_sub(room));
        let elapsed = excess.div_ceil(u128::from(previous.max(1)));
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const LENGTH: u64 = 10;

    /// Remembers every admission, and says what the definition says.
    struct Model {
        requests: u64,
        sliding: bool,
        admitted: Vec<(u64, u64)>,
    }

    impl Model {
        fn take(&mut self, now: u64, cost: u64) -> bool {
            let start = now - now % LENGTH;
            let sum = |from: u64, to: u64| -> u64 {
                self.admitted.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, cost)| cost).sum()
            };
            let current = sum(start, start + LENGTH);
            let previous = if self.sliding { sum(start - LENGTH, start) } else { 0 };
            let share = (LENGTH - now % LENGTH) as f64 / LENGTH as f64;
            let admits = previous as f64 * share + (current + cost) as f64 <= self.requests as f64 + 1e-9;
            if admits {
                self.admitted.push((now, cost));
            }
            admits
        }
    }

    #[test]
    fn decides_as_the_definition_says_at_every_moment_and_every_boundary() {
        for sliding in [false, true] {
            for requests in 1..=6 {
                for seed in 0..40_u64 {
                    let window = Window::new(requests, LENGTH, sliding).unwrap();
                    let mut model = Model { requests, sliding, admitted: Vec::new() };
                    let mut counts = Counts::default();
                    let mut random = seed * 7919 + requests;
                    let mut now = 1000;
                    for _ in 0..200 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        // Often nothing, often just to a boundary, sometimes over several windows.
                        now += match (random >> 33) % 8 {
                            0..=3 => 0,
                            4 => 1,
                            5 => LENGTH - now % LENGTH,
                            6 => LENGTH - 1,
                            _ => (random >> 40) % 35,
                        };
                        let cost = 1 + (random >> 50) % 2;
                        let ours = window.take(counts, now, cost);
                        assert_eq!(
                            ours.is_ok(),
                            cost <= requests && model.take(now, cost),
                            "sliding={sliding} requests={requests} now={now} cost={cost} {counts:?}"
                        );
                        counts = ours.unwrap_or(counts);
                    }
                }
            }
        }
    }

    #[test]
    fn a_denied_request_passes_after_retry_after_and_not_before() {
        for sliding in [false, true] {
            let window = Window::new(4, 1000, sliding).unwrap();
            let mut counts = Counts::default();
            for at in [100_950, 100_960, 100_970, 100_980, 101_000, 101_300, 101_999] {
                while let Ok(next) = window.take(counts, at, 1) {
                    counts = next;
                }
                let Err(Denied { retry_after: Some(wait) }) = window.take(counts, at, 1) else { panic!() };
                assert!(window.take(counts, at + wait, 1).is_ok(), "sliding={sliding} at={at} wait={wait}");
                assert!(window.take(counts, at + wait - 1, 1).is_err(), "sliding={sliding} at={at}");
            }
        }
    }

    #[test]
    fn the_boundary_belongs_to_the_next_window() {
        let window = Window::new(1, LENGTH, false).unwrap();
        let counts = window.take(Counts::default(), 1009, 1).unwrap();
        assert_eq!(window.take(counts, 1009, 1), Err(Denied { retry_after: Some(1) }));
        assert!(window.take(counts, 1010, 1).is_ok());
    }

    #[test]
    fn a_worker_that_is_late_at_a_boundary_counts_in_the_next_window() {
        let window = Window::new(2, LENGTH, false).unwrap();
        let counts = window.take(Counts::default(), 1010, 1).unwrap();
        let late = window.take(counts, 1009, 1).unwrap();
        assert_eq!((late.window, late.current), (101, 2));
        assert!(window.take(late, 1010, 1).is_err());
    }

    #[test]
    fn a_clock_that_was_set_back_starts_anew() {
        let window = Window::new(1, LENGTH, true).unwrap();
        let counts = window.take(Counts::default(), 5000, 1).unwrap();
        assert!(window.take(counts, 1000, 1).is_ok());
    }

    #[test]
    fn a_sliding_window_forgets_evenly() {
        let window = Window::new(10, 100, true).unwrap();
        let counts = window.take(Counts::default(), 1000, 10).unwrap();
        assert_eq!(window.left(counts, 1000), (0, 100));
        assert_eq!(window.left(counts, 1100), (0, 100));
        assert_eq!(window.left(counts, 1150), (5, 50));
        assert_eq!(window.left(counts, 1200), (10, 100));
    }

    #[test]
    fn a_refund_finds_the_window_of_its_charge() {
        let window = Window::new(10, LENGTH, true).unwrap();
        let counts = window.take(Counts::default(), 1009, 3).unwrap();
        assert_eq!(window.refund(counts, 1009, 3).current, 0);
        assert_eq!(window.refund(counts, 1010, 3).previous, 0);
    }

    #[test]
    fn an_end_names_its_window() {
        for sliding in [false, true] {
            let window = Window::new(1, LENGTH, sliding).unwrap();
            let counts = Counts { window: 7, previous: 1, current: 2 };
            assert_eq!(window.ending(window.end(counts), 1, 2), counts);
        }
    }
}
