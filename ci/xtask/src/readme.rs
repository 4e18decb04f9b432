//! The README's table of plugins.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::{Plugin, Workspace};

const START: &str = "<!-- plugins -->\n";
const END: &str = "<!-- /plugins -->";

/// The README and its text with the table of today's plugins.
pub fn with_table(workspace: &Workspace) -> Result<(PathBuf, String)> {
    let path = workspace.root.join("README.md");
    let text = fs::read_to_string(&path).context("README.md")?;
    let parts = text.split_once(START).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| format!("README.md must have {START:?} and {END:?}"))?;
    let text = [before, START, &table(&workspace.plugins), END, after].concat();
    Ok((path, text))
}

fn table(plugins: &[Plugin]) -> String {
    let mut table = "| plugin | does | version |\n|---|---|---|\n".to_owned();
    for Plugin { name, description, version, .. } in plugins {
        table += &format!("| [{name}](plugins/{name}/README.md) | {description} | {version} |\n");
    }
    table
}
