//! Names that would corrupt each other: of metrics, and of labels.
//!
//! A label is cut out of a metric's name by a regular expression, and Istio's, `(NAME=\.=(.*?);\.;)`, is not anchored:
//! it finds `method` in `request_method` too. So such names are refused here, before they reach Prometheus.

use plugin_kit::config::{At, ConfigError, quoted};

use crate::config::{Kind, Metric};

/// Labels that Istio's bootstrap, or Prometheus, has already.
const RESERVED: [&str; 5] = ["le", "cache", "component", "tag", "wasm_filter"];

/// The prefixes of other metrics of a proxy, and their owners.
const OTHERS: [(&str, &str); 3] =
    [("wasm_filter", "these plugins'"), ("istio_", "Istio's"), ("envoy_", "Envoy's")];

/// This plugin's own metrics as Prometheus names them, without their labels.
const OWN: [&str; 4] = ["series", "overflowed_total", "skipped_total", "undecided_total"];

/// The one pair of a name and its suffix that is allowed, in metrics that have both. A series names its labels with the
/// shorter one first, so that the expression for `status` finds its own before the end of `grpc_status`.
const TOGETHER: (&str, &str) = ("status", "grpc_status");

/// Checks every name of the configuration.
///
/// # Errors
/// Where a name is malformed, or would be taken for another one.
pub fn check(metrics: &[Metric]) -> Result<(), ConfigError> {
    for (index, metric) in metrics.iter().enumerate() {
        let earlier = metrics.get(..index).unwrap_or_default();
        check_metric(metric, earlier).at("name").at_index(index).at("metrics")?;
        for (name, _) in &metric.labels.0 {
            check_label(name, metric, metrics).at(name).at("labels").at_index(index).at("metrics")?;
        }
    }
    Ok(())
}

fn refuse(message: String) -> Result<(), ConfigError> {
    Err(ConfigError::new(message))
}

fn check_metric(metric: &Metric, earlier: &[Metric]) -> Result<(), ConfigError> {
    let name = metric.name.as_str();
    if !is_name(name) {
        return refuse(format!("{} is not a metric's name: [a-zA-Z_][a-zA-Z0-9_]*", quoted(name)));
    }
    if let Some((start, whose)) = OTHERS.iter().find(|(start, _)| name.starts_with(start)) {
        return refuse(format!("{} must not begin with {start}, as {whose} own metrics do", quoted(name)));
    }
    if OWN.contains(&name) {
        return refuse(format!("{} is the name of one of this plugin's own metrics", quoted(name)));
    }
    let is_total = name.ends_with("_total");
    match metric.kind {
        Kind::Counter if !is_total => {
            return refuse(format!("{} is a counter, so it must end in _total", quoted(name)));
        }
        Kind::Gauge | Kind::Histogram if is_total => {
            return refuse(format!("{} is no counter, so it must not end in _total", quoted(name)));
        }
        _ => {}
    }
    for (index, other) in earlier.iter().enumerate() {
        if other.name == name {
            return refuse(format!("{} is the name of metrics[{index}] already", quoted(name)));
        }
        if let Some(histogram) = part(metric, other).or_else(|| part(other, metric)) {
            return refuse(format!(
                "{} and {} collide: the histogram {} has _bucket, _sum and _count",
                quoted(name),
                quoted(&other.name),
                quoted(histogram)
            ));
        }
    }
    Ok(())
}

/// The name of `whole`, a histogram, if `metric` has the name of one of its parts.
fn part<'a>(metric: &Metric, whole: &'a Metric) -> Option<&'a str> {
    let rest = metric.name.strip_prefix(whole.name.as_str())?;
    (whole.kind == Kind::Histogram && ["_bucket", "_sum", "_count"].contains(&rest))
        .then_some(whole.name.as_str())
}

