//! ext-auth: calls an external service before a request passes.

mod authorizer;
mod breaker;
mod bucket;
mod cache;
mod check_request;
mod check_response;
pub mod config;
mod key;
mod metrics;
mod names;
mod pending;
mod record;
mod rules;
mod ttl;
mod warnings;

use std::rc::Rc;

use log::{debug, warn};
use plugin_kit::callout::Token;
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode};
use plugin_kit::headers::{REQUEST, REQUEST_TRAILERS, RESPONSE};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::stream::StreamId;
use plugin_kit::{Plugin, clock};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::authorizer::{Authorizer, Progress};
use crate::check_request::{CheckRequest, Refusal};
use crate::config::{Config, Failure};
use crate::pending::{ClientHeaders, Pending, Ticket};
use crate::rules::{Rules, Way};

const NAME: &str = "ext-auth";

/// The plugin: its compiled configuration, shared by all requests.
pub struct ExtAuth(Rc<Compiled>);

struct Compiled {
    mode: Mode,
    client_ip: ClientIp,
    rules: Rules,
    authorizer: Authorizer,
}

impl Plugin for ExtAuth {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        let compiled = Compiled {
            mode: config.mode,
            client_ip: config.client_ip.check().at("clientIp")?,
            rules: Rules::compile(&config)?,
            authorizer: Authorizer::compile(NAME, &config, &plugin_kit::config::raw())?,
        };
        if config.mode != Mode::Off {
            warnings::of(&config).iter().for_each(|warning| warn!("{warning}"));
            if compiled.rules.read_client_ip() || compiled.authorizer.service.reads_client_ip() {
                config.client_ip.warn_if_forgeable();
            }
        }
        Ok(Self(Rc::new(compiled)))
    }

    fn filter(&self) -> Filter {
        self.filter_of(StreamId::default())
    }

    fn filter_of(&self, stream: StreamId) -> Filter {
        Filter {
            plugin: Rc::clone(&self.0),
            stream,
            is_grpc: false,
            client_headers: ClientHeaders::default(),
            ticket: None,
        }
    }

    fn on_tick(&mut self) {
        self.0.authorizer.on_tick(clock::monotonic());
    }

    fn on_http_call_response(&mut self, token: Token, headers: usize, body: usize) {
        self.0.authorizer.on_response(token, headers, body, clock::monotonic());
    }
}

/// One request.
pub struct Filter {
    plugin: Rc<Compiled>,
    stream: StreamId,
    is_grpc: bool,
    client_headers: ClientHeaders,
    /// If it was paused.
    ticket: Option<Ticket>,
}

impl Context for Filter {
    fn on_http_call_response(&mut self, token: Token, headers: usize, body: usize, _trailers: usize) {
        self.plugin.authorizer.on_response(token, headers, body, clock::monotonic());
    }
}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        if plugin.mode == Mode::Off {
            return Action::Continue;
        }
        // Method, path and host are always read: all headers cost less than two of them.
        let received = REQUEST.pairs();
        let removed = plugin.authorizer.headers.remove_reserved(REQUEST, &received);
        // Rules and templates read the headers that are left.
        let left = if removed == Ok(true) { REQUEST.pairs() } else { received.clone() };
        let request = Request::current(plugin.client_ip).with_headers(left);
        self.is_grpc = request.is_grpc();
        if removed.is_err() {
            return self.refuse_unsanitized();
        }
        match plugin.rules.way(&request) {
            Ok(Way::Pass) => {
                plugin.authorizer.metrics.skipped.increment();
                Action::Continue
            }
            Ok(Way::Ask(failure)) => match plugin.authorizer.service.check(&request, &received) {
                Ok(check) => self.check(check, failure),
                Err(refusal) => self.refuse(refusal),
            },
            Err(ambiguity) => self.refuse(Refusal::Ambiguous(ambiguity)),
        }
    }

    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        if self.plugin.mode == Mode::Off {
            return Action::Continue;
        }
        match self.plugin.authorizer.headers.remove_reserved(REQUEST_TRAILERS, &REQUEST_TRAILERS.pairs()) {
            Ok(_) => Action::Continue,
            Err(_) => self.refuse_unsanitized(),
        }
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        for (name, value) in self.client_headers.take() {
            let _ = RESPONSE.add(&name, &value);
        }
        Action::Continue
    }
}

impl Drop for Filter {
    /// Its client may have left before the service responded.
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.plugin.authorizer.leave(ticket, clock::monotonic());
        }
    }
}

impl Filter {
    fn check(&mut self, check: CheckRequest, failure: Failure) -> Action {
        let is_grpc = self.is_grpc;
        let Compiled { mode, authorizer, .. } = &*self.plugin;
        let is_dry_run = *mode == Mode::DryRun;
        let stream = (!is_dry_run).then_some(self.stream);
        let client_headers = Rc::clone(&self.client_headers);
        let request = Pending { stream, check, failure, is_grpc, client_headers };
        if is_dry_run {
            authorizer.dry_run(request, clock::monotonic());
            return Action::Continue;
        }
        match authorizer.check(request, clock::monotonic()) {
            Progress::Passes => return Action::Continue,
            Progress::Denied => {}
            Progress::Pends(ticket) => self.ticket = Some(ticket),
        }
        Action::Pause
    }

    fn refuse(&self, refusal: Refusal) -> Action {
        match refusal {
            Refusal::Ambiguous(ambiguity) => debug!("ambiguous request: reason={}", ambiguity.as_str()),
            Refusal::Malformed => debug!("malformed request"),
        }
        self.plugin.authorizer.metrics.refusal(refusal);
        if self.plugin.mode == Mode::DryRun {
            return Action::Continue;
        }
        check_response::refusal(refusal, self.is_grpc).send();
        Action::Pause
    }

    /// In a dry run too: the upstream must not take for the service's what the client wrote.
    fn refuse_unsanitized(&self) -> Action {
        Reply::unsanitized(self.is_grpc).send();
        Action::Pause
    }
}

plugin_kit::plugin!(
    ExtAuth: on_http_request_headers,
    on_http_request_trailers,
    on_http_response_headers,
    on_http_call_response,
    on_tick,
);

#[cfg(test)]
use plugin_testkit as _;
