//! Every plugin's `tests/cases.yaml` in one Envoy: a listener for each group.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use plugin_cases::{Case, Failure, Group, Host};
use serde_json::Value;

use crate::bootstrap::{Bootstrap, Listener};
use crate::client::Client;
use crate::render::WasmPlugin;
use crate::services::Services;
use crate::upstream::Upstream;
use crate::workspace::{Plugin, another, plugins};

/// What came of the cases.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Plugins that have cases.
    pub plugins: usize,
    /// Configurations.
    pub groups: usize,
    /// Cases that were run.
    pub cases: usize,
    /// Cases for the other host, each with its reason.
    pub skipped: Vec<String>,
    /// What was not as expected, readable.
    pub failures: Vec<String>,
    /// The end of Envoy's log, where something failed.
    pub log: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plugins, groups, cases, skipped, failures, log } = self;
        writeln!(
            formatter,
            "{cases} cases in {groups} groups of {plugins} plugins: {} failed, {} skipped",
            failures.len(),
            skipped.len()
        )?;
        skipped.iter().try_for_each(|skipped| writeln!(formatter, "- {skipped}"))?;
        failures.iter().try_for_each(|failure| writeln!(formatter, "{failure}"))?;
        formatter.write_str(log)
    }
}

struct Prepared {
    label: String,
    filter: WasmPlugin,
    module: std::path::PathBuf,
    group: Group,
}

/// Runs the cases of every plugin.
pub fn run_all() -> Result<Summary> {
    run(&plugins()?)
}

/// Runs the cases of these plugins.
pub fn run(plugins: &[Plugin]) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut groups = Vec::new();
    let modules = tempfile::tempdir()?;
    for plugin in plugins.iter().filter(|plugin| plugin.cases_yaml().is_file()) {
        summary.plugins += 1;
        groups.extend(prepare(plugin, modules.path()).with_context(|| plugin.name.clone())?);
    }
    summary.groups = groups.len();
    if groups.is_empty() {
        return Ok(summary);
    }
    let upstream = Upstream::start()?;
    let services = Services::start(groups.iter().flat_map(|prepared| &prepared.group.cases))?;
    let mut bootstrap = services.clusters(Bootstrap::new().cluster("upstream", upstream.address()));
    for Prepared { label, filter, module, .. } in &groups {
        bootstrap = bootstrap.listener(Listener::new(label).discovered(filter.filter(module)));
    }
    let envoy = bootstrap.start()?;
    let refused = envoy.refused()?;
    for Prepared { label, filter, group, .. } in &groups {
        if let Some(refused) = refused.iter().find(|refused| refused.instance == filter.instance()) {
            summary.failures.push(format!("{label}: configuration refused: {}", refused.log.join("; ")));
            continue;
        }
        let client = Client::new(envoy.address(label));
        for case in &group.cases {
            let outcome = case.run(Host::Envoy, |case| services.exchange(&upstream, &client, case));
            note(&mut summary, label, case, outcome);
        }
    }
    summary.failures.extend(envoy.deaths()?);
    if !summary.failures.is_empty() {
        summary.log = format!("The last lines of Envoy's log:\n{}\n", envoy.last_lines());
    }
    Ok(summary)
}

fn prepare(plugin: &Plugin, modules: &Path) -> Result<Vec<Prepared>> {
    let built = plugin.module()?;
    let groups = plugin_cases::load(&plugin.cases_yaml())?;
    let prepare = |(index, group): (usize, Group)| {
        let config: Value = match &group.config {
            Some(config) => config.clone(),
            None => plugin.example()?,
        };
        let name = format!("{}-{}", plugin.name, index + 1);
        let filter = plugin.wasm_plugin(&name, &config, &group.env)?;
        let label = format!("{}, group {}", plugin.name, index + 1);
        // Releases of Envoy before 1.39 share a VM between plugins that differ in nothing but this.
        let module = if group.env.is_empty() {
            built.clone()
        } else {
            let directory = modules.join(&name);
            fs::create_dir(&directory)?;
            another(&built, &directory)?
        };
        Ok(Prepared { label, filter, module, group })
    };
    groups.into_iter().enumerate().map(prepare).collect()
}

fn note(summary: &mut Summary, label: &str, case: &Case, outcome: Option<Result<(), Failure>>) {
    match outcome {
        None => {
            let because = case.only.as_ref().map_or("", |only| &only.because);
            summary.skipped.push(format!("{label}: {}: {because}", case.name));
        }
        Some(Ok(())) => summary.cases += 1,
        Some(Err(failure)) => {
            summary.cases += 1;
            summary.failures.push(format!("{label}: {failure}"));
        }
    }
}
