//! json-transform: changes JSON bodies of requests and responses by JSON Patch.

pub mod config;
mod document;
mod equal;
mod held;
mod json;
mod media;
mod merge;
mod metrics;
mod patch;
mod pointer;
#[cfg(test)]
mod properties;
mod rules;
mod value;

use std::rc::Rc;

use log::{Level, debug, info, log};
use plugin_kit::body::{self, Body};
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode};
use plugin_kit::headers::{Headers, REQUEST, RESPONSE};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::{Plugin, clock, stream};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{AcceptEncoding, Config, Unfit};
use crate::held::{Budget, Held};
use crate::metrics::Metrics;
use crate::rules::{Chosen, Rules};

const NAME: &str = "json-transform";
/// The most that `maxBodyBytes` may be. Taken apart, a body of `[0,0,…` is ten times as large, and a VM has 1 GiB.
const MAX_BODY_BYTES: usize = 16 << 20;
/// What all bodies of a worker may take together, so that no flood of them exhausts the VM.
const MAX_HELD_BYTES: usize = 128 << 20;

/// The plugin: its compiled configuration, shared by all requests.
pub struct JsonTransform(Rc<Compiled>);

struct Compiled {
    mode: Mode,
    client_ip: ClientIp,
    request: Rules,
    response: Rules,
    max_body_bytes: usize,
    on_too_large: Unfit,
    on_parse_error: Unfit,
    accept_encoding: AcceptEncoding,
    metrics: Metrics,
    budget: Rc<Budget>,
}

impl Plugin for JsonTransform {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        rules::check(&config)?;
        if !(1..=MAX_BODY_BYTES).contains(&config.max_body_bytes) {
            let message = format!("must be from 1 to {MAX_BODY_BYTES}, not {}", config.max_body_bytes);
            return Err(ConfigError::new(message)).at("maxBodyBytes");
        }
        let text = plugin_kit::config::raw();
        let names =
            |rules: &'_ [config::Rule]| rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
        let (request, response) = (names(&config.request), names(&config.response));
        Ok(Self(Rc::new(Compiled {
            mode: config.mode,
            client_ip: config.client_ip.check().at("clientIp")?,
            request: Rules::compile(&config.request, "request", &text)?,
            response: Rules::compile(&config.response, "response", &text)?,
            max_body_bytes: config.max_body_bytes,
            on_too_large: config.on_too_large,
            on_parse_error: config.on_parse_error,
            accept_encoding: config.accept_encoding,
            metrics: Metrics::new(request.iter().map(String::as_str), response.iter().map(String::as_str)),
            budget: Budget::new(MAX_HELD_BYTES),
        })))
    }

    fn filter(&self) -> Filter {
        let message = || Message::new(&self.0.budget);
        Filter { plugin: Rc::clone(&self.0), request: message(), response: message() }
    }
}

/// One request.
pub struct Filter {
    plugin: Rc<Compiled>,
    request: Message,
    response: Message,
}

/// A message on its way: the rules for its body, none where it passes untouched, and the body as far as it is here.
struct Message {
    chosen: Vec<Chosen>,
    body: Held,
}

impl Message {
    fn new(budget: &Rc<Budget>) -> Self {
        Self { chosen: Vec::new(), body: Held::new(budget) }
    }
}

/// One of the two directions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

/// Why a message is refused.
#[derive(Clone, Copy)]
enum Reject {
    NotJson,
    TooLarge,
    PatchFailed,
    Trailers,
}

impl Reject {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "json_transform_not_json",
            Self::TooLarge => "json_transform_too_large",
            Self::PatchFailed => "json_transform_patch_failed",
            Self::Trailers => "json_transform_trailers",
        }
    }

    const fn request_status(self) -> u16 {
        match self {
            Self::NotJson | Self::Trailers => 400,
            Self::TooLarge => 413,
            Self::PatchFailed => 422,
        }
    }
}

impl Side {
    const fn headers(self) -> Headers {
        match self {
            Self::Request => REQUEST,
            Self::Response => RESPONSE,
        }
    }

    const fn body(self) -> Body {
        match self {
            Self::Request => body::REQUEST,
            Self::Response => body::RESPONSE,
        }
    }

