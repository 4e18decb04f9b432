//! When a key set is fetched, and by which worker: the record that all workers of a proxy share, and what follows from it.
//!
//! The record is in shared data and changes by compare-and-set, so that one worker gets the lease to fetch. Any plugin of
//! the proxy can write there, so a record is never trusted for longer than one that this plugin wrote: its times are at
//! most the present, and its lease ends when a lease ends that begins now.

use std::time::Duration;

/// SHA-256 of the text of a key set.
pub type SetHash = [u8; 32];

/// The state of a key set; times are on the monotonic clock, in milliseconds, and 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The set that was fetched last.
    pub hash: SetHash,
    /// The end of the last fetch that succeeded.
    fetched: u64,
    /// The start of the last fetch.
    asked: u64,
    /// The start of the last fetch for a key that was not in the set.
    asked_for_key: u64,
    /// Until when a fetch is under way.
    lease: u64,
    /// How many fetches in a row have failed.
    failures: u64,
}

/// How a key set is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long a set is fresh.
    pub ttl: Duration,
    /// How much longer it is used when there is no newer one.
    pub stale_for: Duration,
    /// At most one fetch for unknown keys in this time; `None`: no such fetch.
    pub key_interval: Option<Duration>,
    /// How long a fetch may take.
    pub timeout: Duration,
}

/// Why a set is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no fresh one.
    Due,
    /// A token needs a key that is not in it.
    UnknownKey,
}

/// What a worker lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    /// A token of this worker needs a key that is not in the set.
    pub key: bool,
    /// The set that the record names is not in shared data.
    pub set: bool,
}

/// Whether a fetch may find a key that is not in the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// A fetch is under way.
    UnderWay,
    /// A fetch may be started now or within [`SPACING`].
    MayFetch,
    /// The last fetch failed, so the set may be outdated.
    Failed,
    /// There is no such key.
    None,
}

/// The least time between two fetches. A set that has just been fetched is not fetched again for the tokens that came in
/// the meantime.
pub const SPACING: Duration = Duration::from_millis(200);

/// The longest pause after failures, in milliseconds.
const LONGEST_PAUSE: u64 = 30_000;

/// How much longer than its timeout a call may take until its answer is delivered.
const DELIVERY: Duration = Duration::from_secs(1);

const NUMBERS: usize = 5;

impl Record {
    /// Reads what [`Record::write`] wrote; bytes of another length are a record of nothing. Times that are yet to come are
    /// those of `now`. The record is then to be written back, or they would never pass.
    #[must_use]
    pub fn read(bytes: &[u8], schedule: &Schedule, now: Duration) -> Self {
        let Some((hash, numbers)) = bytes.split_first_chunk() else { return Self::default() };
        let (numbers, rest) = numbers.as_chunks::<8>();
        match <[[u8; 8]; NUMBERS]>::try_from(numbers) {
            Ok(numbers) if rest.is_empty() => {
                let [fetched, asked, asked_for_key, lease, failures] = numbers.map(u64::from_le_bytes);
                let at_most_now = |time: u64| time.min(millis(now));
                Self {
                    hash: *hash,
                    fetched: at_most_now(fetched),
                    asked: at_most_now(asked),
                    asked_for_key: at_most_now(asked_for_key),
                    lease: lease.min(lease_from(schedule, now)),
                    failures,
                }
            }
            _ => Self::default(),
        }
    }

