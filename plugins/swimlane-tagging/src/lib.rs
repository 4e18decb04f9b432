//! swimlane-tagging: gives every request a lane by rule, weighted split or trace, and carries it through the mesh.

mod baggage;
pub mod config;
mod cookie;
mod correlation;
mod decide;
mod hash;
mod lane;
mod mesh;
mod split;
mod timestamp;
mod vary;

use std::cell::Cell;
use std::iter;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode, quoted};
use plugin_kit::headers::{HeaderName, REQUEST, REQUEST_TRAILERS, RESPONSE, is_token};
use plugin_kit::hostcalls::HostResult;
use plugin_kit::metrics::{self, Counter};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request;
use plugin_kit::{Plugin, clock, property, random};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::{Config, Trust, Vary};
use crate::cookie::Cookie;
use crate::correlation::Correlation;
use crate::decide::{Decider, Decision, Reason, World};
use crate::lane::{Lane, Lanes};

const NAME: &str = "swimlane-tagging";
/// `%FILTER_STATE(wasm.swimlane:PLAIN)%` in access logs.
const FILTER_STATE: &str = "swimlane";
const WORLD: World = World { now: wall, random: random::bits, uuid: random::uuid };

/// The plugin: its compiled configuration, shared by all requests.
pub struct SwimlaneTagging(Rc<Compiled>);

struct Compiled {
    mode: Mode,
    client_ip: ClientIp,
    header: HeaderName,
    decider: Decider,
    mesh: Option<Sidecar>,
    baggage: Option<String>,
    bucket_header: Option<HeaderName>,
    echo: Option<HeaderName>,
    cookie: Cookie,
    vary: Vary,
    vary_names: Vec<String>,
    metrics: Metrics,
}

/// Mesh mode.
struct Sidecar {
    correlation: Correlation,
    /// Whether this proxy is a gateway, whose listeners are outbound and whose requests come from clients; asked once.
    is_gateway: Cell<Option<bool>>,
}

/// Which way a request crosses a sidecar in mesh mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Inbound,
    Outbound,
    /// Not a sidecar, or not in mesh mode.
    Neither,
}

impl Plugin for SwimlaneTagging {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        let header = HeaderName::writable(&config.header).at("header")?;
        let cookie = Cookie::compile(&config.sticky_cookie).at("stickyCookie")?;
        let bucket_header = match config.bucket_header.as_str() {
            "" => None,
            name => Some(HeaderName::writable(name).at("bucketHeader")?),
        };
        if bucket_header.as_ref() == Some(&header) {
            return Err(ConfigError::new("is the header of the lane")).at("bucketHeader");
        }
        let decider = Decider::compile(&config, &header, &cookie)?;
        let compiled = Compiled {
            mode: config.mode,
            client_ip: config.client_ip.check().at("clientIp")?,
            mesh: match &config.propagate.mesh {
                mesh if mesh.enabled => Some(Sidecar {
                    correlation: Correlation::compile(mesh, &header).at("mesh").at("propagate")?,
                    is_gateway: Cell::new(None),
                }),
                _ => None,
            },
            baggage: baggage_member(&config.propagate.baggage).at("baggage").at("propagate")?,
            bucket_header,
            echo: match &config.echo {
                Some(echo) => {
                    Some(HeaderName::writable(&echo.response_header).at("responseHeader").at("echo")?)
                }
                None => None,
            },
            cookie,
            vary: config.vary,
            vary_names: vary::names(&config, &header),
            metrics: Metrics::new(&decider.lanes),
            decider,
            header,
        };
        if compiled.decider.reads_client_ip() {
            compiled.client_ip.warn_if_forgeable();
        }
        if config.propagate.mesh.enabled && matches!(config.incoming.trust, Trust::Never) {
            warn!(
                "propagate.mesh: with incoming.trust: never, the lane that a request enters with is removed and only \
                 lanes that this proxy assigns are carried; sidecars behind a gateway need always"
            );
        }
        Ok(Self(Rc::new(compiled)))
    }

    fn filter(&self) -> Filter {
        Filter { plugin: Rc::clone(&self.0), response: None }
    }
}

fn baggage_member(name: &str) -> Result<Option<String>, ConfigError> {
    if name.is_empty() {
        return Ok(None);
    }
    if !is_token(name.as_bytes()) {
        return Err(ConfigError::new("must be a token: letters, digits and some of the other signs"));
    }
    Ok(Some(name.to_owned()))
}

