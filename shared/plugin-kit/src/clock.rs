//! The clocks. Read them at the edge and hand the time on: what decides takes time as an argument.

use std::time::Duration;

use crate::hostcalls;

/// Later than every expiry: the time to take where a clock fails and what has not expired would be let through.
pub const END_OF_TIME: Duration = Duration::MAX;

/// Wall-clock time since the Unix epoch. It may step; use it for dates, not for measuring. `None` where the clock fails.
#[must_use]
pub fn wall() -> Option<Duration> {
    hostcalls::wall_clock().ok()
}

/// Time since an arbitrary start that never goes back and is the same for every worker of one proxy. `None` where the
/// clock fails.
#[must_use]
pub fn monotonic() -> Option<Duration> {
    hostcalls::monotonic_clock().ok()
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 3339 in UTC with milliseconds: `2026-01-05T00:00:00.000Z`.
    Rfc3339,
    /// Seconds since the Unix epoch.
    Unix,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
}

impl Format {
    /// What `now`, `now:unix` and `now:unixMillis` stand for in a template.
    pub(crate) fn of_placeholder(name: &str) -> Option<Self> {
        match name {
            "now" => Some(Self::Rfc3339),
            "now:unix" => Some(Self::Unix),
            "now:unixMillis" => Some(Self::UnixMillis),
            _ => None,
        }
    }

    /// A time since the Unix epoch, as text.
    #[must_use]
    pub fn write(self, since_epoch: Duration) -> String {
        match self {
            Self::Rfc3339 => rfc3339(since_epoch),
            Self::Unix => since_epoch.as_secs().to_string(),
            Self::UnixMillis => {
                let millis = since_epoch.as_secs().saturating_mul(1000);
                millis.saturating_add(since_epoch.subsec_millis().into()).to_string()
            }
        }
    }
}

fn rfc3339(since_epoch: Duration) -> String {
    const DAY: u64 = 86_400;
    let seconds = since_epoch.as_secs();
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) =
        (second.div_euclid(3600), second.div_euclid(60).rem_euclid(60), second.rem_euclid(60));
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The Gregorian date of a day since 1970-01-01, by Howard Hinnant's `civil_from_days`: years begin in March there, so
/// that the leap day is the last.
fn date(day: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let day = day.saturating_add(719_468);
    let of_era = day.rem_euclid(ERA);
    let leap_days = of_era
        .div_euclid(1460)
        .wrapping_sub(of_era.div_euclid(36_524))
        .wrapping_add(of_era.div_euclid(146_096));
    let year = of_era.wrapping_sub(leap_days).div_euclid(365);
    let before = year.wrapping_mul(365).wrapping_add(year.div_euclid(4)).wrapping_sub(year.div_euclid(100));
    let of_year = of_era.wrapping_sub(before);
    let from_march = of_year.wrapping_mul(5).wrapping_add(2).div_euclid(153);
    let of_month =
        of_year.wrapping_sub(from_march.wrapping_mul(153).wrapping_add(2).div_euclid(5)).wrapping_add(1);
    let (month, later) =
        if from_march < 10 { (from_march.wrapping_add(3), 0) } else { (from_march.wrapping_sub(9), 1) };
    (day.div_euclid(ERA).wrapping_mul(400).wrapping_add(year).wrapping_add(later), month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_three_ways() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_767_225_599, "2025-12-31T23:59:59.007Z"),
            (1_767_225_600, "2026-01-01T00:00:00.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(Format::Rfc3339.write(Duration::new(seconds, 7_900_000)), expected);
        }
        let time = Duration::new(1_767_225_600, 7_900_000);
        assert_eq!(Format::Unix.write(time), "1767225600");
        assert_eq!(Format::UnixMillis.write(time), "1767225600007");
        assert!(Format::Rfc3339.write(Duration::MAX).ends_with('Z'));
    }
}