    /// The record as it is shared.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let Self { hash, fetched, asked, asked_for_key, lease, failures } = *self;
        let numbers = [fetched, asked, asked_for_key, lease, failures].map(u64::to_le_bytes);
        [&hash[..], numbers.as_flattened()].concat()
    }

    /// Whether a worker fetches at `now`.
    #[must_use]
    pub fn due(&self, schedule: &Schedule, now: Duration, lack: Lack) -> Option<Why> {
        if self.is_under_way(now) || self.is_resting(now) {
            return None;
        }
        // A fifth of its life is left for failures.
        let refresh = self.fetched.saturating_add(millis(schedule.ttl.saturating_mul(4)) / 5);
        if self.fetched == 0 || millis(now) >= refresh || lack.set {
            return Some(Why::Due);
        }
        (lack.key && self.may_fetch_for_key(schedule, now)).then_some(Why::UnknownKey)
    }

    /// The record of a worker that starts to fetch.
    #[must_use]
    pub fn leased(&self, why: Why, schedule: &Schedule, now: Duration) -> Self {
        let lease = lease_from(schedule, now);
        let now = millis(now);
        let asked_for_key = if why == Why::UnknownKey { now } else { self.asked_for_key };
        Self { asked: now, asked_for_key, lease, ..*self }
    }

    /// The record of a worker that has fetched this set.
    #[must_use]
    pub fn fetched(&self, hash: SetHash, now: Duration) -> Self {
        Self { hash, fetched: millis(now), lease: 0, failures: 0, ..*self }
    }

    /// The record of a worker whose fetch failed.
    #[must_use]
    pub fn failed(&self) -> Self {
        Self { lease: 0, failures: self.failures.saturating_add(1), ..*self }
    }

    /// When the set is too old to be used; zero where there is none.
    #[must_use]
    pub fn usable_until(&self, schedule: &Schedule) -> Duration {
        if self.fetched == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(self.fetched).saturating_add(schedule.ttl).saturating_add(schedule.stale_for)
    }

    /// Whether a fetch is under way at `now`.
    #[must_use]
    pub fn is_under_way(&self, now: Duration) -> bool {
        self.lease > millis(now)
    }

    /// Whether the last fetch failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether a fetch may find a key that is not in the set.
    #[must_use]
    pub fn prospect(&self, schedule: &Schedule, now: Duration) -> Prospect {
        if schedule.key_interval.is_none() {
            Prospect::None
        } else if self.is_under_way(now) {
            Prospect::UnderWay
        } else if self.may_fetch_for_key(schedule, now) && !(self.has_failed() && self.is_resting(now)) {
            Prospect::MayFetch
        } else if self.has_failed() {
            Prospect::Failed
        } else {
            Prospect::None
        }
    }

    fn may_fetch_for_key(&self, schedule: &Schedule, now: Duration) -> bool {
        let Some(interval) = schedule.key_interval else { return false };
        self.asked_for_key == 0 || millis(now) >= self.asked_for_key.saturating_add(millis(interval))
    }

    /// Whether the last fetch is too recent for another one: [`SPACING`], after failures one second, two, four, …
    fn is_resting(&self, now: Duration) -> bool {
        let pause = match self.failures.checked_sub(1) {
            None => millis(SPACING),
            Some(doublings) => {
                let doublings = u32::try_from(doublings.min(5)).unwrap_or(5);
                2_u64.saturating_pow(doublings).saturating_mul(1_000).min(LONGEST_PAUSE)
            }
        };
        self.asked != 0 && millis(now) < self.asked.saturating_add(pause)
    }
}

