//! What the plugins cost: in one Envoy with one worker, beside Envoy's own filters, Lua and no filter.
//!
//! `docs/benchmarks.md` says how it is measured; a plugin's `tests/bench.yaml` says what.

pub mod bars;
pub mod cpu;
pub mod document;
pub mod footprint;
pub mod latency;
pub mod measure;
pub mod report;
pub mod run;
pub mod smoke;
pub mod stage;
pub mod statistics;
pub mod subject;
pub mod table;
pub mod variant;

mod connection;
mod expand;
mod load;
mod machine;
mod operations;
mod plot;
mod progress;
mod service;
