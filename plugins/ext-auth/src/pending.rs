//! The requests of this worker that wait: for the response to their own call, or for a call that another request made.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use plugin_kit::callout::Token;
use plugin_kit::stream::StreamId;

use crate::check_request::CheckRequest;
use crate::config::Failure;
use crate::key::Key;
use crate::names::Lines;

/// The header lines that the response of a request will get.
pub type ClientHeaders = Rc<RefCell<Lines>>;

/// A pending request.
#[derive(Debug)]
pub struct Pending {
    /// The paused request; `None` for a dry run, where the request has gone on.
    pub stream: Option<StreamId>,
    /// The call that decides it.
    pub check: CheckRequest,
    /// What happens if its call fails.
    pub failure: Failure,
    /// Whether its client speaks gRPC.
    pub is_grpc: bool,
    /// Filled when the request is allowed.
    pub client_headers: ClientHeaders,
}

/// The call of a pending request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it began, on the monotonic clock; `None` if the clock failed.
    pub since: Option<Duration>,
    /// Whether other requests wait for it.
    pub leads: bool,
}

/// Identifies a pending request. Requests that came earlier have lower tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Debug)]
enum State {
    /// Waits for a call of another request for the same key.
    Waiting {
        key: Key,
        /// When it stops waiting, on the monotonic clock.
        until: Duration,
    },
    /// Calls the service in the next tick.
    Due { leads: bool },
    /// Waits for the response to its own call.
    Calling { token: Token, call: Call },
}

/// The pending requests, found by ticket, by call and by key. No operation visits requests that it does not return.
#[derive(Debug, Default)]
pub struct Queue {
    next: Ticket,
    requests: BTreeMap<Ticket, (Pending, State)>,
    calls: BTreeMap<Token, Ticket>,
    due: BTreeSet<Ticket>,
    /// Every waiting request. All wait equally long, so the first one is the first to stop.
    waiting: BTreeSet<Ticket>,
    groups: BTreeMap<Key, BTreeSet<Ticket>>,
    /// The keys for which a request of this worker calls, or is about to.
    led: BTreeSet<Key>,
    /// The keys for which requests wait and no request of this worker calls.
    led_elsewhere: BTreeSet<Key>,
    /// The key that [`Queue::next_keys`] returned last.
    cursor: Key,
}

impl Queue {
    /// A ticket for a request that is not in the queue yet.
    pub fn ticket(&mut self) -> Ticket {
        self.next.0 = self.next.0.saturating_add(1);
        self.next
    }

    /// The request waits for the call of another one, at most until `until`.
    pub fn wait(&mut self, ticket: Ticket, request: Pending, key: Key, until: Duration) {
        self.waiting.insert(ticket);
        self.groups.entry(key).or_default().insert(ticket);
        self.requests.insert(ticket, (request, State::Waiting { key, until }));
        self.place(&key);
    }

    /// The request calls the service in the next tick.
    pub fn postpone(&mut self, ticket: Ticket, request: Pending, leads: bool) {
        self.lead(&request, leads);
        self.due.insert(ticket);
        self.requests.insert(ticket, (request, State::Due { leads }));
    }

    /// The request has called the service.
    pub fn call(&mut self, ticket: Ticket, request: Pending, token: Token, call: Call) {
        self.lead(&request, call.leads);
        self.calls.insert(token, ticket);
        self.requests.insert(ticket, (request, State::Calling { token, call }));
    }

    fn lead(&mut self, request: &Pending, leads: bool) {
        if let Some(key) = request.check.key.filter(|_| leads) {
            self.led.insert(key);
            self.place(&key);
        }
    }

    fn place(&mut self, key: &Key) {
        if self.groups.contains_key(key) && !self.led.contains(key) {
            self.led_elsewhere.insert(*key);
        } else {
            self.led_elsewhere.remove(key);
        }
    }

    /// Takes out the request that made this call.
    pub fn take_call(&mut self, token: Token) -> Option<(Pending, Call)> {
        let ticket = *self.calls.get(&token)?;
        match self.take(ticket)? {
            (request, State::Calling { call, .. }) => Some((request, call)),
            _ => None,
        }
    }

