//! The requests of a worker that wait for a key set.

use std::time::Duration;

use plugin_kit::stream::StreamId;

/// How many requests of a worker wait at a time; more are decided at once.
pub const MAX_PENDING: usize = 1024;

/// A paused request. It is read again when it is decided, so that nothing of it is kept here.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The request.
    pub stream: StreamId,
    /// The providers whose key sets it waits for.
    pub providers: Vec<usize>,
    /// When it is decided at the latest, on the monotonic clock.
    pub deadline: Duration,
}

/// The requests that wait.
#[derive(Debug, Default)]
pub struct Queue(Vec<Pending>);

impl Queue {
    /// Adds a request; `false` where too many wait already.
    pub fn push(&mut self, pending: Pending) -> bool {
        let has_room = self.0.len() < MAX_PENDING;
        if has_room {
            self.0.push(pending);
        }
        has_room
    }

    /// Forgets a request that has ended.
    pub fn remove(&mut self, stream: StreamId) {
        self.0.retain(|pending| pending.stream != stream);
    }

    /// Takes out the requests that wait no longer at `now`, while these providers' key sets are being fetched.
    pub fn take_ready(&mut self, now: Duration, fetching: &[usize]) -> Vec<StreamId> {
        let is_ready = |pending: &mut Pending| {
            now >= pending.deadline || !pending.providers.iter().any(|provider| fetching.contains(provider))
        };
        self.0.extract_if(.., is_ready).map(|pending| pending.stream).collect()
    }

    /// Whether no request waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pending(providers: &[usize], deadline: u64) -> Pending {
        Pending { stream: StreamId::default(), providers: providers.to_vec(), deadline: at(deadline) }
    }

    #[test]
    fn requests_of_one_key_set_are_ready_together() {
        let mut queue = Queue::default();
        for providers in [&[0][..], &[0], &[0, 1], &[1]] {
            assert!(queue.push(pending(providers, 9)));
        }
        assert_eq!(queue.take_ready(at(1), &[0, 1]).len(), 0);
        assert_eq!(queue.take_ready(at(1), &[1]).len(), 2);
        assert_eq!(queue.take_ready(at(8), &[]).len(), 2);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_request_is_ready_at_its_deadline() {
        let mut queue = Queue::default();
        queue.push(pending(&[0], 9));
        queue.push(pending(&[0], 10));
        assert_eq!(queue.take_ready(at(9), &[0]).len(), 1);
    }

    #[test]
    fn the_number_of_requests_is_bounded() {
        let mut queue = Queue::default();
        for _ in 0..MAX_PENDING {
            assert!(queue.push(pending(&[0], 9)));
        }
        assert!(!queue.push(pending(&[0], 9)));
        queue.remove(StreamId::default());
        assert!(queue.is_empty());
    }
}
