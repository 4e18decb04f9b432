//! The root context, once for all plugins: configuration, log level, tick, and a filter for each request.

use std::time::Duration;

use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType};
use serde::de::DeserializeOwned;

use crate::config::{self, ConfigError};
use crate::hostcalls;
use crate::reply::Reply;
use crate::stream::StreamId;

/// A plugin: how its configuration becomes what the request path needs, and what each request gets.
pub trait Plugin: Sized + 'static {
    /// What the operator writes.
    type Config: DeserializeOwned;
    /// What handles one request.
    type Filter: HttpContext + 'static;

    /// Compiles the configuration, once; after it nothing can fail.
    ///
    /// # Errors
    /// A [`ConfigError`] that points at the field. Envoy then keeps serving with the configuration it had.
    fn new(config: Self::Config) -> Result<Self, ConfigError>;

    /// The handler of the next request: clone an `Rc`, not a table.
    fn filter(&self) -> Self::Filter;

    /// As [`Plugin::filter`], for a plugin whose requests wait for each other: `stream` is how the callback of another
    /// one reaches this one.
    fn filter_of(&self, stream: StreamId) -> Self::Filter {
        let _ = stream;
        self.filter()
    }

    /// How often [`Plugin::on_tick`] is wanted. Each worker ticks, and Envoy's main thread too.
    fn tick_period(&self) -> Option<Duration> {
        None
    }

    /// Called every [`Plugin::tick_period`].
    fn on_tick(&mut self) {}

    /// The answer to an HTTP call that the plugin, not a request, dispatched.
    fn on_http_call_response(&mut self, _token: u32, _headers: usize, _body: usize) {}
}

/// The callbacks that a plugin implements, by their names in the SDK; the build drops the exports of all others.
///
/// Implemented by [`plugin!`](crate::plugin!), which is what declares them.
pub trait Callbacks: Plugin {
    /// Such as `on_http_request_headers`.
    const CALLBACKS: &'static [&'static str];
}

/// Declares a crate's plugin and the callbacks that it implements.
///
/// Envoy calls only what a module exports, and each call into the VM costs; so the build removes the exports that are
/// not named here. The testkit, too, calls only these, and `just lint` compares the list with the code.
///
/// ```ignore
/// plugin_kit::plugin!(PathRewrite: on_http_request_headers, on_http_response_headers);
/// ```
#[macro_export]
macro_rules! plugin {
    ($plugin:ident: $($callback:ident),* $(,)?) => {
        impl $crate::Callbacks for $plugin {
            const CALLBACKS: &'static [&'static str] = &[$(stringify!($callback)),*];
        }

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        mod module {
            const NAMES: &str = concat!($(stringify!($callback), "\n"),*);

            /// Read and removed by the build.
            #[used]
            #[unsafe(link_section = "plugin_callbacks")]
            static CALLBACKS: [u8; NAMES.len()] = {
                let mut bytes = [0; NAMES.len()];
                bytes.copy_from_slice(NAMES.as_bytes());
                bytes
            };

            $crate::proxy_wasm::main! {{
                $crate::proxy_wasm::set_root_context($crate::root_context::<super::$plugin>);
            }}
        }
    };
}

/// The root context of plugin `P`, as the SDK wants it.
#[must_use]
pub fn root_context<P: Plugin>(_context_id: u32) -> Box<dyn RootContext> {
    Box::new(Root::<P> { plugin: None })
}

struct Root<P> {
    plugin: Option<P>,
}

impl<P: Plugin> Context for Root<P> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        if let Some(plugin) = &mut self.plugin {
            plugin.on_http_call_response(token, headers, body);
        }
    }
}

impl<P: Plugin> RootContext for Root<P> {
    fn on_configure(&mut self, size: usize) -> bool {
        proxy_wasm::set_log_level(hostcalls::log_level());
        let raw = if size == 0 {
            None
        } else {
            hostcalls::buffer(BufferType::PluginConfiguration, 0, size).ok().flatten()
        };
        let plugin = match config::parse(raw.as_deref().unwrap_or_default()).and_then(P::new) {
            Ok(plugin) => plugin,
            Err(invalid) => {
                error!("invalid configuration: {invalid}");
                return false;
            }
        };
        if let Some(period) = plugin.tick_period()
            && let Err(refused) = hostcalls::set_tick_period(period)
        {
            error!("no tick every {period:?}: {refused:?}");
            return false;
        }
        self.plugin = Some(plugin);
        true
    }

    fn on_tick(&mut self) {
        if let Some(plugin) = &mut self.plugin {
            plugin.on_tick();
        }
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(match &self.plugin {
            Some(plugin) => Box::new(plugin.filter_of(StreamId::new(context_id))),
            None => Box::new(Unconfigured),
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Envoy sends no requests to a plugin that refused its configuration; should one come, it is not let through.
struct Unconfigured;

impl Context for Unconfigured {}

impl HttpContext for Unconfigured {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        Reply::new(500).details("plugin_not_configured").send();
        Action::Pause
    }
}