/// One request.
pub struct Filter {
    plugin: Rc<Compiled>,
    response: Option<Staged>,
}

/// What the response gets, known since the request's headers were there.
struct Staged {
    lane: Option<Lane>,
    new_id: Option<String>,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let plugin = Rc::clone(&self.plugin);
        if plugin.mode == Mode::Off {
            return Action::Continue;
        }
        let request = Request::current(plugin.client_ip);
        let direction = plugin.direction();
        let decision = match (direction, &plugin.mesh) {
            (Direction::Outbound, Some(sidecar)) => plugin
                .decider
                .outgoing(&request, WORLD, || sidecar.correlation.recall(&request, clock::monotonic())),
            _ => plugin.decider.incoming(&request, WORLD),
        };
        plugin.metrics.count(&decision);
        if plugin.mode == Mode::DryRun {
            plugin.log(&decision);
            return Action::Continue;
        }
        if let Some(status) = decision.rejected {
            reject(&request, status, decision.reason);
            return Action::Pause;
        }
        if plugin.tag(&request, &decision).is_err() {
            Reply::unsanitized(request.is_grpc()).send();
            return Action::Pause;
        }
        if direction == Direction::Inbound
            && let (Some(sidecar), Some(lane)) = (&plugin.mesh, decision.lane)
        {
            let name = plugin.decider.lanes.name(lane);
            let remembered = sidecar.correlation.remember(&request, name, clock::monotonic());
            plugin.metrics.conflicts.add(remembered.conflicts);
            plugin.metrics.lost.add(remembered.lost);
        }
        self.response = Some(Staged { lane: decision.lane, new_id: decision.new_id });
        Action::Continue
    }

    /// Removes a client's own lane from the trailers, which some servers merge into the headers.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        let plugin = &self.plugin;
        let names = iter::once(&plugin.header).chain(&plugin.bucket_header).map(HeaderName::as_str);
        if plugin.mode == Mode::Enforce && REQUEST_TRAILERS.remove_each(names).is_err() {
            // The request's content type is no longer readable.
            Reply::unsanitized(false).send();
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        if let Some(staged) = self.response.take() {
            self.plugin.answer(&staged);
        }
        Action::Continue
    }
}

/// Without a clock a ramp is where it starts.
fn wall() -> Duration {
    clock::wall().unwrap_or_default()
}

/// Answers a request that goes no further: 403, or 400.
fn reject(request: &Request, status: u16, reason: Reason) {
    let reply = Reply::new(status).details(format!("swimlane_tagging_{}", reason.as_str()));
    if !request.is_grpc() {
        return reply.send();
    }
    const INVALID_ARGUMENT: u8 = 3;
    const PERMISSION_DENIED: u8 = 7;
    reply.grpc_status(if status == 403 { PERMISSION_DENIED } else { INVALID_ARGUMENT }).send();
}

impl Compiled {
    fn direction(&self) -> Direction {
        const INBOUND: i64 = 1;
        const OUTBOUND: i64 = 2;
        let Some(sidecar) = &self.mesh else { return Direction::Neither };
        match property::get_i64(&["xds", "listener_direction"]) {
            Some(INBOUND) => Direction::Inbound,
            Some(OUTBOUND) if !sidecar.is_gateway() => Direction::Outbound,
            _ => Direction::Neither,
        }
    }

    /// Writes the decision into the request. Every write makes Envoy pick the route again, so what is right stays.
    ///
    /// # Errors
    /// Where the host refuses, and the request might keep a lane that its client wrote.
    fn tag(&self, request: &Request, decision: &Decision) -> HostResult<()> {
        let lane = decision.lane.map(|lane| self.decider.lanes.name(lane));
        let header = self.header.as_str();
        // An application's own lane that is not known here stays, in the header and in its baggage.
        let keeps_own = lane.is_none() && decision.reason == Reason::Application;
        if let Some(lane) = lane {
            if decision.sent.as_deref() != Some(lane.as_bytes()) {
                REQUEST.set(header, lane.as_bytes())?;
            }
            let _ = property::set_filter_state(FILTER_STATE, lane.as_bytes());
        } else if decision.sent.is_some() && !keeps_own {
            REQUEST.remove(header)?;
        }
        if let Some(name) = &self.bucket_header {
            let name = name.as_str();
            if let Some(bucket) = decision.bucket {
                REQUEST.set(name, bucket.to_string().as_bytes())?;
            } else if request.header(name).is_some() {
                REQUEST.remove(name)?;
            }
        }
        if let Some(member) = self.baggage.as_ref().filter(|_| !keeps_own)
            && let Some(value) =
                baggage::with_member(request.joined_header("baggage").as_deref(), member, lane)
        {
            match value.is_empty() {
                true => REQUEST.remove("baggage")?,
                false => REQUEST.set("baggage", &value)?,
            }
        }
        Ok(())
    }

