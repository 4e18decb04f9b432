//! A rate: one of the algorithms with its numbers, and what it keeps in the table.

use crate::gcra::{Denied, Gcra, State};
use crate::window::{Counts, Window};

/// The two clocks, in nanoseconds. GCRA goes by the monotonic one, windows by the wall's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Never goes back; the same for all workers of a proxy.
    pub monotonic: u64,
    /// Since 1970; 0 where no limit needs it.
    pub wall: u64,
}

/// How far apart two workers may have read a clock of which each uses its own reading.
const LEEWAY: u64 = 1_000_000_000;

/// Which clock a time is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// That never goes back.
    Monotonic,
    /// Since 1970.
    Wall,
}

/// What is kept of one key and one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When this has no effect any more.
    pub until: u64,
    /// Which clock `until` is of.
    pub clock: Clock,
    /// Of a window: the counts before, and now. Of GCRA: the ticks of [`State`], the lower half and the upper.
    pub counts: (u32, u32),
    /// How much of the limit is used, from 0 to 255: what is least is evicted first.
    pub share: u8,
}

/// What is left to a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// So many units.
    pub remaining: u64,
    /// In nanoseconds: how long there will be no more (windows), or until there are all of them (GCRA).
    pub reset: u64,
}

/// How many in which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    algorithm: Kind,
    requests: u64,
    per: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `requests: 0`.
    Nothing,
    Gcra(Gcra),
    Window(Window),
}

impl Rate {
    /// Nothing passes.
    pub fn nothing(per: u64) -> Self {
        Self { algorithm: Kind::Nothing, requests: 0, per }
    }

    /// `None` where the numbers are too large.
    pub fn gcra(requests: u64, per: u64, burst: u64) -> Option<Self> {
        Some(Self { algorithm: Kind::Gcra(Gcra::new(requests, per, burst)?), requests, per })
    }

    /// `None` where the numbers are too large.
    pub fn window(requests: u64, per: u64, sliding: bool) -> Option<Self> {
        Some(Self { algorithm: Kind::Window(Window::new(requests, per, sliding)?), requests, per })
    }

    /// How many in each [`Rate::per`].
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// In nanoseconds.
    pub fn per(&self) -> u64 {
        self.per
    }

    /// Whether it goes by the wall clock.
    pub fn needs_wall_clock(&self) -> bool {
        matches!(self.algorithm, Kind::Window(_))
    }

    /// Charges `cost`, if that much is left.
    pub fn take(&self, slot: Option<Slot>, now: Now, cost: u64) -> Result<Slot, Denied> {
        match &self.algorithm {
            Kind::Nothing => Err(Denied { retry_after: None }),
            Kind::Gcra(gcra) => {
                gcra.take(state(slot), now.monotonic, cost).map(|state| self.of_gcra(gcra, state, now))
            }
            Kind::Window(window) => window
                .take(counts(window, slot), now.wall, cost)
                .map(|counts| self.of_window(window, counts, now)),
        }
    }

    /// Charges `cost`, whatever is left.
    pub fn charge(&self, slot: Option<Slot>, now: Now, cost: u64) -> Option<Slot> {
        match &self.algorithm {
            Kind::Nothing => None,
            Kind::Gcra(gcra) => Some(self.of_gcra(gcra, gcra.charge(state(slot), now.monotonic, cost), now)),
            Kind::Window(window) => {
                let counts = window.charge(counts(window, slot), now.wall, cost);
                Some(self.of_window(window, counts, now))
            }
        }
    }

    /// The slot that replaces one which this rate cannot have written, so that it denies for a bounded time.
    pub fn repaired(&self, slot: Slot, now: Now) -> Option<Slot> {
        match &self.algorithm {
            Kind::Gcra(gcra) => {
                let state = gcra.repaired(state(Some(slot)), now.monotonic, LEEWAY)?;
                Some(self.of_gcra(gcra, state, now))
            }
            // A count of any other window than this one and its neighbours is reset.
            Kind::Nothing | Kind::Window(_) => None,
        }
    }

