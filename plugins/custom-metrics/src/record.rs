//! What is recorded of a request: compiled from the configuration, observed when the request begins, recorded once,
//! when it ends.

use std::collections::BTreeSet;

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::hostcalls::{self, Bytes};
use plugin_kit::matching::Condition;
use plugin_kit::metrics::{self, Counter, Gauge, MetricType};
use plugin_kit::request::Request;
use plugin_kit::status::Statuses;

use crate::config::{self, Config, Kind};
use crate::labels::{Origin, Value, constant};
use crate::outcome::Outcome;
use crate::route::Routes;
use crate::series::{self, Bound, Name, Series};
use crate::{NAME, names};

/// The largest number that Prometheus, which has doubles, can tell from the next one.
const MOST: u64 = 1 << 53;
const MAX_SERIES: u32 = 10_000;

/// Everything that is recorded.
pub struct Plan {
    routes: Routes,
    max_label_length: usize,
    missing: String,
    /// The values of all labels of all metrics, each once.
    values: Vec<Value>,
    metrics: Vec<Metric>,
    /// Whether every request is asked for two headers or more: all at once are cheaper.
    wants_headers: bool,
    undecided: Counter,
}

struct Metric {
    name: String,
    kind: Kind,
    condition: Condition,
    statuses: Option<Statuses>,
    amount: Amount,
    /// Label names with indexes of `Plan::values`; a name that is the end of another one comes before it.
    labels: Vec<(String, usize)>,
    has_route: bool,
    series: Series,
    overflowed: Counter,
    skipped: Counter,
    count: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Amount {
    One,
    RequestDuration,
    RequestSize,
    ResponseSize,
    ActiveRequests,
    From(Origin),
}

/// A request, as it was when it began.
pub struct Seen {
    request: Request,
    metrics: Vec<SeenMetric>,
    /// The labels that are known, by the indexes of `Plan::values`.
    labels: Vec<Option<String>>,
    /// The route is not one of the templates.
    is_guessed: bool,
    /// The gauges that count this request.
    active: Vec<u32>,
}

#[derive(Clone, Default)]
struct SeenMetric {
    is_meant: bool,
    /// Where it comes from the request.
    amount: Option<Bytes>,
}

/// What would be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The series, by its name with labels.
    pub series: Name,
    /// The amount; `None` where there is no whole number to record.
    pub amount: Option<u64>,
    index: usize,
    metric: &'a str,
}

impl Plan {
    /// Compiles the configuration.
    ///
    /// # Errors
    /// Points at what is wrong.
    pub fn compile(config: &Config) -> Result<Self, ConfigError> {
        let defaults = &config.defaults;
        check_defaults(defaults).at("defaults")?;
        names::check(&config.metrics)?;
        let mut plan = Self {
            routes: Routes::compile(&config.paths)?,
            max_label_length: defaults.max_label_length,
            missing: defaults.missing.clone(),
            values: Vec::new(),
            metrics: Vec::new(),
            wants_headers: false,
            undecided: Counter::new(metrics::name(NAME, "undecided_total")),
        };
        for (index, metric) in config.metrics.iter().enumerate() {
            let metric = plan.metric(metric, defaults).at_index(index).at("metrics")?;
            plan.metrics.push(metric);
        }
        let always = plan.metrics.iter().filter(|metric| metric.condition.is_always());
        let labels = always.flat_map(|metric| &metric.labels);
        let headers = labels.filter_map(|(_, index)| plan.values.get(*index)?.header());
        plan.wants_headers = headers.collect::<BTreeSet<_>>().len() > 1;
        Ok(plan)
    }

