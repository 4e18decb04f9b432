//! Metrics of a plugin itself: `wasm_filter.<plugin>.<rest>`, which Istio turns into a `wasm_filter` label.
//!
//! The host allocates an id at every definition, so each metric is defined once in a VM, when it is first used.

use std::cell::Cell;

use log::warn;
/// What [`define_metric`](hostcalls::define_metric) is told about a metric.
pub use proxy_wasm::types::MetricType;

use crate::hostcalls;

/// The full name of a plugin's metric; `plugin` is the directory's name.
#[must_use]
pub fn name(plugin: &str, rest: &str) -> String {
    ["wasm_filter.", &plugin.replace('-', "_"), ".", rest].concat()
}

/// The full name of a plugin's metric with a second dimension, which Istio turns into a `component` label.
///
/// The host keeps no dots in a label, so they become `_`.
#[must_use]
pub fn component(plugin: &str, component: &str, rest: &str) -> String {
    name(plugin, &["component.", &component.replace('.', "_"), ".", rest].concat())
}

/// The id of a metric, defined at first use. A host that refuses is asked once.
#[derive(Debug)]
struct Id {
    name: String,
    kind: MetricType,
    id: Cell<Option<Option<u32>>>,
}

impl Id {
    fn new(name: String, kind: MetricType) -> Self {
        Self { name, kind, id: Cell::new(None) }
    }

    fn get(&self) -> Option<u32> {
        if let Some(id) = self.id.get() {
            return id;
        }
        let id = match hostcalls::define_metric(self.kind, &self.name) {
            Ok(id) => Some(id),
            Err(refused) => {
                warn!("metric {} is not counted: {refused:?}", self.name);
                None
            }
        };
        self.id.set(Some(id));
        id
    }
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(Id);

impl Counter {
    /// A counter of this full name, which ends in `_total`.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self(Id::new(name, MetricType::Counter))
    }

    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// `amount` more. Zero is left out: the host refuses it.
    pub fn add(&self, amount: u32) {
        if amount > 0
            && let Some(id) = self.0.get()
        {
            let _ = hostcalls::increment_metric(id, amount.into());
        }
    }
}

/// A number that goes up and down; the host wraps below zero, so take away only what was added.
#[derive(Debug)]
pub struct Gauge(Id);

impl Gauge {
    /// A gauge of this full name.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self(Id::new(name, MetricType::Gauge))
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: i64) {
        if let Some(id) = self.0.get() {
            let _ = hostcalls::increment_metric(id, amount);
        }
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        if let Some(id) = self.0.get() {
            let _ = hostcalls::record_metric(id, value);
        }
    }
}

/// A distribution of whole numbers.
#[derive(Debug)]
pub struct Histogram(Id);

impl Histogram {
    /// A histogram of this full name, which ends in its unit.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self(Id::new(name, MetricType::Histogram))
    }

    /// Records one value.
    pub fn record(&self, value: u64) {
        if let Some(id) = self.0.get() {
            let _ = hostcalls::record_metric(id, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels_without_a_bootstrap_change() {
        assert_eq!(name("path-rewrite", "no_match_total"), "wasm_filter.path_rewrite.no_match_total");
        assert_eq!(
            component("path-rewrite", "v1.2", "matched_total"),
            "wasm_filter.path_rewrite.component.v1_2.matched_total"
        );
    }
}
