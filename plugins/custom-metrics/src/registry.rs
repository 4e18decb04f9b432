//! Which series a metric has in this proxy: one value in shared data a metric, with a fingerprint of each series, and one
//! for each name.
//!
//! Every worker has a VM of its own, and the same series in each is one series of the proxy. So the bound is kept here,
//! and looked at only when a VM meets a series that it does not know.

use std::hash::{DefaultHasher, Hasher};

use plugin_kit::hostcalls::Bytes;
use plugin_kit::{random, shared_data};

/// The format of the value, in its key: salt, then the fingerprints, sorted, eight bytes each.
pub const FORMAT: u32 = 1;

const SALT: usize = 16;
const FINGERPRINT: usize = 8;

/// The series of one metric. The salt is random: who could find two series of one fingerprint would get past the bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    salt: [u8; SALT],
    fingerprints: Vec<u64>,
}

/// What a worker is told about a series that is new to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is one of the series; `Some` with their number where it has just become one.
    Taken(Option<usize>),
    /// No more series will be taken: here are all of them.
    Full(Registry),
    /// Other workers were always faster, or the host refused.
    Unknown,
}

impl Registry {
    fn new(salt: [u8; SALT]) -> Self {
        Self { salt, fingerprints: Vec::new() }
    }

    /// `None` where the value is not in this format.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (salt, rest) = bytes.split_first_chunk()?;
        let (fingerprints, surplus) = rest.as_chunks::<FINGERPRINT>();
        let fingerprints: Vec<u64> = fingerprints.iter().copied().map(u64::from_le_bytes).collect();
        (surplus.is_empty() && fingerprints.is_sorted()).then_some(Self { salt: *salt, fingerprints })
    }

    fn encode(&self) -> Bytes {
        let mut bytes = self.salt.to_vec();
        bytes.extend(self.fingerprints.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()));
        bytes
    }

    fn find(&self, series: &str) -> Result<usize, (usize, u64)> {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.salt);
        hasher.write(series.as_bytes());
        let fingerprint = hasher.finish();
        self.fingerprints.binary_search(&fingerprint).map_err(|at| (at, fingerprint))
    }

    /// Whether this is one of the series.
    pub fn has(&self, series: &str) -> bool {
        self.find(series).is_ok()
    }

    /// Asks about a series, and makes it one of them if there may be more; then the value is to be stored.
    fn ask(mut self, series: &str, max: usize) -> (Option<Bytes>, Answer) {
        if self.fingerprints.len() >= max {
            return (None, Answer::Full(self));
        }
        match self.find(series) {
            Ok(_) => (None, Answer::Taken(None)),
            Err((at, fingerprint)) => {
                self.fingerprints.insert(at, fingerprint);
                (Some(self.encode()), Answer::Taken(Some(self.fingerprints.len())))
            }
        }
    }
}

/// Asks the registry under `key` about a series that this VM does not know.
pub fn ask(key: &str, series: &str, max: usize) -> Answer {
    let mut salt = None;
    let answer = shared_data::update(key, |stored| {
        let registry = stored.and_then(Registry::decode).unwrap_or_else(|| {
            Registry::new(*salt.get_or_insert_with(|| random::bits().unwrap_or_default()))
        });
        registry.ask(series, max)
    });
    if let Ok(Answer::Taken(Some(count))) = &answer {
        let _ = shared_data::insert(&name_key(key, *count), series.as_bytes());
    }
    answer.unwrap_or(Answer::Unknown)
}

/// The names of the series that the registry under `key` has, at most `max`.
///
/// Envoy frees a series with the last VM that holds it. Whoever takes the place of other VMs holds theirs, or every
/// counter would begin anew.
pub fn names(key: &str, max: usize) -> Vec<String> {
    let stored = shared_data::get(key).ok().flatten();
    let Some(registry) = stored.and_then(|(value, _)| Registry::decode(&value)) else { return Vec::new() };
    let name = |count: usize| {
        let (name, _) = shared_data::get(&name_key(key, count)).ok().flatten()?;
        String::from_utf8(name).ok().filter(|name| registry.has(name))
    };
    (1..=registry.fingerprints.len().min(max)).filter_map(name).collect()
}

/// Where the name of the series is that was the `count`-th to be taken.
fn name_key(key: &str, count: usize) -> String {
    format!("{key}/{count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_taken_until_there_are_enough() {
        let mut stored = Registry::new([7; SALT]).encode();
        for count in 1..=3 {
            let (value, answer) = Registry::decode(&stored).unwrap().ask(&format!("s{count}"), 3);
            assert_eq!(answer, Answer::Taken(Some(count)));
            stored = value.unwrap();
            if count < 3 {
                let again = Registry::decode(&stored).unwrap().ask("s1", 3);
                assert_eq!(again, (None, Answer::Taken(None)));
            }
        }
        let (value, answer) = Registry::decode(&stored).unwrap().ask("s4", 3);
        let Answer::Full(registry) = answer else { panic!("{answer:?}") };
        assert_eq!(value, None);
        assert!(["s1", "s2", "s3"].iter().all(|series| registry.has(series)));
        assert!(!registry.has("s4"));
    }

    #[test]
    fn the_codec_keeps_what_it_is_given_and_refuses_the_rest() {
        let registry = Registry { salt: [1; SALT], fingerprints: vec![0, 5, u64::MAX] };
        let bytes = registry.encode();
        assert_eq!(bytes.len(), 16 + 3 * 8);
        assert_eq!(Registry::decode(&bytes), Some(registry));
        for wrong in [&b""[..], &[0; 15], &[0; 17], &bytes[..bytes.len() - 1]] {
            assert_eq!(Registry::decode(wrong), None, "{wrong:?}");
        }
        let unsorted = Registry { salt: [1; SALT], fingerprints: vec![5, 0] };
        assert_eq!(Registry::decode(&unsorted.encode()), None);
    }

    #[test]
    fn another_salt_is_another_fingerprint() {
        let fingerprint = |salt| Registry::new([salt; SALT]).find("s").unwrap_err().1;
        assert_ne!(fingerprint(1), fingerprint(2));
        assert_eq!(fingerprint(1), fingerprint(1));
    }
}
