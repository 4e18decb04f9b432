//! The plugins there are, a line each.

use anyhow::Result;

use crate::workspace::Workspace;

pub fn print(workspace: &Workspace) -> Result<()> {
    let width = workspace.plugins.iter().map(|plugin| plugin.name.len()).max().unwrap_or_default();
    for plugin in &workspace.plugins {
        println!("{:width$}  {:8}  {}", plugin.name, plugin.version, plugin.description);
    }
    Ok(())
}