    /// What says how long the body is, or what is in it.
    const fn body_headers(self) -> &'static [&'static str] {
        match self {
            Self::Request => &["content-length", "content-md5", "digest", "content-digest", "repr-digest"],
            Self::Response => &[
                "content-length",
                "content-md5",
                "digest",
                "content-digest",
                "repr-digest",
                "etag",
                "accept-ranges",
            ],
        }
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
        self.response.chosen = plugin.response.choose(&request, None);
        if !end_of_stream && !plugin.request.is_empty() {
            let essence = request.header("content-type").and_then(|value| media::essence(&value));
            if let Some(essence) = essence {
                self.request.chosen = plugin.request.choose(&request, Some(&essence));
            }
        }
        if plugin.mode == Mode::Enforce && !self.response.chosen.is_empty() {
            plugin.ask_for_the_whole(&request);
        }
        self.begin(Side::Request)
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.body(Side::Request, size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        self.trailers(Side::Request)
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        if self.response.chosen.is_empty() {
            return Action::Continue;
        }
        /// Part of a body is no document.
        const PARTIAL_CONTENT: u16 = 206;
        let status = RESPONSE.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or_default();
        let content_type = RESPONSE.get("content-type");
        match content_type.and_then(|value| media::essence(&value)) {
            Some(essence) if !end_of_stream && status != PARTIAL_CONTENT => {
                self.plugin.response.keep(&mut self.response.chosen, status, &essence);
            }
            _ => self.response.chosen.clear(),
        }
        self.begin(Side::Response)
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

    /// From here on nothing happens to the message any more.
    fn take(&mut self, side: Side) -> Message {
        let untouched = Message::new(&self.plugin.budget);
        std::mem::replace(self.message(side), untouched)
    }

    /// The headers of a message whose body rules are for: what else they say of it, and what they must no longer say.
    fn begin(&mut self, side: Side) -> Action {
        let plugin = Rc::clone(&self.plugin);
        let message = self.message(side);
        if message.chosen.is_empty() {
            return Action::Continue;
        }
        let headers = side.headers();
        if headers.get("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            plugin.metrics.encoded.increment();
            message.chosen.clear();
            return Action::Continue;
        }
        // With trailers the body has no end at which it could be written.
        if headers.get("trailer").is_some() {
            message.chosen.clear();
            return Action::Continue;
        }
        let length = headers.get_str("content-length").and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| length > plugin.max_body_bytes) {
            return self.too_large(side, true);
        }
        if plugin.mode == Mode::Enforce {
            for name in side.body_headers() {
                let _ = headers.remove(name);
            }
        }
        Action::Continue
    }

    /// Takes what has come out of the proxy's hands, until all of it is here.
    fn body(&mut self, side: Side, size: usize, end_of_stream: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        let message = self.message(side);
        if message.chosen.is_empty() {
            return Action::Continue;
        }
        if size > 0 {
            if !message.body.append(side.body().read(size), plugin.max_body_bytes) {
                return self.too_large(side, false);
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
        if message.chosen.is_empty() || message.body.bytes().is_empty() {
            return Action::Continue;
        }
        message.chosen.clear();
        self.refuse(side, Reject::Trailers, false)
    }

    /// The whole body is here.
    fn finish(&mut self, side: Side) -> Action {
        let plugin = Rc::clone(&self.plugin);
        let Message { chosen, body } = self.take(side);
        let body = body.bytes();
        // What is empty is not JSON, and nothing to complain of.
        if body.is_empty() {
            return Action::Continue;
        }
        let rules = match side {
            Side::Request => &plugin.request,
            Side::Response => &plugin.response,
        };
        let outcome =
            match rules.transform(&chosen, body, clock::wall().unwrap_or_default(), plugin.max_body_bytes) {
                Ok(outcome) => outcome,
                Err(flaw) => {
                    plugin.metrics.parse_errors.increment();
                    debug!("a body is left alone: it is {}", flaw.as_str());
                    return match plugin.on_parse_error {
                        Unfit::Pass => plugin.pass(side, body),
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
        plugin.pass(side, outcome.body.as_deref().unwrap_or(body))
    }

    fn too_large(&mut self, side: Side, in_headers: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        plugin.metrics.too_large.increment();
        let held = self.take(side).body;
        match plugin.on_too_large {
            Unfit::Pass => plugin.pass(side, held.bytes()),
            Unfit::Reject => self.refuse(side, Reject::TooLarge, in_headers),
        }
    }

    /// Answers, or, where the headers of a response have gone already, breaks it off.
    fn refuse(&mut self, side: Side, reject: Reject, in_headers: bool) -> Action {
        const BAD_GATEWAY: u16 = 502;
        self.plugin.metrics.rejected.increment();
        if self.plugin.mode == Mode::DryRun {
            info!("dryRun refused={}", reject.as_str());
            return Action::Continue;
        }
        self.response.chosen.clear();
        match side {
            Side::Request => Reply::new(reject.request_status()).details(reject.as_str()).send(),
            Side::Response if in_headers => Reply::new(BAD_GATEWAY).details(reject.as_str()).send(),
            Side::Response => stream::reset_response(),
        }
        Action::Pause
    }
}

impl Compiled {
    /// Lets a body go on, before what of it is in the proxy's hands still.
    fn pass(&self, side: Side, body: &[u8]) -> Action {
        if self.mode == Mode::Enforce && !body.is_empty() {
            let _ = side.body().replace(0, body);
        }
        Action::Continue
    }

    /// What is compressed, and what is only a part, cannot be changed.
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
    on_http_response_headers, on_http_response_body, on_http_response_trailers,
);

#[cfg(test)]
use plugin_testkit as _;
