//! One shard of the table: at most 32 entries, in one value of shared data.

use crate::gcra::MAX_TOLERANCE;
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

/// No configuration writes an entry that lasts longer: GCRA twice its tolerance, a sliding window three times its length.
const LONGEST: u64 = MAX_TOLERANCE * 2 + GRACE;

/// Entries, in no order, as they are stored: what a request does not mean is neither read nor written anew. Their number
/// is brought up to date when it is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard(Vec<u8>);

impl Default for Shard {
    fn default() -> Self {
        Self(vec![VERSION, 0])
    }
}

impl Shard {
    /// Reads a value; one of another version, or of none, is empty.
    #[inline(never)]
    pub fn decode(value: Vec<u8>) -> Self {
        let Some((&[VERSION, count], entries)) = value.split_first_chunk::<HEADER>() else {
            return Self::default();
        };
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        let is_whole = entries.len() == usize::from(count) && rest.is_empty() && entries.len() <= ENTRIES;
        if is_whole && entries.iter().all(|entry| decode(entry).is_some()) {
            Self(value)
        } else {
            Self::default()
        }
    }

    /// The value, without what has no effect any more.
    #[inline(never)]
    pub fn encode(&mut self, now: Now) -> &[u8] {
        self.drop_spent(now);
        let number = u8::try_from(self.entries().len()).unwrap_or(u8::MAX);
        if let Some([_, count]) = self.0.first_chunk_mut::<HEADER>() {
            *count = number;
        }
        &self.0
    }

    /// What is kept of a key.
    pub fn get(&self, key: u64, now: Now) -> Option<Slot> {
        let slot = self.entries().iter().find(|entry| key_of(entry) == key).and_then(decode);
        slot.filter(|slot| lasts(slot, now).is_some())
    }

    /// Keeps something of a key; `true` where that of another one had to go although it has an effect.
    ///
    /// It is the one that used the least of its limit and is over first, but none of `spared`.
    #[inline(never)]
    pub fn put(&mut self, key: u64, slot: Slot, now: Now, spared: &[u64]) -> bool {
        if let Some(entry) = self.entries_mut().iter_mut().find(|entry| key_of(entry) == key) {
            *entry = encode(key, slot);
            return false;
        }
        let mut evicted = false;
        if self.entries().len() >= ENTRIES {
            self.drop_spent(now);
        }
        if self.entries().len() >= ENTRIES {
            let worth = |entry: &[u8; ENTRY]| {
                decode(entry).map(|slot| (spared.contains(&key_of(entry)), slot.share, lasts(&slot, now)))
            };
            let least = self.entries().iter().enumerate().min_by_key(|(_, entry)| worth(entry));
            if let Some(index) = least.map(|(index, _)| index) {
                self.remove(index);
                evicted = true;
            }
        }
        self.0.extend(encode(key, slot));
        evicted
    }

    fn drop_spent(&mut self, now: Now) {
        // From the end, as the last entry takes the place of one that goes.
        for index in (0..self.entries().len()).rev() {
            let slot = self.entries().get(index).and_then(decode);
            if slot.and_then(|slot| lasts(&slot, now)).is_none_or(|rest| rest == 0) {
                self.remove(index);
            }
        }
    }

    fn remove(&mut self, index: usize) {
        let Some(last) = self.0.last_chunk::<ENTRY>().copied() else { return };
        self.0.truncate(self.0.len().saturating_sub(ENTRY));
        if let Some(entry) = self.entries_mut().get_mut(index) {
            *entry = last;
        }
    }

    fn entries(&self) -> &[[u8; ENTRY]] {
        self.0.get(HEADER..).unwrap_or_default().as_chunks().0
    }

    fn entries_mut(&mut self) -> &mut [[u8; ENTRY]] {
        self.0.get_mut(HEADER..).unwrap_or_default().as_chunks_mut().0
    }
}

/// How long a slot still has an effect; `None`: no configuration wrote it.
fn lasts(slot: &Slot, now: Now) -> Option<u64> {
    let now = match slot.clock {
        Clock::Monotonic => now.monotonic,
        // Another instance's, as no limit of this one needs the time.
        Clock::Wall if now.wall == 0 => return Some(LONGEST),
        Clock::Wall => now.wall,
    };
    let rest = slot.until.saturating_add(GRACE).saturating_sub(now);
    (rest <= LONGEST).then_some(rest)
}

fn key_of(entry: &[u8; ENTRY]) -> u64 {
    entry.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

fn encode(key: u64, slot: Slot) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let clock = match slot.clock {
        Clock::Monotonic => 0,
        Clock::Wall => 1,
    };
    let bytes = key
        .to_le_bytes()
        .into_iter()
        .chain(slot.until.to_le_bytes())
        .chain(slot.counts.0.to_le_bytes())
        .chain(slot.counts.1.to_le_bytes())
        .chain([clock, slot.share]);
    for (to, from) in entry.iter_mut().zip(bytes) {
        *to = from;
    }
    entry
}

