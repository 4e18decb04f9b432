//! json-transform: changes JSON bodies of requests and responses by JSON Patch.

mod buffer;
pub mod config;
mod document;
mod equal;
mod json;
mod media;
mod merge;
mod metrics;
mod patch;
mod pointer;
#[cfg(test)]
mod properties;
mod rules;
mod side;
mod value;

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use log::{Level, debug, info, log};
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode};
use plugin_kit::headers::{REQUEST, RESPONSE};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::stream::StreamId;
use plugin_kit::{Plugin, clock, stream};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::buffer::{Body, Buffers, Dropped, State};
use crate::config::{AcceptEncoding, Config, Unfit};
use crate::media::MediaType;
use crate::metrics::{BufferMetrics, Metrics};
use crate::rules::{Chosen, Rules};
use crate::side::{Reject, Side};

const NAME: &str = "json-transform";
/// The most that `maxBodyBytes` may be. Taken apart, a body of `[0,0,…` is ten times as large, and a VM has 1 GiB.
const MAX_BODY_BYTES: usize = 16 << 20;
/// The most that the bodies of one direction may take in one worker.
const MAX_BUFFERED_BYTES: usize = 256 << 20;
/// The interval at which bodies that take too long are dropped.
const TICK: Duration = Duration::from_secs(1);

/// The plugin: its compiled configuration, shared by all requests.
pub struct JsonTransform(Rc<Compiled>);

struct Compiled {
    mode: Mode,
    client_ip: ClientIp,
    request: Direction,
    response: Direction,
    max_body_bytes: usize,
    on_too_large: Unfit,
    on_parse_error: Unfit,
    accept_encoding: AcceptEncoding,
    metrics: Metrics,
}

/// The messages of one direction.
struct Direction {
    rules: Rules,
    buffers: Rc<Buffers>,
    /// Whether a body that cannot be transformed is refused.
    rejects_unsupported: bool,
}

impl Plugin for JsonTransform {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        rules::check(&config)?;
        check_limits(&config)?;
        let text = plugin_kit::config::raw();
        let now = clock::monotonic().unwrap_or_default();
        let direction = |rules, bytes, rejects_unsupported| Direction {
            rules,
            buffers: Buffers::new(bytes, config.body_timeout.0, now),
            rejects_unsupported,
        };
        let bytes = config.max_buffered_bytes;
        let request = Rules::compile(&config.request, "request", &text)?;
        let response = Rules::compile(&config.response, "response", &text)?;
        let names = |rules: &[config::Rule]| rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
        let (request_names, response_names) = (names(&config.request), names(&config.response));
        Ok(Self(Rc::new(Compiled {
            mode: config.mode,
            client_ip: config.client_ip.check().at("clientIp")?,
            request: direction(request, bytes.requests, config.rejects_unsupported_requests()),
            response: direction(response, bytes.responses, config.rejects_unsupported_responses()),
            max_body_bytes: config.max_body_bytes,
            on_too_large: config.on_too_large,
            on_parse_error: config.on_parse_error,
            accept_encoding: config.accept_encoding,
            metrics: Metrics::new(
                request_names.iter().map(String::as_str),
                response_names.iter().map(String::as_str),
            ),
        })))
    }

    fn filter(&self) -> Filter {
        self.filter_of(StreamId::default())
    }

    fn filter_of(&self, stream: StreamId) -> Filter {
        let plugin = Rc::clone(&self.0);
        let message = |direction: &Direction| Message::new(direction.buffers.body(stream));
        Filter {
            stream,
            request: message(&plugin.request),
            response: message(&plugin.response),
            response_rules: Vec::new(),
            plugin,
        }
    }

    fn tick_period(&self) -> Option<Duration> {
        (self.0.mode != Mode::Off).then_some(TICK)
    }

    fn on_tick(&mut self) {
        let Some(now) = clock::monotonic() else { return };
        for side in [Side::Request, Side::Response] {
            let direction = self.0.direction(side);
            let dropped = direction.buffers.tick(now, !self.0.rejects_unfinished(side));
            self.0.end_all(side, &dropped, Reject::Timeout);
        }
    }
}

