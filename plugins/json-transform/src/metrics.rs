//! The plugin's own metrics.

use plugin_kit::metrics::{self, Counter};

use crate::NAME;
use crate::patch::Failure;

/// The counters of a plugin.
pub struct Metrics {
    request: Vec<RuleMetrics>,
    response: Vec<RuleMetrics>,
    /// Bodies that were not JSON.
    pub parse_errors: Counter,
    /// Bodies over `maxBodyBytes`.
    pub too_large: Counter,
    /// Bodies of JSON that were compressed.
    pub encoded: Counter,
    /// Bodies that a rule is for and that cannot be transformed.
    pub unsupported: Counter,
    /// Bodies of requests that were given up.
    pub requests: BufferMetrics,
    /// Bodies of responses that were given up.
    pub responses: BufferMetrics,
    /// Messages that were refused.
    pub rejected: Counter,
}

/// Bodies of one direction that were given up before they had arrived.
pub struct BufferMetrics {
    /// To make room for others.
    pub exhausted: Counter,
    /// Because they took too long.
    pub timeouts: Counter,
}

struct RuleMetrics {
    name: String,
    applied: Counter,
    failed: Counter,
}

impl Metrics {
    /// The metrics of rules of these names.
    pub fn new<'a>(request: impl Iterator<Item = &'a str>, response: impl Iterator<Item = &'a str>) -> Self {
        let counter = |rest: &str| Counter::new(metrics::name(NAME, rest));
        Self {
            request: request.map(RuleMetrics::new).collect(),
            response: response.map(RuleMetrics::new).collect(),
            parse_errors: counter("parse_error_total"),
            too_large: counter("too_large_total"),
            encoded: counter("encoded_total"),
            unsupported: counter("unsupported_total"),
            requests: BufferMetrics::new("requests"),
            responses: BufferMetrics::new("responses"),
            rejected: counter("rejected_total"),
        }
    }

    /// Counts what came of a rule; its name.
    pub fn count(&self, is_request: bool, rule: usize, result: Result<(), Failure>) -> &str {
        let rules = if is_request { &self.request } else { &self.response };
        let Some(rule) = rules.get(rule) else { return "" };
        match result {
            Ok(()) => rule.applied.increment(),
            Err(_) => rule.failed.increment(),
        }
        &rule.name
    }
}

impl BufferMetrics {
    fn new(direction: &str) -> Self {
        let counter = |rest: &str| Counter::new(metrics::component(NAME, direction, rest));
        Self { exhausted: counter("buffer_exhausted_total"), timeouts: counter("body_timeout_total") }
    }
}

impl RuleMetrics {
    fn new(name: &str) -> Self {
        let counter = |rest: &str| Counter::new(metrics::component(NAME, name, rest));
        Self { name: name.to_owned(), applied: counter("applied_total"), failed: counter("failed_total") }
    }
}
