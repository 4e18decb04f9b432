//! The plugin itself: its schema, and then its module in Envoy, on the configuration at hand.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use harness::render::WasmPlugin;
use serde_json::Value;

use crate::validate::config::Schema;
use crate::validate::shape::Findings;
use crate::workspace::Workspace;

/// What the environment of the proxy would say; as long as a key of HS256 must be.
const FROM_HOST: &str = "validate-has-no-proxy-to-ask-so-this-text-stands-for-the-value";

pub struct Plugins<'a> {
    workspace: &'a Workspace,
    schemas: HashMap<String, Schema>,
    /// What a module said about a filter, as overlays repeat them.
    answers: HashMap<String, Vec<String>>,
    has_envoy: bool,
}

impl<'a> Plugins<'a> {
    pub fn new(workspace: &'a Workspace) -> Self {
        Self { workspace, schemas: HashMap::new(), answers: HashMap::new(), has_envoy: true }
    }

    /// Leaves the modules alone.
    #[cfg(test)]
    pub fn of_schemas(workspace: &'a Workspace) -> Self {
        Self { has_envoy: false, ..Self::new(workspace) }
    }

    /// Checks a WasmPlugin whose `pluginConfig` lies at `path`.
    pub fn check(&mut self, wasm_plugin: &Value, path: &str, findings: &mut Findings) -> Result<()> {
        let spec = &wasm_plugin["spec"];
        let Some(name) = self.name(spec) else {
            let names: Vec<_> = self.workspace.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
            findings.warn(
                "spec.pluginName",
                format!("is none of {}: its pluginConfig was not checked", names.join(", ")),
            );
            return Ok(());
        };
        let plugin = self.workspace.select(std::slice::from_ref(&name))?[0];
        if !self.schemas.contains_key(&name) {
            self.schemas.insert(name.clone(), Schema::read(&plugin.dir.join("config.schema.json"))?);
        }
        let before = findings.0.len();
        self.schemas[&name].check(
            path,
            spec.get("pluginConfig").unwrap_or(&Value::Object(Default::default())),
            findings,
        );
        if !self.has_envoy {
            return Ok(());
        }
        let module = self.workspace.dist(plugin).join("plugin.wasm");
        if !module.is_file() {
            findings.warn("", format!("{name} is not built, so it was not asked: run `just build {name}`"));
            return Ok(());
        }
        for said in self.ask(wasm_plugin, module)? {
            // What the schema has already said at that place is not said twice.
            let said = said.strip_prefix("invalid configuration: ").unwrap_or(&said);
            let (place, message) = match said.split_once(": ") {
                Some((place, message)) if !place.contains(' ') => (format!("{path}.{place}"), message),
                _ => (path.to_owned(), said),
            };
            if !findings.0[before..].iter().any(|finding| finding.path == place) {
                findings.error(place, message);
            }
        }
        Ok(())
    }

    /// `pluginName`, else the last part of the image's name, where that is a plugin of ours.
    fn name(&self, spec: &Value) -> Option<String> {
        let of_url = || {
            let url = spec["url"].as_str().unwrap_or_default();
            let image = url.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            image.split(':').next().unwrap_or_default()
        };
        let name = spec["pluginName"].as_str().unwrap_or_else(of_url);
        self.workspace
            .plugins
            .iter()
            .chain([&self.workspace.template])
            .map(|plugin| &plugin.name)
            .find(|known| *known == name)
            .cloned()
    }

    fn ask(&mut self, wasm_plugin: &Value, module: PathBuf) -> Result<Vec<String>> {
        let parsed = WasmPlugin::parse(&wasm_plugin.to_string())?;
        let filter = parsed.filter(&module);
        let mut key = filter["typed_config"]["config"].clone();
        key["name"] = Value::Null;
        if let Some(answer) = self.answers.get(&key.to_string()) {
            return Ok(answer.clone());
        }
        let environment: Vec<_> = parsed
            .host_env()
            .into_iter()
            .filter(|name| std::env::var_os(name).is_none())
            .map(|name| (name, FROM_HOST.to_owned()))
            .collect();
        let answer =
            harness::validate(&filter, &environment).context("asking the plugin")?.err().unwrap_or_default();
        self.answers.insert(key.to_string(), answer.clone());
        Ok(answer)
    }
}
