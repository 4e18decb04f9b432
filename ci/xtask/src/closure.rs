//! What a module is made of: the plugin's crate and every crate that is linked into it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::toolchain::TARGET;
use crate::workspace::{Plugin, Workspace};

/// The resolved dependencies of the workspace.
pub struct Graph(Metadata);

impl Graph {
    pub fn load(workspace: &Workspace) -> Result<Self> {
        let filter = ["--filter-platform".to_owned(), TARGET.to_owned()];
        let metadata = MetadataCommand::new()
            .current_dir(&workspace.root)
            .features(CargoOpt::SomeFeatures(Vec::new()))
            .other_options(filter)
            .exec()
            .context("cargo metadata")?;
        Ok(Self(metadata))
    }

    /// The crates in a plugin's module, itself the first; what only tests or macros need is not among them.
    pub fn of(&self, plugin: &Plugin) -> Result<Vec<&Package>> {
        let resolve = self.0.resolve.as_ref().context("cargo metadata has no graph")?;
        let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let root = self.0.packages.iter().find(|package| *package.name == plugin.name);
        let root = root.with_context(|| format!("{} is no member of the workspace", plugin.name))?;
        let (mut seen, mut next, mut found) = (BTreeSet::new(), vec![&root.id], Vec::new());
        while let Some(id) = next.pop() {
            if !seen.insert(id) {
                continue;
            }
            found.push(&self.0[id]);
            let linked = nodes[id].deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            });
            next.extend(linked.map(|dependency| &dependency.pkg));
        }
        Ok(found)
    }
}
