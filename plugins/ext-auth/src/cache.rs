//! The answers of all workers, in a table of fixed size in shared data; and who asks for those that are not there.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};
use plugin_kit::metrics::{self, Counter};
use plugin_kit::property;
use plugin_kit::shared_data;

use crate::bucket::{Bucket, State, VERSION, WAYS};
use crate::check_response::CheckResponse;
use crate::config;
use crate::key::Key;
use crate::record;
use crate::ttl::Ttl;

const ENTRIES: u32 = 4096;
const ENTRY_BYTES: u32 = 4096;
/// How long it is remembered that the answers to a question cannot be shared.
const ALONE: Duration = Duration::from_secs(1);

/// The table.
#[derive(Debug)]
pub struct Cache {
    prefix: String,
    buckets: u64,
    entry_bytes: usize,
    /// How long answers are kept.
    pub keep: Ttl,
    evicted: Counter,
}

/// What is known about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The answer.
    Known(CheckResponse),
    /// Somebody else asks.
    Asked,
    /// The answer is for nobody else: ask.
    Alone,
    /// Nothing: ask, and tell everybody.
    Free,
}

impl Cache {
    /// The table of this plugin's instance.
    ///
    /// # Errors
    /// Where a number is out of its range.
    pub fn compile(plugin: &str, cache: &config::Cache) -> Result<Self, ConfigError> {
        let within = |field: &str, number: u32, from: u32, to: u32| {
            if (from..=to).contains(&number) {
                return Ok(number);
            }
            Err(ConfigError::new(format!("must be from {from} to {to}, not {number}"))).at(field)
        };
        let entries = within("entries", cache.entries.unwrap_or(ENTRIES), 1, 1 << 20)?;
        let entry_bytes = within("entryBytes", cache.entry_bytes.unwrap_or(ENTRY_BYTES), 64, 1 << 17)?;
        let ways = u32::try_from(WAYS).unwrap_or(u32::MAX);
        // `<namespace>.<name>` of the WasmPlugin.
        let instance = property::get_str(&["plugin_name"]).unwrap_or_default();
        Ok(Self {
            prefix: shared_data::key(plugin, &instance, VERSION.into(), ""),
            buckets: entries.div_ceil(ways).max(1).into(),
            entry_bytes: usize::try_from(entry_bytes).unwrap_or(usize::MAX),
            keep: Ttl::compile(cache)?,
            evicted: Counter::new(metrics::name(plugin, "evicted_total")),
        })
    }

    /// What is known; where nothing is, nobody else asks until then.
    #[must_use]
    pub fn claim(&self, key: &Key, now: Duration, until: Duration) -> Found {
        let name = self.name(key);
        // A write costs twice what a read does, and most questions are known.
        let known = self.get(&name, key, now);
        if known != Found::Free {
            return known;
        }
        let (now, until) = (nanos(now), nanos(until));
        let claimed = shared_data::update(&name, |stored| {
            let mut bucket = stored.map(Bucket::read).unwrap_or_default();
            if let Some(state) = bucket.get(key, now) {
                return (None, (found(state), false));
            }
            let evicts = bucket.put(key, State::Asked, until, now);
            (Some(bucket.write(now)), (Found::Free, evicts))
        });
        // Where it cannot be written nobody is told.
        let (found, evicts) = claimed.unwrap_or((Found::Alone, false));
        self.evicted.add(evicts.into());
        found
    }

    /// What is known, without a claim.
    #[must_use]
    pub fn peek(&self, key: &Key, now: Duration) -> Found {
        self.get(&self.name(key), key, now)
    }

    /// Tells everybody the answer; `false` where it is nothing to share, and that is told.
    pub fn put(&self, key: &Key, answer: &CheckResponse, keep: Duration, now: Duration) -> bool {
        let record = record::write(answer);
        let is_shared = !keep.is_zero() && record.len() <= self.entry_bytes;
        let (state, keep) = if is_shared { (State::Known(record), keep) } else { (State::Alone, ALONE) };
        let (now, until) = (nanos(now), nanos(now.saturating_add(keep)));
        let put = shared_data::update(&self.name(key), |stored| {
            let mut bucket = stored.map(Bucket::read).unwrap_or_default();
            let evicts = bucket.put(key, state.clone(), until, now);
            (Some(bucket.write(now)), evicts)
        });
        self.evicted.add(put.unwrap_or(false).into());
        is_shared
    }

    /// The question was not answered: who wants to know asks again.
    pub fn release(&self, key: &Key, now: Duration) {
        let _ = shared_data::update(&self.name(key), |stored| {
            let mut bucket = stored.map(Bucket::read).unwrap_or_default();
            let written = bucket.release(key).then(|| bucket.write(nanos(now)));
            (written, ())
        });
    }

    fn get(&self, name: &str, key: &Key, now: Duration) -> Found {
        let stored = shared_data::get(name).ok().flatten();
        let bucket = stored.map(|(value, _)| Bucket::read(&value)).unwrap_or_default();
        bucket.get(key, nanos(now)).map_or(Found::Free, found)
    }

    fn name(&self, key: &Key) -> String {
        let first = key.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        let bucket = first.checked_rem(self.buckets).unwrap_or(0);
        [self.prefix.as_str(), &bucket.to_string()].concat()
    }
}

fn found(state: &State) -> Found {
    match state {
        State::Asked => Found::Asked,
        State::Alone => Found::Alone,
        State::Known(record) => record::read(record).map_or(Found::Alone, Found::Known),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
