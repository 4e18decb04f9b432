//! When a key set is fetched, and by whom: what all workers of a proxy know of it, and what follows from that.
//!
//! The record is in shared data and is changed by compare-and-set, so of all workers one gets the lease to fetch.

use std::time::Duration;

/// What all workers know of a key set; times are of the monotonic clock, in milliseconds, and 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Which set it is; counts the changes.
    pub generation: u64,
    /// When the set was last got.
    fetched: u64,
    /// When it was last asked for.
    asked: u64,
    /// When it was last asked for because of a key that is not in it.
    asked_for_kid: u64,
    /// Until when somebody is on the way.
    lease: u64,
    /// How often in a row it could not be got.
    failures: u64,
}

/// How a key set is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long a set is good for.
    pub ttl: Duration,
    /// How much longer it is used when there is no other.
    pub stale_for: Duration,
    /// At most one fetch because of unknown keys in this time; `None`: none at all.
    pub kid_interval: Option<Duration>,
    /// How long fetching may take.
    pub timeout: Duration,
}

/// Why a set is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is time.
    Due,
    /// A token has a key that is not in it.
    UnknownKid,
}

/// What is known of a key that is not in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// There is no such key.
    Certain,
    /// Somebody is looking, or the set may be an old one.
    Maybe,
    /// It should be fetched again.
    Ask,
}

/// The longest pause after failures.
const LONGEST_PAUSE: u64 = 30_000;

/// How many numbers a record is.
const FIELDS: usize = 6;

