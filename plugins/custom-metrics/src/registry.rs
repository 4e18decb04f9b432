//! Which series a metric has in this proxy: one value in shared data a metric, with a fingerprint of each series, and one
//! for each name.
//!
//! Every worker has a VM of its own, and the same series in each is one series of the proxy. So the bound is kept here,
//! and looked at only when a VM meets a series that it does not know.

use std::hash::{DefaultHasher, Hasher};

use plugin_kit::hostcalls::{self, Bytes};
use plugin_kit::{random, shared_data};

use crate::series::{Bound, Name};

/// The format of the value, in its key: a checksum of what follows, salt, then the fingerprints, sorted, eight bytes each.
///
/// Fingerprints could be anything, so without a checksum what another plugin writes here would be as many series.
pub const FORMAT: u32 = 2;

const SALT: usize = 16;
const WORD: usize = 8;
/// The bit of a fingerprint that says whether the series has a guessed route.
const GUESSED: u64 = 1;

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
    /// No more series of its kind will be taken: here are all of them.
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
        let (checksum, rest) = bytes.split_first_chunk::<WORD>()?;
        let (salt, words) = rest.split_first_chunk()?;
        let (fingerprints, surplus) = words.as_chunks::<WORD>();
        let fingerprints = fingerprints.iter().copied().map(u64::from_le_bytes).collect();
        let is_whole = surplus.is_empty() && u64::from_le_bytes(*checksum) == hash(&[rest]);
        is_whole.then_some(Self { salt: *salt, fingerprints })
    }

    fn encode(&self) -> Bytes {
        let mut rest = self.salt.to_vec();
        rest.extend(self.fingerprints.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()));
        [&hash(&[&rest]).to_le_bytes()[..], &rest].concat()
    }

    fn find(&self, series: &str) -> Result<usize, (usize, u64)> {
        let fingerprint = hash(&[&self.salt, series.as_bytes()]) & !GUESSED;
        let found = self.fingerprints.binary_search_by(|known| (known & !GUESSED).cmp(&fingerprint));
        found.map_err(|at| (at, fingerprint))
    }

    /// Whether this is one of the series.
    pub fn has(&self, series: &str) -> bool {
        self.find(series).is_ok()
    }

    /// Whether no more series can become one of them, or none with a guessed route.
    fn is_full(&self, bound: Bound, for_guessed: bool) -> bool {
        let guessed = || self.fingerprints.iter().filter(|fingerprint| **fingerprint & GUESSED != 0).count();
        self.fingerprints.len() >= bound.all || for_guessed && guessed() >= bound.guessed
    }

    /// Asks about a series, and makes it one of them if there may be more; then the value is to be stored.
    fn ask(mut self, series: &Name, bound: Bound) -> (Option<Bytes>, Answer) {
        if self.is_full(bound, series.is_guessed) {
            return (None, Answer::Full(self));
        }
        match self.find(&series.text) {
            Ok(_) => (None, Answer::Taken(None)),
            Err((at, fingerprint)) => {
                let kind = if series.is_guessed { GUESSED } else { 0 };
                self.fingerprints.insert(at, fingerprint | kind);
                (Some(self.encode()), Answer::Taken(Some(self.fingerprints.len())))
            }
        }
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

/// Asks the registry under `key` about a series that this VM does not know.
pub fn ask(key: &str, series: &Name, bound: Bound) -> Answer {
    let mut salt = None;
    let answer = shared_data::update(key, |stored| {
        let registry = stored.and_then(Registry::decode).unwrap_or_else(|| {
            Registry::new(*salt.get_or_insert_with(|| random::bits().unwrap_or_default()))
        });
        registry.ask(series, bound)
    });
    if let Ok(Answer::Taken(Some(count))) = &answer {
        // Also over the name of a registry that was overwritten.
        let _ = hostcalls::set_shared_data(&name_key(key, *count), series.text.as_bytes(), 0);
    }
    answer.unwrap_or(Answer::Unknown)
}

/// The contents of a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The names of its series.
    pub names: Vec<String>,
    /// Whether it takes no more series, or none with a guessed route.
    pub is_full: bool,
}

