//! What this worker knows to be denied: a flood over the limit then costs no access to shared data.

use crate::gcra::Denied;

/// How many denials are remembered. One that meets another in its place takes it.
const PLACES: usize = 1024;

/// Denials by key. Times are of the monotonic clock, in nanoseconds.
#[derive(Debug)]
pub struct DenyCache(Vec<Denial>);

#[derive(Clone, Copy, Debug, Default)]
struct Denial {
    key: u64,
    /// When to ask again.
    until: u64,
    /// When it would pass; the largest number for never.
    free: u64,
}

impl Default for DenyCache {
    fn default() -> Self {
        Self(vec![Denial::default(); PLACES])
    }
}

impl DenyCache {
    /// The denial of a key, if it still holds.
    pub fn get(&self, key: u64, now: u64) -> Option<Denied> {
        let denial = self.0.get(place(key)).filter(|denial| denial.key == key && denial.until > now)?;
        let never = denial.free == u64::MAX;
        Some(Denied { retry_after: (!never).then(|| denial.free.saturating_sub(now)) })
    }

    /// Remembers a denial, for at most `most`.
    pub fn insert(&mut self, key: u64, denied: Denied, now: u64, most: u64) {
        let free = denied.retry_after.map_or(u64::MAX, |wait| now.saturating_add(wait));
        let until = free.min(now.saturating_add(most));
        if let Some(place) = self.0.get_mut(place(key)) {
            *place = Denial { key, until, free };
        }
    }
}

fn place(key: u64) -> usize {
    key as usize & PLACES.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Denied = Denied { retry_after: None };

    #[test]
    fn a_denial_is_remembered_until_its_end_and_tells_the_time_that_is_left() {
        let mut cache = DenyCache::default();
        cache.insert(7, Denied { retry_after: Some(100) }, 1000, 500);
        assert_eq!(cache.get(7, 1040), Some(Denied { retry_after: Some(60) }));
        assert_eq!(cache.get(7, 1100), None);
        assert_eq!(cache.get(8, 1040), None);
    }

    #[test]
    fn it_is_not_believed_for_longer_than_it_was_told() {
        let mut cache = DenyCache::default();
        cache.insert(7, Denied { retry_after: Some(1000) }, 0, 100);
        assert_eq!(cache.get(7, 99), Some(Denied { retry_after: Some(901) }));
        assert_eq!(cache.get(7, 100), None);
        cache.insert(8, NEVER, 0, 100);
        assert_eq!((cache.get(8, 99), cache.get(8, 100)), (Some(NEVER), None));
    }

    #[test]
    fn it_never_grows() {
        let mut cache = DenyCache::default();
        for key in 0..100_000 {
            cache.insert(key, NEVER, 0, 100);
        }
        assert_eq!(cache.0.len(), PLACES);
        assert_eq!((cache.get(99_999, 0), cache.get(0, 0)), (Some(NEVER), None));
    }
}
