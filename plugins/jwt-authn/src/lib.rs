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
mod reject;
mod rules;
mod secret;
mod verify;

use std::rc::Rc;
use std::time::Duration;

use log::{debug, info};
use plugin_kit::claims::PAYLOAD;
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode};
use plugin_kit::headers::{HeaderName, REQUEST};
use plugin_kit::metrics::{self, Counter};
use plugin_kit::request::Request;
use plugin_kit::{Plugin, clock, hostcalls, property};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::authn::{Authn, Now, Outcome};
use crate::challenge::{Denial, Errors};
use crate::config::Config;
use crate::extract::{Source, without_cookies, without_params};
use crate::reject::REASONS;

const NAME: &str = "jwt-authn";

/// How often key sets are looked after, and how often while one is missing.
const TICK: Duration = Duration::from_secs(1);
const TICK_WITHOUT_KEYS: Duration = Duration::from_millis(50);

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
    metrics: Metrics,
}

impl Plugin for JwtAuthn {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        let authn = Authn::compile(NAME, &config)?;
        debug!("verified in the host: {:?}", authn.crypto().offloaded());
        Ok(Self(Rc::new(Compiled {
            mode: config.mode,
            client_ip: config.client_ip.check().at("clientIp")?,
            errors: Errors::compile(&config.errors).at("errors")?,
            identity_first: authn.reads_identity(),
            identity_headers: authn.identity_headers(),
            metrics: Metrics::new(),
            authn,
        })))
    }

    fn filter(&self) -> Filter {
        Filter(Rc::clone(&self.0))
    }

    fn tick_period(&self) -> Option<Duration> {
        // Not in `new`: that also runs in a VM which ends at once, and with it what it was fetching.
        (self.0.mode != Mode::Off && self.0.authn.remotes().next().is_some()).then_some(callout::SOON)
    }

    fn on_tick(&mut self) {
        let now = monotonic();
        let mut period = TICK;
        for remote in self.0.authn.remotes() {
            remote.on_tick(now);
            if !remote.is_ready() {
                period = TICK_WITHOUT_KEYS;
            }
        }
        let _ = hostcalls::set_tick_period(period);
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize) {
        let now = monotonic();
        let _ = self.0.authn.remotes().any(|remote| remote.on_answer(token, headers, body, now));
    }
}

/// One request.
pub struct Filter(Rc<Compiled>);

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let plugin = &self.0;
        let enforces = match plugin.mode {
            Mode::Enforce => true,
            Mode::DryRun => false,
            Mode::Off => return Action::Continue,
        };
        if enforces && plugin.identity_first {
            plugin.identify(&[]);
        }
        let request = Request::current(plugin.client_ip);
        // Method and token are always looked at: all headers cost less than two of them.
        request.all_headers();
        let now = || Now {
            wall: clock::wall(),
            monotonic: if plugin.authn.fetches_keys() { monotonic() } else { Duration::ZERO },
        };
        let decision = plugin.authn.decide(&request, now);
        plugin.metrics.count(&decision.outcome, decision.cache_hit);
        let verified = match &decision.outcome {
            Outcome::Verified(verified) => Some(verified),
            _ => None,
        };
        if enforces {
            take_off(&request, &decision.taken);
            plugin.identify(verified.map(|verified| verified.headers.as_slice()).unwrap_or_default());
        }
        if let Outcome::Denied(denial) = &decision.outcome {
            return plugin.deny(denial, &request, enforces);
        }
        if enforces && let Some(verified) = verified {
            let _ = property::set_filter_state(PAYLOAD, &verified.token.payload);
        }
        Action::Continue
    }
}

impl Compiled {
    /// Whatever comes of the request: nobody but us says who is asking.
    fn identify(&self, outputs: &[(HeaderName, Vec<u8>)]) {
        for name in &self.identity_headers {
            let output = outputs.iter().find(|(output, _)| output == name);
            // What takes the place of a client's own line need not be looked for.
            let written = output.is_some_and(|(_, value)| REQUEST.set(name.as_str(), value).is_ok());
            if !written && REQUEST.get(name.as_str()).is_some() {
                let _ = REQUEST.remove(name.as_str());
            }
        }
    }

    fn deny(&self, denial: &Denial, request: &Request, enforces: bool) -> Action {
        let (reason, provider) = (denial.reject.as_str(), denial.provider.as_deref().unwrap_or("-"));
        if !enforces {
            info!("dryRun denied reason={reason} provider={provider} path={}", request.path().escape_ascii());
            return Action::Continue;
        }
        debug!("denied reason={reason} provider={provider}");
        self.errors.reply(denial, request.is_grpc()).send();
        Action::Pause
    }
}

/// Takes tokens off the request.
fn take_off(request: &Request, taken: &[&Source]) {
    let params: Vec<&str> = taken.iter().filter_map(|source| source.param()).collect();
    if !params.is_empty()
        && let Some(target) = without_params(request.target(), &params)
    {
        let _ = REQUEST.set(":path", &target);
    }
    let cookies: Vec<&str> = taken.iter().filter_map(|source| source.cookie()).collect();
    if !cookies.is_empty() {
        let lines: Vec<Vec<u8>> =
            request.header_lines("cookie").map(|line| without_cookies(line, &cookies)).collect();
        let _ = REQUEST.remove("cookie");
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let _ = REQUEST.add("cookie", line);
        }
    }
    for source in taken {
        if let Source::Header(name, _) = source {
            let _ = REQUEST.remove(name.as_str());
        }
    }
}

/// A failed clock finds every token and every key set expired.
fn monotonic() -> Duration {
    clock::monotonic().unwrap_or(clock::END_OF_TIME)
}

/// The plugin's own metrics.
struct Metrics {
    allowed: Counter,
    denied: Vec<(&'static str, Counter)>,
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
            hits: counter("cache.hit.lookups_total"),
            misses: counter("cache.miss.lookups_total"),
        }
    }

    fn count(&self, outcome: &Outcome, cache_hit: Option<bool>) {
        match cache_hit {
            Some(true) => self.hits.increment(),
            Some(false) => self.misses.increment(),
            None => {}
        }
        let Outcome::Denied(denial) = outcome else { return self.allowed.increment() };
        if let Some((_, counter)) = self.denied.iter().find(|(reason, _)| *reason == denial.reject.as_str()) {
            counter.increment();
        }
    }
}

plugin_kit::plugin!(JwtAuthn: on_http_request_headers, on_tick, on_http_call_response);

#[cfg(test)]
use plugin_testkit as _;
