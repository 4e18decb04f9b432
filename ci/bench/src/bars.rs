//! What must be true of the figures. Timings never fail a build: a bar is met or missed, and the document says which.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::report::Report;

const BARS: &str = include_str!("../bars.yaml");

/// A bar, as `bars.yaml` has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    figure: String,
    times: Option<f64>,
    more: Option<f64>,
    of: Option<String>,
    latency: Option<f64>,
}

/// A bar and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What is compared, in words.
    pub bar: String,
    /// At most.
    pub allowed: String,
    /// The figure.
    pub measured: String,
    /// Whether it is within the bar.
    pub met: bool,
}

/// Every bar whose figures this run has.
pub fn outcomes(report: &Report) -> Result<Vec<Outcome>> {
    Ok(bars()?.iter().filter_map(|bar| bar.outcome(report)).collect())
}

/// All bars.
pub fn bars() -> Result<Vec<Bar>> {
    serde_norway::from_str(BARS).context("ci/bench/bars.yaml")
}

impl Bar {
    /// Compares; `None` where the run has not measured what is compared.
    pub fn outcome(&self, report: &Report) -> Option<Outcome> {
        if let Some(allowed) = self.latency {
            let delayed = report.delayed.as_ref()?;
            let share = delayed.more.median / delayed.bare.median;
            return Some(Outcome {
                bar: format!("{}: average latency before an upstream of 5 ms", delayed.label),
                allowed: format!("{:+.1} %", allowed * 100.0),
                measured: format!("{:+.2} %", share * 100.0),
                met: share <= allowed,
            });
        }
        let (this, other) = (report.figure(&self.figure)?, report.figure(self.of.as_deref()?)?);
        let (this_cost, other_cost) = (this.cost.median, other.cost.median);
        let bar = format!("{} against {}", this.label, other.label);
        if let Some(allowed) = self.more {
            let more = this_cost - other_cost;
            let (allowed_text, measured) = (format!("{allowed:+.1} µs"), format!("{more:+.1} µs"));
            return Some(Outcome { bar, allowed: allowed_text, measured, met: more <= allowed });
        }
        let allowed = self.times?;
        let ratio = this_cost / other_cost;
        let (allowed_text, measured) = (format!("× {allowed:.1}"), format!("× {ratio:.2}"));
        Some(Outcome { bar, allowed: allowed_text, measured, met: ratio <= allowed })
    }
}
