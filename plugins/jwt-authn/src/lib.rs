//! jwt-authn: verifies JSON Web Tokens, and tells the upstream who is asking.

mod authn;
mod cache;
mod callout;
mod challenge;
mod claims;
mod compact;
pub mod config;
mod crypto;
mod extract;
#[doc(hidden)]
pub mod hostile;
mod jwks;
mod jwks_fetch;
mod keys;
mod outputs;
mod pem;
mod pending;
mod reject;
mod rules;
mod secret;
mod verify;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use log::{debug, info};
use plugin_kit::claims::PAYLOAD;
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode};
use plugin_kit::headers::{HeaderName, REQUEST, REQUEST_TRAILERS};
use plugin_kit::hostcalls::HostResult;
use plugin_kit::metrics::{self, Counter};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::stream::{self, StreamId};
use plugin_kit::{Plugin, clock, hostcalls, property};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::authn::{Authn, Decision, Now, Outcome, Round, Step};
use crate::challenge::{Denial, Errors};
use crate::config::Config;
use crate::extract::{Source, without_cookies, without_params};
use crate::pending::{Pending, Queue};
use crate::reject::REASONS;

const NAME: &str = "jwt-authn";

/// How often key sets are looked after: usually, while one is missing, and while requests wait for one.
const TICK: Duration = Duration::from_secs(1);
const TICK_WITHOUT_KEYS: Duration = Duration::from_millis(50);
const TICK_WITH_PENDING: Duration = callout::SOON;

/// The plugin: its compiled configuration, shared by all requests.
pub struct JwtAuthn(Rc<Compiled>);

struct Compiled {
    mode: Mode,
    client_ip: ClientIp,
    authn: Authn,
    errors: Errors,
    identity_headers: Vec<HeaderName>,
    /// Whether a client's own must have gone before the request is looked at.
    identity_first: bool,
    pending: RefCell<Queue>,
    metrics: Metrics,
}

impl Plugin for JwtAuthn {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        let authn = Authn::compile(NAME, &config)?;
        let client_ip = config.client_ip.check().at("clientIp")?;
        debug!("verified in the host: {:?}", authn.crypto().offloaded());
        if config.mode != Mode::Off {
            authn.warn_of_mistakes(&client_ip);
        }
        Ok(Self(Rc::new(Compiled {
            mode: config.mode,
            client_ip,
            errors: Errors::compile(&config.errors).at("errors")?,
            identity_first: authn.reads_identity(),
            identity_headers: authn.identity_headers(),
            pending: RefCell::default(),
            metrics: Metrics::new(),
            authn,
        })))
    }

    fn filter(&self) -> Filter {
        self.filter_of(StreamId::default())
    }

    fn filter_of(&self, stream: StreamId) -> Filter {
        Filter { plugin: Rc::clone(&self.0), stream, is_grpc: false, waits: false }
    }

    fn tick_period(&self) -> Option<Duration> {
        // Not in `new`: that also runs in a VM which ends at once, and with it what it was fetching.
        (self.0.mode != Mode::Off && self.0.authn.fetches_keys()).then_some(callout::SOON)
    }

    fn on_tick(&mut self) {
        let Some(now) = clock::monotonic() else { return self.0.wake(clock::END_OF_TIME) };
        for remote in self.0.authn.remotes() {
            remote.on_tick(now);
        }
        // After all calls, as it enters the streams of requests.
        self.0.wake(now);
        let period = if !self.0.pending.borrow().is_empty() {
            TICK_WITH_PENDING
        } else if self.0.authn.remotes().any(|remote| !remote.is_ready()) {
            TICK_WITHOUT_KEYS
        } else {
            TICK
        };
        let _ = hostcalls::set_tick_period(period);
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize) {
        let Some(now) = clock::monotonic() else { return self.0.wake(clock::END_OF_TIME) };
        if self.0.authn.remotes().any(|remote| remote.on_answer(token, headers, body, now)) {
            self.0.wake(now);
        }
    }
}

