//! One shard of the table: at most 32 entries, in one value of shared data.

use crate::rate::{Clock, Now, Slot};

/// How many entries a shard has at most.
pub const ENTRIES: usize = 32;
/// The format of a value. Whoever changes it counts up: another version is ignored, not misread.
pub const VERSION: u8 = 1;
/// The most bytes of a value.
#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
pub const MAX_BYTES: usize = HEADER + ENTRIES * ENTRY;

const HEADER: usize = 2;
const ENTRY: usize = 26;

/// Entries are dropped only this long after their end: another worker may have read its clock a little earlier.
const GRACE: u64 = 100_000_000;

/// Entries, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard(Vec<(u64, Slot)>);

impl Shard {
    /// Reads a value; one of another version, or of none, is empty.
    #[inline(never)]
    pub fn decode(value: &[u8]) -> Self {
        let Some((&[VERSION, count], entries)) = value.split_first_chunk::<HEADER>() else {
            return Self::default();
        };
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        if entries.len() != usize::from(count) || !rest.is_empty() || entries.len() > ENTRIES {
            return Self::default();
        }
        let mut shard = Self(Vec::with_capacity(ENTRIES));
        for entry in entries {
            let Some(entry) = decode(entry) else { return Self::default() };
            shard.0.push(entry);
        }
        shard
    }

    /// The value, without what has no effect any more.
    #[inline(never)]
    pub fn encode(&self, now: Now) -> Vec<u8> {
        let live = || self.0.iter().filter(|(_, slot)| has_effect(slot, now));
        let count = u8::try_from(live().count()).unwrap_or(u8::MAX);
        let mut value = Vec::with_capacity(usize::from(count).saturating_mul(ENTRY).saturating_add(HEADER));
        value.extend([VERSION, count]);
        for (key, slot) in live() {
            value.extend(key.to_le_bytes());
            value.extend(slot.until.to_le_bytes());
            value.extend(slot.counts.0.to_le_bytes());
            value.extend(slot.counts.1.to_le_bytes());
            value.push(match slot.clock {
                Clock::Monotonic => 0,
                Clock::Wall => 1,
            });
            value.push(slot.share);
        }
        value
    }

    /// What is kept of a key.
    pub fn get(&self, key: u64) -> Option<Slot> {
        self.0.iter().find(|(seen, _)| *seen == key).map(|(_, slot)| *slot)
    }

    /// Keeps something of a key; `true` where that of another one had to go although it has an effect.
    ///
    /// It is the one that used the least of its limit and is over first, but none of `spared`.
    #[inline(never)]
    pub fn put(&mut self, key: u64, slot: Slot, now: Now, spared: &[u64]) -> bool {
        if let Some((_, kept)) = self.0.iter_mut().find(|(seen, _)| *seen == key) {
            *kept = slot;
            return false;
        }
        let mut evicted = false;
        if self.0.len() >= ENTRIES {
            self.0.retain(|(_, slot)| has_effect(slot, now));
        }
        if self.0.len() >= ENTRIES {
            let least = self
                .0
                .iter()
                .enumerate()
                .min_by_key(|(_, (key, slot))| (spared.contains(key), slot.share, lasts(slot, now)));
            if let Some(index) = least.map(|(index, _)| index) {
                self.0.swap_remove(index);
                evicted = true;
            }
        }
        self.0.push((key, slot));
        evicted
    }
}

/// How long a slot still has an effect.
fn lasts(slot: &Slot, now: Now) -> u64 {
    let now = match slot.clock {
        Clock::Monotonic => now.monotonic,
        Clock::Wall => now.wall,
    };
    slot.until.saturating_add(GRACE).saturating_sub(now)
}

fn has_effect(slot: &Slot, now: Now) -> bool {
    lasts(slot, now) > 0
}