fn check_limits(config: &Config) -> Result<(), ConfigError> {
    let bytes = config.max_buffered_bytes;
    if !(1..=MAX_BODY_BYTES).contains(&config.max_body_bytes) {
        let message = format!("must be from 1 to {MAX_BODY_BYTES}, not {}", config.max_body_bytes);
        return Err(ConfigError::new(message)).at("maxBodyBytes");
    }
    for (field, bytes) in [("requests", bytes.requests), ("responses", bytes.responses)] {
        if !(config.max_body_bytes..=MAX_BUFFERED_BYTES).contains(&bytes) {
            let range = format!("maxBodyBytes ({}) to {MAX_BUFFERED_BYTES}", config.max_body_bytes);
            let message = format!("must be from {range}, not {bytes}");
            return Err(ConfigError::new(message)).at(field).at("maxBufferedBytes");
        }
    }
    if !(TICK..=Duration::from_secs(3600)).contains(&config.body_timeout.0) {
        return Err(ConfigError::new("must be from 1s to 1h")).at("bodyTimeout");
    }
    Ok(())
}

/// One request.
pub struct Filter {
    plugin: Rc<Compiled>,
    stream: StreamId,
    request: Message,
    response: Message,
    /// The rules for the response to this request.
    response_rules: Vec<Chosen>,
}

/// A message on its way, with its body as far as it has arrived.
struct Message {
    plan: Plan,
    body: Body,
}

/// The handling of a body.
enum Plan {
    /// It passes as it is.
    Pass,
    /// These rules are applied to it.
    Transform(Vec<Chosen>),
    /// It is refused at its first byte.
    Refuse,
}

impl Message {
    fn new(body: Body) -> Self {
        Self { plan: Plan::Pass, body }
    }
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        if plugin.mode == Mode::Off {
            return Action::Continue;
        }
        let request = Request::current(plugin.client_ip);
        self.response_rules = plugin.response.rules.choose(&request, None);
        let action = if end_of_stream { Action::Continue } else { self.begin_request(&request) };
        if plugin.mode == Mode::Enforce && !self.response_rules.is_empty() {
            plugin.ask_for_the_whole(&request);
        }
        action
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.body(Side::Request, size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        self.trailers(Side::Request)
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        self.request.body.note_response();
        let chosen = mem::take(&mut self.response_rules);
        let is_own_reply = self.plugin.mode == Mode::Enforce && self.request.body.state() == State::Dropped;
        if chosen.is_empty() || end_of_stream || is_own_reply {
            return Action::Continue;
        }
        self.begin_response(chosen)
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.body(Side::Response, size, end_of_stream)
    }

    fn on_http_response_trailers(&mut self, _num_trailers: usize) -> Action {
        self.trailers(Side::Response)
    }
}

impl Filter {
    fn message(&mut self, side: Side) -> &mut Message {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// From here on the message passes as it is.
    fn take(&mut self, side: Side) -> Message {
        let untouched = Message::new(self.plugin.direction(side).buffers.body(self.stream));
        if side == Side::Request && self.request.body.has_response() {
            untouched.body.note_response();
        }
        mem::replace(self.message(side), untouched)
    }

    fn begin_request(&mut self, request: &Request) -> Action {
        let plugin = Rc::clone(&self.plugin);
        let direction = &plugin.request;
        if direction.rules.is_empty() {
            return Action::Continue;
        }
        let chosen = match MediaType::new(request.header("content-type").as_deref()) {
            MediaType::Document(essence) => direction.rules.choose(request, Some(&essence)),
            MediaType::Opaque(_) | MediaType::Unknown => Vec::new(),
        };
        if !chosen.is_empty() {
            return self.begin(Side::Request, chosen);
        }
        if direction.rejects_unsupported && direction.rules.concern(request) {
            return self.unsupported(Side::Request);
        }
        Action::Continue
    }

    fn begin_response(&mut self, mut chosen: Vec<Chosen>) -> Action {
        const SWITCHING_PROTOCOLS: u16 = 101;
        const PARTIAL_CONTENT: u16 = 206;
        let plugin = Rc::clone(&self.plugin);
        let rules = &plugin.response.rules;
        let status = RESPONSE.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or_default();
        rules.keep_status(&mut chosen, status);
        let media_type = match status {
            // These are no documents, whatever their type.
            SWITCHING_PROTOCOLS | PARTIAL_CONTENT => MediaType::Unknown,
            _ => MediaType::new(RESPONSE.get("content-type").as_deref()),
        };
        let is_supported = match media_type {
            MediaType::Document(essence) => {
                rules.keep_type(&mut chosen, &essence);
                true
            }
            MediaType::Opaque(essence) => {
                rules.keep_type(&mut chosen, &essence);
                false
            }
            MediaType::Unknown => false,
        };
        match (chosen.is_empty(), is_supported) {
            (true, _) => Action::Continue,
            (false, true) => self.begin(Side::Response, chosen),
            (false, false) => self.unsupported(Side::Response),
        }
    }

    /// The headers of a message whose body rules are for: what else they say of it, and what they must no longer say.
    fn begin(&mut self, side: Side, chosen: Vec<Chosen>) -> Action {
        let plugin = Rc::clone(&self.plugin);
        let rejects = plugin.direction(side).rejects_unsupported;
        let headers = side.headers();
        if side.lines("content-encoding").is_some_and(|codings| !media::is_identity(&codings)) {
            plugin.metrics.encoded.increment();
            return self.unsupported(side);
        }
        // Where nothing may pass as it is, the body is transformed unless trailers arrive.
        if !rejects && headers.get("trailer").is_some() {
            return self.unsupported(side);
        }
        // Requests are not checked: no client may switch rules off.
        if !rejects
            && side == Side::Response
            && side.lines("cache-control").is_some_and(|directives| media::forbids_transforming(&directives))
        {
            return self.unsupported(side);
        }
        let length = headers.get_str("content-length").and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| length > plugin.max_body_bytes) {
            return self.too_large(side, true);
        }
        if plugin.mode == Mode::Enforce && headers.remove_each(side.body_headers()).is_err() {
            return self.refuse(side, Reject::Headers, true);
        }
        self.message(side).plan = Plan::Transform(chosen);
        Action::Continue
    }

