//! Who asks, who waits, and who is told: requests, the cache and the service brought together.

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
use crate::metrics::{Metrics, Reason};
use crate::pending::{ClientHeaders, Pending, Queue, Waits};

/// How often it is looked whether another worker has the answer.
const POLL: Duration = Duration::from_millis(5);
/// As soon as the host can: what is asked in the name of others is asked in a tick.
const SOON: Duration = Duration::from_millis(1);
/// A dry run holds nobody back, so nothing else bounds how much it asks at a time.
const MAX_WATCHED: usize = 4096;

const ALONE: Waits = Waits::ForATick { alone: true };

/// All that requests share.
#[derive(Debug)]
pub struct Authorizer {
    /// The service.
    pub service: Service,
    /// What of its answers goes where.
    pub answers: ResponseHeaders,
    /// The plugin's own metrics.
    pub metrics: Metrics,
    failure_status: u16,
    cache: Option<Cache>,
    breaker: RefCell<Breaker>,
    queue: RefCell<Queue>,
    period: Cell<Duration>,
}

/// The outcome of a check.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The service decided.
    Answered(CheckResponse),
    /// It did not.
    Failed(Reason),
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
        Ok(Self {
            service: Service::compile(&config.service, cache, raw)?,
            answers: ResponseHeaders::compile(&config.on_allow, &config.on_deny)?,
            metrics: Metrics::new(plugin),
            failure_status,
            cache: cache.map(|cache| Cache::compile(plugin, cache)).transpose().at("cache")?,
            breaker: RefCell::new(Breaker::compile(&config.service.breaker).at("breaker").at("service")?),
            queue: RefCell::default(),
            period: Cell::new(Duration::ZERO),
        })
    }

    /// Asks for a request whose callback this is; `None` where it must wait.
    pub fn ask(&self, mut held: Pending, now: Duration) -> Option<Verdict> {
        let verdict = self.turn(&mut held, now);
        if verdict.is_none() {
            self.wait(held);
        }
        verdict
    }

    /// Asks in the name of a request that goes on meanwhile.
    pub fn watch(&self, held: Pending, now: Duration) {
        if let (Some(cache), Some(key)) = (&self.cache, &held.question.key)
            && let Found::Known(answer) = cache.peek(key, now)
        {
            self.metrics.hits.increment();
            self.settle(&held, &Verdict::Answered(answer));
        } else if self.queue.borrow().iter().len() >= MAX_WATCHED {
            self.settle(&held, &Verdict::Failed(Reason::Busy));
        } else {
            self.queue.borrow_mut().push(held);
            self.tick_every(SOON);
        }
    }

    /// The answer to a call.
    pub fn on_answer(&self, token: Token, num_headers: usize, body_size: usize, now: Duration) {
        let Some(held) = self.queue.borrow_mut().take_call(token) else { return };
        let Waits::ForAnswer { since, leads, .. } = held.waits else { return };
        self.metrics.call_milliseconds.record(millis(now.saturating_sub(since)));
        let (verdict, headers) = self.read(num_headers, body_size);
        match &verdict {
            Verdict::Answered(_) => self.breaker.borrow_mut().succeeded(),
            Verdict::Failed(reason) => self.service_failed(*reason, now),
        }
        let is_shared = self.tell(&held.question, &verdict, &headers, leads, now);
        self.settle(&held, &verdict);
        let Some(key) = held.question.key.filter(|_| leads) else { return };
        let alike = self.queue.borrow_mut().take_alike(&key);
        for mut other in alike {
            if is_shared {
                self.settle(&other, &verdict);
            } else {
                other.waits = ALONE;
                self.queue.borrow_mut().push(other);
                self.tick_every(SOON);
            }
        }
    }

    /// Looks after those that wait. This is the root's callback, so what is asked here is answered to the root.
    pub fn on_tick(&self, now: Duration) {
        let mut asked = None;
        let waiting = self.queue.borrow_mut().take_waiting();
        for mut held in waiting {
            let verdict = if now >= held.deadline {
                Some(Verdict::Failed(Reason::Timeout))
            } else if asked.is_some() && asked == held.question.key {
                None
            } else {
                self.turn(&mut held, now)
            };
            if let Some(verdict) = verdict {
                self.settle(&held, &verdict);
                continue;
            }
            // No need to look again for those like it.
            if let Waits::ForATick { alone: false } | Waits::ForAnswer { leads: true, .. } = held.waits {
                asked = held.question.key;
            }
            self.queue.borrow_mut().push(held);
        }
        let waits = self.queue.borrow().iter().any(Pending::is_waiting);
        self.set_tick(if waits { POLL } else { Duration::ZERO });
    }

    /// A request is over. Who waits for its answer must not wait any longer: nobody gets it.
    pub fn leave(&self, stream: stream::StreamId, now: Duration) {
        let left = self.queue.borrow_mut().take_stream(stream);
        if let Some(Pending { waits: Waits::ForAnswer { leads: true, .. }, question, .. }) = left {
            self.release(&question, now);
        }
    }

    /// Does what the verdict says to the request that the hostcalls are about; `true` where it goes on.
    pub fn act(&self, verdict: &Verdict, told: &ClientHeaders, failure: Failure, is_grpc: bool) -> bool {
        self.metrics.verdict(verdict);
        match verdict {
            Verdict::Answered(CheckResponse::Allow { upstream, client }) => {
                for (name, value) in upstream {
                    let _ = REQUEST.add(name, value);
                }
                told.borrow_mut().extend(client.iter().cloned());
                true
            }
            Verdict::Answered(CheckResponse::Deny { status, headers, body }) => {
                debug!("denied status={status}");
                check_response::denial(*status, headers, body, is_grpc).send();
                false
            }
            Verdict::Failed(reason) => {
                let reason = reason.as_str();
                debug!("no answer reason={reason}");
                if failure == Failure::Deny {
                    check_response::failure(self.failure_status, reason, is_grpc).send();
                }
                failure == Failure::Allow
            }
        }
    }

    /// A request's turn: it has its verdict, or it calls, or finds somebody else calling.
    fn turn(&self, held: &mut Pending, now: Duration) -> Option<Verdict> {
        let mut leads = false;
        if let (Some(cache), Some(key)) = (&self.cache, &held.question.key)
            && held.waits != ALONE
        {
            match cache.claim(key, now, held.deadline) {
                Found::Known(answer) => {
                    self.metrics.hits.increment();
                    return Some(Verdict::Answered(answer));
                }
                Found::Asked => return None,
                Found::Alone => {}
                Found::Free => leads = true,
            }
        }
        match self.call(held, now) {
            Ok(call) => {
                self.metrics.misses.increment();
                held.waits = Waits::ForAnswer { call, since: now, leads };
                None
            }
            Err(reason) => {
                if leads {
                    self.release(&held.question, now);
                }
                Some(Verdict::Failed(reason))
            }
        }
    }

    fn call(&self, held: &Pending, now: Duration) -> Result<Token, Reason> {
        let left = held.deadline.saturating_sub(now);
        if left.is_zero() {
            return Err(Reason::Timeout);
        }
        if !self.breaker.borrow_mut().admits(now) {
            return Err(Reason::Breaker);
        }
        self.service.ask(&held.question, left).map_err(|refused| {
            debug!("the service cannot be asked: error={refused:?}");
            self.service_failed(Reason::Refused, now);
            Reason::Refused
        })
    }

    fn wait(&self, held: Pending) {
        if let Waits::ForATick { .. } = held.waits {
            self.tick_every(POLL);
        }
        self.queue.borrow_mut().push(held);
    }

    fn read(&self, num_headers: usize, body_size: usize) -> (Verdict, Pairs) {
        if num_headers == 0 {
            return (Verdict::Failed(Reason::Reset), Pairs::default());
        }
        let headers = CALL_RESPONSE.pairs();
        let status = headers.iter().find(|(name, _)| *name == b":status");
        let status =
            status.and_then(|(_, status)| std::str::from_utf8(status).ok()?.parse().ok()).unwrap_or(0);
        let answer = self.answers.read(status, &headers, body_size, || body::CALL_RESPONSE.read(body_size));
        let verdict = match answer {
            Some(answer) => Verdict::Answered(answer),
            None if status == 504 => Verdict::Failed(Reason::Timeout),
            None => Verdict::Failed(Reason::Status),
        };
        (verdict, headers)
    }

    /// Files an answer; `false` where everybody must ask for himself. A failure is shared by those that wait for it.
    fn tell(
        &self,
        question: &CheckRequest,
        verdict: &Verdict,
        headers: &Pairs,
        leads: bool,
        now: Duration,
    ) -> bool {
        let (Some(cache), Some(key)) = (&self.cache, &question.key) else { return false };
        match verdict {
            Verdict::Answered(answer) => cache.put(key, answer, cache.keep.time(answer, headers), now),
            Verdict::Failed(_) => {
                if leads {
                    cache.release(key, now);
                }
                true
            }
        }
    }

    fn release(&self, question: &CheckRequest, now: Duration) {
        if let (Some(cache), Some(key)) = (&self.cache, &question.key) {
            cache.release(key, now);
        }
    }

    /// Tells a request that waits, from whatever callback.
    fn settle(&self, held: &Pending, verdict: &Verdict) {
        let Some(stream) = held.stream else { return self.report(held, verdict) };
        if stream.enter().is_ok() && self.act(verdict, &held.told, held.failure, held.is_grpc) {
            stream::resume_request();
        }
    }

    fn report(&self, held: &Pending, verdict: &Verdict) {
        self.metrics.verdict(verdict);
        match verdict {
            Verdict::Answered(CheckResponse::Allow { .. }) => {}
            Verdict::Answered(CheckResponse::Deny { status, .. }) => info!("dryRun denied status={status}"),
            Verdict::Failed(reason) => {
                let failure = if held.failure == Failure::Allow { "allow" } else { "deny" };
                info!("dryRun no answer reason={} failure={failure}", reason.as_str());
            }
        }
    }

    fn service_failed(&self, reason: Reason, now: Duration) {
        if self.breaker.borrow_mut().failed(now) {
            warn!(
                "the service failed too often in a row, the last time by {}: it is left alone",
                reason.as_str()
            );
        }
    }

    /// A tick at least that often.
    fn tick_every(&self, period: Duration) {
        let current = self.period.get();
        if current.is_zero() || period < current {
            self.set_tick(period);
        }
    }

    fn set_tick(&self, period: Duration) {
        if self.period.replace(period) != period {
            let _ = hostcalls::set_tick_period(period);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
