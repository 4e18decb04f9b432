//! What the operator writes.

use std::fmt;

use plugin_kit::client_ip::ClientIp;
use plugin_kit::config::Mode;
use plugin_kit::matching::Match;
use plugin_kit::source::SourceList;
use plugin_kit::status::StatusPattern;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// The configuration of custom-metrics.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// `enforce`, `dryRun` (records nothing, and logs at `debug` what it would record) or `off`. Default `enforce`.
    #[serde(default)]
    pub mode: Mode,
    /// Ignored; changing it makes Istio push the configuration again, which revives a VM that died under `FAIL_CLOSE`.
    #[serde(default)]
    pub config_revision: String,
    /// What `clientIp` means in matches and labels.
    #[serde(default)]
    pub client_ip: ClientIp,
    /// How a path becomes a label of few values.
    #[serde(default)]
    pub paths: Paths,
    /// What holds for every metric.
    #[serde(default)]
    pub defaults: Defaults,
    /// What is recorded.
    pub metrics: Vec<Metric>,
}

/// How a path becomes a label of few values.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Paths {
    /// The first template that matches the path is the label: `/users/{id}`, `/static/{rest=**}`.
    pub templates: Vec<String>,
    /// What the label of any other path is. Default `auto`.
    pub unmatched: Unmatched,
}

/// What the label of a path is that no template means.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Unmatched {
    /// The path, with `{id}` for segments that are numbers, UUIDs or long hexadecimal numbers.
    #[default]
    Auto,
    /// `other`.
    Other,
}

/// What holds for every metric.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Defaults {
    /// How many series a metric may have in one proxy, over all workers; 1 to 10000. What comes after is recorded in
    /// one more series. Series are never freed as long as the proxy runs, so this bounds its memory. With templates and
    /// `unmatched: auto`, other paths take at most half of them, rounded up. Default 500.
    pub max_series: u32,
    /// The value of every label of that one more series. Default `_other`.
    pub overflow_value: String,
    /// Longer values are cut here, in bytes; 8 to 1024. Default 128.
    pub max_label_length: usize,
    /// The value of a label that has none. Default `unknown`.
    pub missing: String,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            max_series: 500,
            overflow_value: "_other".into(),
            max_label_length: 128,
            missing: "unknown".into(),
        }
    }
}

/// One metric.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    /// `[a-zA-Z_][a-zA-Z0-9_]*`, unique; a counter's ends in `_total`. No other plugin of the proxy, nor the
    /// application behind it, may have a metric of this name. `wasm_filter`, `istio_` and `envoy_` at its beginning are
    /// refused.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Which requests, as they were when they reached this plugin. Absent: all.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Which responses. Absent: all, and requests that got none.
    #[serde(default)]
    pub when: When,
    /// `one`, `requestDuration` (milliseconds), `requestSize`, `responseSize` (bytes of the bodies), `activeRequests`
    /// (for a gauge), or a value source whose value is a whole number, such as `responseHeader:x-cost`. A counter adds
    /// it, a histogram records it, a gauge is set to it. Default `one`.
    #[serde(default = "one")]
    pub value: String,
    /// Label names, each with exactly one of `pathTemplate`, `method`, `status`, `statusClass`, `grpcStatus`
    /// (all `true`) and `source`. See below.
    #[serde(default)]
    pub labels: Labels,
    /// `defaults.maxSeries` for this metric.
    pub max_series: Option<u32>,
}

fn one() -> String {
    "one".into()
}

/// What kind of metric.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution of whole numbers.
    Histogram,
}

/// Which responses.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct When {
    /// Statuses (`404`) and classes of them (`5xx`).
    pub statuses: Option<Vec<StatusPattern>>,
}

/// Label names and where their values come from, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Labels(pub Vec<(String, Label)>);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Labels;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("label names with their values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::default();
                while let Some(entry) = members.next_entry()? {
                    labels.0.push(entry);
                }
                Ok(labels)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Where the value of a label comes from: exactly one, but for `allow` and `otherwise`, which go with `source`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Label {
    /// The template of `paths` that the path matches.
    pub path_template: Option<bool>,
    /// The method; `_OTHER` where it is none of RFC 9110's and no PATCH.
    pub method: Option<bool>,
    /// The status: `404`.
    pub status: Option<bool>,
    /// The class of the status: `4xx`.
    pub status_class: Option<bool>,
    /// The gRPC status as a number, for `application/grpc` only.
    pub grpc_status: Option<bool>,
    /// Value sources, of which the first that yields a value counts; there is also `responseHeader:NAME`.
    pub source: Option<SourceList>,
    /// The values that are labels; absent: all.
    pub allow: Option<Vec<String>>,
    /// What the label is for a value that `allow` does not name. Default `other`.
    pub otherwise: Option<String>,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Labels {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Labels".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let label = generator.subschema_for::<Label>();
        schemars::json_schema!({
            "type": "object",
            "patternProperties": {"^[a-zA-Z_][a-zA-Z0-9_]*$": label},
            "unevaluatedProperties": false,
        })
    }
}