/// Reads the registry under `key`.
///
/// Envoy frees a series with the last VM that holds it. Whoever takes the place of other VMs holds theirs, or every
/// counter would begin anew.
pub fn held(key: &str, bound: Bound) -> Held {
    let stored = shared_data::get(key).ok().flatten();
    let Some(registry) = stored.and_then(|(value, _)| Registry::decode(&value)) else {
        return Held::default();
    };
    let name = |count: usize| {
        let (name, _) = shared_data::get(&name_key(key, count)).ok().flatten()?;
        String::from_utf8(name).ok().filter(|name| registry.has(name))
    };
    Held {
        names: (1..=registry.fingerprints.len().min(bound.all)).filter_map(name).collect(),
        is_full: registry.is_full(bound, true),
    }
}

/// Where the name of the series is that was the `count`-th to be taken.
fn name_key(key: &str, count: usize) -> String {
    format!("{key}/{count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str, is_guessed: bool) -> Name {
        Name { text: text.into(), is_guessed }
    }

    #[test]
    fn series_are_taken_until_there_are_enough() {
        let bound = Bound::new(3, false);
        let mut stored = Registry::new([7; SALT]).encode();
        for count in 1..=3 {
            let series = name(&format!("s{count}"), count == 2);
            let (value, answer) = Registry::decode(&stored).unwrap().ask(&series, bound);
            assert_eq!(answer, Answer::Taken(Some(count)));
            stored = value.unwrap();
            if count < 3 {
                let again = Registry::decode(&stored).unwrap().ask(&name("s1", false), bound);
                assert_eq!(again, (None, Answer::Taken(None)));
            }
        }
        let (value, answer) = Registry::decode(&stored).unwrap().ask(&name("s4", false), bound);
        let Answer::Full(registry) = answer else { panic!("{answer:?}") };
        assert_eq!(value, None);
        assert!(["s1", "s2", "s3"].iter().all(|series| registry.has(series)));
        assert!(!registry.has("s4"));
    }

    #[test]
    fn guessed_routes_take_half_where_there_are_templates() {
        let take = |series: &[(&str, bool)]| {
            let bound = Bound::new(5, true);
            let mut registry = Registry::new([7; SALT]);
            let mut taken = Vec::new();
            for (text, is_guessed) in series {
                if let (Some(value), _) = registry.clone().ask(&name(text, *is_guessed), bound) {
                    registry = Registry::decode(&value).unwrap();
                    taken.push((*text).to_owned());
                }
            }
            taken
        };
        let guessed = [("a", true), ("b", true), ("c", true), ("d", true)];
        let known = [("t", false), ("u", false), ("v", false), ("w", false), ("x", false), ("y", false)];
        assert_eq!(take(&[&guessed[..], &known].concat()), ["a", "b", "c", "t", "u"]);
        assert_eq!(take(&[&known[..], &guessed].concat()), ["t", "u", "v", "w", "x"]);
        assert_eq!(Bound::new(1, true), Bound { all: 1, guessed: 1 });
    }

    #[test]
    fn the_codec_keeps_what_it_is_given_and_refuses_the_rest() {
        let registry = Registry { salt: [1; SALT], fingerprints: vec![0, 5, u64::MAX] };
        let bytes = registry.encode();
        assert_eq!(bytes.len(), 8 + 16 + 3 * 8);
        assert_eq!(Registry::decode(&bytes), Some(registry));
        for wrong in
            [&b""[..], &[0; 24], &[0; 17], &[0xff; 48], &bytes[..bytes.len() - 1], &bytes[..bytes.len() - 8]]
        {
            assert_eq!(Registry::decode(wrong), None, "{wrong:?}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Registry::decode(&changed), None, "{at}");
        }
    }

    #[test]
    fn another_salt_is_another_fingerprint() {
        let fingerprint = |salt| Registry::new([salt; SALT]).find("s").unwrap_err().1;
        assert_ne!(fingerprint(1), fingerprint(2));
        assert_eq!(fingerprint(1), fingerprint(1));
    }
}