    /// A body that rules are for and that cannot be transformed. A request without a body is not refused, so where its
    /// headers do not say whether it has one, its first byte decides.
    fn unsupported(&mut self, side: Side) -> Action {
        let plugin = Rc::clone(&self.plugin);
        plugin.metrics.unsupported.increment();
        if !plugin.direction(side).rejects_unsupported {
            return Action::Continue;
        }
        let headers = side.headers();
        let waits = match headers.get_str("content-length").and_then(|length| length.parse::<u64>().ok()) {
            Some(length) => length == 0,
            None => side == Side::Request && headers.get("upgrade").is_none(),
        };
        if !waits {
            return self.refuse(side, Reject::Unsupported, true);
        }
        self.message(side).plan = Plan::Refuse;
        Action::Continue
    }

    /// Takes the next bytes out of the proxy's hands, until all of the body is here.
    fn body(&mut self, side: Side, size: usize, end_of_stream: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        let message = self.message(side);
        match (&message.plan, message.body.state()) {
            (Plan::Pass, _) => return Action::Continue,
            (Plan::Refuse, _) if size == 0 => return Action::Continue,
            (Plan::Refuse, _) => return self.refuse(side, Reject::Unsupported, false),
            (Plan::Transform(_), State::Collecting) => {}
            (Plan::Transform(_), State::Overdue) => return self.overdue(side),
            // The message is ending already.
            (Plan::Transform(_), State::Dropped) if plugin.mode == Mode::Enforce => return Action::Pause,
            (Plan::Transform(_), State::Dropped) => {
                drop(self.take(side));
                return Action::Continue;
            }
        }
        if size > 0 {
            let Some(dropped) = message.body.append(side.body().read(size), plugin.max_body_bytes) else {
                return self.too_large(side, false);
            };
            if !dropped.is_empty() {
                plugin.end_all(side, &dropped, Reject::Exhausted);
                let _ = self.stream.enter();
            }
            if plugin.mode == Mode::Enforce {
                let _ = side.body().replace(size, b"");
            }
        }
        if end_of_stream { self.finish(side) } else { Action::Continue }
    }

    /// The body is over, and nothing can be written behind it any more.
    fn trailers(&mut self, side: Side) -> Action {
        let message = self.message(side);
        match message.plan {
            Plan::Transform(_) if !message.body.is_empty() => self.refuse(side, Reject::Trailers, false),
            _ => Action::Continue,
        }
    }

