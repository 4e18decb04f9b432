//! Bodies that have not arrived completely, and the memory that all of them may take.
//!
//! They are kept here and not in the proxy's buffer (`Action::Pause`): Envoy refuses what does not fit there, which at
//! Istio's gateways is 32 KiB, and Envoy 1.40 ends where a response in it grows beyond.
//!
//! When the memory is used up, the body that has waited longest for its next bytes is dropped. Clients that do not finish
//! their uploads therefore take nothing from those that do.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use plugin_kit::stream::StreamId;

/// In bytes. A body that grows by less is still waiting: bytes that trickle in do not keep it from being dropped.
const PROGRESS: usize = 1024;

/// The bodies of one direction in one worker.
pub struct Buffers {
    /// In bytes.
    left: Cell<usize>,
    timeout: Duration,
    /// On the monotonic clock, as of the last tick.
    now: Cell<Duration>,
    /// Those that have waited longest come first.
    bodies: Cell<BTreeMap<u64, Rc<Record>>>,
    last_place: Cell<u64>,
}

/// The body of one message, as far as it has arrived.
pub struct Body {
    buffers: Rc<Buffers>,
    record: Rc<Record>,
}

struct Record {
    stream: StreamId,
    has_response: Cell<bool>,
    state: Cell<State>,
    bytes: Cell<Vec<u8>>,
    length: Cell<usize>,
    /// Its place among the bodies, once it has bytes.
    place: Cell<Option<u64>>,
    started: Cell<Duration>,
    progressed: Cell<Duration>,
    /// Its length then.
    progressed_to: Cell<usize>,
}

/// The state of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being collected.
    Collecting,
    /// It took too long, and passes with its next bytes.
    Overdue,
    /// It was dropped, and its message must end.
    Dropped,
}

/// A message whose body was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its stream.
    pub stream: StreamId,
    /// Whether the response has begun, so that the client can no longer be answered.
    pub has_response: bool,
}

impl Buffers {
    /// Buffers of `bytes` in total. A body may take `timeout` to arrive; `now` is the time on the monotonic clock.
    pub fn new(bytes: usize, timeout: Duration, now: Duration) -> Rc<Self> {
        Rc::new(Self {
            left: Cell::new(bytes),
            timeout,
            now: Cell::new(now),
            bodies: Cell::default(),
            last_place: Cell::new(0),
        })
    }

    /// The body of a message that begins.
    pub fn body(self: &Rc<Self>, stream: StreamId) -> Body {
        let record = Record {
            stream,
            has_response: Cell::new(false),
            state: Cell::new(State::Collecting),
            bytes: Cell::default(),
            length: Cell::new(0),
            place: Cell::new(None),
            started: Cell::new(Duration::ZERO),
            progressed: Cell::new(Duration::ZERO),
            progressed_to: Cell::new(0),
        };
        Body { buffers: Rc::clone(self), record: Rc::new(record) }
    }

    /// Sets the time, and drops the bodies that took too long. Where bodies `pass` then, those that still arrive become
    /// overdue, and those of which nothing arrived for as long are dropped.
    pub fn tick(&self, now: Duration, pass: bool) -> Vec<Dropped> {
        self.now.set(now);
        let is_over = |since: Duration| now.saturating_sub(since) >= self.timeout;
        let mut late = Vec::new();
        let mut bodies = self.bodies.take();
        bodies.retain(|_, record| {
            if !is_over(record.started.get()) {
                return true;
            }
            record.state.set(State::Overdue);
            let stays = pass && !is_over(record.progressed.get());
            if !stays {
                late.push(Rc::clone(record));
            }
            stays
        });
        self.bodies.set(bodies);
        late.iter().map(|record| self.discard(record)).collect()
    }