/// One request.
pub struct Filter {
    plugin: Rc<Compiled>,
    stream: StreamId,
    is_grpc: bool,
    /// It was paused.
    waits: bool,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        if plugin.mode == Mode::Off {
            return Action::Continue;
        }
        let request = match plugin.read_request() {
            Ok(request) => request,
            Err(_) => return plugin.reject_unsanitized(Request::current(plugin.client_ip).is_grpc()),
        };
        self.is_grpc = request.is_grpc();
        let mut step = plugin.decide(&request, Round::First);
        if let Step::Pending(providers) = step {
            if self.wait(providers) {
                return Action::Pause;
            }
            step = plugin.decide(&request, Round::Last);
        }
        plugin.act(&request, &step.decided())
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        let plugin = &self.plugin;
        if plugin.mode == Mode::Off {
            return Action::Continue;
        }
        let trailers = REQUEST_TRAILERS.pairs();
        let is_there = |name: &&str| trailers.iter().any(|(line, _)| line == name.as_bytes());
        let names = plugin.identity_headers.iter().map(HeaderName::as_str);
        match REQUEST_TRAILERS.remove_each(names.filter(is_there)) {
            Err(_) if plugin.enforces() => plugin.reject_unsanitized(self.is_grpc),
            _ => Action::Continue,
        }
    }
}

impl Filter {
    /// Waits for the key sets of these providers; `false` where it cannot.
    fn wait(&mut self, providers: Vec<usize>) -> bool {
        let plugin = &self.plugin;
        let Some(now) = clock::monotonic().filter(|_| plugin.enforces()) else { return false };
        let deadline = now.saturating_add(plugin.authn.patience(&providers));
        let mut queue = plugin.pending.borrow_mut();
        if queue.is_empty() {
            // The answer may come to another worker.
            let _ = hostcalls::set_tick_period(TICK_WITH_PENDING);
        }
        self.waits = queue.push(Pending { stream: self.stream, providers, deadline });
        self.waits
    }
}

impl Drop for Filter {
    /// The client of a request that waits may leave.
    fn drop(&mut self) {
        if self.waits {
            self.plugin.pending.borrow_mut().remove(self.stream);
        }
    }
}

impl Compiled {
    fn enforces(&self) -> bool {
        self.mode == Mode::Enforce
    }

    /// Reads the request that the hostcalls are about.
    fn read_request(&self) -> HostResult<Request> {
        if self.identity_first {
            let removed = self.identify(&[]);
            if self.enforces() {
                removed?;
            }
        }
        let request = Request::current(self.client_ip);
        // Method and token are always looked at: all headers cost less than two of them.
        request.all_headers();
        Ok(request)
    }