fn decode(entry: &[u8; ENTRY]) -> Option<(u64, Slot)> {
    let (key, rest) = entry.split_first_chunk()?;
    let (until, rest) = rest.split_first_chunk()?;
    let (previous, rest) = rest.split_first_chunk()?;
    let (current, rest) = rest.split_first_chunk()?;
    let &[clock, share] = rest else { return None };
    let clock = match clock {
        0 => Clock::Monotonic,
        1 => Clock::Wall,
        _ => return None,
    };
    let counts = (u32::from_le_bytes(*previous), u32::from_le_bytes(*current));
    Some((u64::from_le_bytes(*key), Slot { until: u64::from_le_bytes(*until), clock, counts, share }))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    const NOW: Now = Now { monotonic: 1_000_000_000, wall: 9_000_000_000 };

    fn slot(until: u64, share: u8) -> Slot {
        Slot { until: NOW.monotonic + until, clock: Clock::Monotonic, counts: (0, 0), share }
    }

    fn full() -> Shard {
        let mut shard = Shard::default();
        for key in 0..32 {
            assert!(!shard.put(key, slot(1000 + key, 100), NOW, &[]));
        }
        shard
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let mut shard = full();
        shard.put(3, Slot { until: u64::MAX, clock: Clock::Wall, counts: (1, u32::MAX), share: 7 }, NOW, &[]);
        let value = shard.encode(NOW);
        assert_eq!(value.len(), MAX_BYTES);
        assert_eq!(Shard::decode(&value), shard);
    }

    #[test]
    fn another_version_is_ignored_not_misread() {
        let mut value = full().encode(NOW);
        value[0] = VERSION + 1;
        assert_eq!(Shard::decode(&value), Shard::default());
        let value = full().encode(NOW);
        for wrong in
            [&value[..value.len() - 1], &value[..1], &[], &[VERSION, 1], &[&value[..], &[0]].concat()[..]]
        {
            assert_eq!(Shard::decode(wrong), Shard::default());
        }
        let mut value = full().encode(NOW);
        value[HEADER + 24] = 9;
        assert_eq!(Shard::decode(&value), Shard::default(), "there is no such clock");
    }

    #[test]
    fn what_has_no_effect_is_not_kept() {
        let mut shard = Shard::default();
        shard.put(1, slot(0, 255), NOW, &[]);
        shard.put(2, Slot { until: NOW.wall, clock: Clock::Wall, ..slot(0, 255) }, NOW, &[]);
        shard.put(3, slot(1, 0), NOW, &[]);
        let later = Now { monotonic: NOW.monotonic + GRACE, wall: NOW.wall + GRACE };
        let kept = Shard::decode(&shard.encode(later));
        assert_eq!((kept.get(1), kept.get(2), kept.get(3)), (None, None, Some(slot(1, 0))));
        assert_eq!(Shard::decode(&shard.encode(NOW)), shard, "another worker's clock may be a little behind");
    }

    #[test]
    fn a_full_shard_first_gives_what_has_no_effect() {
        let mut shard = full();
        let later = Now { monotonic: NOW.monotonic + GRACE + 1000, ..NOW };
        assert!(!shard.put(99, slot(5000, 1), later, &[]));
        assert_eq!(shard.get(0), None);
        assert!(shard.get(1).is_some());
    }

    #[test]
    fn then_it_gives_what_used_least_and_is_over_first() {
        let mut shard = full();
        shard.put(7, slot(9000, 5), NOW, &[]);
        shard.put(8, slot(8000, 5), NOW, &[]);
        shard.put(9, slot(9, 255), NOW, &[]);
        assert!(shard.put(99, slot(1, 0), NOW, &[]));
        assert!(shard.get(8).is_none() && shard.get(7).is_some() && shard.get(9).is_some());
        assert!(shard.put(100, slot(1, 0), NOW, &[99]), "what this request wrote is spared");
        assert!(shard.get(7).is_none() && shard.get(99).is_some());
    }

    #[test]
    fn a_flood_of_keys_does_not_forgive_one_at_its_limit() {
        let mut shard = Shard::default();
        shard.put(0, slot(60_000_000_000, 255), NOW, &[]);
        for key in 1..10_000 {
            shard.put(key, slot(60_000_000_000, 2), NOW, &[]);
        }
        assert!(shard.get(0).is_some());
    }
}