    /// Takes a charge back.
    pub fn refund(&self, slot: Slot, now: Now, cost: u64) -> Option<Slot> {
        match &self.algorithm {
            Kind::Nothing => None,
            Kind::Gcra(gcra) => Some(self.of_gcra(gcra, gcra.refund(state(Some(slot)), cost), now)),
            Kind::Window(window) => {
                let counts = window.refund(counts(window, Some(slot)), now.wall, cost);
                Some(self.of_window(window, counts, now))
            }
        }
    }

    /// What is left.
    pub fn left(&self, slot: Option<Slot>, now: Now) -> Left {
        let (remaining, reset) = match &self.algorithm {
            Kind::Nothing => (0, self.per),
            Kind::Gcra(gcra) => gcra.left(state(slot), now.monotonic),
            Kind::Window(window) => window.left(counts(window, slot), now.wall),
        };
        Left { remaining, reset }
    }

    fn of_gcra(&self, gcra: &Gcra, state: State, now: Now) -> Slot {
        let share = share(gcra.left(state, now.monotonic).0, gcra.burst());
        let counts = ((state.ticks & u64::from(u32::MAX)) as u32, (state.ticks >> 32) as u32);
        Slot { until: state.nanos, clock: Clock::Monotonic, counts, share }
    }

    fn of_window(&self, window: &Window, counts: Counts, now: Now) -> Slot {
        Slot {
            until: window.end(counts),
            clock: Clock::Wall,
            counts: (counts.previous, counts.current),
            share: share(window.left(counts, now.wall).0, window.requests()),
        }
    }
}

fn state(slot: Option<Slot>) -> State {
    slot.map_or_else(State::default, |Slot { until, counts: (lower, upper), .. }| State {
        nanos: until,
        ticks: u64::from(upper) << 32 | u64::from(lower),
    })
}

fn counts(window: &Window, slot: Option<Slot>) -> Counts {
    slot.map_or_else(Counts::default, |slot| window.ending(slot.until, slot.counts.0, slot.counts.1))
}

/// How much is used, from 0 to 255.
fn share(left: u64, all: u64) -> u8 {
    let used = all.saturating_sub(left).saturating_mul(255);
    used.checked_div(all).and_then(|share| u8::try_from(share).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rates() -> [Rate; 3] {
        [
            Rate::gcra(4, 4 * SECOND, 4).unwrap(),
            Rate::window(4, 4 * SECOND, false).unwrap(),
            Rate::window(4, 4 * SECOND, true).unwrap(),
        ]
    }

    const NOW: Now = Now { monotonic: 100 * SECOND, wall: 8000 * SECOND };

    #[test]
    fn a_slot_carries_the_whole_state_of_each_algorithm() {
        for rate in rates() {
            let mut slot = None;
            for left in [3, 2, 1, 0] {
                slot = Some(rate.take(slot, NOW, 1).unwrap());
                assert_eq!(rate.left(slot, NOW).remaining, left, "{rate:?}");
            }
            assert!(rate.take(slot, NOW, 1).is_err(), "{rate:?}");
            assert_eq!(slot.unwrap().share, 255);
            let slot = rate.refund(slot.unwrap(), NOW, 2);
            assert_eq!(rate.left(slot, NOW).remaining, 2, "{rate:?}");
            let slot = rate.charge(slot, NOW, 100);
            assert_eq!(rate.left(slot, NOW).remaining, 0, "{rate:?}");
        }
    }

    #[test]
    fn nothing_is_nothing() {
        let rate = Rate::nothing(SECOND);
        assert_eq!(rate.take(None, NOW, 1), Err(Denied { retry_after: None }));
        assert_eq!(rate.left(None, NOW).remaining, 0);
        assert_eq!(rate.charge(None, NOW, 1), None);
    }

    #[test]
    fn a_share_is_what_is_used() {
        assert_eq!((share(100, 100), share(0, 100), share(50, 100)), (0, 255, 127));
        assert_eq!(share(0, 0), 255);
    }
}
