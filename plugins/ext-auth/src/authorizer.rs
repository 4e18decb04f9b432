//! Decides requests by responses of the service: from the cache, to their own calls, or to the calls of others.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use log::{debug, info, warn};
use plugin_kit::callout::Token;
use plugin_kit::config::{At, ConfigError};
use plugin_kit::headers::{CALL_RESPONSE, REQUEST};
use plugin_kit::hostcalls;
use plugin_kit::pairs::Pairs;
use plugin_kit::{body, stream};

use crate::breaker::Breaker;
use crate::cache::{Cache, Found};
use crate::check_request::{CheckRequest, Service};
use crate::check_response::{self, CheckResponse, ResponseHeaders};
use crate::config::{Config, Failure};
use crate::key::Key;
use crate::metrics::{Metrics, Reason};
use crate::names;
use crate::pending::{Call, Pending, Queue, Ticket};

/// How often the table is read for responses to the calls of other workers.
const POLL: Duration = Duration::from_millis(5);
/// The shortest tick: calls on behalf of other requests are made from a tick.
const SOON: Duration = Duration::from_millis(1);
/// How many keys are looked up in a tick.
const MAX_POLLED: usize = 128;
/// How many requests wait for the calls of others. Each keeps its check request, so they are bounded.
const MAX_WAITING: usize = 4096;
/// How many calls a dry run makes at a time. It pauses no request, so nothing else bounds them.
const MAX_DRY_RUN: usize = 4096;

/// What all requests of a worker share.
#[derive(Debug)]
pub struct Authorizer {
    /// The service, and the calls to it.
    pub service: Service,
    /// The headers of its responses that go on.
    pub headers: ResponseHeaders,
    /// The plugin's own metrics.
    pub metrics: Metrics,
    failure_status: u16,
    cache: Option<Cache>,
    breaker: RefCell<Breaker>,
    queue: RefCell<Queue>,
    tick: Cell<Duration>,
}

/// The outcome of a check.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The service decided.
    Decided(CheckResponse),
    /// It did not.
    Failed(Reason),
}

/// What becomes of a request in its callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Passes,
    /// It was answered.
    Denied,
    /// It must pause until the authorizer resumes or answers it; see [`Authorizer::leave`].
    Pends(Ticket),
}

/// How a request gets its verdict.
enum Turn {
    /// The response is cached.
    Cached(CheckResponse),
    /// Another request calls for the same key.
    Waits(Key),
    /// By its own call; `leads` if others may wait for it.
    Calls { leads: bool },
}

/// Who gets a verdict.
enum Audience {
    /// Every request that waits for the key.
    All(Key),
    /// Only the request that called, and this is known now: the others make their own calls.
    Private(Key),
    /// Only the request that called.
    One,
}

impl Authorizer {
    /// Compiles what requests share; `raw` is the text of the configuration.
    ///
    /// # Errors
    /// Points at what is wrong.
    pub fn compile(plugin: &str, config: &Config, raw: &[u8]) -> Result<Self, ConfigError> {
        let failure_status = config.failure_status.unwrap_or(503);
        if !(400..=599).contains(&failure_status) {
            let message = format!("must be from 400 to 599, not {failure_status}");
            return Err(ConfigError::new(message)).at("failureStatus");
        }
        let cache = config.cache.as_ref();
        let service = Service::compile(&config.service, cache, raw)?;
        let compile_cache = |cache| Cache::compile(plugin, cache, service.timeout);
        Ok(Self {
            headers: ResponseHeaders::compile(&config.on_allow, &config.on_deny)?,
            metrics: Metrics::new(plugin, config.mode),
            failure_status,
            cache: cache.map(compile_cache).transpose().at("cache")?,
            breaker: RefCell::new(Breaker::compile(&config.service.breaker).at("breaker").at("service")?),
            queue: RefCell::default(),
            tick: Cell::new(Duration::ZERO),
            service,
        })
    }

