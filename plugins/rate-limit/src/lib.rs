//! rate-limit: limits requests, exactly over all workers of a proxy, or through a rate limit service.

mod callout_rls;
mod charge;
pub mod config;
mod deny_cache;
mod engine;
mod gcra;
mod hash;
mod headers;
mod limits;
mod order;
mod rate;
mod reply;
mod rls;
mod store;
mod table;
mod window;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use log::{debug, info};
use plugin_kit::callout::Token;
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode};
use plugin_kit::headers::{HeaderName, REQUEST, RESPONSE};
use plugin_kit::metrics::{self, Counter};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::{Plugin, clock, property, stream};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::callout_rls::Service;
use crate::charge::{Charge, Cost};
use crate::config::{Config, FailureMode, RateLimitHeaders};
use crate::deny_cache::DenyCache;
use crate::engine::{Check, Verdict};
use crate::gcra::Denied;
use crate::headers::Shown;
use crate::limits::{Applied, Limit, Limits};
use crate::rate::{Left, Now};
use crate::reply::Replies;
use crate::rls::{Answer, Pair, Status};
use crate::store::Store;

const NAME: &str = "rate-limit";
const MAX_KEYS: u32 = 65_536;
const MAX_STORE_BYTES: usize = 200;
/// How long a worker believes its own memory of a denial before it asks the table again: what a refund, a new
/// configuration or a step of the wall clock changes is noticed after that.
const RECHECK: u64 = SECOND;
const SECOND: u64 = 1_000_000_000;

/// The plugin: its compiled configuration, shared by all requests.
pub struct RateLimit(Rc<Compiled>);

struct Compiled {
    mode: Mode,
    client_ip: ClientIp,
    limits: Limits,
    store: Store,
    service: Option<Service>,
    replies: Replies,
    headers: RateLimitHeaders,
    known_denials: RefCell<DenyCache>,
    metrics: Metrics,
}

impl Plugin for RateLimit {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        let client_ip = config.client_ip.check().at("clientIp")?;
        let store = open(&config)?;
        let service = config.rls.as_ref().map(Service::compile).transpose().at("rls")?;
        let replies = Replies::compile(&config.response, config.rls.as_ref())?;
        let limits = Limits::compile(&config)?;
        if limits.read_client_ip() {
            client_ip.warn_if_forgeable();
        }
        let headers = match config.max_requests {
            Some(_) => RateLimitHeaders::XRateLimit,
            None => RateLimitHeaders::Ietf,
        };
        Ok(Self(Rc::new(Compiled {
            mode: config.mode,
            client_ip,
            metrics: Metrics::new(limits.iter()),
            limits,
            store,
            service,
            replies,
            headers: config.response.rate_limit_headers.unwrap_or(headers),
            known_denials: RefCell::default(),
        })))
    }

    fn filter(&self) -> Filter {
        Filter {
            plugin: Rc::clone(&self.0),
            checks: Vec::new(),
            waiting: Vec::new(),
            began: None,
            told: Vec::new(),
            response_headers: Vec::new(),
            charges_late: false,
            is_over: false,
        }
    }
}

fn open(config: &Config) -> Result<Store, ConfigError> {
    let max_keys = config.max_keys.unwrap_or(MAX_KEYS);
    if !(1..=1 << 24).contains(&max_keys) {
        return Err(ConfigError::new(format!("must be from 1 to 16777216, not {max_keys}"))).at("maxKeys");
    }
    if config.store.len() > MAX_STORE_BYTES {
        return Err(ConfigError::new(format!("must have at most {MAX_STORE_BYTES} bytes"))).at("store");
    }
    if !config.store.is_empty() {
        return Ok(Store::open(NAME, &config.store, max_keys));
    }
    // `<namespace>.<name>` of the WasmPlugin.
    let instance = property::get_str(&["plugin_name"]).filter(|name| !name.is_empty());
    Ok(Store::open(NAME, instance.as_deref().unwrap_or(NAME), max_keys))
}

/// One request.
pub struct Filter {
    plugin: Rc<Compiled>,
    /// The limits that were asked here; after a denial, those that denied.
    checks: Vec<Check>,
    /// The calls to the service that have no answer yet.
    waiting: Vec<Waiting>,
    /// When the request came; `None`: not yet, or the clock failed.
    began: Option<Now>,
    /// What the service said of its limits.
    told: Vec<(usize, Status)>,
    /// What the service wants the client to see.
    response_headers: Vec<Pair>,
    charges_late: bool,
    /// The request is answered from here.
    is_over: bool,
}

