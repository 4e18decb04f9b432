//! Where things are: the list of plugins is the list of directories under `plugins/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use plugin_cases::Case;
use serde_json::{Value, json};

use crate::render::WasmPlugin;

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// Every plugin, by name.
pub fn plugins() -> Result<Vec<Plugin>> {
    let dir = workspace_root().join("plugins");
    let mut plugins = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let dir = entry?.path();
        if dir.join("Cargo.toml").is_file() {
            plugins.push(Plugin::at(dir));
        }
    }
    plugins.sort();
    ensure!(!plugins.is_empty(), "there is no plugin in {}", dir.display());
    Ok(plugins)
}

/// The same module with other bytes, in that directory: a custom section changes what it is, not what it does.
pub fn another(module: &Path, directory: &Path) -> Result<PathBuf> {
    const SECTION: &[u8] = b"\x00\x07\x06unused";
    let built = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let other = directory.join("other.wasm");
    fs::write(&other, [&built[..], SECTION].concat())?;
    Ok(other)
}

/// A plugin's files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plugin {
    /// The directory's name, which is also `pluginName`.
    pub name: String,
    /// `plugins/<name>`.
    pub dir: PathBuf,
}

impl Plugin {
    /// The plugin called `name`; `template` is the one of `ci/template`.
    pub fn named(name: &str) -> Result<Self> {
        let root = workspace_root();
        let dir = if name == "template" { root.join("ci/template") } else { root.join("plugins").join(name) };
        ensure!(dir.is_dir(), "there is no plugin {name:?} in plugins/");
        Ok(Self::at(dir))
    }

    fn at(dir: PathBuf) -> Self {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, dir }
    }

    /// `pluginConfig`, complete and sensible.
    pub fn example_yaml(&self) -> PathBuf {
        self.dir.join("example.yaml")
    }

    /// Groups of cases, each with a configuration.
    pub fn cases_yaml(&self) -> PathBuf {
        self.dir.join("tests/cases.yaml")
    }

    /// The plugin's part of the demo.
    pub fn tour_yaml(&self) -> PathBuf {
        self.dir.join("tests/tour.yaml")
    }

    /// The cases of [`Plugin::tour_yaml`]; none where there is no such file.
    pub fn tour(&self) -> Result<Vec<Case>> {
        let path = self.tour_yaml();
        if path.is_file() { plugin_cases::load_tour(&path) } else { Ok(Vec::new()) }
    }

    /// The built module.
    pub fn module(&self) -> Result<PathBuf> {
        self.built("plugin.wasm")
    }

    /// The rendered manifest.
    pub fn manifest(&self) -> Result<String> {
        let path = self.built("wasmplugin.yaml")?;
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The example as JSON.
    pub fn example(&self) -> Result<Value> {
        let path = self.example_yaml();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_norway::from_str(&text).with_context(|| format!("{}", path.display()))
    }

    /// Its configuration in the chain of all plugins: the example, with the lists of `tests/chain.yaml` in front of its own.
    /// An example that turns requests away would turn those of the other tours away, too.
    pub fn in_chain(&self) -> Result<Value> {
        let mut config = self.example()?;
        let path = self.dir.join("tests/chain.yaml");
        if path.is_file() {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let lists: BTreeMap<String, Vec<Value>> =
                serde_norway::from_str(&text).with_context(|| format!("{}", path.display()))?;
            for (field, mut list) in lists {
                list.extend(config[&field].as_array().into_iter().flatten().cloned());
                config[field] = Value::Array(list);
            }
        }
        Ok(config)
    }

    /// The filter of a [`wasm_plugin`](Self::wasm_plugin) with the module in dist/.
    pub fn filter(&self, name: &str, config: &Value) -> Result<Value> {
        Ok(self.wasm_plugin(name, config, &BTreeMap::new())?.filter(&self.module()?))
    }

    /// A `WasmPlugin` of this plugin for a test. It fails closed, so that a VM that died stays dead and is noticed.
    pub fn wasm_plugin(
        &self,
        name: &str,
        config: &Value,
        env: &BTreeMap<String, String>,
    ) -> Result<WasmPlugin> {
        let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        WasmPlugin::parse(
            &json!({
                "apiVersion": "extensions.istio.io/v1alpha1",
                "kind": "WasmPlugin",
                "metadata": {"name": name},
                "spec": {
                    "url": "file:///plugin.wasm",
                    "pluginName": self.name,
                    "pluginConfig": config,
                    "failStrategy": "FAIL_CLOSE",
                    "vmConfig": {"env": env},
                },
            })
            .to_string(),
        )
    }

    fn built(&self, file: &str) -> Result<PathBuf> {
        let path = workspace_root().join("dist").join(&self.name).join(file);
        ensure!(path.is_file(), "there is no dist/{}/{file}: run `just build-all`", self.name);
        Ok(path)
    }
}
