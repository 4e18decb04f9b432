//! custom-metrics: counts, times and measures requests, with labels of the operator's own and a bound on the series.

pub mod config;
mod labels;
mod names;
mod outcome;
mod record;
mod registry;
mod route;
mod sanitise;
mod series;

use std::rc::Rc;

use log::debug;
use plugin_kit::Plugin;
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::{At, ConfigError, Mode};
use plugin_kit::request::Request;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::config::Config;
use crate::outcome::Outcome;
use crate::record::{Plan, Seen};

const NAME: &str = "custom-metrics";

/// The plugin: its compiled configuration, shared by all requests.
pub struct CustomMetrics(Rc<Compiled>);

struct Compiled {
    mode: Mode,
    client_ip: ClientIp,
    plan: Plan,
}

impl Plugin for CustomMetrics {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self(Rc::new(Compiled {
            mode: config.mode,
            client_ip: config.client_ip.check().at("clientIp")?,
            plan: Plan::compile(&config)?,
        })))
    }

    fn filter(&self) -> Filter {
        Filter { plugin: Rc::clone(&self.0), seen: None }
    }
}

/// One request.
pub struct Filter {
    plugin: Rc<Compiled>,
    /// Absent as long as the request has not come here: it was malformed, or an earlier plugin answered it.
    seen: Option<Seen>,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        let plugin = &self.plugin;
        if plugin.mode != Mode::Off {
            let mut seen = plugin.observe();
            if plugin.mode == Mode::Enforce {
                plugin.plan.begin(&mut seen);
            }
            self.seen = Some(seen);
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        let plugin = &self.plugin;
        if plugin.mode == Mode::Off {
            return;
        }
        let mut seen = self.seen.take().unwrap_or_else(|| plugin.observe());
        plugin.plan.end(&mut seen);
        for record in plugin.plan.records(&mut seen, &Outcome::current()) {
            if plugin.mode == Mode::DryRun {
                debug!("dryRun {record}");
            } else {
                plugin.plan.record(&record);
            }
        }
    }
}

impl Compiled {
    fn observe(&self) -> Seen {
        self.plan.observe(Request::current(self.client_ip))
    }
}

plugin_kit::plugin!(CustomMetrics: on_http_request_headers, on_log);

#[cfg(test)]
use plugin_testkit as _;
