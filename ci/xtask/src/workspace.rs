//! The plugins there are: whatever lies in `plugins/`, and the template where it is asked for by name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cargo_metadata::{MetadataCommand, Package};
use harness::render::{FailStrategy, Phase};
use serde::{Deserialize, Serialize};

/// This checkout.
pub struct Workspace {
    pub root: PathBuf,
    pub target: PathBuf,
    pub plugins: Vec<Plugin>,
    pub template: Plugin,
    /// Where releases are published.
    pub registry: String,
}

/// One plugin, as its `Cargo.toml` describes it.
#[derive(Clone, Debug)]
pub struct Plugin {
    pub name: String,
    pub version: String,
    pub description: String,
    pub dir: PathBuf,
    pub metadata: Metadata,
}

/// `[package.metadata.wasmplugin]`: what Istio is told of a plugin, in Istio's words, and its budget.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    pub phase: Phase,
    pub priority: i32,
    pub fail_strategy: FailStrategy,
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// The budget; Istio is not told.
    #[serde(skip_serializing)]
    pub max_kib: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    pub mode: Mode,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    pub number: u16,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    Client,
    Server,
    ClientAndServer,
}

impl Workspace {
    /// The workspace around the current directory.
    pub fn load() -> Result<Self> {
        Self::load_at(Path::new("."))
    }

    pub fn load_at(dir: &Path) -> Result<Self> {
        let metadata = MetadataCommand::new().current_dir(dir).no_deps().exec().context("cargo metadata")?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let registry = metadata.workspace_metadata["wasmplugin"]["registry"]
            .as_str()
            .context("Cargo.toml: [workspace.metadata.wasmplugin] must have registry = \"host/path\"")?
            .to_owned();
        let mut plugins = Vec::new();
        let mut template = None;
        for package in &metadata.packages {
            let dir = package.manifest_path.parent().context("a manifest has a directory")?.as_std_path();
            if dir.parent() == Some(&root.join("plugins")) {
                plugins.push(Plugin::from(package, dir)?);
            } else if dir == root.join("ci/template") {
                template = Some(Plugin::from(package, dir)?);
            }
        }
        plugins.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            target: metadata.target_directory.clone().into_std_path_buf(),
            template: template.context("ci/template is not a member of the workspace")?,
            root,
            plugins,
            registry,
        })
    }

    /// The plugins of these names, the template among them; all in `plugins/` where none is named.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Plugin>> {
        if names.is_empty() {
            return Ok(self.plugins.iter().collect());
        }
        names.iter().map(|name| self.find(name)).collect()
    }

    fn find(&self, name: &str) -> Result<&Plugin> {
        match self.plugins.iter().chain([&self.template]).find(|plugin| plugin.name == name) {
            Some(plugin) => Ok(plugin),
            None => {
                let names: Vec<_> = self.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
                bail!("there is no plugin {name:?}; there are {} and template", names.join(", "))
            }
        }
    }

    /// Where a build leaves what is shipped of `plugin`.
    pub fn dist(&self, plugin: &Plugin) -> PathBuf {
        self.root.join("dist").join(&plugin.name)
    }

    /// The image of `plugin`, at its version.
    pub fn image(&self, plugin: &Plugin) -> String {
        format!("{}/{}:{}", self.registry, plugin.name, plugin.version)
    }
}

impl Plugin {
    fn from(package: &Package, dir: &Path) -> Result<Self> {
        let manifest = &package.manifest_path;
        let name = package.name.to_string();
        if dir.file_name().is_none_or(|directory| *directory != *name) {
            bail!("{manifest}: the package {name:?} must be called as its directory is");
        }
        let metadata = Metadata::deserialize(&package.metadata["wasmplugin"])
            .with_context(|| format!("{manifest}: [package.metadata.wasmplugin]"))?;
        Ok(Self {
            name,
            version: package.version.to_string(),
            description: package.description.clone().unwrap_or_default(),
            dir: dir.to_owned(),
            metadata,
        })
    }
}
