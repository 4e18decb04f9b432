//! The responses that all workers share, in a table of fixed size in shared data, and the calls that are in flight.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError};
use plugin_kit::metrics::{self, Counter};
use plugin_kit::property;
use plugin_kit::shared_data;

use crate::bucket::{Bucket, Lifetimes, State, VERSION, WAYS};
use crate::check_response::CheckResponse;
use crate::config;
use crate::key::Key;
use crate::record;
use crate::ttl::Ttl;

const ENTRIES: u32 = 4096;
const ENTRY_BYTES: u32 = 4096;
/// For how long requests call at once after a response that cannot be shared.
const PRIVATE: Duration = Duration::from_secs(1);

/// How much longer than it is written an entry may last.
const TOLERANCE: Duration = Duration::from_secs(1);

/// The table.
#[derive(Debug)]
pub struct Cache {
    prefix: String,
    buckets: u64,
    entry_bytes: usize,
    /// How long responses are cached.
    pub ttl: Ttl,
    /// How long other requests wait for a call.
    lease: Duration,
    lifetimes: Lifetimes,
    evicted: Counter,
}

/// The state of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The response.
    Cached(CheckResponse),
    /// Another request calls for it.
    InFlight,
    /// Responses for it are not shared.
    Private,
    /// No entry.
    Missing,
}

impl Cache {
    /// The table of this plugin's instance.
    ///
    /// # Errors
    /// If a number is out of range.
    pub fn compile(plugin: &str, cache: &config::Cache, lease: Duration) -> Result<Self, ConfigError> {
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
        let ttl = Ttl::compile(cache)?;
        let lasts = |most: Duration| nanos(most.saturating_add(TOLERANCE));
        Ok(Self {
            prefix: shared_data::key(plugin, &instance, VERSION.into(), ""),
            buckets: entries.div_ceil(ways).max(1).into(),
            entry_bytes: usize::try_from(entry_bytes).unwrap_or(usize::MAX),
            lifetimes: Lifetimes {
                in_flight: lasts(lease),
                private: lasts(PRIVATE),
                cached: lasts(ttl.longest()),
            },
            ttl,
            lease,
            evicted: Counter::new(metrics::name(plugin, "evicted_total")),
        })
    }

    /// The state of a key. If it is missing, it is in flight from now on: call, and then [`Cache::put`] or
    /// [`Cache::release`].
    #[must_use]
    pub fn claim(&self, key: &Key, now: Duration) -> Found {
        let name = self.name(key);
        // A write costs twice what a read does, and most responses are cached.
        let found = self.get(&name, key, now);
        if found != Found::Missing {
            return found;
        }
        let (now, until) = (nanos(now), nanos(now.saturating_add(self.lease)));
        let claimed = shared_data::update(&name, |stored| {
            let mut bucket = self.bucket(stored, now);
            let found = found_in(&bucket, key, now);
            if found != Found::Missing {
                return (None, (found, false));
            }
            let evicts = bucket.put(key, State::InFlight, until, now);
            (Some(bucket.write(now)), (Found::Missing, evicts))
        });
        // If it cannot be written, no other request learns of the call.
        let (found, evicts) = claimed.unwrap_or((Found::Private, false));
        self.evicted.add(evicts.into());
        found
    }

    /// Caches a response; `false` if it must not be shared, which is stored instead.
    pub fn put(&self, key: &Key, response: &CheckResponse, ttl: Duration, now: Duration) -> bool {
        let record = record::write(response);
        let is_shared = !ttl.is_zero() && record.len() <= self.entry_bytes;
        let (state, ttl) = if is_shared { (State::Cached(record), ttl) } else { (State::Private, PRIVATE) };
        let (now, until) = (nanos(now), nanos(now.saturating_add(ttl)));
        let put = shared_data::update(&self.name(key), |stored| {
            let mut bucket = self.bucket(stored, now);
            let evicts = bucket.put(key, state.clone(), until, now);
            (Some(bucket.write(now)), evicts)
        });
        self.evicted.add(put.unwrap_or(false).into());
        is_shared
    }

    /// The call for a key ended without a response: it is missing again.
    pub fn release(&self, key: &Key, now: Duration) {
        let now = nanos(now);
        let _ = shared_data::update(&self.name(key), |stored| {
            let mut bucket = self.bucket(stored, now);
            let written = bucket.release(key).then(|| bucket.write(now));
            (written, ())
        });
    }

    fn get(&self, name: &str, key: &Key, now: Duration) -> Found {
        let stored = shared_data::get(name).ok().flatten();
        let now = nanos(now);
        found_in(&self.bucket(stored.as_ref().map(|(value, _)| value.as_slice()), now), key, now)
    }

    fn bucket(&self, stored: Option<&[u8]>, now: u64) -> Bucket {
        stored.map(|value| Bucket::read(value, now, &self.lifetimes)).unwrap_or_default()
    }

    fn name(&self, key: &Key) -> String {
        let first = key.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        let bucket = first.checked_rem(self.buckets).unwrap_or(0);
        [self.prefix.as_str(), &bucket.to_string()].concat()
    }
}

fn found_in(bucket: &Bucket, key: &Key, now: u64) -> Found {
    match bucket.get(key, now) {
        Some(State::InFlight) => Found::InFlight,
        Some(State::Private) => Found::Private,
        Some(State::Cached(record)) => record::read(record).map_or(Found::Missing, Found::Cached),
        None => Found::Missing,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
