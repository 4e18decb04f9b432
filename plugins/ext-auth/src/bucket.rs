//! One value of the table in shared data: the entries of a few keys.

use plugin_kit::hostcalls::Bytes;

use crate::key::Key;

/// How many entries a bucket holds.
pub const WAYS: usize = 4;
/// The first byte of a value, and a part of its key: other versions write other formats.
pub const VERSION: u8 = 1;

/// The state of a key. Times are of the monotonic clock, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A request calls for it.
    InFlight,
    /// Responses for it are not shared: each request calls.
    Private,
    /// The response, as bytes.
    Cached(Bytes),
}

/// How long entries last at most, in nanoseconds. One that would last longer was not written by this configuration.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of [`State::InFlight`].
    pub in_flight: u64,
    /// Of [`State::Private`].
    pub private: u64,
    /// Of [`State::Cached`].
    pub cached: u64,
}

impl Lifetimes {
    fn allow(&self, entry: &Entry, now: u64) -> bool {
        let most = match entry.state {
            State::InFlight => self.in_flight,
            State::Private => self.private,
            State::Cached(_) => self.cached,
        };
        entry.until <= now.saturating_add(most)
    }
}

/// The state of a key until then.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Key,
    until: u64,
    state: State,
}

/// The entries, at most [`WAYS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket(Vec<Entry>);

impl Bucket {
    /// Reads a value without what lasts too long. Any other bytes are an empty bucket.
    #[must_use]
    pub fn read(value: &[u8], now: u64, lifetimes: &Lifetimes) -> Self {
        let mut bucket = Self::parse(value);
        bucket.0.retain(|entry| lifetimes.allow(entry, now));
        bucket
    }

    fn parse(value: &[u8]) -> Self {
        let Some((&VERSION, mut rest)) = value.split_first() else { return Self::default() };
        let mut bucket = Self::default();
        while !rest.is_empty() {
            match read_entry(&mut rest) {
                Some(entry) if bucket.0.len() < WAYS => bucket.0.push(entry),
                _ => return Self::default(),
            }
        }
        bucket
    }

    /// The value, without expired entries.
    #[must_use]
    pub fn write(&self, now: u64) -> Bytes {
        let mut value = vec![VERSION];
        for entry in self.0.iter().filter(|entry| entry.until > now) {
            let (kind, response): (u8, &[u8]) = match &entry.state {
                State::InFlight => (0, &[]),
                State::Private => (1, &[]),
                State::Cached(response) => (2, response),
            };
            value.extend(entry.key);
            value.extend(entry.until.to_le_bytes());
            value.push(kind);
            value.extend(u32::try_from(response.len()).unwrap_or(u32::MAX).to_le_bytes());
            value.extend(response);
        }
        value
    }

    /// The state of this key.
    #[must_use]
    pub fn get(&self, key: &Key, now: u64) -> Option<&State> {
        let entry = self.0.iter().find(|entry| entry.key == *key && entry.until > now)?;
        Some(&entry.state)
    }

    /// Sets the state of a key; `true` if an entry of another key that had not expired was evicted.
    pub fn put(&mut self, key: &Key, state: State, until: u64, now: u64) -> bool {
        self.0.retain(|entry| entry.key != *key && entry.until > now);
        let evicts = self.0.len() >= WAYS;
        if evicts {
            // Those that wait for a call in flight would have to call.
            let first = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| (entry.state == State::InFlight, entry.until));
            if let Some(index) = first.map(|(index, _)| index) {
                self.0.swap_remove(index);
            }
        }
        self.0.push(Entry { key: *key, until, state });
        evicts
    }

    /// The key is no longer in flight; `true` if it was.
    pub fn release(&mut self, key: &Key) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.key != *key || entry.state != State::InFlight);
        self.0.len() < before
    }
}

fn read_entry(rest: &mut &[u8]) -> Option<Entry> {
    let (key, after) = rest.split_first_chunk()?;
    let (until, after) = after.split_first_chunk()?;
    let (&kind, after) = after.split_first()?;
    let (length, after) = after.split_first_chunk()?;
    let (response, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let state = match (kind, response) {
        (0, []) => State::InFlight,
        (1, []) => State::Private,
        (2, response) => State::Cached(response.to_vec()),
        _ => return None,
    };
    *rest = after;
    Some(Entry { key: *key, until: u64::from_le_bytes(*until), state })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn key(number: u8) -> Key {
        [number; 32]
    }

    fn cached(response: &str) -> State {
        State::Cached(response.as_bytes().to_vec())
    }

    #[test]
    fn reads_what_was_written_until_it_expires() {
        let mut bucket = Bucket::default();
        bucket.put(&key(1), State::InFlight, 10, 0);
        bucket.put(&key(2), cached("yes"), 20, 0);
        bucket.put(&key(3), State::Private, 30, 0);
        assert_eq!(Bucket::parse(&bucket.write(0)), bucket);
        let later = Bucket::parse(&bucket.write(10));
        assert_eq!(later.get(&key(1), 0), None);
        assert_eq!(later.get(&key(2), 19), Some(&cached("yes")));
        assert_eq!(later.get(&key(2), 20), None);
    }

    #[test]
    fn keeps_one_entry_per_key() {
        let mut bucket = Bucket::default();
        bucket.put(&key(1), State::InFlight, 10, 0);
        assert!(!bucket.put(&key(1), cached("no"), 20, 0));
        assert_eq!(bucket.get(&key(1), 5), Some(&cached("no")));
        assert!(!bucket.release(&key(1)), "a response is not released");
        bucket.put(&key(1), State::InFlight, 30, 0);
        assert!(bucket.release(&key(1)));
        assert_eq!(bucket, Bucket::default());
    }

    #[test]
    fn evicts_the_entry_closest_to_expiry_and_calls_in_flight_last() {
        let mut bucket = Bucket::default();
        for number in 0..4 {
            assert!(!bucket.put(&key(number), cached(""), 100 - u64::from(number), 0));
        }
        bucket.put(&key(3), State::InFlight, 1, 0);
        assert!(bucket.put(&key(9), cached(""), 50, 0));
        assert_eq!(bucket.get(&key(2), 0), None);
        assert!(bucket.get(&key(3), 0).is_some());
        assert!(!bucket.put(&key(8), cached(""), 50, 1), "the call in flight has expired");
        assert_eq!(bucket.0.len(), WAYS);
    }

    #[test]
    fn drops_entries_that_last_longer_than_their_state() {
        let lifetimes = Lifetimes { in_flight: 10, private: 20, cached: 30 };
        for (state, most) in [(State::InFlight, 10), (State::Private, 20), (cached("yes"), 30)] {
            for (until, is_kept) in
                [(1000 + most, true), (1000 + most + 1, false), (u64::MAX - 1, false), (u64::MAX, false)]
            {
                let mut bucket = Bucket::default();
                bucket.put(&key(1), state.clone(), until, 1000);
                let read = Bucket::read(&bucket.write(1000), 1000, &lifetimes);
                assert_eq!(read.get(&key(1), 1000).is_some(), is_kept, "{state:?} {until}");
            }
        }
    }

    proptest! {
        #[test]
        fn reads_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Bucket::parse(&bytes);
            let _ = Bucket::parse(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn reads_no_part_of_a_truncated_entry() {
        let mut bucket = Bucket::default();
        bucket.put(&key(1), cached("yes"), 10, 0);
        bucket.put(&key(2), cached("no"), 10, 0);
        let value = bucket.write(0);
        for end in 0..value.len() {
            let half = Bucket::parse(&value[..end]);
            assert!(half == Bucket::default() || half.0.len() == 1, "{end}");
        }
    }
}
