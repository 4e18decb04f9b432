//! template: adds a header to every request.

mod stamp;

use std::rc::Rc;

use plugin_kit::config::{ConfigError, Mode};
use plugin_kit::{Plugin, headers};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use serde::Deserialize;

use crate::stamp::Stamp;

/// What the operator writes.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// `enforce`, `dryRun` (decides and counts, changes nothing) or `off`. Default `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// Ignored; changing it makes Istio push the configuration again, which revives a VM that died under `FAIL_CLOSE`.
    #[serde(default)]
    pub config_revision: String,
    /// The name of the header to add.
    pub header: String,
    /// Its value. Default `1`.
    #[serde(default = "default_value")]
    pub value: String,
}

fn default_value() -> String {
    "1".into()
}

/// The plugin: its compiled configuration, shared by all requests.
pub struct Template {
    mode: Mode,
    stamp: Rc<Stamp>,
}

impl Plugin for Template {
    type Config = Config;
    type Filter = Filter;

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { mode: config.mode, stamp: Rc::new(Stamp::compile(config.header, config.value)?) })
    }

    fn filter(&self) -> Filter {
        Filter { mode: self.mode, stamp: Rc::clone(&self.stamp) }
    }
}

/// One request.
pub struct Filter {
    mode: Mode,
    stamp: Rc<Stamp>,
}

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        if self.mode == Mode::Enforce {
            let _ = headers::REQUEST.set(self.stamp.header(), self.stamp.value());
        }
        Action::Continue
    }
}

plugin_kit::plugin!(Template: on_http_request_headers);

#[cfg(test)]
use plugin_testkit as _;