/// When a lease ends that begins now.
fn lease_from(schedule: &Schedule, now: Duration) -> u64 {
    millis(now.saturating_add(schedule.timeout).saturating_add(DELIVERY))
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
        key_interval: Some(Duration::from_secs(30)),
        timeout: Duration::from_secs(5),
    };
    const KEY: Lack = Lack { key: true, set: false };
    const SET: Lack = Lack { key: false, set: true };

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(100_000 + seconds)
    }

    fn due(record: &Record, seconds: u64, lack: Lack) -> Option<Why> {
        record.due(&SCHEDULE, at(seconds), lack)
    }

    fn leased() -> Record {
        Record::default().leased(Why::Due, &SCHEDULE, at(0))
    }

    fn fetched() -> Record {
        leased().fetched([1; 32], at(0))
    }

    fn read(record: &Record, seconds: u64) -> Record {
        Record::read(&record.write(), &SCHEDULE, at(seconds))
    }

    #[test]
    fn reads_what_it_wrote() {
        for record in [Record::default(), leased(), fetched(), fetched().failed()] {
            assert_eq!(read(&record, 0), record);
            assert_eq!(read(&record, 1_000_000), record);
        }
    }

    #[test]
    fn bytes_of_another_length_are_a_record_of_nothing() {
        let written = fetched().write();
        for length in (0..200).filter(|length| *length != written.len()) {
            let bytes: Vec<u8> = written.iter().copied().cycle().take(length).collect();
            assert_eq!(Record::read(&bytes, &SCHEDULE, at(0)), Record::default(), "{length}");
        }
    }

    #[test]
    fn times_that_are_yet_to_come_are_those_of_now() {
        let most = Record::read(&[0xff; 72], &SCHEDULE, at(0));
        let now = millis(at(0));
        let expected = Record {
            hash: [0xff; 32],
            fetched: now,
            asked: now,
            asked_for_key: now,
            lease: now + 6_000,
            failures: u64::MAX,
        };
        assert_eq!(most, expected);
        assert_eq!(due(&most, 5, Lack::default()), None);
        assert_eq!(due(&most, 30, SET), Some(Why::Due), "after the longest pause");
    }

    #[test]
    fn a_set_is_fetched_at_once_and_then_before_it_expires() {
        assert_eq!(due(&Record::default(), 0, Lack::default()), Some(Why::Due));
        assert_eq!(due(&fetched(), 479, Lack::default()), None);
        assert_eq!(due(&fetched(), 480, Lack::default()), Some(Why::Due));
    }

    #[test]
    fn a_set_that_is_not_in_shared_data_is_fetched_again() {
        assert_eq!(due(&fetched(), 0, SET), None, "not at once");
        assert_eq!(due(&fetched(), 1, SET), Some(Why::Due));
        assert_eq!(due(&leased(), 1, SET), None);
        assert_eq!(due(&fetched().failed().failed(), 1, SET), None, "failures have their pause");
    }

    #[test]
    fn while_a_fetch_is_under_way_there_is_no_other() {
        assert!(leased().is_under_way(at(5)));
        assert_eq!(due(&leased(), 5, KEY), None);
        assert_eq!(due(&leased(), 6, KEY), Some(Why::Due), "its worker has died");
    }

    #[test]
    fn failures_make_pauses_that_double_up_to_half_a_minute() {
        let mut record = Record::default();
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            record = record.leased(Why::Due, &SCHEDULE, at(now)).failed();
            assert_eq!(due(&record, now + pause - 1, Lack::default()), None, "{pause}");
            assert_eq!(due(&record, now + pause, Lack::default()), Some(Why::Due), "{pause}");
            now += pause;
        }
        assert!(!record.fetched([1; 32], at(now)).has_failed(), "a success forgets them");
        let many = Record { failures: u64::MAX, ..record };
        assert_eq!(due(&many.failed(), now + 30, Lack::default()), Some(Why::Due));
    }

    #[test]
    fn unknown_keys_lead_to_one_fetch_in_an_interval() {
        let record = fetched();
        let prospect = |record: &Record, seconds| record.prospect(&SCHEDULE, at(seconds));
        assert_eq!(prospect(&record, 1), Prospect::MayFetch);
        assert_eq!(due(&record, 1, KEY), Some(Why::UnknownKey));
        let asking = record.leased(Why::UnknownKey, &SCHEDULE, at(1));
        assert_eq!(prospect(&asking, 2), Prospect::UnderWay);
        let answered = asking.fetched([1; 32], at(2));
        assert_eq!(prospect(&answered, 2), Prospect::None);
        assert_eq!(due(&answered, 30, KEY), None);
        assert_eq!(prospect(&answered, 31), Prospect::MayFetch);
        assert_eq!(due(&answered, 31, KEY), Some(Why::UnknownKey));
        let failed = asking.failed();
        assert_eq!(prospect(&failed, 2), Prospect::Failed);
        assert_eq!(due(&failed, 30, KEY), None, "a failed fetch counts");
        let never = Schedule { key_interval: None, ..SCHEDULE };
        assert_eq!(record.prospect(&never, at(1)), Prospect::None);
        assert_eq!(record.due(&never, at(1), KEY), None);
    }

    #[test]
    fn a_set_that_was_just_fetched_is_not_fetched_again_at_once() {
        let record = fetched();
        let just_after = at(0) + SPACING - Duration::from_millis(1);
        assert_eq!(record.prospect(&SCHEDULE, just_after), Prospect::MayFetch, "soon");
        assert_eq!(record.due(&SCHEDULE, just_after, KEY), None);
        assert_eq!(record.due(&SCHEDULE, at(0) + SPACING, KEY), Some(Why::UnknownKey));
    }

    #[test]
    fn while_failures_rest_no_unknown_key_waits() {
        let failing = fetched().leased(Why::Due, &SCHEDULE, at(480)).failed().failed().failed();
        assert_eq!(failing.prospect(&SCHEDULE, at(483)), Prospect::Failed);
        assert_eq!(failing.prospect(&SCHEDULE, at(484)), Prospect::MayFetch);
    }

    #[test]
    fn a_set_is_used_until_it_is_stale() {
        assert_eq!(Record::default().usable_until(&SCHEDULE), Duration::ZERO);
        assert_eq!(fetched().usable_until(&SCHEDULE), at(4_200));
        assert_eq!(fetched().failed().usable_until(&SCHEDULE), at(4_200));
        let endless = Schedule { stale_for: Duration::MAX, ..SCHEDULE };
        assert_eq!(fetched().usable_until(&endless), Duration::MAX);
    }
}
