//! One value of the table in shared data: what is known about a few questions whose keys meet in it.

use plugin_kit::hostcalls::Bytes;

use crate::key::Key;

/// How many questions a bucket holds.
pub const WAYS: usize = 4;
/// The first byte of a value, and part of the keys in shared data: other versions write other formats.
pub const VERSION: u8 = 1;

/// What is known about a question. Times are of the monotonic clock, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A request calls for it.
    InFlight,
    /// Responses for it are not shared: each request calls.
    Private,
    /// The response, as bytes.
    Cached(Bytes),
}

/// What is known about a question until then.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Key,
    until: u64,
    state: State,
}

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket(Vec<Entry>);

impl Bucket {
    /// Reads a value; what is not a bucket is an empty one.
    #[must_use]
    pub fn read(value: &[u8]) -> Self {
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

    /// The value, without what is over.
    #[must_use]
    pub fn write(&self, now: u64) -> Bytes {
        let mut value = vec![VERSION];
        for entry in self.0.iter().filter(|entry| entry.until > now) {
            let (kind, answer): (u8, &[u8]) = match &entry.state {
                State::InFlight => (0, &[]),
                State::Private => (1, &[]),
                State::Cached(answer) => (2, answer),
            };
            value.extend(entry.key);
            value.extend(entry.until.to_le_bytes());
            value.push(kind);
            value.extend(u32::try_from(answer.len()).unwrap_or(u32::MAX).to_le_bytes());
            value.extend(answer);
        }
        value
    }

    /// What is known about this question.
    #[must_use]
    pub fn get(&self, key: &Key, now: u64) -> Option<&State> {
        let entry = self.0.iter().find(|entry| entry.key == *key && entry.until > now)?;
        Some(&entry.state)
    }

    /// Notes something; `true` where something about another question had to go that was not over.
    pub fn put(&mut self, key: &Key, state: State, until: u64, now: u64) -> bool {
        self.0.retain(|entry| entry.key != *key && entry.until > now);
        let evicts = self.0.len() >= WAYS;
        if evicts {
            // Who waits for an answer would have to ask.
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

    /// Nobody asks any more; `true` where somebody did.
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
    let (answer, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let state = match (kind, answer) {
        (0, []) => State::InFlight,
        (1, []) => State::Private,
        (2, answer) => State::Cached(answer.to_vec()),
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

    fn known(answer: &str) -> State {
        State::Cached(answer.as_bytes().to_vec())
    }

    #[test]
    fn what_was_written_is_read_until_it_is_over() {
        let mut bucket = Bucket::default();
        bucket.put(&key(1), State::InFlight, 10, 0);
        bucket.put(&key(2), known("yes"), 20, 0);
        bucket.put(&key(3), State::Private, 30, 0);
        assert_eq!(Bucket::read(&bucket.write(0)), bucket);
        let later = Bucket::read(&bucket.write(10));
        assert_eq!(later.get(&key(1), 0), None);
        assert_eq!(later.get(&key(2), 19), Some(&known("yes")));
        assert_eq!(later.get(&key(2), 20), None);
    }

    #[test]
    fn a_question_has_one_entry() {
        let mut bucket = Bucket::default();
        bucket.put(&key(1), State::InFlight, 10, 0);
        assert!(!bucket.put(&key(1), known("no"), 20, 0));
        assert_eq!(bucket.get(&key(1), 5), Some(&known("no")));
        assert!(!bucket.release(&key(1)), "an answer is not released");
        bucket.put(&key(1), State::InFlight, 30, 0);
        assert!(bucket.release(&key(1)));
        assert_eq!(bucket, Bucket::default());
    }

    #[test]
    fn a_full_bucket_gives_what_is_over_first_and_questions_last() {
        let mut bucket = Bucket::default();
        for number in 0..4 {
            assert!(!bucket.put(&key(number), known(""), 100 - u64::from(number), 0));
        }
        bucket.put(&key(3), State::InFlight, 1, 0);
        assert!(bucket.put(&key(9), known(""), 50, 0));
        assert_eq!(bucket.get(&key(2), 0), None);
        assert!(bucket.get(&key(3), 0).is_some());
        assert!(!bucket.put(&key(8), known(""), 50, 1), "the question is over");
        assert_eq!(bucket.0.len(), WAYS);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_bucket(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Bucket::read(&bytes);
            let _ = Bucket::read(&[&[VERSION][..], &bytes].concat());
        }
    }

    #[test]
    fn half_a_bucket_is_none() {
        let mut bucket = Bucket::default();
        bucket.put(&key(1), known("yes"), 10, 0);
        bucket.put(&key(2), known("no"), 10, 0);
        let value = bucket.write(0);
        for end in 0..value.len() {
            let half = Bucket::read(&value[..end]);
            assert!(half == Bucket::default() || half.0.len() == 1, "{end}");
        }
    }
}
