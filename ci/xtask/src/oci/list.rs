//! What of the plugins is in a registry.

use anyhow::Result;
use oci::{Remote, reference};

use crate::workspace::{Plugin, Workspace};

/// A line for each tag, and one for a version that is not there yet.
pub fn list(workspace: &Workspace, registry: Option<&str>) -> Result<()> {
    let registry = registry.unwrap_or(&workspace.registry).trim_end_matches('/');
    let width = workspace.plugins.iter().map(|plugin| plugin.name.len()).max().unwrap_or_default();
    println!("{:width$}  {:8}  in {registry}", "plugin", "here");
    for plugin in &workspace.plugins {
        let (mut name, mut version) = (&*plugin.name, &*plugin.version);
        for line in published(registry, plugin)? {
            println!("{name:width$}  {version:8}  {line}");
            (name, version) = ("", "");
        }
    }
    Ok(())
}

fn published(registry: &str, plugin: &Plugin) -> Result<Vec<String>> {
    let remote = Remote::open(reference(&format!("{registry}/{}", plugin.name))?)?;
    let mut tags = remote.tags()?.unwrap_or_default();
    // The version that is here first.
    tags.sort_by_key(|tag| *tag != plugin.version);
    let mut lines = Vec::new();
    if !tags.contains(&plugin.version) {
        lines.push("not published".to_owned());
    }
    for tag in tags {
        let digest = remote.digest_of_tag(&tag)?.unwrap_or_else(|| "gone".into());
        lines.push(format!("{tag:8}  {digest}"));
    }
    Ok(lines)
}
