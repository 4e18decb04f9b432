//! Every plugin as its `WasmPlugin` says, in the order in which Istio chains them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bootstrap::Listener;
use crate::envoy::Envoy;
use crate::render::{WasmPlugin, phase_order};
use crate::workspace::{Plugin, plugins};

/// A plugin as it is released.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its files.
    pub plugin: Plugin,
    /// `dist/<plugin>/wasmplugin.yaml`.
    pub manifest: WasmPlugin,
    /// `dist/<plugin>/plugin.wasm`.
    pub module: PathBuf,
}

/// Every plugin, the first in the chain first, each with its configuration [in the chain](Plugin::in_chain).
pub fn chain() -> Result<Vec<Link>> {
    let link = |plugin| {
        let link = Link::new(plugin)?;
        Ok(Link { manifest: link.manifest.configured(&link.plugin.in_chain()?), ..link })
    };
    let mut chain = plugins()?.into_iter().map(link).collect::<Result<Vec<_>>>()?;
    phase_order(&mut chain, |link| &link.manifest);
    Ok(chain)
}

impl Link {
    /// Reads the manifest of a built plugin.
    pub fn new(plugin: Plugin) -> Result<Self> {
        let manifest = WasmPlugin::parse(&plugin.manifest()?).with_context(|| plugin.name.clone())?;
        let module = plugin.module()?;
        Ok(Self { plugin, manifest, module })
    }

    /// What Envoy gets.
    pub fn filter(&self) -> Value {
        self.manifest.filter(&self.module)
    }
}

impl Listener {
    /// These plugins, in this order, by ECDS.
    #[must_use]
    pub fn chain(self, chain: &[Link]) -> Self {
        chain.iter().fold(self, |listener, link| listener.discovered(link.filter()))
    }
}

impl Envoy {
    /// An error with the plugin's own words where one refused its configuration.
    pub fn check_configured(&self) -> Result<()> {
        match self.refused()?.first() {
            Some(refused) => {
                bail!("{} refused its configuration: {}", refused.instance, refused.log.join("; "))
            }
            None => Ok(()),
        }
    }
}