    /// The whole body is here.
    fn finish(&mut self, side: Side) -> Action {
        let plugin = Rc::clone(&self.plugin);
        let Message { plan: Plan::Transform(chosen), body } = self.take(side) else {
            return Action::Continue;
        };
        let body = body.into_bytes();
        // An empty body is not JSON, and no error.
        if body.is_empty() {
            return Action::Continue;
        }
        let rules = &plugin.direction(side).rules;
        let outcome =
            match rules.transform(&chosen, &body, clock::wall().unwrap_or_default(), plugin.max_body_bytes) {
                Ok(outcome) => outcome,
                Err(flaw) => {
                    plugin.metrics.parse_errors.increment();
                    debug!("a body is left alone: it is {}", flaw.as_str());
                    return match plugin.on_parse_error {
                        Unfit::Pass => plugin.pass(side, &body),
                        Unfit::Reject => self.refuse(side, Reject::NotJson, false),
                    };
                }
            };
        for (rule, result) in &outcome.rules {
            let name = plugin.metrics.count(side == Side::Request, *rule, *result);
            let (done, operation) = match result {
                Ok(()) => ("applied", 0),
                Err(failure) => (failure.cause.as_str(), failure.operation),
            };
            let (prefix, level) = match plugin.mode {
                Mode::DryRun => ("dryRun ", Level::Info),
                _ => ("", Level::Debug),
            };
            log!(level, "{prefix}rule={name} result={done} operation={operation}");
        }
        if outcome.is_refused {
            return self.refuse(side, Reject::PatchFailed, false);
        }
        plugin.pass(side, outcome.body.as_deref().unwrap_or(&body))
    }

    fn too_large(&mut self, side: Side, in_headers: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        plugin.metrics.too_large.increment();
        let body = self.take(side).body;
        match plugin.on_too_large {
            Unfit::Pass => plugin.pass(side, &body.into_bytes()),
            Unfit::Reject => self.refuse(side, Reject::TooLarge, in_headers),
        }
    }

    /// A body that takes too long, and passes.
    fn overdue(&mut self, side: Side) -> Action {
        let plugin = Rc::clone(&self.plugin);
        plugin.buffer_metrics(side).timeouts.increment();
        let body = self.take(side).body;
        plugin.pass(side, &body.into_bytes())
    }

    /// Answers, or, where the headers of the response have gone already, breaks it off.
    fn refuse(&mut self, side: Side, reject: Reject, in_headers: bool) -> Action {
        drop(self.take(side));
        self.plugin.metrics.rejected.increment();
        if self.plugin.mode == Mode::DryRun {
            info!("dryRun refused={}", reject.as_str());
            return Action::Continue;
        }
        // The plugin's own reply is not transformed.
        self.response_rules.clear();
        let can_reply = match side {
            Side::Request => !self.request.body.has_response(),
            Side::Response => in_headers,
        };
        if can_reply {
            Reply::new(reject.status(side)).details(reject.as_str()).send();
        } else {
            stream::reset_response();
        }
        Action::Pause
    }
}

impl Compiled {
    fn direction(&self, side: Side) -> &Direction {
        match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        }
    }

    fn buffer_metrics(&self, side: Side) -> &BufferMetrics {
        match side {
            Side::Request => &self.metrics.requests,
            Side::Response => &self.metrics.responses,
        }
    }

    /// Whether a body that takes too long to arrive is refused.
    fn rejects_unfinished(&self, side: Side) -> bool {
        self.on_too_large == Unfit::Reject || self.direction(side).rejects_unsupported
    }

    /// Ends the messages whose bodies were dropped, from whatever callback.
    fn end_all(&self, side: Side, dropped: &[Dropped], reject: Reject) {
        for message in dropped {
            let metrics = self.buffer_metrics(side);
            match reject {
                Reject::Exhausted => metrics.exhausted.increment(),
                _ => metrics.timeouts.increment(),
            }
            self.metrics.rejected.increment();
            if self.mode == Mode::DryRun {
                info!("dryRun refused={}", reject.as_str());
            } else if message.stream.enter().is_ok() {
                if side == Side::Request && !message.has_response {
                    Reply::new(reject.status(side)).details(reject.as_str()).send();
                } else {
                    stream::reset_response();
                }
            }
        }
    }

    /// Lets a body go on, before the bytes that the proxy still has of it.
    fn pass(&self, side: Side, body: &[u8]) -> Action {
        if self.mode == Mode::Enforce && !body.is_empty() {
            let _ = side.body().replace(0, body);
        }
        Action::Continue
    }

    /// A compressed body and a part of a body cannot be transformed.
    fn ask_for_the_whole(&self, request: &Request) {
        let unwanted: &[&str] = match self.accept_encoding {
            AcceptEncoding::Remove => &["range", "accept-encoding"],
            AcceptEncoding::Keep => &["range"],
        };
        for name in unwanted {
            if request.header(name).is_some() {
                let _ = REQUEST.remove(name);
            }
        }
    }
}

plugin_kit::plugin!(JsonTransform:
    on_http_request_headers, on_http_request_body, on_http_request_trailers,
    on_http_response_headers, on_http_response_body, on_http_response_trailers, on_tick,
);

#[cfg(test)]
use plugin_testkit as _;
