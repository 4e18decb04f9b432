//! Every plugin, alone and chained, in one Envoy, with the services that they ask.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use harness::{Bootstrap, Client, Envoy, Listener, Message, Plugin, Reply, Services, Upstream, chain};
use plugin_cases::Exchange;

/// A listener for each plugin with its example, and one with the chain of all of them.
pub struct Stage {
    /// The upstream of them all.
    pub upstream: Upstream,
    /// With one worker: what kills a VM is met by the next request.
    pub envoy: Envoy,
    /// The listeners.
    pub scenes: Vec<Scene>,
}

/// A listener, and how to get through it.
pub struct Scene {
    /// The plugin's name, or `all plugins`.
    pub name: String,
    /// A request that reaches the upstream.
    pub welcome: Message,
}

impl Stage {
    /// Starts Envoy.
    pub fn set() -> Result<Self> {
        let upstream = Upstream::start()?;
        let chain = chain()?;
        let services = Services::of_tours(&chain)?;
        let mut bootstrap = services.clusters(Bootstrap::new().cluster("upstream", upstream.address()));
        let mut scenes = Vec::new();
        for link in &chain {
            let name = &link.plugin.name;
            let alone = link.plugin.wasm_plugin(
                &format!("{name}-alone"),
                &link.plugin.example()?,
                &BTreeMap::new(),
            )?;
            let listener = Listener::new(name).large_headers().discovered(alone.filter(&link.module));
            bootstrap = bootstrap.listener(listener);
            scenes.push(Scene { name: name.clone(), welcome: welcome(&link.plugin) });
        }
        let all = Listener::new(&all_plugins()).large_headers().chain(&chain);
        if let Some(first) = scenes.first() {
            scenes.push(Scene { name: all_plugins(), welcome: first.welcome.clone() });
        }
        let envoy = bootstrap.listener(all).start()?;
        envoy.check_configured()?;
        Ok(Self { upstream, envoy, scenes })
    }

    /// A client of that listener.
    pub fn client(&self, scene: &Scene) -> Client {
        Client::new(self.envoy.address(&scene.name))
    }

    /// A client of that listener that speaks HTTP/2.
    pub fn http2_client(&self, scene: &Scene) -> Client {
        Client::http2(self.envoy.address(&scene.name))
    }

    /// Sends a request there, and has it answered.
    pub fn exchange(&self, client: &Client, message: &Message, reply: Reply) -> Result<Exchange> {
        self.upstream.exchange(client, message, reply)
    }

    /// Fails where a VM has died.
    pub fn check_alive(&self) -> Result<()> {
        let deaths = self.envoy.deaths()?;
        ensure!(deaths.is_empty(), "a VM died:\n{}", deaths.join("\n"));
        Ok(())
    }
}

fn all_plugins() -> String {
    "all plugins".into()
}

/// The first request of the plugin's tour that reaches the upstream; tours are made for the chain, so it passes there too.
fn welcome(plugin: &Plugin) -> Message {
    let tour = plugin.tour().unwrap_or_default();
    tour.iter()
        .find(|case| case.reply.is_none())
        .map_or_else(|| Message::get("/"), |case| Message::from(&case.request))
}