fn check_label(name: &str, metric: &Metric, metrics: &[Metric]) -> Result<(), ConfigError> {
    if !is_name(name) || name.starts_with("__") {
        return refuse(format!(
            "{} is not a label's name: [a-zA-Z_][a-zA-Z0-9_]*, and not two _ at the start",
            quoted(name)
        ));
    }
    for reserved in RESERVED {
        if name == reserved {
            return refuse(format!("{} is a label that Istio or Prometheus has already", quoted(name)));
        }
        if name.ends_with(reserved) || reserved.ends_with(name) {
            return refuse(collision(name, reserved));
        }
    }
    let has = |metric: &Metric, wanted: &str| metric.labels.0.iter().any(|(name, _)| name == wanted);
    for other in metrics.iter().flat_map(|metric| &metric.labels.0).map(|(name, _)| name.as_str()) {
        let is_suffix = other != name && name.ends_with(other);
        if is_suffix && !((other, name) == TOGETHER && has(metric, other)) {
            return refuse(collision(name, other));
        }
    }
    Ok(())
}

fn collision(one: &str, other: &str) -> String {
    let (longer, shorter) = if one.len() > other.len() { (one, other) } else { (other, one) };
    format!(
        "{} ends in {}: Istio would find the label {1} in {0}, so rename one of them",
        quoted(longer),
        quoted(shorter)
    )
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Label, Labels};

    fn metric(kind: Kind, name: &str, labels: &[&str]) -> Metric {
        Metric {
            name: name.into(),
            kind,
            matches: Default::default(),
            when: Default::default(),
            value: "one".into(),
            labels: Labels(labels.iter().map(|name| ((*name).to_owned(), Label::default())).collect()),
            max_series: None,
        }
    }

    fn labels(labels: &[&str]) -> Result<(), String> {
        check(&[metric(Kind::Counter, "a_total", labels)]).map_err(|error| error.to_string())
    }

    #[test]
    fn names_that_stand_apart_pass() {
        for names in [
            &["route", "method", "status", "grpc_status", "tenant", "plan", "version", "ab"][..],
            &["status_class", "status"],
            &["_a", "a1"],
        ] {
            assert_eq!(labels(names), Ok(()), "{names:?}");
        }
        let metrics = [
            metric(Kind::Counter, "a_total", &["route"]),
            metric(Kind::Histogram, "a_milliseconds", &["route"]),
            metric(Kind::Gauge, "a_active", &[]),
        ];
        assert_eq!(check(&metrics), Ok(()));
    }

    #[test]
    fn a_label_that_would_be_found_in_another_is_refused() {
        for (names, longer, shorter) in [
            (&["method", "request_method"][..], "request_method", "method"),
            (&["xroute", "route"], "xroute", "route"),
            (&["role"], "role", "le"),
            (&["title"], "title", "le"),
            (&["mytag"], "mytag", "tag"),
            (&["app_component"], "app_component", "component"),
            (&["e"], "le", "e"),
            (&["filter"], "wasm_filter", "filter"),
            (&["grpc_status", "http_status", "status"], "http_status", "status"),
        ] {
            let error = labels(names).unwrap_err();
            let collision = format!("{longer:?} ends in {shorter:?}");
            assert!(error.contains(&collision), "{names:?}: {error}");
        }
    }

    #[test]
    fn labels_of_different_metrics_collide_too() {
        let metrics = [
            metric(Kind::Counter, "a_total", &["grpc_status"]),
            metric(Kind::Counter, "b_total", &["status"]),
        ];
        assert!(check(&metrics).unwrap_err().to_string().starts_with("metrics[0].labels.grpc_status: "));
    }

    #[test]
    fn a_histogram_takes_three_more_names() {
        for name in ["h_bucket", "h_sum", "h_count"] {
            let metrics = [metric(Kind::Histogram, "h", &[]), metric(Kind::Gauge, name, &[])];
            assert!(check(&metrics).is_err(), "{name}");
            let [first, second] = metrics;
            assert!(check(&[second, first]).is_err(), "{name}");
        }
    }
}
