//! Virtual time, and randomness that is the same in every run.

use std::time::Duration;

use proxy_wasm::types::Status;

use super::{Host, HostResult};

/// 2026-01-05T00:00:00Z, a Monday.
const START: Duration = Duration::from_secs(1_767_571_200);
/// Long after the start of the machine, so that nobody takes the two clocks for one another.
const UPTIME: Duration = Duration::from_secs(100_000);

/// The wall clock and the monotonic one; only the test moves them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) wall: Duration,
    pub(crate) monotonic: Duration,
    /// The plugin gets an error instead of the time.
    pub(crate) fails: bool,
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { wall: START, monotonic: UPTIME, fails: false }
    }

    fn read(&self, time: Duration) -> HostResult<u64> {
        if self.fails { Err(Status::InternalFailure) } else { Ok(nanos(time)) }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.wall += by;
        self.monotonic += by;
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

/// SplitMix64.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Host {
    pub(crate) fn wall_clock(&mut self) -> HostResult<u64> {
        self.trace("wall_clock".into());
        self.clock.read(self.clock.wall)
    }

    pub(crate) fn monotonic_clock(&mut self) -> HostResult<u64> {
        self.trace("monotonic_clock".into());
        self.clock.read(self.clock.monotonic)
    }

    pub(crate) fn random(&mut self, size: usize) -> Vec<u8> {
        self.trace(format!("random {size}"));
        std::iter::repeat_with(|| self.random.next().to_le_bytes()).flatten().take(size).collect()
    }

    pub(crate) fn set_tick_period(&mut self, period: Duration) {
        self.trace(format!("tick_period {}", period.as_millis()));
        let due = self.clock.monotonic + period;
        let root = self.effective_root();
        if let Some(root) = self.roots.get_mut(&root) {
            root.tick = (!period.is_zero()).then_some((period, due));
        }
    }
}