/// A limit of the service.
struct Asked {
    limit: usize,
    descriptor: Vec<u8>,
    /// What its denial is remembered by.
    key: u64,
    cost: u64,
    /// Whether the request waits for the answer.
    holds: bool,
}

/// A call to the service.
struct Waiting {
    token: Token,
    asked: Vec<Asked>,
}

/// A limit that stops the request.
struct Stop {
    limit: usize,
    denied: Denied,
}

const FOR_GOOD: Denied = Denied { retry_after: None };

impl Context for Filter {
    fn on_grpc_call_response(&mut self, token: Token, status: u32, size: usize) {
        let Some(index) = self.waiting.iter().position(|call| call.token == token) else { return };
        let call = self.waiting.swap_remove(index);
        let holds = call.asked.iter().any(|asked| asked.holds);
        match callout_rls::answer(status, size) {
            Some(answer) => self.take_answer(call.asked, answer),
            None => self.miss_answer(holds),
        }
        let is_held = self.waiting.iter().flat_map(|call| &call.asked).any(|asked| asked.holds);
        if holds && !is_held && !self.is_over {
            self.pass();
            stream::resume_request();
        }
    }
}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        if plugin.mode == Mode::Off {
            return Action::Continue;
        }
        let request = Request::current(plugin.client_ip);
        let (mut asked, mut stops) = (Vec::new(), Vec::new());
        for (index, applied) in plugin.limits.applying(&request, plugin.store.secret()) {
            self.sort_out(&request, index, applied, &mut asked, &mut stops);
        }
        if self.checks.is_empty() && asked.is_empty() && stops.is_empty() {
            return Action::Continue;
        }
        let now = plugin.now();
        self.began = now;
        if stops.is_empty() {
            stops = self.known_denials(&asked, now);
        }
        if stops.is_empty() && !self.checks.is_empty() {
            match plugin.charge(&mut self.checks, now) {
                Some(denied) => stops = denied,
                // The counters could not be read or written, so the request is denied.
                None if self.checks.iter().any(|check| check.enforce) && plugin.mode == Mode::Enforce => {
                    self.checks.clear();
                    return self.answer(&plugin.replies.failed("rate_limit_contended", request.is_grpc()));
                }
                None => self.checks.clear(),
            }
        }
        if !stops.is_empty() {
            return self.deny(&stops, None);
        }
        self.ask(asked)
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        if self.charges_late {
            let status = RESPONSE.get_str(":status").and_then(|status| status.parse().ok());
            self.charge_late(status);
        }
        self.show();
        Action::Continue
    }
}

/// A client that went away got no response; what is charged for any is charged for none, too.
///
/// Here rather than in `on_log`, as each callback that a module exports costs every request a call into the VM.
impl Drop for Filter {
    fn drop(&mut self) {
        if self.charges_late {
            self.charge_late(None);
        }
    }
}

impl Filter {
    /// What one limit that applies asks for.
    fn sort_out(
        &mut self,
        request: &Request,
        index: usize,
        applied: Applied,
        asked: &mut Vec<Asked>,
        stops: &mut Vec<Stop>,
    ) {
        let Some(limit) = self.plugin.limits.get(index) else { return };
        let cost = || limit.cost.of(&|name| request.header(name).map(|value| value.to_vec()), 1);
        match applied {
            Applied::Missing if limit.enforce => stops.push(Stop { limit: index, denied: FOR_GOOD }),
            Applied::Missing => self.plugin.metrics.shadow_denied(index),
            Applied::Local { rate, shard, key } => {
                let charges = limit.charges_request();
                self.checks.push(Check {
                    limit: index,
                    rate,
                    shard: self.plugin.store.shard_of(shard),
                    key,
                    // What is charged later only asks whether anything is left.
                    cost: if charges { cost() } else { 1 },
                    charges,
                    enforce: limit.enforce,
                    verdict: Verdict::Open,
                });
            }
            Applied::Global { descriptor, key } => asked.push(Asked {
                limit: index,
                descriptor,
                key,
                cost: cost(),
                holds: limit.enforce && self.plugin.mode == Mode::Enforce,
            }),
        }
    }

