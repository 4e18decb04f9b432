//! An Envoy's configuration, with Istio's settings where they matter to a plugin.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::envoy::Envoy;

const TYPES: &str = "type.googleapis.com/envoy.extensions";

/// What an Envoy is started with.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub(crate) listeners: Vec<Listener>,
    clusters: Vec<Value>,
    pub(crate) concurrency: u32,
    pub(crate) log_level: String,
    proxy: String,
    stats: Option<Value>,
}

/// Which way the traffic of a listener goes, as sidecars see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the application.
    Inbound,
    /// From the application, and through gateways.
    Outbound,
}

/// A listener on loopback.
#[derive(Clone, Debug)]
pub struct Listener {
    pub(crate) name: String,
    port: u16,
    pub(crate) filters: Vec<Filter>,
    routes: Vec<Value>,
    direction: Direction,
    access_log: Option<String>,
    permissive: bool,
}

#[derive(Clone, Debug)]
pub enum Filter {
    Static(Value),
    Discovered(Value),
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self::new()
    }
}

impl Bootstrap {
    /// One worker, and the logs of plugins from `debug` on.
    pub fn new() -> Self {
        Self {
            listeners: Vec::new(),
            clusters: Vec::new(),
            concurrency: 1,
            log_level: "wasm:debug".into(),
            proxy: "sidecar".into(),
            stats: None,
        }
    }

    /// One more listener.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// A cluster of one HTTP/1.1 host. The first one is where listeners without routes send everything.
    #[must_use]
    pub fn cluster(self, name: &str, address: SocketAddr) -> Self {
        self.raw_cluster(cluster(name, address))
    }

    /// A cluster of one HTTP/2 host.
    #[must_use]
    pub fn http2_cluster(self, name: &str, address: SocketAddr) -> Self {
        let mut cluster = cluster(name, address);
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{TYPES}.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
        self.raw_cluster(cluster)
    }