    /// Checks a request, in its callback.
    pub fn check(&self, request: Pending, now: Option<Duration>) -> Progress {
        let leads = match self.turn(&request, now) {
            Turn::Cached(response) => return self.apply(&Verdict::Decided(response), &request),
            Turn::Waits(key) => return Progress::Pends(self.wait(request, key, now)),
            Turn::Calls { leads } => leads,
        };
        match self.call(&request, now) {
            Ok(token) => {
                let mut queue = self.queue.borrow_mut();
                let ticket = queue.ticket();
                queue.call(ticket, request, token, Call { since: now, leads });
                Progress::Pends(ticket)
            }
            Err(reason) => {
                if leads {
                    self.release(&request.check, now);
                }
                self.apply(&Verdict::Failed(reason), &request)
            }
        }
    }

    /// Checks a request that goes on meanwhile.
    pub fn dry_run(&self, request: Pending, now: Option<Duration>) {
        if self.queue.borrow().len() >= MAX_DRY_RUN {
            return self.settle(&request, &Verdict::Failed(Reason::Busy));
        }
        match self.turn(&request, now) {
            Turn::Cached(response) => self.settle(&request, &Verdict::Decided(response)),
            Turn::Waits(key) => _ = self.wait(request, key, now),
            // The request may be over before the response comes, so it is the root that must call.
            Turn::Calls { leads } => {
                let mut queue = self.queue.borrow_mut();
                let ticket = queue.ticket();
                queue.postpone(ticket, request, leads);
                self.tick_within(SOON);
            }
        }
    }

    /// The response to a call.
    pub fn on_response(&self, token: Token, num_headers: usize, body_size: usize, now: Option<Duration>) {
        let Some((request, call)) = self.queue.borrow_mut().take_call(token) else { return };
        if let (Some(now), Some(since)) = (now, call.since) {
            self.metrics.call_milliseconds.record(millis(now.saturating_sub(since)));
        }
        let (verdict, headers) = self.read(num_headers, body_size);
        if request.failure == Failure::Deny {
            self.note(&verdict, now);
        }
        let audience = self.publish(&request.check, &verdict, &headers, call.leads, now);
        self.settle(&request, &verdict);
        match audience {
            Audience::All(key) => {
                let group = self.queue.borrow_mut().take_group(&key);
                group.iter().for_each(|(_, other)| self.settle(other, &verdict));
            }
            Audience::Private(key) => self.postpone_group(&key),
            Audience::One => self.hand_over(&request.check),
        }
    }

    /// Looks after the requests that wait. This is the root's callback, so the calls that it makes are answered to the
    /// root.
    pub fn on_tick(&self, now: Option<Duration>) {
        let due = self.queue.borrow_mut().take_due();
        for (ticket, request, leads) in due {
            let key = request.check.key.filter(|_| leads);
            if !self.start(ticket, request, leads, now)
                && let Some(key) = key
            {
                self.lead(&key, now);
            }
        }
        let expired = self.queue.borrow_mut().take_expired(now);
        for (ticket, request) in expired {
            self.start(ticket, request, false, now);
        }
        let keys = self.queue.borrow_mut().next_keys(MAX_POLLED);
        for key in keys {
            self.poll(&key, now);
        }
        self.set_tick(self.next_tick(now));
    }

    /// A pending request has ended.
    pub fn leave(&self, ticket: Ticket, now: Option<Duration>) {
        let left = self.queue.borrow_mut().leave(ticket);
        if let Some((request, true)) = left {
            self.release(&request.check, now);
            self.hand_over(&request.check);
        }
    }

    /// Applies the verdict to the request that the hostcalls are about.
    fn apply(&self, verdict: &Verdict, request: &Pending) -> Progress {
        self.metrics.verdict(verdict);
        match verdict {
            Verdict::Decided(CheckResponse::Allow { upstream, client }) => {
                for (name, value) in upstream {
                    let _ = REQUEST.add(name, value);
                }
                request.client_headers.borrow_mut().extend(client.iter().cloned());
                Progress::Passes
            }
            Verdict::Decided(CheckResponse::Deny { status, headers, body }) => {
                debug!("denied status={status}");
                check_response::denial(*status, headers, body, request.is_grpc).send();
                Progress::Denied
            }
            Verdict::Failed(reason) => {
                let reason = reason.as_str();
                debug!("no decision reason={reason}");
                match request.failure {
                    Failure::Deny => {
                        check_response::failure(self.failure_status, reason, request.is_grpc).send();
                        Progress::Denied
                    }
                    Failure::Allow => {
                        let _ = REQUEST.add(names::PASSED_WITHOUT_DECISION, b"true");
                        Progress::Passes
                    }
                }
            }
        }
    }

