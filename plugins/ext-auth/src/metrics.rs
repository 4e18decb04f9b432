//! The plugin's own metrics.

use plugin_kit::config::Mode;
use plugin_kit::metrics::{self, Counter, Histogram};

use crate::authorizer::Verdict;
use crate::check_request::Refusal;
use crate::check_response::CheckResponse;

/// Why there was no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Envoy did not make the call: the cluster is unknown, has no endpoint, or has too many calls.
    Refused,
    /// There was no connection, or it ended before a response.
    Connection,
    /// The connection ended in the middle of a response.
    Reset,
    /// There was no response in time.
    Timeout,
    /// The response has a status that decides nothing, such as one of 500 to 599, or is not HTTP.
    Status,
    /// The breaker was open.
    Breaker,
    /// A dry run makes too many calls at a time.
    Busy,
}

const REASONS: [Reason; 7] = [
    Reason::Refused,
    Reason::Connection,
    Reason::Reset,
    Reason::Timeout,
    Reason::Status,
    Reason::Breaker,
    Reason::Busy,
];

impl Reason {
    /// For metrics, logs and `%RESPONSE_CODE_DETAILS%`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Connection => "connection",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Breaker => "breaker",
            Self::Busy => "busy",
        }
    }

    /// Whether it counts for the breaker. A response never does, nor what Envoy refuses to send: clients can cause
    /// both.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        matches!(self, Self::Connection | Self::Reset | Self::Timeout)
    }
}

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    allowed: Counter,
    denied: Counter,
    failed: Vec<(Reason, Counter)>,
    /// Requests that pass without a check.
    pub skipped: Counter,
    ambiguous: Counter,
    malformed: Counter,
    /// Responses from the cache.
    pub hits: Counter,
    /// Calls.
    pub misses: Counter,
    /// Requests that did not wait for the call of another one, as too many were waiting.
    pub uncoalesced: Counter,
    /// How long calls took.
    pub call_milliseconds: Histogram,
}

impl Metrics {
    /// The metrics of this plugin. Those of denials have other names in a dry run, which denies nothing.
    #[must_use]
    pub fn new(plugin: &str, mode: Mode) -> Self {
        let denied = if mode == Mode::DryRun { "shadow_denied_total" } else { "denied_total" };
        let counter = |rest: &str| Counter::new(metrics::name(plugin, rest));
        let failed = |reason: Reason| {
            (reason, Counter::new(metrics::component(plugin, reason.as_str(), "failed_total")))
        };
        Self {
            allowed: counter("allowed_total"),
            denied: counter(denied),
            failed: REASONS.into_iter().map(failed).collect(),
            skipped: counter("skipped_total"),
            ambiguous: Counter::new(metrics::component(plugin, "ambiguous", denied)),
            malformed: counter("malformed_total"),
            hits: counter("cache.hit.lookups_total"),
            misses: counter("cache.miss.lookups_total"),
            uncoalesced: counter("uncoalesced_total"),
            call_milliseconds: Histogram::new(metrics::name(plugin, "call_milliseconds")),
        }
    }

    /// Counts a request for which the service is not called.
    pub fn refusal(&self, refusal: Refusal) {
        match refusal {
            Refusal::Ambiguous(_) => self.ambiguous.increment(),
            Refusal::Malformed => self.malformed.increment(),
        }
    }

    /// Counts the outcome of one request.
    pub fn verdict(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Decided(CheckResponse::Allow { .. }) => self.allowed.increment(),
            Verdict::Decided(CheckResponse::Deny { .. }) => self.denied.increment(),
            Verdict::Failed(reason) => {
                if let Some((_, counter)) = self.failed.iter().find(|(known, _)| known == reason) {
                    counter.increment();
                }
            }
        }
    }
}