    /// Drops others until there is room.
    fn make_room(&self, size: usize, own: &Rc<Record>) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        while self.left.get() < size {
            let mut bodies = self.bodies.take();
            let first = bodies.iter().find(|(_, record)| !Rc::ptr_eq(record, own)).map(|(place, _)| *place);
            let first = first.and_then(|place| bodies.remove(&place));
            self.bodies.set(bodies);
            let Some(record) = first else { break };
            dropped.push(self.discard(&record));
        }
        dropped
    }

    /// Drops a body that has no place any more.
    fn discard(&self, record: &Record) -> Dropped {
        record.state.set(State::Dropped);
        record.place.set(None);
        record.bytes.take();
        self.give_back(record);
        Dropped { stream: record.stream, has_response: record.has_response.get() }
    }

    fn give_back(&self, record: &Record) {
        self.left.set(self.left.get().saturating_add(record.length.replace(0)));
    }

    /// Puts a body behind all others.
    fn place_last(&self, record: &Rc<Record>) {
        let place = self.last_place.get().wrapping_add(1);
        self.last_place.set(place);
        let mut bodies = self.bodies.take();
        if let Some(before) = record.place.replace(Some(place)) {
            bodies.remove(&before);
        }
        bodies.insert(place, Rc::clone(record));
        self.bodies.set(bodies);
        record.progressed.set(self.now.get());
        record.progressed_to.set(record.length.get());
    }
}

