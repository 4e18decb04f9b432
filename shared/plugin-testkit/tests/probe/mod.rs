//! A plugin that does in each callback what the test says, so that a test shows what the host answers there.

#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use plugin_kit::config::ConfigError;
use plugin_kit::{Callbacks, Plugin};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use serde::Deserialize;

/// What is done in a callback.
type Script = Box<dyn FnMut() -> Action>;
type Scripts<S> = RefCell<BTreeMap<&'static str, S>>;

thread_local! {
    static ALWAYS: Scripts<fn() -> Action> = const { RefCell::new(BTreeMap::new()) };
    static SCRIPTS: Scripts<Script> = const { RefCell::new(BTreeMap::new()) };
    static CALLED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// From now on, the callback does this.
pub fn on(callback: &'static str, mut script: impl FnMut() + 'static) {
    on_with(callback, move || {
        script();
        Action::Continue
    });
}

/// From now on, the callback does this and returns its action.
pub fn on_with(callback: &'static str, script: impl FnMut() -> Action + 'static) {
    SCRIPTS.with(|scripts| scripts.borrow_mut().insert(callback, Box::new(script)));
}

/// In this test the callback does this, unless it is told otherwise; also of plugins that are yet to be started.
pub fn always(callback: &'static str, script: fn() -> Action) {
    ALWAYS.with(|scripts| scripts.borrow_mut().insert(callback, script));
}

/// The callbacks since the last time, with their arguments.
pub fn called() -> Vec<String> {
    CALLED.with(|called| std::mem::take(&mut *called.borrow_mut()))
}

fn run(callback: &'static str, arguments: &str) -> Action {
    let line = if arguments.is_empty() { callback.to_owned() } else { format!("{callback} {arguments}") };
    CALLED.with(|called| called.borrow_mut().push(line));
    let script = SCRIPTS.with(|scripts| scripts.borrow_mut().remove(callback));
    let Some(mut script) = script else {
        let always = ALWAYS.with(|scripts| scripts.borrow().get(callback).copied());
        return always.map_or(Action::Continue, |script| script());
    };
    let action = script();
    SCRIPTS.with(|scripts| {
        scripts.borrow_mut().entry(callback).or_insert(script);
    });
    action
}

/// What the probe is configured with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub tick: u64,
    #[serde(default)]
    pub name: String,
}

/// The plugin.
pub struct Probe {
    tick: u64,
    name: String,
}

impl Plugin for Probe {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        if config.name == "bad" {
            return Err(ConfigError::new("name: must not be \"bad\""));
        }
        // The thread may be that of an earlier test.
        SCRIPTS.with(|scripts| scripts.borrow_mut().clear());
        called();
        Ok(Self { tick: config.tick, name: config.name })
    }

    fn filter(&self) -> Filter {
        Filter { name: self.name.clone() }
    }

    fn tick_period(&self) -> Option<Duration> {
        (self.tick > 0).then(|| Duration::from_millis(self.tick))
    }

    fn on_tick(&mut self) {
        run("on_tick", "");
    }

    fn on_http_call_response(&mut self, _token: u32, headers: usize, body: usize) {
        run("root.on_http_call_response", &format!("{headers} {body}"));
    }
}

/// One request.
pub struct Filter {
    name: String,
}

impl Context for Filter {
    fn on_http_call_response(&mut self, _token: u32, headers: usize, body: usize, trailers: usize) {
        run("on_http_call_response", &format!("{headers} {body} {trailers}"));
    }

    fn on_grpc_call_response(&mut self, _token: u32, status: u32, size: usize) {
        run("on_grpc_call_response", &format!("{status} {size}"));
    }

    fn on_done(&mut self) -> bool {
        run("on_done", "");
        true
    }
}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, headers: usize, end: bool) -> Action {
        run("on_http_request_headers", &format!("{}{headers} {end}", self.name))
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        run("on_http_request_body", &format!("{size} {end}"))
    }

    fn on_http_request_trailers(&mut self, trailers: usize) -> Action {
        run("on_http_request_trailers", &format!("{trailers}"))
    }

    fn on_http_response_headers(&mut self, headers: usize, end: bool) -> Action {
        run("on_http_response_headers", &format!("{headers} {end}"))
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        run("on_http_response_body", &format!("{size} {end}"))
    }

    fn on_http_response_trailers(&mut self, trailers: usize) -> Action {
        run("on_http_response_trailers", &format!("{trailers}"))
    }

    fn on_log(&mut self) {
        run("on_log", "");
    }
}

plugin_kit::plugin!(
    Probe: on_http_request_headers, on_http_request_body, on_http_request_trailers, on_http_response_headers,
    on_http_response_body, on_http_response_trailers, on_http_call_response, on_grpc_call_response, on_tick, on_done,
    on_log
);

/// The same plugin, of which the module exports one callback.
pub struct Narrow(Probe);

impl Plugin for Narrow {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        Probe::new(config).map(Self)
    }

    fn filter(&self) -> Filter {
        self.0.filter()
    }
}

impl Callbacks for Narrow {
    const CALLBACKS: &'static [&'static str] = &["on_http_response_headers"];
}

/// A serialized `GrpcService` for this cluster.
pub fn grpc_service(cluster: &str) -> Vec<u8> {
    let field = |tag: u8, value: &[u8]| [&[tag, u8::try_from(value.len()).unwrap()], value].concat();
    field(0x0a, &field(0x0a, cluster.as_bytes()))
}