    /// The limits that this worker knows to be used up.
    fn known_denials(&mut self, asked: &[Asked], now: Option<Now>) -> Vec<Stop> {
        let Some(now) = now else { return Vec::new() };
        let known = self.plugin.known_denials.borrow();
        let mut stops = Vec::new();
        for check in self.checks.iter_mut().filter(|check| check.enforce) {
            if let Some(denied) = known.get(check.key, now.monotonic) {
                check.verdict = Verdict::Denied(denied, Left::default());
                stops.push(Stop { limit: check.limit, denied });
            }
        }
        let asked = asked.iter().filter(|asked| asked.holds);
        stops.extend(asked.filter_map(|asked| {
            Some(Stop { limit: asked.limit, denied: known.get(asked.key, now.monotonic)? })
        }));
        stops
    }

    /// Asks the service, once for all limits that cost the same; those that deny nothing are not waited for.
    fn ask(&mut self, mut asked: Vec<Asked>) -> Action {
        let plugin = Rc::clone(&self.plugin);
        order::by_key(&mut asked, |asked| (!asked.holds, asked.cost));
        let mut holds = false;
        while let Some(first) = asked.first() {
            let like = (first.holds, first.cost);
            let alike = asked.iter().take_while(|asked| (asked.holds, asked.cost) == like).count();
            let rest = asked.split_off(alike);
            let call = std::mem::replace(&mut asked, rest);
            let descriptors = call.iter().map(|asked| asked.descriptor.as_slice());
            match plugin.service.as_ref().and_then(|service| service.ask(descriptors, like.1)) {
                Some(token) => {
                    holds |= like.0;
                    self.waiting.push(Waiting { token, asked: call });
                }
                None => self.miss_answer(like.0),
            }
            if self.is_over {
                return Action::Pause;
            }
        }
        if holds {
            return Action::Pause;
        }
        self.pass();
        Action::Continue
    }

    fn take_answer(&mut self, asked: Vec<Asked>, answer: Answer) {
        let plugin = Rc::clone(&self.plugin);
        let now = plugin.now();
        // Some services say nothing of each descriptor; then the answer is about all of them.
        let statuses = if answer.statuses.len() == asked.len() { answer.statuses.as_slice() } else { &[] };
        let names_one = statuses.iter().any(|status| status.over);
        let fallback = wait_of(&answer.response_headers);
        let mut stops = Vec::new();
        for (index, asked) in asked.iter().enumerate() {
            let status = statuses.get(index);
            let over = answer.over && (!names_one || status.is_some_and(|status| status.over));
            let reset = status.and_then(|status| status.reset).or(if over { fallback } else { None });
            // No window is longer: such a reset is a date.
            let told = reset.filter(|reset| *reset <= nanos(limits::MAX_PERIOD));
            if let Some(status) = status.filter(|status| asked.holds && status.policy.is_some()) {
                self.told.push((asked.limit, Status { reset: told, ..*status }));
            }
            if !over {
                plugin.metrics.allowed(asked.limit);
            } else if asked.holds {
                let denied = Denied { retry_after: told };
                if let (Some(now), Some(reset)) = (now, reset)
                    && plugin.limits.get(asked.limit).is_some_and(Limit::has_fixed_cost)
                {
                    let most = plugin.service.as_ref().map_or(0, |service| nanos(service.max_remember));
                    plugin.known_denials.borrow_mut().insert(
                        asked.key,
                        denied,
                        now.monotonic,
                        reset.min(most),
                    );
                }
                stops.push(Stop { limit: asked.limit, denied });
            } else {
                plugin.metrics.shadow_denied(asked.limit);
            }
        }
        if self.is_over || !asked.iter().any(|asked| asked.holds) {
            return;
        }
        self.response_headers.extend(answer.response_headers);
        if !stops.is_empty() {
            let body = (!answer.body.is_empty()).then_some(answer.body);
            self.deny(&stops, body);
            return;
        }
        for (name, value) in &answer.request_headers {
            if let Some(name) = writable(name) {
                let _ = REQUEST.add(name.as_str(), value);
            }
        }
    }

    /// The service did not answer.
    fn miss_answer(&mut self, holds: bool) {
        let plugin = Rc::clone(&self.plugin);
        plugin.metrics.rls_errors.increment();
        let denies = plugin.service.as_ref().is_some_and(|service| service.failure == FailureMode::Deny);
        if holds && denies && !self.is_over {
            self.refund();
            self.checks.clear();
            self.answer(&plugin.replies.failed("rate_limit_service", is_grpc()));
        }
    }

    /// The request goes on.
    fn pass(&mut self) {
        for check in &self.checks {
            match check.verdict {
                Verdict::Denied(..) => self.plugin.metrics.shadow_denied(check.limit),
                _ => self.plugin.metrics.allowed(check.limit),
            }
        }
        self.charges_late = self.checks.iter().any(|check| !check.charges);
    }

