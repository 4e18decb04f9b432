//! path-rewrite: rewrites, redirects and answers requests by rule; edits headers; keeps a trace id.

pub mod config;
#[doc(hidden)]
pub mod hostile;
mod index;
mod query;
mod redirect;
mod reverse;
mod rewrite;
mod rules;
mod safety;
mod trace_id;

use std::mem;
use std::rc::Rc;

use log::{debug, info};
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode};
use plugin_kit::header_ops::FilledEdits;
use plugin_kit::headers::{HeaderName, REQUEST, REQUEST_TRAILERS, RESPONSE};
use plugin_kit::hostcalls::HostResult;
use plugin_kit::metrics::{self, Counter};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::{Plugin, random};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{Config, Generate};
use crate::reverse::{Hosts, Reversal};
use crate::rules::{Decision, Effect, Rules};
use crate::trace_id::{TraceIds, Traced};

const NAME: &str = "path-rewrite";

/// The plugin: its compiled configuration, shared by all requests.
pub struct PathRewrite(Rc<Compiled>);

struct Compiled {
    mode: Mode,
    client_ip: ClientIp,
    rules: Rules,
    metrics: Metrics,
    original_path: Option<HeaderName>,
    trace_ids: Option<TraceIds>,
    echo_config: Option<(HeaderName, Vec<u8>)>,
}

impl Plugin for PathRewrite {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        let header = |name: &str| (!name.is_empty()).then(|| HeaderName::writable(name)).transpose();
        let echo = header(&config.echo_config_header).at("echoConfigHeader")?;
        Ok(Self(Rc::new(Compiled {
            mode: config.mode,
            client_ip: config.client_ip.check().at("clientIp")?,
            rules: Rules::compile(&config)?,
            metrics: Metrics::new(config.rules.iter().map(|rule| rule.name.as_str())),
            original_path: header(&config.original_path_header.0).at("originalPathHeader")?,
            trace_ids: match &config.trace_id {
                Some(trace_id) => Some(TraceIds::compile(trace_id).at("traceId")?),
                None => None,
            },
            echo_config: echo.map(|name| (name, one_line(plugin_kit::config::raw()))),
        })))
    }

    fn filter(&self) -> Filter {
        Filter { plugin: Rc::clone(&self.0), response: Staged::default() }
    }
}

/// A configuration as the value of a header: line ends become spaces.
fn one_line(mut text: Vec<u8>) -> Vec<u8> {
    for byte in &mut text {
        if byte.is_ascii_control() {
            *byte = b' ';
        }
    }
    text
}

/// One request.
pub struct Filter {
    plugin: Rc<Compiled>,
    response: Staged,
}

/// What the response gets, known since the request's headers were there.
#[derive(Default)]
struct Staged {
    edits: FilledEdits,
    reversals: Vec<(Rc<Reversal>, Hosts)>,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        if plugin.mode == Mode::Off {
            return Action::Continue;
        }
        let request = Request::current(plugin.client_ip);
        let mut decision = plugin.rules.decide(&request);
        plugin.metrics.count(&decision);
        if let Some(ambiguity) = decision.ambiguity {
            debug!("ambiguous request: reason={} path={}", ambiguity.as_str(), request.path().escape_ascii());
        }
        if plugin.mode == Mode::DryRun {
            plugin.log(&request, &decision);
            return Action::Continue;
        }
        self.response.edits = mem::take(&mut decision.response_headers);
        self.response.reversals = mem::take(&mut decision.reversals);
        let traced = plugin.trace(&request, &mut self.response.edits);
        if let Some((name, text)) = &plugin.echo_config {
            self.response.edits.set(name.clone(), text.clone());
        }
        if let Some(reply) = decision.reply {
            self.response.reversals.clear();
            reply.send();
            return Action::Pause;
        }
        if traced.and_then(|()| plugin.rewrite(&request, &decision)).is_err() {
            self.response.reversals.clear();
            Reply::unsanitized(request.is_grpc()).send();
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        if self.plugin.mode == Mode::Enforce
            && let Some(name) = &self.plugin.original_path
            && REQUEST_TRAILERS.remove(name.as_str()).is_err()
        {
            Reply::unsanitized(false).send();
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        for (reversal, hosts) in self.response.reversals.iter().rev() {
            reverse(reversal, hosts);
        }
        let _ = self.response.edits.apply(RESPONSE);
        Action::Continue
    }
}

impl Compiled {
    /// Fails where the host keeps a header that the client must not choose.
    fn rewrite(&self, request: &Request, decision: &Decision) -> HostResult<()> {
        if let Some(name) = &self.original_path {
            let name = name.as_str();
            if decision.target.is_some() {
                REQUEST.set(name, request.target()).or_else(|_| REQUEST.remove(name))?;
            } else if request.header(name).is_some() {
                REQUEST.remove(name)?;
            }
        }
        // Before the host changes: operations that copy it copy the client's.
        decision.request_headers.apply(REQUEST)?;
        if let Some(target) = &decision.target {
            REQUEST.set(":path", target)?;
        }
        if let Some(authority) = &decision.authority {
            REQUEST.set(":authority", authority)?;
        }
        Ok(())
    }