fn decode(entry: &[u8; ENTRY]) -> Option<Slot> {
    let (_key, rest) = entry.split_first_chunk::<8>()?;
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
    Some(Slot { until: u64::from_le_bytes(*until), clock, counts, share })
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
        shard.put(
            3,
            Slot { until: NOW.wall + 1, clock: Clock::Wall, counts: (1, u32::MAX), share: 7 },
            NOW,
            &[],
        );
        let value = shard.encode(NOW).to_vec();
        assert_eq!(value.len(), MAX_BYTES);
        assert_eq!(Shard::decode(value), shard);
    }

    #[test]
    fn another_version_is_ignored_not_misread() {
        let mut value = full().encode(NOW).to_vec();
        value[0] = VERSION + 1;
        assert_eq!(Shard::decode(value), Shard::default());
        let value = full().encode(NOW).to_vec();
        for wrong in
            [&value[..value.len() - 1], &value[..1], &[], &[VERSION, 1], &[&value[..], &[0]].concat()[..]]
        {
            assert_eq!(Shard::decode(wrong.to_vec()), Shard::default());
        }
        let mut value = full().encode(NOW).to_vec();
        value[HEADER + 24] = 9;
        assert_eq!(Shard::decode(value), Shard::default(), "there is no such clock");
    }

    #[test]
    fn what_has_no_effect_is_not_kept() {
        let mut shard = Shard::default();
        shard.put(1, slot(0, 255), NOW, &[]);
        shard.put(2, Slot { until: NOW.wall, clock: Clock::Wall, ..slot(0, 255) }, NOW, &[]);
        shard.put(3, slot(1, 0), NOW, &[]);
        let later = Now { monotonic: NOW.monotonic + GRACE, wall: NOW.wall + GRACE };
        let kept = Shard::decode(shard.clone().encode(later).to_vec());
        assert_eq!((kept.get(1, NOW), kept.get(2, NOW), kept.get(3, NOW)), (None, None, Some(slot(1, 0))));
        let kept = Shard::decode(shard.encode(NOW).to_vec());
        assert!(
            [1, 2, 3].iter().all(|key| kept.get(*key, NOW).is_some()),
            "another worker's clock may be a little behind"
        );
    }

    #[test]
    fn an_entry_that_no_configuration_wrote_is_not_kept() {
        let mut shard = Shard::default();
        let far = |clock| Slot { until: NOW.wall + LONGEST + 1, clock, ..slot(0, 255) };
        shard.put(1, far(Clock::Monotonic), NOW, &[]);
        shard.put(2, far(Clock::Wall), NOW, &[]);
        assert_eq!((shard.get(1, NOW), shard.get(2, NOW)), (None, None));
        let no_wall = Now { wall: 0, ..NOW };
        let kept = Shard::decode(shard.clone().encode(no_wall).to_vec());
        assert!(kept.get(2, no_wall).is_some(), "an instance that needs no wall clock cannot tell");
        assert_eq!(Shard::decode(shard.encode(NOW).to_vec()), Shard::default());
    }

    #[test]
    fn a_full_shard_first_gives_what_has_no_effect() {
        let mut shard = full();
        let later = Now { monotonic: NOW.monotonic + GRACE + 1000, ..NOW };
        assert!(!shard.put(99, slot(5000, 1), later, &[]));
        assert_eq!(shard.get(0, NOW), None);
        assert!(shard.get(1, NOW).is_some());
    }

    #[test]
    fn then_it_gives_what_used_least_and_is_over_first() {
        let mut shard = full();
        shard.put(7, slot(9000, 5), NOW, &[]);
        shard.put(8, slot(8000, 5), NOW, &[]);
        shard.put(9, slot(9, 255), NOW, &[]);
        assert!(shard.put(99, slot(1, 0), NOW, &[]));
        assert!(shard.get(8, NOW).is_none() && shard.get(7, NOW).is_some() && shard.get(9, NOW).is_some());
        assert!(shard.put(100, slot(1, 0), NOW, &[99]), "what this request wrote is spared");
        assert!(shard.get(7, NOW).is_none() && shard.get(99, NOW).is_some());
    }

    #[test]
    fn a_flood_of_keys_does_not_forgive_one_at_its_limit() {
        let mut shard = Shard::default();
        shard.put(0, slot(60_000_000_000, 255), NOW, &[]);
        for key in 1..10_000 {
            shard.put(key, slot(60_000_000_000, 2), NOW, &[]);
        }
        assert!(shard.get(0, NOW).is_some());
    }
}
