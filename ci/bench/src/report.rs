//! Everything that a run measured, as `docs/benchmarks.json` keeps it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::statistics::Spread;
use crate::subject::Kind;

/// A run.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where and with what.
    pub machine: Machine,
    /// How often each subject was measured.
    pub rounds: usize,
    /// What was measured; first what there is without a filter.
    pub figures: Vec<Figure>,
    /// Single operations.
    pub operations: Vec<Operation>,
    /// What modules weigh.
    pub modules: Vec<Module>,
    /// The chain of five plugins before an upstream that takes its time; absent where only some plugins were measured.
    pub delayed: Option<Delayed>,
}

/// Where it was measured, and with what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The day, as `2026-01-31`.
    pub date: String,
    /// The processor's name.
    pub processor: String,
    /// How many cores there are.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// Envoy's version.
    pub envoy: String,
    /// The compiler of the plugins.
    pub rustc: String,
}

/// A filter, or none, in figures.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// `plugin: variant`, `plugin: variant, counterpart`.
    pub label: String,
    /// What it is; absent: no filter.
    pub kind: Option<Kind>,
    /// CPU time of Envoy's worker for a request in microseconds, more than without a filter.
    pub cost: Spread,
    /// All of it, in microseconds.
    pub cpu: Spread,
    /// Requests a second, as many as there can be.
    pub rate: f64,
    /// At 1,000 requests a second.
    pub latency: Option<Latency>,
}

/// How long answers took, in microseconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half took less.
    pub p50: f64,
    /// One in a hundred took more.
    pub p99: f64,
}

/// What an operation costs, in nanoseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// What is done.
    pub name: String,
    /// In a module.
    pub wasm: f64,
    /// In a script, where a script can.
    pub lua: Option<f64>,
}

/// What a module weighs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Module {
    /// The plugin.
    pub name: String,
    /// Size in KiB.
    pub kib: f64,
    /// CPU time of `envoy --mode validate` in milliseconds, more than without the plugin.
    pub compile: f64,
    /// Memory of a worker in KiB, more than without the plugin.
    pub memory: f64,
}

/// Average latencies before an upstream that takes its time, in microseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delayed {
    /// What the upstream takes.
    pub upstream: f64,
    /// Without a filter, of each turn.
    pub bare: Spread,
    /// What the chain adds, of each turn: the average with it, less the averages without before and after.
    pub more: Spread,
    /// The chain's name among the figures.
    pub label: String,
}

impl Report {
    /// The figure of this name.
    pub fn figure(&self, label: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.label == label)
    }

    /// Reads what [`Report::write`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}", path.display()))
    }

    /// Writes it, readable.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