    /// A cluster as Envoy's API writes it.
    #[must_use]
    pub fn raw_cluster(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// How many workers.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// `--component-log-level`; everything else logs warnings.
    #[must_use]
    pub fn log_level(mut self, components: &str) -> Self {
        self.log_level = components.into();
        self
    }

    /// What kind of proxy this is in the mesh, the first part of the node id: `sidecar`, `router` or `waypoint`.
    #[must_use]
    pub fn proxy(mut self, kind: &str) -> Self {
        self.proxy = kind.into();
        self
    }

    /// `stats_config`, such as the `stats_tags` that make labels.
    #[must_use]
    pub fn stats(mut self, stats: Value) -> Self {
        self.stats = Some(stats);
        self
    }

    /// Starts it, and waits until it serves.
    pub fn start(self) -> Result<Envoy> {
        Envoy::start(self)
    }

    /// `place` says where the file of a discovered filter is.
    pub(crate) fn json(&self, place: &dyn Fn(&str) -> String) -> Result<Value> {
        let metadata: Value = serde_json::from_str(plugin_cases::NODE_METADATA)?;
        let default_cluster =
            self.clusters.first().and_then(|cluster| cluster["name"].as_str()).unwrap_or_default();
        let listeners: Vec<Value> =
            self.listeners.iter().map(|listener| listener.json(default_cluster, place)).collect();
        let mut bootstrap = json!({
            "node": {
                "id": format!("{}~127.0.0.1~shop.demo~demo.svc.cluster.local", self.proxy),
                "cluster": "shop.demo",
                "metadata": metadata,
            },
            "admin": {"address": socket("127.0.0.1", 0)},
            "static_resources": {"listeners": listeners, "clusters": self.clusters},
        });
        if let Some(stats) = &self.stats {
            bootstrap["stats_config"] = stats.clone();
        }
        Ok(bootstrap)
    }
}

impl Listener {
    /// On a free port, with no filter but the router.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            port: 0,
            filters: Vec::new(),
            routes: Vec::new(),
            direction: Direction::Outbound,
            access_log: None,
            permissive: false,
        }
    }

    /// On this port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// A filter in the configuration of the listener; it is wrong at start or never.
    #[must_use]
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(Filter::Static(filter));
        self
    }

    /// A filter that comes by ECDS, as Istio sends plugins. [`Envoy::push`] replaces it.
    #[must_use]
    pub fn discovered(mut self, filter: Value) -> Self {
        self.filters.push(Filter::Discovered(filter));
        self
    }

    /// Sends paths with this prefix to that cluster; the first one that fits is taken.
    #[must_use]
    pub fn route(self, prefix: &str, cluster: &str) -> Self {
        self.raw_route(route(prefix, cluster))
    }

    /// Answers 200 by itself, behind the filters.
    #[must_use]
    pub fn answering(self) -> Self {
        self.raw_route(json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}}))
    }

    /// A route as Envoy's API writes it.
    #[must_use]
    pub fn raw_route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    /// What `xds.listener_direction` says; a gateway's is outbound.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Writes a line in this format to the file `access.log` of [`Envoy::directory`].
    #[must_use]
    pub fn access_log(mut self, format: &str) -> Self {
        self.access_log = Some(format.into());
        self
    }

    /// Lets through to the plugins what Envoy can let through: 1000 headers of 96 KiB (its default is 100 of 60), HTTP/1.0,
    /// trailers of HTTP/1.1, extended CONNECT.
    #[must_use]
    pub fn permissive(mut self) -> Self {
        self.permissive = true;
        self
    }

    fn json(&self, default_cluster: &str, place: &dyn Fn(&str) -> String) -> Value {
        let mut filters: Vec<Value> = self.filters.iter().map(|filter| filter.json(place)).collect();
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": format!("{TYPES}.filters.http.router.v3.Router")},
        }));
        let routes =
            if self.routes.is_empty() { vec![route("/", default_cluster)] } else { self.routes.clone() };
        let mut manager = json!({
            "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": self.name,
            "codec_type": "AUTO",
            "normalize_path": true,
            "merge_slashes": false,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "use_remote_address": true,
            // A test that sends an x-request-id means it.
            "preserve_external_request_id": true,
            "stream_idle_timeout": "0s",
            // After a refused request Envoy lingers; raw clients wait for the end of the connection.
            "delayed_close_timeout": "0.05s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "route_config": {
                "name": self.name,
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
            },
            "http_filters": filters,
        });
        if self.permissive {
            manager["max_request_headers_kb"] = json!(96);
            manager["common_http_protocol_options"] = json!({"max_headers_count": 1000});
            manager["http_protocol_options"] = json!({"accept_http_10": true, "enable_trailers": true});
            manager["http2_protocol_options"] = json!({"allow_connect": true});
        }
        if let Some(format) = &self.access_log {
            manager["access_log"] = json!([{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": format!("{TYPES}.access_loggers.file.v3.FileAccessLog"),
                    "path": place("access.log"),
                    "log_format": {"text_format_source": {"inline_string": format!("{format}\n")}},
                },
            }]);
        }
        let direction = match self.direction {
            Direction::Inbound => "INBOUND",
            Direction::Outbound => "OUTBOUND",
        };
        json!({
            "name": self.name,
            "traffic_direction": direction,
            // Else two processes share a fixed port in silence.
            "enable_reuse_port": self.port == 0,
            "address": socket("127.0.0.1", self.port),
            "filter_chains": [{
                "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }],
            }],
        })
    }
}

impl Filter {
    fn json(&self, place: &dyn Fn(&str) -> String) -> Value {
        match self {
            Self::Static(filter) => filter.clone(),
            Self::Discovered(filter) => {
                let name = filter["name"].as_str().unwrap_or_default();
                json!({
                    "name": name,
                    "config_discovery": {
                        "config_source": {
                            "path_config_source": {"path": place(&ecds_file(name))},
                            "resource_api_version": "V3",
                            "initial_fetch_timeout": "0s",
                        },
                        "type_urls": [
                            format!("{TYPES}.filters.http.wasm.v3.Wasm"),
                            format!("{TYPES}.filters.http.rbac.v3.RBAC"),
                        ],
                    },
                })
            }
        }
    }
}

/// The file that a discovered filter comes from.
pub fn ecds_file(filter: &str) -> String {
    format!("{}.json", filter.replace('/', "_"))
}

fn route(prefix: &str, cluster: &str) -> Value {
    json!({"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "0s"}})
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let endpoint = json!({"address": socket(&address.ip().to_string(), address.port())});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    })
}

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}
