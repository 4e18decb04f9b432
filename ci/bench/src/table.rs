//! The figures as Markdown.

use crate::bars::Outcome;
use crate::report::{Figure, Report};

/// Met or missed.
pub fn bars(outcomes: &[Outcome]) -> String {
    let mut table = String::from("| | at most | measured | |\n|---|---|---|---|\n");
    for Outcome { bar, allowed, measured, met } in outcomes {
        let verdict = if *met { "met" } else { "**missed**" };
        table.push_str(&format!("| {bar} | {allowed} | {measured} | {verdict} |\n"));
    }
    table
}

/// CPU time, requests a second, latency.
pub fn figures(report: &Report) -> String {
    let mut table = String::from(
        "| | µs of CPU more | middle half | requests/s | p50 µs | p99 µs |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for figure in report.figures.iter() {
        let Figure { label, cost, rate, latency, .. } = figure;
        let (p50, p99) = latency.map_or((String::new(), String::new()), |latency| {
            (format!("{:.0}", latency.p50), format!("{:.0}", latency.p99))
        });
        table.push_str(&format!(
            "| {label} | {:.1} | {:.1} to {:.1} | {rate:.0} | {p50} | {p99} |\n",
            cost.median, cost.low, cost.high
        ));
    }
    table
}

/// Single operations.
pub fn operations(report: &Report) -> String {
    let mut table = String::from("| | Wasm ns | Lua ns |\n|---|---:|---:|\n");
    for operation in &report.operations {
        let lua = operation.lua.map_or("—".into(), |lua| format!("{lua:.0}"));
        table.push_str(&format!("| {} | {:.0} | {lua} |\n", operation.name, operation.wasm));
    }
    table
}

/// What modules weigh.
pub fn modules(report: &Report) -> String {
    let mut table = String::from("| | KiB | ms to load | KiB a worker |\n|---|---:|---:|---:|\n");
    for module in &report.modules {
        table.push_str(&format!(
            "| {} | {:.0} | {:.0} | {:.0} |\n",
            module.name, module.kib, module.compile, module.memory
        ));
    }
    table
}

/// Where it was measured, and with what.
pub fn machine(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "{}: {}, {} cores, {}, Envoy {}, {}; {} rounds.\n",
        machine.date,
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.envoy,
        machine.rustc,
        report.rounds
    )
}