    /// Takes out a request that has ended; `true` with it if others wait for its call.
    pub fn leave(&mut self, ticket: Ticket) -> Option<(Pending, bool)> {
        let (request, state) = self.take(ticket)?;
        let leads = match state {
            State::Waiting { .. } => false,
            State::Due { leads } | State::Calling { call: Call { leads, .. }, .. } => leads,
        };
        Some((request, leads))
    }

    /// Takes out the requests that call the service now, and whether others wait for each of them.
    pub fn take_due(&mut self) -> Vec<(Ticket, Pending, bool)> {
        let due = std::mem::take(&mut self.due);
        let take = |ticket| match self.take(ticket)? {
            (request, State::Due { leads }) => Some((ticket, request, leads)),
            _ => None,
        };
        due.into_iter().filter_map(take).collect()
    }

    /// Takes out the requests that have waited for others long enough: all of them if the clock failed.
    pub fn take_expired(&mut self, now: Option<Duration>) -> Vec<(Ticket, Pending)> {
        let mut expired = Vec::new();
        while let Some(&ticket) = self.waiting.first() {
            let until = self.waits_until(ticket);
            if now.is_some_and(|now| until.is_some_and(|until| now < until)) {
                break;
            }
            self.waiting.remove(&ticket);
            expired.extend(self.take(ticket).map(|(request, _)| (ticket, request)));
        }
        expired
    }

    /// Takes out the request that has waited for this key the longest.
    pub fn take_first(&mut self, key: &Key) -> Option<(Ticket, Pending)> {
        let ticket = *self.groups.get(key)?.first()?;
        let (request, _) = self.take(ticket)?;
        Some((ticket, request))
    }

    /// Takes out every request that waits for this key.
    pub fn take_group(&mut self, key: &Key) -> Vec<(Ticket, Pending)> {
        let group = self.groups.get(key).cloned().unwrap_or_default();
        let take = |ticket| self.take(ticket).map(|(request, _)| (ticket, request));
        group.into_iter().filter_map(take).collect()
    }

    /// At most `most` of the keys that requests wait for and that no request of this worker calls for; the next ones at
    /// the next time.
    pub fn next_keys(&mut self, most: usize) -> Vec<Key> {
        let after = (Bound::Excluded(self.cursor), Bound::Unbounded);
        let until = (Bound::Unbounded, Bound::Included(self.cursor));
        let keys = self.led_elsewhere.range(after).chain(self.led_elsewhere.range(until));
        let keys: Vec<Key> = keys.take(most).copied().collect();
        if let Some(last) = keys.last() {
            self.cursor = *last;
        }
        keys
    }

    /// Whether requests wait for keys for which other workers call.
    #[must_use]
    pub fn waits_for_others(&self) -> bool {
        !self.led_elsewhere.is_empty()
    }

    /// Whether some request waits for this key.
    #[must_use]
    pub fn waits_for(&self, key: &Key) -> bool {
        self.groups.contains_key(key)
    }

    /// Whether a request of this worker calls for this key, and others wait for it.
    #[must_use]
    pub fn is_led(&self, key: &Key) -> bool {
        self.led.contains(key)
    }

    /// How many requests wait for the call of another one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many requests are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// When the first request stops waiting.
    #[must_use]
    pub fn first_expiry(&self) -> Option<Duration> {
        self.waiting.first().and_then(|ticket| self.waits_until(*ticket))
    }

    fn waits_until(&self, ticket: Ticket) -> Option<Duration> {
        match self.requests.get(&ticket) {
            Some((_, State::Waiting { until, .. })) => Some(*until),
            _ => None,
        }
    }

    fn take(&mut self, ticket: Ticket) -> Option<(Pending, State)> {
        let (request, state) = self.requests.remove(&ticket)?;
        let leads = match &state {
            State::Waiting { key, .. } => {
                self.waiting.remove(&ticket);
                if let Some(group) = self.groups.get_mut(key) {
                    group.remove(&ticket);
                    if group.is_empty() {
                        self.groups.remove(key);
                        self.led_elsewhere.remove(key);
                    }
                }
                false
            }
            State::Due { leads } => {
                self.due.remove(&ticket);
                *leads
            }
            State::Calling { token, call } => {
                self.calls.remove(token);
                call.leads
            }
        };
        if let Some(key) = request.check.key.filter(|_| leads) {
            self.led.remove(&key);
            self.place(&key);
        }
        Some((request, state))
    }
}