impl Body {
    /// Appends a piece; `None`, and nothing happens, where the body would be larger than `max`. Others are dropped where
    /// there is no room.
    pub fn append(&self, piece: Vec<u8>, max: usize) -> Option<Vec<Dropped>> {
        let record = &self.record;
        let length = record.length.get().checked_add(piece.len()).filter(|length| *length <= max)?;
        let dropped = self.buffers.make_room(piece.len(), record);
        self.buffers.left.set(self.buffers.left.get().saturating_sub(piece.len()));
        let mut bytes = record.bytes.take();
        if bytes.is_empty() {
            bytes = piece;
        } else {
            bytes.extend_from_slice(&piece);
        }
        record.bytes.set(bytes);
        record.length.set(length);
        if record.place.get().is_none() {
            record.started.set(self.buffers.now.get());
            self.buffers.place_last(record);
        } else if length.saturating_sub(record.progressed_to.get()) >= PROGRESS {
            self.buffers.place_last(record);
        }
        Some(dropped)
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.record.state.get()
    }

    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.record.length.get() == 0
    }

    /// All that has arrived.
    pub fn into_bytes(self) -> Vec<u8> {
        self.record.bytes.take()
    }

    /// From now on the client can no longer be answered.
    pub fn note_response(&self) {
        self.record.has_response.set(true);
    }

    /// Whether the response has begun.
    pub fn has_response(&self) -> bool {
        self.record.has_response.get()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(place) = self.record.place.take() {
            let mut bodies = self.buffers.bodies.take();
            bodies.remove(&place);
            self.buffers.bodies.set(bodies);
        }
        self.buffers.give_back(&self.record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn buffers(bytes: usize) -> Rc<Buffers> {
        Buffers::new(bytes, SECOND.saturating_mul(30), Duration::ZERO)
    }

    /// A body of so many bytes; none may have to give way to it.
    fn body(buffers: &Rc<Buffers>, length: usize) -> Body {
        let body = buffers.body(StreamId::default());
        assert_eq!(append(&body, length), Some(0));
        body
    }

    /// How many others were dropped.
    fn append(body: &Body, length: usize) -> Option<usize> {
        body.append(vec![b'x'; length], 1 << 20).map(|dropped| dropped.len())
    }

    fn states<const N: usize>(bodies: [&Body; N]) -> [State; N] {
        bodies.map(Body::state)
    }

    use State::{Collecting, Dropped as Gone, Overdue};

    #[test]
    fn a_body_is_bounded_on_its_own() {
        let buffers = buffers(10);
        let body = buffers.body(StreamId::default());
        assert_eq!(body.append(b"1234".to_vec(), 6), Some(Vec::new()));
        assert_eq!(body.append(b"567".to_vec(), 6), None);
        assert_eq!(body.append(b"56".to_vec(), 6), Some(Vec::new()));
        assert_eq!(body.into_bytes(), b"123456");
        assert_eq!(buffers.left.get(), 10);
    }

    #[test]
    fn the_body_that_has_waited_longest_gives_way() {
        let buffers = buffers(4 * PROGRESS);
        let (first, second, third) = (body(&buffers, PROGRESS), body(&buffers, 1), body(&buffers, PROGRESS));
        assert_eq!(append(&second, 2 * PROGRESS - 1), Some(0));
        assert_eq!(append(&second, PROGRESS), Some(1));
        assert_eq!(states([&first, &second, &third]), [Gone, Collecting, Collecting]);
        let fourth = buffers.body(StreamId::default());
        assert_eq!(append(&fourth, 1), Some(1));
        assert_eq!(states([&second, &third, &fourth]), [Collecting, Gone, Collecting]);
    }

    #[test]
    fn bytes_that_trickle_in_are_no_progress() {
        let buffers = buffers(2 * PROGRESS);
        let slow = body(&buffers, 1);
        let other = body(&buffers, PROGRESS);
        for _ in 0..PROGRESS - 2 {
            assert_eq!(append(&slow, 1), Some(0));
        }
        assert_eq!(append(&other, 2), Some(1));
        assert_eq!(states([&slow, &other]), [Gone, Collecting]);
    }

    #[test]
    fn a_body_never_gives_way_to_itself() {
        let buffers = buffers(10);
        let (own, other) = (body(&buffers, 4), body(&buffers, 4));
        assert_eq!(append(&own, 6), Some(1));
        assert_eq!(states([&own, &other]), [Collecting, Gone]);
        assert_eq!(own.into_bytes().len(), 10);
    }

    #[test]
    fn what_is_dropped_or_over_makes_room() {
        let buffers = buffers(10);
        let dropped = body(&buffers, 10);
        let next = buffers.body(StreamId::default());
        assert_eq!(append(&next, 10), Some(1));
        assert!(dropped.is_empty());
        drop(dropped);
        assert_eq!(buffers.left.get(), 0);
        drop(next);
        assert_eq!(buffers.left.get(), 10);
        assert!(buffers.bodies.take().is_empty());
    }

    #[test]
    fn a_body_that_takes_too_long_is_dropped_where_bodies_do_not_pass() {
        let buffers = buffers(4 * PROGRESS);
        let first = body(&buffers, 1);
        assert!(buffers.tick(SECOND, false).is_empty());
        let second = body(&buffers, 1);
        assert_eq!(append(&first, PROGRESS), Some(0));
        assert_eq!(buffers.tick(SECOND * 30, false).len(), 1);
        assert_eq!(states([&first, &second]), [Gone, Collecting]);
        assert_eq!(buffers.tick(SECOND * 31, false).len(), 1);
        assert_eq!(buffers.left.get(), 4 * PROGRESS);
    }

    #[test]
    fn a_body_that_still_arrives_is_overdue_where_bodies_pass() {
        let buffers = buffers(4 * PROGRESS);
        let (arriving, stalled) = (body(&buffers, 1), body(&buffers, 1));
        assert!(buffers.tick(SECOND, true).is_empty());
        assert_eq!(append(&arriving, PROGRESS), Some(0));
        assert_eq!(buffers.tick(SECOND * 30, true).len(), 1);
        assert_eq!(states([&arriving, &stalled]), [Overdue, Gone]);
        assert_eq!(buffers.tick(SECOND * 31, true).len(), 1);
        assert_eq!(states([&arriving, &stalled]), [Gone, Gone]);
    }

    #[test]
    fn a_clock_that_was_set_back_ends_nothing() {
        let buffers = Buffers::new(10, SECOND, SECOND * 100);
        let kept = body(&buffers, 1);
        assert!(buffers.tick(SECOND * 50, false).is_empty());
        assert_eq!(kept.state(), Collecting);
    }
}