    fn turn(&self, request: &Pending, now: Option<Duration>) -> Turn {
        // Without a clock nothing cached is known to be fresh, and no wait has an end.
        let (Some(cache), Some(key), Some(now)) = (&self.cache, request.check.key, now) else {
            return Turn::Calls { leads: false };
        };
        match cache.claim(&key, now) {
            Found::Cached(response) => {
                self.metrics.hits.increment();
                Turn::Cached(response)
            }
            Found::InFlight if self.queue.borrow().waiting() < MAX_WAITING => Turn::Waits(key),
            Found::InFlight => {
                self.metrics.uncoalesced.increment();
                Turn::Calls { leads: false }
            }
            Found::Private => Turn::Calls { leads: false },
            Found::Missing => Turn::Calls { leads: true },
        }
    }

    fn wait(&self, request: Pending, key: Key, now: Option<Duration>) -> Ticket {
        let mut queue = self.queue.borrow_mut();
        let ticket = queue.ticket();
        queue.wait(ticket, request, key, now.unwrap_or_default().saturating_add(self.service.timeout));
        self.tick_within(if queue.is_led(&key) { self.service.timeout } else { POLL });
        ticket
    }

    /// Calls the service for a request, always with the full timeout. The breaker is for requests that are denied
    /// without a decision: one that passes then must never do so because the calls of others failed.
    fn call(&self, request: &Pending, now: Option<Duration>) -> Result<Token, Reason> {
        if request.failure == Failure::Deny && !self.breaker.borrow_mut().admits(now) {
            return Err(Reason::Breaker);
        }
        let called = self.service.call(&request.check).map_err(|refused| {
            debug!("the service cannot be called: error={refused:?}");
            Reason::Refused
        })?;
        self.metrics.misses.increment();
        Ok(called)
    }

    /// Calls for a request whose turn it is, in a tick; `false` if it is decided without a call.
    fn start(&self, ticket: Ticket, request: Pending, leads: bool, now: Option<Duration>) -> bool {
        match self.call(&request, now) {
            Ok(token) => {
                self.queue.borrow_mut().call(ticket, request, token, Call { since: now, leads });
                true
            }
            Err(reason) => {
                self.settle(&request, &Verdict::Failed(reason));
                false
            }
        }
    }

    /// Lets a request that waits for this key, which is claimed, call for all of them.
    fn lead(&self, key: &Key, now: Option<Duration>) {
        loop {
            let first = self.queue.borrow_mut().take_first(key);
            let Some((ticket, request)) = first else { break };
            if self.start(ticket, request, true, now) {
                return;
            }
        }
        if let (Some(cache), Some(now)) = (&self.cache, now) {
            cache.release(key, now);
        }
    }

    /// Looks up a key for which another worker calls, or called.
    fn poll(&self, key: &Key, now: Option<Duration>) {
        let (Some(cache), Some(now)) = (&self.cache, now) else { return };
        match cache.claim(key, now) {
            Found::Cached(response) => {
                let group = self.queue.borrow_mut().take_group(key);
                let verdict = Verdict::Decided(response);
                for (_, request) in group {
                    self.metrics.hits.increment();
                    self.settle(&request, &verdict);
                }
            }
            Found::InFlight => {}
            Found::Private => {
                let group = self.queue.borrow_mut().take_group(key);
                for (ticket, request) in group {
                    self.start(ticket, request, false, Some(now));
                }
            }
            Found::Missing => self.lead(key, Some(now)),
        }
    }

