//! What is measured: filters, and the requests that pass them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::{Plugin, chain, plugins, workspace_root};
use plugin_cases::load_tour;
use serde_json::{Map, Value, json};

use crate::operations;
use crate::variant::{Counterpart, Service, Variant};

const TYPES: &str = "type.googleapis.com/envoy.extensions.filters.http";
/// The name of the variant that measures a plugin's example.
const EXAMPLE: &str = "example";
/// The name of the variant that measures all plugins at once.
const ALL_PLUGINS: &str = "all plugins";
/// The name of the variant that measures [`FIVE`] at once, also before an upstream that takes its time.
pub const FIVE_PLUGINS: &str = "five plugins";
/// What almost every request of a mesh passes, where bodies stay as they are and nobody else is asked.
const FIVE: [&str; 5] = ["custom-metrics", "jwt-authn", "path-rewrite", "rate-limit", "swimlane-tagging"];

/// What is measured with the same requests, one after the other.
pub struct Group {
    /// The requests, and what becomes of them.
    pub variant: Variant,
    /// What they pass.
    pub subjects: Vec<Subject>,
}

/// Filters that are measured.
pub struct Subject {
    /// Its name in the figures: `plugin: variant`, `plugin: variant, counterpart`.
    pub label: String,
    /// What it is.
    pub kind: Kind,
    /// As Envoy's API writes them.
    pub filters: Vec<Value>,
    /// What is merged into the route.
    pub route: Map<String, Value>,
}

/// What kind of thing is measured.
#[derive(Clone, Copy, Debug, serde::Deserialize, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A plugin of ours.
    Plugin,
    /// The SDK without the kit.
    Sdk,
    /// A filter of Envoy's own.
    Native,
    /// A script.
    Lua,
    /// One operation, many times.
    Operation,
}

/// Everything, or only what belongs to these plugins.
pub fn groups(only: &[String]) -> Result<Vec<Group>> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|plugin| plugin == name);
    let mut groups = vec![sdk()?];
    for plugin in [Plugin::named("template")?].into_iter().chain(plugins()?) {
        if wanted(&plugin.name) {
            groups.extend(of_plugin(&plugin).with_context(|| plugin.name.clone())?);
        }
    }
    if only.is_empty() {
        groups.push(chained(FIVE_PLUGINS, |name| FIVE.contains(&name))?);
        groups.push(chained(ALL_PLUGINS, |_| true)?);
        groups.extend(operations::groups()?);
    }
    Ok(groups)
}

/// The SDK's own skeleton, which does nothing.
fn sdk() -> Result<Group> {
    let filter = wasm("sdk-no-op", &module("examples/noop.wasm")?, "");
    let subject =
        Subject { label: "SDK no-op".into(), kind: Kind::Sdk, filters: vec![filter], route: Map::new() };
    Ok(Group { variant: Variant::named("no filter"), subjects: vec![subject] })
}

fn of_plugin(plugin: &Plugin) -> Result<Vec<Group>> {
    let directory = plugin.dir.join("tests");
    let mut variants = Variant::load(&directory)?;
    if !variants.iter().any(|variant| variant.name == EXAMPLE) {
        let tour = load_tour(&plugin.tour_yaml()).unwrap_or_default();
        let welcome = tour.into_iter().find(|case| case.reply.is_none());
        let example = welcome.map(|case| Variant {
            request: case.request,
            services: case.calls.into_iter().map(Service::from).collect(),
            ..Variant::named(EXAMPLE)
        });
        variants.insert(0, example.unwrap_or_else(|| Variant::named(EXAMPLE)));
    }
    variants.into_iter().map(|variant| of_variant(plugin, &directory, variant)).collect()
}

fn of_variant(plugin: &Plugin, directory: &Path, variant: Variant) -> Result<Group> {
    let label = format!("{}: {}", plugin.name, variant.name);
    let config = match &variant.config {
        Some(config) => config.clone(),
        None => plugin.example()?,
    };
    let filter = plugin.wasm_plugin(&slug(&label), &config, &variant.env)?.filter(&plugin.module()?);
    let mut subjects =
        vec![Subject { label: label.clone(), kind: Kind::Plugin, filters: vec![filter], route: Map::new() }];
    for counterpart in &variant.against {
        let label = format!("{label}, {}", counterpart.name);
        subjects.push(counterpart.subject(label.clone(), directory).context(label)?);
    }
    Ok(Group { variant, subjects })
}

impl Counterpart {
    fn subject(&self, label: String, directory: &Path) -> Result<Subject> {
        let route = self.route.clone();
        let Some(script) = &self.lua else {
            let filters = self.filter.iter().cloned().collect();
            return Ok(Subject { label, kind: Kind::Native, filters, route });
        };
        let path = directory.join(script);
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Subject { label, kind: Kind::Lua, filters: vec![lua(&source)], route })
    }
}

/// Plugins with their examples (or what stands for those in the benchmark), in the order of Istio's chain.
fn chained(label: &str, wanted: impl Fn(&str) -> bool) -> Result<Group> {
    let mut filters = Vec::new();
    for link in chain()?.iter().filter(|link| wanted(&link.plugin.name)) {
        let variants = Variant::load(&link.plugin.dir.join("tests"))?;
        let example = variants.into_iter().find(|variant| variant.name == EXAMPLE);
        let manifest = match example.and_then(|variant| variant.config) {
            Some(config) => link.manifest.configured(&config),
            None => link.manifest.clone(),
        };
        filters.push(manifest.filter(&link.module));
    }
    let subject = Subject { label: label.into(), kind: Kind::Plugin, filters, route: Map::new() };
    Ok(Group { variant: Variant::named(label), subjects: vec![subject] })
}

/// A module that has no `WasmPlugin`, with its configuration as text.
pub fn wasm(name: &str, module: &Path, configuration: &str) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": format!("{TYPES}.wasm.v3.Wasm"),
            "config": {
                "name": name,
                "vm_config": {
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration,
                },
            },
        },
    })
}

/// A script.
pub fn lua(source: &str) -> Value {
    json!({
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": format!("{TYPES}.lua.v3.Lua"),
            "default_source_code": {"inline_string": source},
        },
    })
}

/// A module of `ci/probe`.
pub fn module(file: &str) -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace_root().join("target"), PathBuf::from);
    let path = target.join("wasm32-wasip1/release").join(file);
    anyhow::ensure!(path.is_file(), "there is no {}: `just bench` builds it", path.display());
    Ok(path)
}

fn slug(label: &str) -> String {
    let keep = |sign: char| if sign.is_ascii_alphanumeric() { sign.to_ascii_lowercase() } else { '-' };
    label.chars().map(keep).collect()
}