    fn decide(&self, request: &Request, round: Round) -> Step<'_> {
        let fetches_keys = self.authn.fetches_keys();
        self.authn.decide(request, round, || Now {
            wall: clock::wall(),
            monotonic: if fetches_keys { clock::monotonic() } else { None },
        })
    }

    /// Decides about requests that wait no longer, and lets them go on.
    fn wake(&self, now: Duration) {
        if self.pending.borrow().is_empty() {
            return;
        }
        let ready = self.pending.borrow_mut().take_ready(now, &self.authn.fetching(now));
        for stream in ready {
            // It fails where the request has ended.
            if stream.enter().is_err() {
                continue;
            }
            let action = match self.read_request() {
                Ok(request) => self.act(&request, &self.decide(&request, Round::Last).decided()),
                Err(_) => self.reject_unsanitized(Request::current(self.client_ip).is_grpc()),
            };
            if action == Action::Continue {
                stream::resume_request();
            }
        }
    }

    /// Does what the decision says to the request that the hostcalls are about.
    fn act(&self, request: &Request, decision: &Decision<'_>) -> Action {
        let verified = match &decision.outcome {
            Outcome::Verified(verified) => Some(verified),
            _ => None,
        };
        let written = verified.map(|verified| verified.headers.as_slice()).filter(|_| self.enforces());
        let taken = if self.enforces() { decision.taken.as_slice() } else { &[] };
        self.metrics.count(decision);
        let sanitized = take_off(request, taken).and_then(|()| self.identify(written.unwrap_or_default()));
        if let Outcome::Denied(denial) = &decision.outcome {
            return self.deny(denial, request);
        }
        if sanitized.is_err() && self.enforces() {
            return self.reject_unsanitized(request.is_grpc());
        }
        if let Some(verified) = verified
            && self.enforces()
        {
            let _ = property::set_filter_state(PAYLOAD, &verified.token.payload);
        }
        Action::Continue
    }

    /// Makes the identity headers say what the token says, and nothing where it says nothing.
    fn identify(&self, outputs: &[(HeaderName, Vec<u8>)]) -> HostResult<()> {
        for name in &self.identity_headers {
            let output = outputs.iter().find(|(output, _)| output == name);
            // A line that is written takes the place of a client's own.
            let written = output.is_some_and(|(_, value)| REQUEST.set(name.as_str(), value).is_ok());
            if !written && REQUEST.get(name.as_str()).is_some() {
                REQUEST.remove(name.as_str())?;
            }
        }
        Ok(())
    }

    fn reject_unsanitized(&self, is_grpc: bool) -> Action {
        self.metrics.unsanitized.increment();
        Reply::unsanitized(is_grpc).send();
        Action::Pause
    }

    fn deny(&self, denial: &Denial, request: &Request) -> Action {
        let (reason, provider) = (denial.reject.as_str(), denial.provider.as_deref().unwrap_or("-"));
        if !self.enforces() {
            info!("dryRun denied reason={reason} provider={provider} path={}", request.path().escape_ascii());
            return Action::Continue;
        }
        debug!("denied reason={reason} provider={provider}");
        self.errors.reply(denial, request.is_grpc()).send();
        Action::Pause
    }
}

/// Takes tokens off the request.
fn take_off(request: &Request, taken: &[&Source]) -> HostResult<()> {
    let params: Vec<&str> = taken.iter().filter_map(|source| source.param()).collect();
    if !params.is_empty()
        && let Some(target) = without_params(request.target(), &params)
    {
        REQUEST.set(":path", &target)?;
    }
    let cookies: Vec<&str> = taken.iter().filter_map(|source| source.cookie()).collect();
    if !cookies.is_empty() {
        let lines: Vec<Vec<u8>> =
            request.header_lines("cookie").map(|line| without_cookies(line, &cookies)).collect();
        REQUEST.remove("cookie")?;
        for line in lines.iter().filter(|line| !line.is_empty()) {
            REQUEST.add("cookie", line)?;
        }
    }
    REQUEST.remove_each(taken.iter().filter_map(|source| source.header()))
}

/// The plugin's own metrics.
struct Metrics {
    allowed: Counter,
    denied: Vec<(&'static str, Counter)>,
    unsanitized: Counter,
    hits: Counter,
    misses: Counter,
}

impl Metrics {
    fn new() -> Self {
        let counter = |rest: &str| Counter::new(metrics::name(NAME, rest));
        let denied = |reason| Counter::new(metrics::component(NAME, reason, "denied_total"));
        Self {
            allowed: counter("allowed_total"),
            denied: REASONS.into_iter().map(|reason| (reason, denied(reason))).collect(),
            unsanitized: denied("unsanitized"),
            hits: counter("cache.hit.lookups_total"),
            misses: counter("cache.miss.lookups_total"),
        }
    }

    fn count(&self, decision: &Decision<'_>) {
        match decision.cache_hit {
            Some(true) => self.hits.increment(),
            Some(false) => self.misses.increment(),
            None => {}
        }
        let Outcome::Denied(denial) = &decision.outcome else { return self.allowed.increment() };
        if let Some((_, counter)) = self.denied.iter().find(|(reason, _)| *reason == denial.reject.as_str()) {
            counter.increment();
        }
    }
}

plugin_kit::plugin!(
    JwtAuthn: on_http_request_headers, on_http_request_trailers, on_tick, on_http_call_response
);

#[cfg(test)]
use plugin_testkit as _;
