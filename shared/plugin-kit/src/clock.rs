//! The clocks. Read them at the edge and hand the time on: what decides takes time as an argument.

use std::time::Duration;

use crate::hostcalls;

/// Wall-clock time since the Unix epoch. It may step; use it for dates, not for measuring.
#[must_use]
pub fn wall() -> Duration {
    hostcalls::wall_clock()
}

/// Time since an arbitrary start that never goes back and is the same for every worker of one proxy.
#[must_use]
pub fn monotonic() -> Duration {
    hostcalls::monotonic_clock()
}
