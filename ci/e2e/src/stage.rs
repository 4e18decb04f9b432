//! Every plugin, alone and chained, in one Envoy, with the services that they ask.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use harness::{Bootstrap, Client, Envoy, Listener, Message, Plugin, Reply, Services, Upstream, chain};
use plugin_cases::Exchange;
use serde_json::{Value, json};

use crate::faulty::FaultyApplication;

/// A listener for each plugin with its example, and one with the chain of all of them.
///
/// A request with `x-fault` goes to an application that misbehaves, one with `x-refused: earlier` or `later` is answered
/// by a filter on that side of the plugins.
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
        let bootstrap = Bootstrap::new()
            .cluster("upstream", upstream.address())
            .cluster("faulty", FaultyApplication::start()?);
        let mut bootstrap = Services::of_tours(&chain)?.clusters(bootstrap);
        let mut scenes = Vec::new();
        for link in &chain {
            let name = &link.plugin.name;
            let alone = link.plugin.wasm_plugin(
                &format!("{name}-alone"),
                &link.plugin.example()?,
                &BTreeMap::new(),
            )?;
            let listener = listener(name, |listener| listener.discovered(alone.filter(&link.module)));
            bootstrap = bootstrap.listener(listener);
            scenes.push(Scene { name: name.clone(), welcome: welcome(&link.plugin) });
        }
        let all = listener(&all_plugins(), |listener| listener.chain(&chain));
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

    /// Fails where a VM has died, or Envoy has logged anything critical.
    pub fn check_alive(&self) -> Result<()> {
        let mut signs = self.envoy.deaths()?;
        signs.extend(self.envoy.log().lines().filter(|line| line.contains("[critical]")).map(str::to_owned));
        ensure!(signs.is_empty(), "a VM died:\n{}", signs.join("\n"));
        Ok(())
    }
}

fn listener(name: &str, plugins: impl FnOnce(Listener) -> Listener) -> Listener {
    let faulty = json!({
        "match": {"prefix": "/", "headers": [{"name": "x-fault", "present_match": true}]},
        "route": {"cluster": "faulty", "timeout": "0s"},
    });
    plugins(Listener::new(name).permissive().filter(refusing("earlier")))
        .filter(refusing("later"))
        .raw_route(faulty)
        .route("/", "upstream")
}

/// Answers requests that ask for it by itself.
fn refusing(when: &str) -> Value {
    json!({
        "name": format!("refused {when}"),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": {"http_status": 418, "percentage": {"numerator": 100}},
            "headers": [{"name": "x-refused", "string_match": {"exact": when}}],
        },
    })
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