    fn postpone_group(&self, key: &Key) {
        let mut queue = self.queue.borrow_mut();
        let group = queue.take_group(key);
        if !group.is_empty() {
            self.tick_within(SOON);
        }
        for (ticket, request) in group {
            queue.postpone(ticket, request, false);
        }
    }

    /// Where requests wait for a call that is over, the next tick lets one of them call.
    fn hand_over(&self, check: &CheckRequest) {
        if check.key.is_some_and(|key| self.queue.borrow().waits_for(&key)) {
            self.tick_within(SOON);
        }
    }

    fn read(&self, num_headers: usize, body_size: usize) -> (Verdict, Pairs) {
        if num_headers == 0 {
            return (Verdict::Failed(Reason::Reset), Pairs::default());
        }
        let headers = CALL_RESPONSE.pairs();
        let response = self.headers.read(&headers, body_size, || body::CALL_RESPONSE.read(body_size));
        (response.map_or_else(Verdict::Failed, Verdict::Decided), headers)
    }

    /// Stores what other requests may use of a verdict. A failure is for nobody else: each makes its own call.
    fn publish(
        &self,
        check: &CheckRequest,
        verdict: &Verdict,
        headers: &Pairs,
        leads: bool,
        now: Option<Duration>,
    ) -> Audience {
        match (&self.cache, check.key, verdict, now) {
            (Some(cache), Some(key), Verdict::Decided(response), Some(now)) => {
                match cache.put(&key, response, cache.ttl.time(response, headers), now) {
                    true => Audience::All(key),
                    false => Audience::Private(key),
                }
            }
            _ => {
                if leads {
                    self.release(check, now);
                }
                Audience::One
            }
        }
    }

    fn release(&self, check: &CheckRequest, now: Option<Duration>) {
        if let (Some(cache), Some(key), Some(now)) = (&self.cache, &check.key, now) {
            cache.release(key, now);
        }
    }

    /// Applies the verdict to a pending request, from any callback.
    fn settle(&self, request: &Pending, verdict: &Verdict) {
        let Some(stream) = request.stream else { return self.report(request, verdict) };
        if stream.enter().is_ok() && self.apply(verdict, request) == Progress::Passes {
            stream::resume_request();
        }
    }

    fn report(&self, request: &Pending, verdict: &Verdict) {
        self.metrics.verdict(verdict);
        match verdict {
            Verdict::Decided(CheckResponse::Allow { .. }) => {}
            Verdict::Decided(CheckResponse::Deny { status, .. }) => info!("dryRun denied status={status}"),
            Verdict::Failed(reason) => {
                let failure = if request.failure == Failure::Allow { "allow" } else { "deny" };
                info!("dryRun no decision reason={} failure={failure}", reason.as_str());
            }
        }
    }

    /// Tells the breaker how a call ended. Any response of the service closes it, whatever the status.
    fn note(&self, verdict: &Verdict, now: Option<Duration>) {
        let mut breaker = self.breaker.borrow_mut();
        match verdict {
            Verdict::Failed(reason) if reason.is_outage() => {
                if breaker.failed(now) {
                    let (failures, reason) = (breaker.failures(), reason.as_str());
                    warn!(
                        "breaker open: {failures} calls in a row failed, the last one with reason={reason}"
                    );
                }
            }
            Verdict::Decided(_) | Verdict::Failed(Reason::Status) => breaker.succeeded(),
            Verdict::Failed(_) => {}
        }
    }

    fn next_tick(&self, now: Option<Duration>) -> Duration {
        let queue = self.queue.borrow();
        if queue.waits_for_others() {
            return POLL;
        }
        let until_expiry = |until: Duration| until.saturating_sub(now.unwrap_or_default()).max(POLL);
        queue.first_expiry().map_or(Duration::ZERO, until_expiry)
    }

    /// Sees to it that the next tick comes within this time.
    fn tick_within(&self, period: Duration) {
        let current = self.tick.get();
        if current.is_zero() || period < current {
            self.set_tick(period);
        }
    }

    fn set_tick(&self, period: Duration) {
        if self.tick.replace(period) != period {
            let _ = hostcalls::set_tick_period(period);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