    /// Writes the decision into the response.
    fn answer(&self, staged: &Staged) {
        let echo = self.echo.as_ref().zip(staged.lane);
        if let Some((name, lane)) = echo {
            let _ = RESPONSE.set(name.as_str(), self.decider.lanes.name(lane).as_bytes());
        }
        if let Some(id) = &staged.new_id {
            let _ = RESPONSE.add("set-cookie", self.cookie.set(id).as_bytes());
        }
        let depends = match self.vary {
            Vary::Auto => echo.is_some() || staged.new_id.is_some(),
            Vary::Always => true,
            Vary::Never => false,
        };
        if depends && !self.vary_names.is_empty() {
            // All lines at once.
            let there = property::get(&["response", "headers", "vary"]);
            if let Some(vary) = vary::with_names(there.as_deref(), &self.vary_names) {
                let _ = RESPONSE.set("vary", &vary);
            }
        }
    }

    fn log(&self, decision: &Decision) {
        let sent = decision.sent.as_deref().unwrap_or(b"-");
        info!(
            "dryRun lane={} reason={} rule={} sent={} bucket={} status={}",
            decision.lane.map_or("-", |lane| self.decider.lanes.name(lane)),
            decision.reason.as_str(),
            decision.rule.map_or("-", |rule| self.decider.rule(rule)),
            quoted(std::str::from_utf8(sent).unwrap_or("not text")),
            decision.bucket.map_or("-".to_owned(), |bucket| bucket.to_string()),
            decision.rejected.map_or("-".to_owned(), |status| status.to_string())
        );
    }
}

impl Sidecar {
    fn is_gateway(&self) -> bool {
        if let Some(known) = self.is_gateway.get() {
            return known;
        }
        let is_gateway = property::get(&["xds", "node", "id"]).is_some_and(|id| id.starts_with(b"router~"));
        if is_gateway {
            warn!("propagate.mesh is ignored: this proxy is a gateway");
        }
        self.is_gateway.set(Some(is_gateway));
        is_gateway
    }
}

/// The plugin's own metrics.
struct Metrics {
    tagged: Vec<Counter>,
    decided: [Counter; Reason::ALL.len()],
    untrusted: Counter,
    unknown_lane: Counter,
    correlated: Counter,
    conflicts: Counter,
    lost: Counter,
}

impl Metrics {
    fn new(lanes: &Lanes) -> Self {
        let own = |rest: &str| Counter::new(metrics::name(NAME, rest));
        let tagged = |lane: &str| Counter::new(metrics::component(NAME, lane, "tagged_total"));
        Self {
            tagged: lanes.names().map(tagged).collect(),
            decided: Reason::ALL
                .map(|reason| Counter::new(metrics::component(NAME, reason.as_str(), "decided_total"))),
            untrusted: own("untrusted_total"),
            unknown_lane: own("unknown_lane_total"),
            correlated: own("correlated_total"),
            conflicts: own("correlation_conflict_total"),
            lost: own("correlation_lost_total"),
        }
    }

    fn count(&self, decision: &Decision) {
        if let Some(counter) = decision.lane.and_then(|lane| self.tagged.get(lane.index())) {
            counter.increment();
        }
        if let Some(counter) = self.decided.get(decision.reason.index()) {
            counter.increment();
        }
        self.untrusted.add(decision.untrusted.into());
        self.unknown_lane.add(decision.unknown.into());
        self.correlated.add((decision.reason == Reason::Correlated).into());
    }
}

plugin_kit::plugin!(
    SwimlaneTagging: on_http_request_headers, on_http_request_trailers, on_http_response_headers
);

#[cfg(test)]
use plugin_testkit as _;