    fn metric(
        &mut self,
        metric: &config::Metric,
        defaults: &config::Defaults,
    ) -> Result<Metric, ConfigError> {
        let amount = Amount::compile(metric).at("value")?;
        let statuses = match &metric.when.statuses {
            Some(statuses) => Some(Statuses::compile(statuses).at("statuses").at("when")?),
            None => None,
        };
        let early = amount == Amount::ActiveRequests;
        if early && statuses.is_some() {
            let late =
                "is known only with the response, and activeRequests is counted when the request begins";
            return Err(ConfigError::new(late)).at("statuses").at("when");
        }
        // Always in the same order, as a series is its name. Shorter ones first: see `names`.
        let mut labels: Vec<(String, usize)> = Vec::new();
        for (name, label) in &metric.labels.0 {
            let value = Value::compile(label, early).at(name).at("labels")?;
            let before = |known: &(String, usize)| (known.0.len(), &known.0) < (name.len(), name);
            labels.insert(labels.partition_point(before), (name.clone(), self.index_of(value)));
        }
        let max_series = metric.max_series.unwrap_or(defaults.max_series);
        check_max_series(max_series).at("maxSeries")?;
        let names: Vec<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
        let has_route = labels
            .iter()
            .any(|(_, index)| self.values.get(*index).is_some_and(|value| *value == Value::Route));
        let bound = Bound::new(max_series, has_route && self.routes.are_mixed());
        let own = |rest: &str| metrics::component(NAME, &metric.name, rest);
        Ok(Metric {
            name: metric.name.clone(),
            kind: metric.kind,
            condition: metric.matches.compile().at("match")?,
            statuses,
            amount,
            series: Series::new(
                &metric.name,
                metric_type(metric.kind),
                &names,
                &defaults.overflow_value,
                bound,
            ),
            labels,
            has_route,
            overflowed: Counter::new(own("overflowed_total")),
            skipped: Counter::new(own("skipped_total")),
            count: Gauge::new(own("series")),
        })
    }

    fn index_of(&mut self, value: Value) -> usize {
        let known = self.values.iter().position(|known| *known == value);
        known.unwrap_or_else(|| {
            self.values.push(value);
            self.values.len().saturating_sub(1)
        })
    }

    /// Reads of the request what is recorded of it when it ends.
    pub fn observe(&self, request: Request) -> Seen {
        if self.wants_headers {
            request.all_headers();
        }
        let mut seen = Seen {
            request,
            metrics: Vec::with_capacity(self.metrics.len()),
            labels: vec![None; self.values.len()],
            is_guessed: false,
            active: Vec::new(),
        };
        for metric in &self.metrics {
            let is_meant = metric.condition.matches(&seen.request);
            let mut amount = None;
            if is_meant {
                for (_, index) in &metric.labels {
                    self.read_ahead(&mut seen, *index);
                }
                if let Amount::From(origin) = &metric.amount
                    && origin.is_early()
                {
                    amount = origin.value(&seen.request);
                }
            }
            seen.metrics.push(SeenMetric { is_meant, amount });
        }
        seen
    }

    fn read_ahead(&self, seen: &mut Seen, index: usize) {
        match self.values.get(index) {
            Some(value) if value.is_early() => self.label(seen, &Outcome::default(), index),
            Some(value) => value.read_ahead(&seen.request),
            None => {}
        }
    }

    /// Counts the request as active.
    pub fn begin(&self, seen: &mut Seen) {
        for (index, metric) in self.metrics.iter().enumerate() {
            let is_meant = seen.metrics.get(index).is_some_and(|seen| seen.is_meant);
            if is_meant && metric.amount == Amount::ActiveRequests {
                let series = self.series(metric, seen, &Outcome::default());
                if let Some(id) = self.find(metric, &series)
                    && hostcalls::increment_metric(id, 1).is_ok()
                {
                    seen.active.push(id);
                }
            }
        }
    }

    /// What is to be recorded of a request that has ended.
    pub fn records<'a>(&'a self, seen: &mut Seen, outcome: &Outcome) -> Vec<Record<'a>> {
        let mut records = Vec::with_capacity(self.metrics.len());
        for (index, metric) in self.metrics.iter().enumerate() {
            let seen_metric = seen.metrics.get(index).cloned().unwrap_or_default();
            let is_meant = seen_metric.is_meant
                && metric
                    .statuses
                    .as_ref()
                    .is_none_or(|statuses| outcome.status().is_some_and(|status| statuses.has(status)));
            if is_meant && metric.amount != Amount::ActiveRequests {
                let amount = metric.amount.of(&seen.request, seen_metric.amount, outcome);
                let series = self.series(metric, seen, outcome);
                records.push(Record { series, amount, index, metric: &metric.name });
            }
        }
        records
    }

    /// Records it.
    pub fn record(&self, record: &Record<'_>) {
        let Some(metric) = self.metrics.get(record.index) else { return };
        let Some(amount) = record.amount else {
            metric.skipped.increment();
            return;
        };
        let Some(id) = self.find(metric, &record.series) else { return };
        let _ = match metric.kind {
            // The host refuses to add nothing.
            Kind::Counter if amount == 0 => Ok(()),
            Kind::Counter => hostcalls::increment_metric(id, amount.min(MOST).cast_signed()),
            Kind::Gauge | Kind::Histogram => hostcalls::record_metric(id, amount),
        };
    }

    /// No longer counts the request as active.
    pub fn end(&self, seen: &mut Seen) {
        for id in seen.active.drain(..) {
            let _ = hostcalls::increment_metric(id, -1);
        }
    }

    fn find(&self, metric: &Metric, series: &Name) -> Option<u32> {
        let found = metric.series.find(series);
        if let Some(count) = found.count {
            metric.count.set(u64::try_from(count).unwrap_or(u64::MAX));
        }
        if found.overflowed {
            metric.overflowed.increment();
        }
        if found.undecided {
            self.undecided.increment();
        }
        found.id
    }

    fn series(&self, metric: &Metric, seen: &mut Seen, outcome: &Outcome) -> Name {
        for (_, index) in &metric.labels {
            self.label(seen, outcome, *index);
        }
        let label = |index: usize| seen.labels.get(index).and_then(Option::as_deref).unwrap_or_default();
        Name {
            text: series::name(
                &metric.name,
                metric.labels.iter().map(|(name, index)| (name.as_str(), label(*index))),
            ),
            is_guessed: metric.has_route && seen.is_guessed,
        }
    }

    /// Makes a label known.
    fn label(&self, seen: &mut Seen, outcome: &Outcome, index: usize) {
        if let (Some(value), Some(label @ None)) = (self.values.get(index), seen.labels.get_mut(index)) {
            let (text, is_guessed) =
                value.label(&self.routes, &seen.request, outcome, self.max_label_length, &self.missing);
            *label = Some(text);
            seen.is_guessed |= is_guessed;
        }
    }
}

