//! What a module weighs: on disk, when it is compiled, in a worker.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use harness::{Bootstrap, Listener, Plugin, validate};
use serde_json::Value;

use crate::progress::Progress;
use crate::report::Module;
use crate::statistics::Spread;

/// How often Envoy is started for each figure; the median counts.
const TIMES: usize = 3;
/// The workers beside the first, among which memory is divided.
const WORKERS: u32 = 8;

/// Weighs these plugins with their examples.
pub fn weigh(plugins: &[Plugin]) -> Result<Vec<Module>> {
    let progress = Progress::start("modules", plugins.len() + 1);
    progress.step("no filter");
    let without = Weight::of(None)?;
    let mut modules = Vec::new();
    for plugin in plugins {
        progress.step(&plugin.name);
        let module = plugin.module()?;
        let config = plugin.example()?;
        let filter = plugin.filter(&plugin.name, &config)?;
        let with = Weight::of(Some(&filter))?;
        modules.push(Module {
            name: plugin.name.clone(),
            kib: size(&module)?,
            compile: with.compile - without.compile,
            memory: with.memory - without.memory,
        });
    }
    Ok(modules)
}

struct Weight {
    /// Milliseconds until Envoy is configured.
    compile: f64,
    /// KiB that a worker takes.
    memory: f64,
}

impl Weight {
    fn of(filter: Option<&Value>) -> Result<Self> {
        let median = |figure: fn(Option<&Value>) -> Result<f64>| -> Result<f64> {
            let figures: Result<Vec<f64>> = (0..TIMES).map(|_| figure(filter)).collect();
            Ok(Spread::of(figures?).median)
        };
        Ok(Self { compile: median(compile)?, memory: median(memory)? })
    }
}

fn compile(filter: Option<&Value>) -> Result<f64> {
    let nothing = serde_json::json!({
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
        },
    });
    let start = Instant::now();
    match validate(filter.unwrap_or(&nothing), &[])? {
        Ok(()) => Ok(start.elapsed().as_secs_f64() * 1e3),
        Err(errors) => bail!("refused: {}", errors.join("; ")),
    }
}

fn memory(filter: Option<&Value>) -> Result<f64> {
    let resident = |workers| -> Result<f64> {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let listener = filter
            .into_iter()
            .fold(Listener::new("weight"), |listener, filter| listener.filter(filter.clone()));
        let bootstrap = Bootstrap::new().concurrency(workers).cluster("upstream", nowhere).listener(listener);
        Ok(bootstrap.start()?.resident_kib()? as f64)
    };
    Ok((resident(1 + WORKERS)? - resident(1)?) / f64::from(WORKERS))
}

fn size(module: &Path) -> Result<f64> {
    Ok(fs::metadata(module).with_context(|| module.display().to_string())?.len() as f64 / 1024.0)
}
