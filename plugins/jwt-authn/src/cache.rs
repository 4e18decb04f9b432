//! What is known of tokens, so that none is taken apart, or its signature looked at, twice.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// A bounded cache. The key has the whole token in it, so that no two tokens ever share an entry.
#[derive(Debug)]
pub struct Cache<T> {
    max_entries: usize,
    max_age: Duration,
    entries: HashMap<Rc<[u8]>, Entry<T>>,
    /// In the order in which they are asked to leave.
    queue: VecDeque<Rc<[u8]>>,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    since: Duration,
    until: Duration,
    used: bool,
}

impl<T> Entry<T> {
    /// A clock that was set back ends an entry, too.
    fn is_good(&self, now: Duration) -> bool {
        (self.since..self.until).contains(&now)
    }
}

impl<T: Clone> Cache<T> {
    /// An empty cache; with `max_entries` 0 it stays so.
    #[must_use]
    pub fn new(max_entries: usize, max_age: Duration) -> Self {
        Self { max_entries, max_age, entries: HashMap::new(), queue: VecDeque::new() }
    }

    /// What is filed under this key at `now`, which is of any one clock.
    pub fn get(&mut self, key: &[u8], now: Duration) -> Option<T> {
        let entry = self.entries.get_mut(key).filter(|entry| entry.is_good(now))?;
        entry.used = true;
        Some(entry.value.clone())
    }

    /// Files a value. Who has not been asked for since it last stood at the head of the queue makes room.
    pub fn insert(&mut self, key: &[u8], value: T, now: Duration) {
        if self.max_entries == 0 {
            return;
        }
        let entry = Entry { value, since: now, until: now.saturating_add(self.max_age), used: false };
        if let Some(known) = self.entries.get_mut(key) {
            *known = entry;
            return;
        }
        while self.entries.len() >= self.max_entries {
            let Some(oldest) = self.queue.pop_front() else { break };
            match self.entries.get_mut(&oldest) {
                Some(entry) if entry.used && entry.is_good(now) => {
                    entry.used = false;
                    self.queue.push_back(oldest);
                }
                _ => {
                    self.entries.remove(&oldest);
                }
            }
        }
        let key: Rc<[u8]> = key.into();
        self.queue.push_back(Rc::clone(&key));
        self.entries.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_keeps_what_is_used() {
        let mut cache = Cache::new(3, at(60));
        for token in 0..1_000_u32 {
            cache.insert(&token.to_le_bytes(), token, at(0));
            assert!(cache.entries.len() <= 3 && cache.queue.len() == cache.entries.len());
            assert!(cache.get(&0_u32.to_le_bytes(), at(0)).is_some(), "after {token}");
        }
    }

    #[test]
    fn an_entry_has_its_time() {
        let mut cache = Cache::new(3, at(60));
        cache.insert(b"a", 1, at(100));
        assert_eq!(cache.get(b"a", at(159)), Some(1));
        assert_eq!(cache.get(b"a", at(160)), None);
        assert_eq!(cache.get(b"a", at(99)), None, "the clock was set back");
        cache.insert(b"a", 2, at(160));
        assert_eq!((cache.get(b"a", at(161)), cache.queue.len()), (Some(2), 1));
    }

    #[test]
    fn without_entries_it_is_off() {
        let mut cache = Cache::new(0, at(60));
        cache.insert(b"a", 1, at(0));
        assert_eq!(cache.get(b"a", at(0)), None);
    }
}
