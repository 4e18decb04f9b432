//! The table in shared data: read, decide, write, and again where another worker was faster.

use plugin_kit::hostcalls::HostResult;
use plugin_kit::random;
use plugin_kit::shared_data::{self, Contended};

use crate::engine::{self, Check};
use crate::hash::Secret;
use crate::order;
use crate::rate::Now;
use crate::table::{ENTRIES, Shard, VERSION};

/// One store's table.
#[derive(Debug)]
pub struct Store {
    prefix: String,
    shards: u32,
    secret: Secret,
}

/// A shard as it was read.
struct Read {
    /// What it is called in shared data.
    key: String,
    shard: Shard,
    /// The number of its last write; `None` where there was nothing.
    cas: Option<u32>,
    repaired: bool,
}

impl Store {
    /// The table of this name, for at most `max_keys` entries, rounded up to whole shards.
    pub fn open(plugin: &str, name: &str, max_keys: u32) -> Self {
        let key = |rest: &str| shared_data::key(plugin, name, VERSION.into(), rest);
        let shards = max_keys.div_ceil(u32::try_from(ENTRIES).unwrap_or(u32::MAX)).max(1);
        Self { prefix: key(""), shards, secret: secret(&key("secret")) }
    }

    /// What keys are hashed with: the same in every worker, and for nobody outside to know.
    pub fn secret(&self) -> Secret {
        self.secret
    }

    /// The shard that a hash lies in.
    pub fn shard_of(&self, hash: u64) -> u32 {
        // The upper 32 bits, scaled.
        let scaled = (hash >> 32).saturating_mul(self.shards.into()) >> 32;
        u32::try_from(scaled).unwrap_or(0)
    }

    /// Asks all limits and, if none of them stops the request, charges them. Returns how many entries had to go.
    ///
    /// Limits in one shard cost one read and one write. Where a write to a second shard finds that another worker has
    /// just used up the limit, what was written to the first is taken back.
    ///
    /// # Errors
    /// [`Contended`] where it could not be written; then nothing is charged.
    pub fn charge(&self, checks: &mut [Check], now: Now) -> Result<u32, Contended> {
        order::by_key(checks, |check| check.shard);
        let mut reads = Vec::new();
        for group in checks.chunk_by_mut(|a, b| a.shard == b.shard) {
            let mut read = read(self.key(shard_of(group)))?;
            read.repaired = engine::decide(&mut read.shard, group, now);
            reads.push(read);
        }
        if checks.iter().any(Check::stops) {
            for read in reads.iter_mut().filter(|read| read.repaired) {
                // Where another worker was faster, the next request finds the same.
                let _ = read.write(now);
            }
            return Ok(0);
        }
        let (mut written, mut evicted) = (0_usize, 0_u32);
        for read in reads {
            let (before, rest) = checks.split_at_mut(written);
            let Some(group) = rest.chunk_by_mut(|a, b| a.shard == b.shard).next() else { break };
            match commit(group, read, now) {
                Ok(gone) if !group.iter().any(Check::stops) => {
                    written = written.saturating_add(group.len());
                    evicted = evicted.saturating_add(gone);
                }
                other => {
                    self.refund(before, now);
                    return other;
                }
            }
        }
        Ok(evicted)
    }

    /// Charges, whatever is left. Returns how many entries had to go.
    ///
    /// # Errors
    /// [`Contended`] where it could not be written.
    pub fn add(&self, checks: &mut [Check], now: Now) -> Result<u32, Contended> {
        order::by_key(checks, |check| check.shard);
        let mut evicted = 0_u32;
        for group in checks.chunk_by_mut(|a, b| a.shard == b.shard) {
            let gone = self.update(shard_of(group), now, |shard| engine::charge(shard, group, now))?;
            evicted = evicted.saturating_add(gone);
        }
        Ok(evicted)
    }

    /// Takes back what [`Store::charge`] charged. Where that cannot be written it stays charged.
    pub fn refund(&self, checks: &[Check], now: Now) {
        for group in checks.chunk_by(|a, b| a.shard == b.shard) {
            if group.iter().any(Check::writes) {
                let _ = self.update(shard_of(group), now, |shard| engine::refund(shard, group, now));
            }
        }
    }

    fn update<T>(
        &self,
        shard: u32,
        now: Now,
        mut change: impl FnMut(&mut Shard) -> T,
    ) -> Result<T, Contended> {
        shared_data::update(&self.key(shard), |stored| {
            let mut shard = stored.map_or_else(Shard::default, |value| Shard::decode(value.to_vec()));
            let result = change(&mut shard);
            (Some(shard.encode(now).to_vec()), result)
        })
    }

    fn key(&self, shard: u32) -> String {
        [self.prefix.as_str(), &shard.to_string()].concat()
    }
}

/// Writes what the checks of one shard decided; asks them again where another worker was faster.
fn commit(group: &mut [Check], mut at: Read, now: Now) -> Result<u32, Contended> {
    for _ in 0..shared_data::RETRIES {
        if group.iter().any(Check::stops) || !at.repaired && !group.iter().any(Check::writes) {
            return Ok(0);
        }
        let evicted = engine::apply(&mut at.shard, group, now);
        if at.write(now).map_err(|_| Contended)? {
            return Ok(evicted);
        }
        at = read(at.key)?;
        at.repaired = engine::decide(&mut at.shard, group, now);
    }
    Err(Contended)
}

fn read(key: String) -> Result<Read, Contended> {
    let (shard, cas) = match shared_data::get(&key).map_err(|_| Contended)? {
        Some((value, cas)) => (Shard::decode(value), Some(cas)),
        None => (Shard::default(), None),
    };
    Ok(Read { key, shard, cas, repaired: false })
}

impl Read {
    /// Writes the shard, unless another worker has written since it was read.
    fn write(&mut self, now: Now) -> HostResult<bool> {
        let value = self.shard.encode(now);
        match self.cas {
            Some(cas) => shared_data::swap(&self.key, value, cas),
            None => shared_data::insert(&self.key, value),
        }
    }
}

fn shard_of(group: &[Check]) -> u32 {
    group.first().map_or(0, |check| check.shard)
}

/// The secret of a store: the first worker's, whichever that is.
fn secret(key: &str) -> Secret {
    let ours = random::bits().unwrap_or_default();
    let stored = shared_data::update(key, |stored| match stored.and_then(|bytes| bytes.try_into().ok()) {
        Some(theirs) => (None, theirs),
        None => (Some(ours.to_vec()), ours),
    });
    Secret::new(stored.unwrap_or(ours))
}
