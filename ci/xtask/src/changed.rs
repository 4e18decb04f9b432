//! The plugins whose modules may be others than they were.

use std::path::Path;

use anyhow::Result;
use cargo_metadata::Package;

use crate::closure::Graph;
use crate::git::{changed_files, git};
use crate::workspace::{Plugin, Workspace};

/// What every module depends on.
const FOR_ALL: [&str; 7] = [
    "Cargo.toml",
    "rust-toolchain.toml",
    "ci/xtask/src/callbacks.rs",
    "ci/xtask/src/compile.rs",
    "ci/xtask/src/names.rs",
    "ci/xtask/src/toolchain.rs",
    "ci/xtask/src/trim.rs",
];

/// Prints a line for each plugin that changed since `base`, with the first reason.
pub fn print(workspace: &Workspace, base: Option<&str>) -> Result<()> {
    let base = match base {
        Some(base) => base.to_owned(),
        None => default_base(&workspace.root)?,
    };
    for (plugin, reason) in since(workspace, &base, &workspace.plugins.iter().collect::<Vec<_>>())? {
        println!("{}\t{reason}", plugin.name);
    }
    Ok(())
}

/// On a branch, where it left main; on main, the commit before.
fn default_base(root: &Path) -> Result<String> {
    let head = git(root, &["rev-parse", "HEAD"])?;
    for main in ["origin/main", "main"] {
        if let Ok(commit) = git(root, &["rev-parse", "--verify", "--quiet", main])
            && commit != head
        {
            return Ok(main.into());
        }
    }
    Ok("HEAD~1".into())
}

/// Those of `plugins` that changed since `base`, each with the first reason.
pub fn since<'a>(
    workspace: &Workspace,
    base: &str,
    plugins: &[&'a Plugin],
) -> Result<Vec<(&'a Plugin, String)>> {
    let files = changed_files(&workspace.root, base)?;
    let lock = git(&workspace.root, &["show", &format!("{base}:Cargo.lock")])?;
    let graph = Graph::load(workspace)?;
    let mut changed = Vec::new();
    for plugin in plugins {
        if let Some(reason) = reason(&workspace.root, &graph.of(plugin)?, &files, &lock) {
            changed.push((*plugin, reason));
        }
    }
    Ok(changed)
}

fn reason(root: &Path, crates: &[&Package], files: &[String], lock: &str) -> Option<String> {
    let for_all = files.iter().find(|file| FOR_ALL.contains(&file.as_str())).cloned();
    let own = || {
        let dirs = crates.iter().filter(|package| package.source.is_none());
        let dirs =
            dirs.filter_map(|package| package.manifest_path.parent()?.strip_prefix(root.to_str()?).ok());
        let dirs: Vec<String> = dirs.map(|dir| format!("{dir}/")).collect();
        files.iter().find(|file| dirs.iter().any(|dir| ships(file, dir))).cloned()
    };
    let locked = || {
        let foreign = crates.iter().filter(|package| package.source.is_some());
        let mut entries = foreign.map(|package| {
            (package, format!("name = \"{}\"\nversion = \"{}\"\n", package.name, package.version))
        });
        entries
            .find(|(_, entry)| !lock.contains(entry))
            .map(|(package, _)| format!("{} {}", package.name, package.version))
    };
    for_all.or_else(own).or_else(locked)
}

/// Tests and documents of a crate are in no module.
fn ships(file: &str, dir: &str) -> bool {
    file.strip_prefix(dir).is_some_and(|inside| {
        inside.starts_with("src/") || inside == "Cargo.toml" || inside == "example.yaml"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates() -> (Workspace, Graph) {
        let workspace = Workspace::load().unwrap();
        let graph = Graph::load(&workspace).unwrap();
        (workspace, graph)
    }

    fn changed(file: &str) -> Vec<String> {
        let (workspace, graph) = crates();
        let lock = std::fs::read_to_string(workspace.root.join("Cargo.lock")).unwrap();
        let is_changed = |plugin: &&Plugin| {
            reason(&workspace.root, &graph.of(plugin).unwrap(), &[file.to_owned()], &lock).is_some()
        };
        workspace.plugins.iter().filter(is_changed).map(|plugin| plugin.name.clone()).collect()
    }

    #[test]
    fn a_plugins_own_source_changes_that_plugin() {
        assert_eq!(changed("plugins/path-rewrite/src/rules.rs"), ["path-rewrite"]);
    }

    #[test]
    fn the_kit_and_the_build_change_all() {
        let all = crates().0.plugins.len();
        assert_eq!(changed("shared/plugin-kit/src/headers.rs").len(), all);
        for file in FOR_ALL {
            assert_eq!(changed(file).len(), all, "{file}");
            assert!(crates().0.root.join(file).is_file(), "{file}");
        }
    }

    #[test]
    fn tests_and_documents_change_none() {
        for file in
            ["plugins/path-rewrite/tests/cases.yaml", "docs/testing.md", "shared/plugin-testkit/src/lib.rs"]
        {
            assert_eq!(changed(file), Vec::<String>::new(), "{file}");
        }
    }

    #[test]
    fn another_version_of_a_dependency_is_a_reason() {
        let (workspace, graph) = crates();
        let lock = std::fs::read_to_string(workspace.root.join("Cargo.lock")).unwrap();
        let crates = graph.of(&workspace.plugins[0]).unwrap();
        let log = crates.iter().find(|package| *package.name == "log").unwrap();
        let version = format!("name = \"log\"\nversion = \"{}\"", log.version);
        let before = lock.replace(&version, "name = \"log\"\nversion = \"0.0.1\"");
        assert_eq!(reason(&workspace.root, &crates, &[], &before), Some(format!("log {}", log.version)));
    }
}
