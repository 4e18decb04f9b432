//! How long answers take at a steady rate.

use std::time::Duration;

use anyhow::Result;
use plugin_cases::Answer;

use crate::cpu::Cores;
use crate::load::{Target, paced};
use crate::progress::Progress;
use crate::report::{Delayed, Latency};
use crate::service;
use crate::stage::{Behind, Stage};
use crate::statistics::{Spread, at};
use crate::subject::Group;

/// Requests a second.
const RATE: u32 = 1_000;
/// What the upstream takes where plugins are compared with work.
const UPSTREAM: Duration = Duration::from_millis(5);
/// How often the chain and no filter take turns.
const TURNS: u32 = 20;

/// The latency of a listener, measured for that long.
pub fn latency(target: Target, long: Duration) -> Result<Latency> {
    let latencies = measured(target, long)?;
    Ok(Latency { p50: at(&latencies, 0.5), p99: at(&latencies, 0.99) })
}

/// What a chain of plugins adds before an upstream that takes its time.
pub fn delayed(chain: Group, long: Duration, cores: &Cores) -> Result<Delayed> {
    let label = chain.subjects[0].label.clone();
    let upstream = service::serve(&Answer::default(), UPSTREAM)?;
    let stage = Stage::set(&[chain], Behind::Upstream(upstream))?;
    cores.give(stage.envoy.process_id())?;
    let mean = |target| -> Result<f64> {
        let latencies = measured(target, long / TURNS)?;
        Ok(latencies.iter().sum::<f64>() / latencies.len() as f64)
    };
    let progress = Progress::start("latency before an upstream", TURNS as usize);
    let mut bare = vec![mean(stage.bare(0))?];
    let mut more = Vec::new();
    for _ in 0..TURNS {
        progress.step(&label);
        let chain = mean(stage.subject(0, 0))?;
        let before = bare[bare.len() - 1];
        let after = mean(stage.bare(0))?;
        more.push(chain - f64::midpoint(before, after));
        bare.push(after);
    }
    Ok(Delayed { upstream: micros(UPSTREAM), bare: Spread::of(bare), more: Spread::of(more), label })
}

/// Sorted, in microseconds, without the first tenth, in which connections are opened.
fn measured(target: Target, long: Duration) -> Result<Vec<f64>> {
    let requests = (long.as_secs_f64() * f64::from(RATE)) as usize;
    let mut latencies: Vec<f64> =
        paced(target, RATE, requests)?.into_iter().skip(requests / 10).map(micros).collect();
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
