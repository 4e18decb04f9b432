//! The plugin's own metrics.

use plugin_kit::metrics::{self, Counter, Histogram};

use crate::authorizer::Verdict;
use crate::check_response::CheckResponse;

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The proxy did not send the question: the cluster is unknown, or has no endpoint.
    Refused,
    /// The connection broke.
    Reset,
    /// It took too long, or the answer was 504.
    Timeout,
    /// The answer was of 500 to 599, or no HTTP status that decides: the service, or Envoy in its place.
    Status,
    /// The service failed too often of late.
    Breaker,
    /// A dry run asks too much at a time.
    Busy,
}

const REASONS: [Reason; 6] =
    [Reason::Refused, Reason::Reset, Reason::Timeout, Reason::Status, Reason::Breaker, Reason::Busy];

impl Reason {
    /// For metrics, logs and `%RESPONSE_CODE_DETAILS%`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Breaker => "breaker",
            Self::Busy => "busy",
        }
    }
}

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    allowed: Counter,
    denied: Counter,
    failed: Vec<(Reason, Counter)>,
    /// Requests that the service is not asked about.
    pub skipped: Counter,
    /// Requests that cannot be asked about.
    pub malformed: Counter,
    /// ResponseHeaders out of the cache.
    pub hits: Counter,
    /// Calls.
    pub misses: Counter,
    /// Requests that called although others had called for the same key, as too many were waiting.
    pub uncoalesced: Counter,
    /// How long calls took.
    pub call_milliseconds: Histogram,
}

impl Metrics {
    /// The metrics of this plugin.
    #[must_use]
    pub fn new(plugin: &str) -> Self {
        let counter = |rest: &str| Counter::new(metrics::name(plugin, rest));
        let failed = |reason: Reason| {
            (reason, Counter::new(metrics::component(plugin, reason.as_str(), "failed_total")))
        };
        Self {
            allowed: counter("allowed_total"),
            denied: counter("denied_total"),
            failed: REASONS.into_iter().map(failed).collect(),
            skipped: counter("skipped_total"),
            malformed: counter("malformed_total"),
            hits: counter("cache.hit.lookups_total"),
            misses: counter("cache.miss.lookups_total"),
            uncoalesced: counter("uncoalesced_total"),
            call_milliseconds: Histogram::new(metrics::name(plugin, "call_milliseconds")),
        }
    }

    /// Counts what came of one request.
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