impl Record {
    /// Reads what [`Record::write`] wrote; anything else is a record of nothing.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let (numbers, rest) = bytes.as_chunks::<8>();
        match <[[u8; 8]; FIELDS]>::try_from(numbers) {
            Ok(numbers) if rest.is_empty() => {
                let [generation, fetched, asked, asked_for_kid, lease, failures] =
                    numbers.map(u64::from_le_bytes);
                Self { generation, fetched, asked, asked_for_kid, lease, failures }
            }
            _ => Self::default(),
        }
    }

    /// The record as it is shared.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let Self { generation, fetched, asked, asked_for_kid, lease, failures } = *self;
        [generation, fetched, asked, asked_for_kid, lease, failures].map(u64::to_le_bytes).concat()
    }

    /// Whether to fetch at `now`; `wanted`: a token has a key that is not in the set.
    #[must_use]
    pub fn due(&self, schedule: &Schedule, now: Duration, wanted: bool) -> Option<Why> {
        let now = millis(now);
        if self.lease > now {
            return None;
        }
        let pause = if self.failures == 0 { 0 } else { self.pause() };
        let rested = now >= self.asked.saturating_add(pause);
        // A fifth of its life is left for failures.
        let refresh = self.fetched.saturating_add(millis(schedule.ttl.saturating_mul(4)) / 5);
        if rested && (self.fetched == 0 || now >= refresh) {
            return Some(Why::Due);
        }
        (wanted && self.may_ask_for_kid(schedule, now)).then_some(Why::UnknownKid)
    }

    /// The record of who goes to fetch.
    #[must_use]
    pub fn leased(&self, why: Why, schedule: &Schedule, now: Duration) -> Self {
        // The answer to a timeout comes after the timeout.
        let lease = millis(now.saturating_add(schedule.timeout)).saturating_add(1_000);
        let now = millis(now);
        let asked_for_kid = if why == Why::UnknownKid { now } else { self.asked_for_kid };
        Self { asked: now, asked_for_kid, lease, ..*self }
    }

    /// The record of who came back with a set.
    #[must_use]
    pub fn fetched(&self, generation: u64, now: Duration) -> Self {
        Self { generation, fetched: millis(now), lease: 0, failures: 0, ..*self }
    }

    /// The record of who came back without.
    #[must_use]
    pub fn failed(&self) -> Self {
        Self { lease: 0, failures: self.failures.saturating_add(1), ..*self }
    }

    /// Whether the set may be used at `now`.
    #[must_use]
    pub fn is_usable(&self, schedule: &Schedule, now: Duration) -> bool {
        self.fetched != 0 && now < self.usable_until(schedule)
    }

    /// When the set is too old.
    #[must_use]
    pub fn usable_until(&self, schedule: &Schedule) -> Duration {
        Duration::from_millis(self.fetched).saturating_add(schedule.ttl).saturating_add(schedule.stale_for)
    }

    /// What a key that is not in the set means.
    #[must_use]
    pub fn absent(&self, schedule: &Schedule, now: Duration) -> Absent {
        let now = millis(now);
        match schedule.kid_interval {
            None => Absent::Certain,
            Some(_) if self.lease > now => Absent::Maybe,
            Some(_) if self.may_ask_for_kid(schedule, now) => Absent::Ask,
            Some(_) if self.failures > 0 => Absent::Maybe,
            Some(_) => Absent::Certain,
        }
    }

    fn may_ask_for_kid(&self, schedule: &Schedule, now: u64) -> bool {
        let Some(interval) = schedule.kid_interval else { return false };
        self.asked_for_kid == 0 || now >= self.asked_for_kid.saturating_add(millis(interval))
    }

    /// One second, two, four, …
    fn pause(&self) -> u64 {
        let doublings = u32::try_from(self.failures.saturating_sub(1).min(5)).unwrap_or(5);
        2_u64.saturating_pow(doublings).saturating_mul(1_000).min(LONGEST_PAUSE)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        ttl: Duration::from_secs(600),
        stale_for: Duration::from_secs(3_600),
        kid_interval: Some(Duration::from_secs(30)),
        timeout: Duration::from_secs(5),
    };

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(100_000 + seconds)
    }

    fn due(record: &Record, seconds: u64, wanted: bool) -> Option<Why> {
        record.due(&SCHEDULE, at(seconds), wanted)
    }

    fn fetched() -> Record {
        Record::default().leased(Why::Due, &SCHEDULE, at(0)).fetched(1, at(0))
    }

    #[test]
    fn what_is_written_is_read_and_anything_else_is_nothing() {
        let record =
            Record { generation: 1, fetched: 2, asked: 3, asked_for_kid: 4, lease: 5, failures: u64::MAX };
        assert_eq!(Record::read(&record.write()), record);
        for length in [0, 1, 47, 49, 96] {
            assert_eq!(Record::read(&vec![1; length]), Record::default(), "{length}");
        }
    }

    #[test]
    fn it_is_fetched_at_once_and_then_before_it_expires() {
        assert_eq!(due(&Record::default(), 0, false), Some(Why::Due));
        assert_eq!(due(&fetched(), 479, false), None);
        assert_eq!(due(&fetched(), 480, false), Some(Why::Due));
    }

    #[test]
    fn while_somebody_is_on_the_way_nobody_else_goes() {
        let leased = Record::default().leased(Why::Due, &SCHEDULE, at(0));
        assert_eq!(due(&leased, 5, true), None);
        assert_eq!(due(&leased, 6, true), Some(Why::Due), "who went did not come back");
    }

    #[test]
    fn failures_make_pauses_that_double_up_to_half_a_minute() {
        let mut record = Record::default();
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            record = record.leased(Why::Due, &SCHEDULE, at(now)).failed();
            assert_eq!(due(&record, now + pause - 1, false), None, "{pause}");
            assert_eq!(due(&record, now + pause, false), Some(Why::Due), "{pause}");
            now += pause;
        }
        assert_eq!(record.fetched(1, at(now)).pause(), 1_000, "a success forgets them");
    }

    #[test]
    fn unknown_keys_make_it_be_fetched_once_in_an_interval() {
        let record = fetched();
        assert_eq!(record.absent(&SCHEDULE, at(1)), Absent::Ask);
        assert_eq!(due(&record, 1, true), Some(Why::UnknownKid));
        let asking = record.leased(Why::UnknownKid, &SCHEDULE, at(1));
        assert_eq!(asking.absent(&SCHEDULE, at(2)), Absent::Maybe);
        let asked = asking.fetched(1, at(2));
        assert_eq!(asked.absent(&SCHEDULE, at(2)), Absent::Certain);
        assert_eq!(due(&asked, 30, true), None);
        assert_eq!(due(&asked, 31, true), Some(Why::UnknownKid));
        let failed = asking.failed();
        assert_eq!(failed.absent(&SCHEDULE, at(2)), Absent::Maybe, "the set may be an old one");
        assert_eq!(due(&failed, 30, true), None, "a failure is a fetch, too");
        let never = Schedule { kid_interval: None, ..SCHEDULE };
        assert_eq!(record.absent(&never, at(1)), Absent::Certain);
        assert_eq!(record.due(&never, at(1), true), None);
    }

    #[test]
    fn a_set_is_used_until_it_is_stale() {
        assert!(!Record::default().is_usable(&SCHEDULE, at(0)));
        assert!(fetched().is_usable(&SCHEDULE, at(4_199)));
        assert!(!fetched().is_usable(&SCHEDULE, at(4_200)));
        assert!(fetched().failed().is_usable(&SCHEDULE, at(4_199)));
        let forever = Schedule { stale_for: Duration::MAX, ..SCHEDULE };
        assert!(fetched().is_usable(&forever, at(1_000_000_000)));
    }
}