impl std::fmt::Display for Record<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "metric={} series={}", self.metric, self.series.text)?;
        match self.amount {
            Some(amount) => write!(formatter, " value={amount}"),
            None => formatter.write_str(" value=none"),
        }
    }
}

fn metric_type(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    }
}

fn check_max_series(max_series: u32) -> Result<(), ConfigError> {
    if (1..=MAX_SERIES).contains(&max_series) {
        return Ok(());
    }
    Err(ConfigError::new(format!("must be from 1 to {MAX_SERIES}, not {max_series}")))
}

fn check_defaults(defaults: &config::Defaults) -> Result<(), ConfigError> {
    check_max_series(defaults.max_series).at("maxSeries")?;
    let max = defaults.max_label_length;
    if !(8..=1024).contains(&max) {
        let message = format!("must be from 8 to 1024, not {max}");
        return Err(ConfigError::new(message)).at("maxLabelLength");
    }
    constant(&defaults.overflow_value, max).at("overflowValue")?;
    constant(&defaults.missing, max).at("missing")
}

impl Amount {
    fn compile(metric: &config::Metric) -> Result<Self, ConfigError> {
        let amount = match metric.value.as_str() {
            "one" => Self::One,
            "requestDuration" => Self::RequestDuration,
            "requestSize" => Self::RequestSize,
            "responseSize" => Self::ResponseSize,
            "activeRequests" => Self::ActiveRequests,
            text if text.contains(':') || Origin::new(text).is_ok() => Self::From(Origin::new(text)?),
            text => {
                return Err(ConfigError::new(format!(
                    "{} is none of one, requestDuration, requestSize, responseSize, activeRequests, nor a value \
                     source such as header:x-cost",
                    quoted(text)
                )));
            }
        };
        let refused = match (metric.kind, &amount) {
            (Kind::Counter | Kind::Histogram, Self::ActiveRequests) => "activeRequests is for a gauge",
            (Kind::Gauge, Self::One) => "a gauge that is always one says nothing; there is activeRequests",
            (Kind::Histogram, Self::One) => "a histogram of ones says nothing; there is requestDuration",
            _ => return Ok(amount),
        };
        Err(ConfigError::new(refused))
    }

    fn of(&self, request: &Request, early: Option<Bytes>, outcome: &Outcome) -> Option<u64> {
        match self {
            Self::One | Self::ActiveRequests => Some(1),
            Self::RequestDuration => outcome.duration(),
            Self::RequestSize => outcome.request_size(),
            Self::ResponseSize => outcome.response_size(),
            Self::From(origin) if origin.is_early() => whole(&early?),
            Self::From(origin) => whole(&origin.value(request)?),
        }
    }
}

/// The whole number that a text is, if it is one that doubles can hold.
fn whole(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number <= MOST).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_one_that_a_double_can_hold() {
        for (text, expected) in [
            ("0", Some(0)),
            ("42", Some(42)),
            ("9007199254740992", Some(MOST)),
            ("9007199254740993", None),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.5", None),
            ("1e3", None),
            (" 1", None),
            ("", None),
        ] {
            assert_eq!(whole(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(whole(b"\xff"), None);
    }
}