    /// Fails where the host keeps an invalid id.
    fn trace(&self, request: &Request, response: &mut FilledEdits) -> HostResult<()> {
        let Some(ids) = &self.trace_ids else { return Ok(()) };
        let name = ids.header.as_str();
        let sent = request.joined_header(name);
        let make = |generate| match generate {
            Generate::Uuid => random::uuid(),
            Generate::Hex32 => random::hex32(),
            Generate::None => None,
        };
        let id = match ids.decide(sent.as_deref(), make) {
            Traced::Kept(id) => id,
            Traced::Made(id) => {
                REQUEST.set(name, &id)?;
                id
            }
            Traced::Removed => return REQUEST.remove(name),
            Traced::Absent => return Ok(()),
        };
        if ids.echo {
            response.set(ids.header.clone(), id);
        }
        Ok(())
    }

    fn log(&self, request: &Request, decision: &Decision) {
        if decision.effects.is_empty() {
            return;
        }
        let rules: Vec<String> = decision
            .effects
            .iter()
            .map(|(rule, effect)| format!("{}:{effect:?}", self.metrics.rule(*rule)))
            .collect();
        let target = decision.target.as_deref().unwrap_or_else(|| request.target());
        info!(
            "dryRun rules={} path={} newPath={}",
            rules.join(","),
            request.path().escape_ascii(),
            target.escape_ascii()
        );
    }
}

fn reverse(reversal: &Reversal, hosts: &Hosts) {
    if reversal.wants_location() {
        for name in ["location", "content-location"] {
            if let Some(value) = RESPONSE.get(name).and_then(|value| reversal.location(&value, hosts)) {
                let _ = RESPONSE.set(name, &value);
            }
        }
    }
    if reversal.wants_cookies() && RESPONSE.get("set-cookie").is_some() {
        let pairs = RESPONSE.pairs();
        let cookies = pairs.iter().filter(|(name, _)| *name == b"set-cookie");
        let cookies: Vec<_> = cookies.map(|(_, value)| (value, reversal.cookie(value))).collect();
        if cookies.iter().any(|(_, changed)| changed.is_some()) {
            let _ = RESPONSE.remove("set-cookie");
            for (value, changed) in &cookies {
                let _ = RESPONSE.add("set-cookie", changed.as_deref().unwrap_or(value));
            }
        }
    }
}

/// The plugin's own metrics.
struct Metrics {
    rules: Vec<RuleMetrics>,
    no_match: Counter,
    ambiguous: Counter,
}

struct RuleMetrics {
    name: String,
    matched: Counter,
    rewritten: Counter,
    redirected: Counter,
    responded: Counter,
    rejected: Counter,
}

impl Metrics {
    fn new<'a>(rules: impl Iterator<Item = &'a str>) -> Self {
        let rule = |name: &str| {
            let counter = |rest: &str| Counter::new(metrics::component(NAME, name, rest));
            RuleMetrics {
                name: name.to_owned(),
                matched: counter("matched_total"),
                rewritten: counter("rewritten_total"),
                redirected: counter("redirected_total"),
                responded: counter("responded_total"),
                rejected: counter("rejected_total"),
            }
        };
        Self {
            rules: rules.map(rule).collect(),
            no_match: Counter::new(metrics::name(NAME, "no_match_total")),
            ambiguous: Counter::new(metrics::name(NAME, "ambiguous_total")),
        }
    }

    fn rule(&self, index: usize) -> &str {
        self.rules.get(index).map_or("", |rule| &rule.name)
    }

    fn count(&self, decision: &Decision) {
        if decision.effects.is_empty() {
            self.no_match.increment();
        }
        if decision.ambiguity.is_some() {
            self.ambiguous.increment();
        }
        for (index, effect) in &decision.effects {
            let Some(rule) = self.rules.get(*index) else { continue };
            match effect {
                Effect::Matched => rule.matched.increment(),
                Effect::Rewritten => rule.rewritten.increment(),
                Effect::Redirected => rule.redirected.increment(),
                Effect::Responded => rule.responded.increment(),
                Effect::Rejected(_) => rule.rejected.increment(),
            }
        }
    }
}

plugin_kit::plugin!(PathRewrite: on_http_request_headers, on_http_request_trailers, on_http_response_headers);

#[cfg(test)]
use plugin_testkit as _;
