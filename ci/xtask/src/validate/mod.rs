//! Whether a WasmPlugin will do what it says: asked of Istio's rules, of the plugin's schema, and of the plugin itself.

mod config;
mod input;
mod istio;
mod kustomize;
mod objects;
mod plugin;
mod shape;
#[cfg(test)]
mod tests;
mod url;

pub use url::UNRELEASED;

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::validate::input::{Document, Input};
use crate::validate::plugin::Plugins;
use crate::validate::shape::{At, Findings};
use crate::workspace::Workspace;

/// Prints a line for each document, and what is wrong with it below.
pub fn run(workspace: &Workspace, paths: &[PathBuf]) -> Result<()> {
    let mut input = Input::new(&workspace.root);
    for path in paths {
        input.add(path)?;
    }
    ensure!(!input.documents.is_empty(), "there is no YAML there");
    let mut plugins = Plugins::new(workspace);
    let mut refused = 0;
    for document in &input.documents {
        let findings = check(document, Some(&mut plugins))?;
        let mark = if findings.has_errors() { '✗' } else { '✓' };
        println!("{mark} {}  {}", document.source, title(document));
        for finding in &findings.0 {
            println!("    {finding}");
        }
        refused += usize::from(findings.has_errors());
    }
    if refused > 0 {
        bail!("{refused} of {} documents refused", input.documents.len());
    }
    Ok(())
}

fn title(document: &Document) -> String {
    let Ok(content) = &document.content else { return "not read".into() };
    match (content["kind"].as_str(), content["metadata"]["name"].as_str()) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        (Some(kind), None) => kind.into(),
        _ => "no object of Kubernetes".into(),
    }
}

/// Without `plugins`, only what Istio says.
fn check(document: &Document, plugins: Option<&mut Plugins>) -> Result<Findings> {
    let mut findings = Findings::default();
    let content = match &document.content {
        Ok(content) => content,
        Err(error) => {
            findings.error("", error);
            return Ok(findings);
        }
    };
    let root = At::root(content);
    if root.get("apiVersion").is_none() && root.get("kind").is_none() {
        return Ok(findings);
    }
    let plugin = match content["kind"].as_str() {
        Some("WasmPlugin") => {
            istio::wasm_plugin(&root, &mut findings);
            unpinned(document, root.get("spec"), &mut findings);
            Some((content.clone(), "spec.pluginConfig".to_owned()))
        }
        Some("TrafficExtension") => {
            istio::traffic_extension(&root, &mut findings);
            let part = root.get("spec").and_then(|spec| spec.get("wasm"));
            unpinned(document, part.clone(), &mut findings);
            part.map(|part| {
                let plugin = json!({"metadata": content["metadata"], "spec": part.value});
                (plugin, "spec.wasm.pluginConfig".to_owned())
            })
        }
        Some("EnvoyFilter") => {
            objects::check(&root, &mut findings);
            objects::inline_plugin(&root, &mut findings)
        }
        _ => {
            objects::check(&root, &mut findings);
            None
        }
    };
    if let (Some((plugin, path)), Some(plugins)) = (plugin, plugins)
        && (!findings.has_errors() || is_readable(&plugin))
    {
        plugins.check(&plugin, &path, &mut findings)?;
    }
    Ok(findings)
}

/// Whether the plugin can be asked although Istio would not.
fn is_readable(plugin: &Value) -> bool {
    harness::render::WasmPlugin::parse(&plugin.to_string()).is_ok()
}

/// In an overlay, the image is named by its digest.
fn unpinned(document: &Document, part: Option<At>, findings: &mut Findings) {
    if let Some(part) = part
        && document.source.contains("overlays/")
        && !url::is_pinned(&part)
    {
        findings.warn(format!("{}.url", part.path), "has no digest: a tag is not a release; add @sha256:…");
    }
}