    /// The request is denied, and charged to no limit.
    fn deny(&mut self, stops: &[Stop], body: Option<Vec<u8>>) -> Action {
        let plugin = Rc::clone(&self.plugin);
        let names: Vec<&str> = stops.iter().map(|stop| plugin.limits.name(stop.limit)).collect();
        if self.checks.iter().any(Check::writes) && !self.checks.iter().any(Check::stops) {
            self.refund();
        }
        if plugin.mode == Mode::DryRun {
            stops.iter().for_each(|stop| plugin.metrics.shadow_denied(stop.limit));
            info!("dryRun denied limits={}", names.join(","));
            self.checks.clear();
            return Action::Continue;
        }
        stops.iter().for_each(|stop| plugin.metrics.denied(stop.limit));
        debug!("denied limits={}", names.join(","));
        let stopped = |limit: usize| stops.iter().any(|stop| stop.limit == limit);
        self.checks.retain(|check| stopped(check.limit));
        self.told.retain(|(limit, _)| stopped(*limit));
        // Denied for good by one limit, there is no time after which to try again.
        let waits = stops.iter().map(|stop| stop.denied.retry_after);
        let wait = waits.collect::<Option<Vec<u64>>>().and_then(|waits| waits.into_iter().max());
        self.answer(&plugin.replies.denied(&names, wait, body, is_grpc()))
    }

    fn answer(&mut self, reply: &Reply) -> Action {
        self.is_over = true;
        reply.send();
        Action::Pause
    }

    /// The time: when the request came, should the clock have failed since then.
    fn now(&self) -> Option<Now> {
        self.plugin.now().or(self.began)
    }

    /// Takes back what was charged here.
    fn refund(&self) {
        if let Some(now) = self.now() {
            self.plugin.store.refund(&self.checks, now);
        }
    }

    /// Charges what waited for the response.
    fn charge_late(&mut self, status: Option<u16>) {
        self.charges_late = false;
        let plugin = Rc::clone(&self.plugin);
        let mut due = Vec::new();
        for check in self.checks.iter().filter(|check| !check.charges) {
            let Some(limit) = plugin.limits.get(check.limit) else { continue };
            if limit.local().is_some_and(|local| local.charge.meant(status)) {
                let cost = limit.cost.of(&|name| RESPONSE.get(name), 0);
                due.push(Check { cost, ..*check });
            }
        }
        due.retain(|check| check.cost > 0);
        if due.is_empty() {
            return;
        }
        match self.now().map(|now| plugin.store.add(&mut due, now)) {
            Some(Ok(evicted)) => plugin.metrics.evicted.add(evicted),
            _ => plugin.metrics.contended.increment(),
        }
        for check in &mut self.checks {
            if let Some(charged) = due.iter().find(|charged| charged.limit == check.limit) {
                check.verdict = charged.verdict;
            }
        }
    }

    /// Tells the client what is left.
    fn show(&mut self) {
        for (name, value) in std::mem::take(&mut self.response_headers) {
            if let Some(name) = writable(&name) {
                let _ = RESPONSE.add(name.as_str(), &value);
            }
        }
        let plugin = &self.plugin;
        if plugin.headers == RateLimitHeaders::None || plugin.mode != Mode::Enforce {
            return;
        }
        let mut shown = Vec::new();
        for (limit, status) in &self.told {
            shown.push((*limit, plugin.shown_status(*limit, status)));
        }
        for check in self.checks.iter().filter(|check| check.enforce) {
            if let Some(one) = plugin.shown(check) {
                shown.push((check.limit, one));
            }
        }
        order::by_key(&mut shown, |(limit, _)| *limit);
        let shown: Vec<Shown<'_>> = shown.into_iter().map(|(_, shown)| shown).collect();
        if plugin.headers == RateLimitHeaders::Ietf {
            // Lists: what the upstream says of its own limits stays.
            for (name, value) in
                [("ratelimit-policy", headers::policies(&shown)), ("ratelimit", headers::limits(&shown))]
            {
                if let Some(value) = value {
                    let _ = RESPONSE.add(name, value.as_bytes());
                }
            }
        } else if !shown.is_empty() && RESPONSE.get("x-ratelimit-limit").is_none() {
            for (name, value) in headers::x_rate_limit(&shown) {
                let _ = RESPONSE.set(name, value.as_bytes());
            }
        }
    }
}

