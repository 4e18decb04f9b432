//! A whole run.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{Plugin, plugins};

use crate::cpu::Cores;
use crate::footprint::weigh;
use crate::latency::{delayed, latency};
use crate::measure::{Samples, measure};
use crate::operations::{NOTHING, OPERATIONS, TIMES, lua_label, wasm_label};
use crate::progress::Progress;
use crate::report::{Figure, Machine, Operation, Report};
use crate::stage::{Behind, Stage};
use crate::statistics::Spread;
use crate::subject::{FIVE_PLUGINS, Group, Kind, groups};

/// How long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often every subject is measured.
    pub rounds: usize,
    /// How long each one's latency is.
    pub latency: Duration,
    /// How long the latency before an upstream is, of the chain.
    pub delayed: Duration,
}

impl Effort {
    /// About ten minutes.
    pub const FULL: Self =
        Self { rounds: 60, latency: Duration::from_secs(2), delayed: Duration::from_secs(60) };
    /// About two minutes.
    pub const QUICK: Self =
        Self { rounds: 10, latency: Duration::from_millis(500), delayed: Duration::from_secs(20) };
}

/// Measures these plugins, or everything.
pub fn run(only: &[String], effort: Effort) -> Result<Report> {
    let machine = Machine::here()?;
    let cores = Cores::part()?;
    let groups = groups(only)?;
    let (figures, operations) = figures(&groups, effort, &cores)?;
    let chain = groups.into_iter().find(|group| group.variant.name == FIVE_PLUGINS);
    Ok(Report {
        machine,
        rounds: effort.rounds,
        figures,
        operations,
        modules: weigh(&weighed(only)?)?,
        delayed: chain.map(|chain| delayed(chain, effort.delayed, &cores)).transpose()?,
    })
}

fn weighed(only: &[String]) -> Result<Vec<Plugin>> {
    if only.is_empty() {
        return Ok([Plugin::named("template")?].into_iter().chain(plugins()?).collect());
    }
    only.iter().map(|name| Plugin::named(name)).collect()
}

fn figures(groups: &[Group], effort: Effort, cores: &Cores) -> Result<(Vec<Figure>, Vec<Operation>)> {
    let stage = Stage::set(groups, Behind::DirectResponse)?;
    cores.give(stage.envoy.process_id())?;
    let samples = measure(&stage, groups, effort.rounds)?;
    let mut figures = Vec::new();
    if let Some(first) = samples.first() {
        figures.push(without_filter(first, latency(stage.bare(0), effort.latency)?));
    }
    let progress = Progress::start("latency", groups.iter().map(|group| group.subjects.len()).sum());
    for (index, group) in groups.iter().enumerate() {
        for (number, subject) in group.subjects.iter().enumerate() {
            progress.step(&subject.label);
            let latency = match subject.kind {
                Kind::Operation => None,
                _ => Some(latency(stage.subject(index, number), effort.latency)?),
            };
            let slices = &samples[index].subjects[number];
            figures.push(Figure {
                label: subject.label.clone(),
                kind: Some(subject.kind),
                cost: Spread::of(slices.iter().map(|(slice, bare)| slice.cpu - bare).collect()),
                cpu: Spread::of(slices.iter().map(|(slice, _)| slice.cpu).collect()),
                rate: Spread::of(slices.iter().map(|(slice, _)| slice.rate).collect()).median,
                latency,
            });
        }
    }
    let deaths = stage.envoy.deaths()?;
    ensure!(deaths.is_empty(), "a VM died:\n{}", deaths.join("\n"));
    let operations = operations(&figures);
    figures.retain(|figure| figure.kind != Some(Kind::Operation));
    Ok((figures, operations))
}

fn without_filter(samples: &Samples, latency: crate::report::Latency) -> Figure {
    Figure {
        label: "no filter".into(),
        kind: None,
        cost: Spread::default(),
        cpu: Spread::of(samples.bare.iter().map(|slice| slice.cpu).collect()),
        rate: Spread::of(samples.bare.iter().map(|slice| slice.rate).collect()).median,
        latency: Some(latency),
    }
}

/// What an operation costs once: of the requests that do it many times, and those that do nothing as often.
fn operations(figures: &[Figure]) -> Vec<Operation> {
    let cost =
        |label: &str| figures.iter().find(|figure| figure.label == label).map(|figure| figure.cost.median);
    let once = |label: &str, nothing: &str| Some((cost(label)? - cost(nothing)?) * 1e3 / f64::from(TIMES));
    let operations = OPERATIONS.iter().filter(|(id, ..)| *id != NOTHING);
    let operation = |(id, name, _): &(&str, &str, bool)| {
        Some(Operation {
            name: (*name).into(),
            wasm: once(&wasm_label(id), &wasm_label(NOTHING))?,
            lua: once(&lua_label(id), &lua_label(NOTHING)),
        })
    };
    operations.filter_map(operation).collect()
}