impl Compiled {
    /// `None` where a clock fails.
    fn now(&self) -> Option<Now> {
        Some(Now {
            monotonic: nanos(clock::monotonic()?),
            wall: if self.limits.needs_wall_clock { nanos(clock::wall()?) } else { 0 },
        })
    }

    /// Charges all, or says which limits stop the request; `None` where that could not be found out.
    fn charge(&self, checks: &mut [Check], now: Option<Now>) -> Option<Vec<Stop>> {
        let (Some(now), Some(Ok(evicted))) = (now, now.map(|now| self.store.charge(checks, now))) else {
            self.metrics.contended.increment();
            return None;
        };
        self.metrics.evicted.add(evicted);
        let mut stops = Vec::new();
        for check in checks.iter().filter(|check| check.stops()) {
            let Verdict::Denied(denied, _) = check.verdict else { continue };
            // A denial of a request that costs more is none of one that costs less.
            if self.limits.get(check.limit).is_some_and(|limit| !check.charges || limit.has_fixed_cost()) {
                self.known_denials.borrow_mut().insert(check.key, denied, now.monotonic, RECHECK);
            }
            stops.push(Stop { limit: check.limit, denied });
        }
        order::by_key(&mut stops, |stop| stop.limit);
        Some(stops)
    }

    fn shown_status(&self, limit: usize, status: &Status) -> Shown<'_> {
        Shown {
            name: self.limits.name(limit),
            policy: status.policy,
            remaining: if status.over { 0 } else { status.remaining },
            reset: status.reset.map(headers::seconds),
        }
    }

    fn shown(&self, check: &Check) -> Option<Shown<'_>> {
        let (left, reset) = match check.verdict {
            Verdict::Open => return None,
            Verdict::Allowed(_, left) => (left, Some(left.reset)),
            Verdict::Denied(denied, left) => (left, denied.retry_after),
        };
        Some(Shown {
            name: self.limits.name(check.limit),
            policy: Some(headers::policy(check.rate.requests(), check.rate.per())),
            remaining: left.remaining,
            reset: reset.map(headers::seconds),
        })
    }
}

impl Limit {
    fn charges_request(&self) -> bool {
        self.local().is_none_or(|local| local.charge == Charge::Request)
    }

    fn has_fixed_cost(&self) -> bool {
        matches!(self.cost, Cost::Fixed(_))
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(SECOND).saturating_add(time.subsec_nanos().into())
}

/// A header that the service may write.
fn writable(name: &[u8]) -> Option<HeaderName> {
    HeaderName::writable(std::str::from_utf8(name).ok()?).ok()
}

/// When the service says that it is over, in nanoseconds, where it says so in headers only.
fn wait_of(headers: &[Pair]) -> Option<u64> {
    let value = |wanted: &[u8]| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    };
    let value = value(b"retry-after").or_else(|| value(b"x-ratelimit-reset"))?;
    let seconds: u64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(SECOND))
}

fn is_grpc() -> bool {
    Request::current(ClientIp::default()).is_grpc()
}

/// The plugin's own metrics.
struct Metrics {
    limits: Vec<LimitMetrics>,
    rls_errors: Counter,
    evicted: Counter,
    contended: Counter,
}

struct LimitMetrics {
    allowed: Counter,
    denied: Counter,
    shadow_denied: Counter,
}

impl Metrics {
    fn new<'a>(limits: impl Iterator<Item = &'a Limit>) -> Self {
        let limit = |limit: &Limit| {
            let counter = |rest: &str| Counter::new(metrics::component(NAME, &limit.name, rest));
            LimitMetrics {
                allowed: counter("allowed_total"),
                denied: counter("denied_total"),
                shadow_denied: counter("shadow_denied_total"),
            }
        };
        let counter = |rest: &str| Counter::new(metrics::name(NAME, rest));
        Self {
            limits: limits.map(limit).collect(),
            rls_errors: counter("rls_errors_total"),
            evicted: counter("evicted_total"),
            contended: counter("contended_total"),
        }
    }

    fn allowed(&self, limit: usize) {
        if let Some(limit) = self.limits.get(limit) {
            limit.allowed.increment();
        }
    }

    fn denied(&self, limit: usize) {
        if let Some(limit) = self.limits.get(limit) {
            limit.denied.increment();
        }
    }

    fn shadow_denied(&self, limit: usize) {
        if let Some(limit) = self.limits.get(limit) {
            limit.shadow_denied.increment();
        }
    }
}

plugin_kit::plugin!(
    RateLimit: on_http_request_headers, on_http_response_headers, on_grpc_call_response
);

#[cfg(test)]
use plugin_testkit as _;
