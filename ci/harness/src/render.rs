//! A `WasmPlugin` as istiod and the agent hand it to Envoy.
//!
//! Follows Istio's `pilot/pkg/model/extensions.go` and `pkg/wasm/convert.go`: what is set here is set there, and what
//! is never set there (`vm_id`, capabilities, precompiled code) is not set here.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};

/// The part of a `WasmPlugin` that reaches the proxy.
#[derive(Clone, Debug, Deserialize)]
pub struct WasmPlugin {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    plugin_name: String,
    #[serde(default)]
    plugin_config: Option<Map<String, Value>>,
    #[serde(default)]
    phase: Phase,
    #[serde(default)]
    priority: Option<i32>,
    #[serde(default)]
    fail_strategy: FailStrategy,
    #[serde(default)]
    vm_config: VmConfig,
}

/// Where in the chain; in the order of the chain.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Before Istio's own authentication.
    Authn,
    /// Before Istio's own authorization.
    Authz,
    /// After authorization.
    Stats,
    /// After all of these.
    #[default]
    UnspecifiedPhase,
}

impl Phase {
    /// As it is written in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authn => "AUTHN",
            Self::Authz => "AUTHZ",
            Self::Stats => "STATS",
            Self::UnspecifiedPhase => "UNSPECIFIED_PHASE",
        }
    }
}

/// What becomes of requests when the VM has died.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub enum FailStrategy {
    /// They are refused until the configuration changes.
    #[default]
    #[serde(rename = "FAIL_CLOSE")]
    Close,
    /// They pass without the plugin.
    #[serde(rename = "FAIL_OPEN")]
    Open,
    /// They are refused until the VM is back, a second later.
    #[serde(rename = "FAIL_RELOAD")]
    Reload,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct VmConfig {
    #[serde(default)]
    env: Vec<EnvVar>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvVar {
    name: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    value_from: ValueFrom,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ValueFrom {
    #[default]
    Inline,
    Host,
}

fn default_namespace() -> String {
    "default".into()
}

/// The filter for a `WasmPlugin` in YAML: name and `typed_config`, fit for a filter chain and for ECDS.
pub fn filter(wasmplugin_yaml: &str, module: &Path) -> Result<Value> {
    Ok(WasmPlugin::parse(wasmplugin_yaml)?.filter(module))
}

/// Sorts plugins as Istio chains them: phase, then priority with the highest first and unset last, then name.
pub fn phase_order<T>(plugins: &mut [T], plugin: impl Fn(&T) -> &WasmPlugin) {
    plugins.sort_by_key(|item| {
        let WasmPlugin { metadata, spec } = plugin(item);
        let priority = Reverse(spec.priority.unwrap_or(i32::MIN));
        (spec.phase, priority, metadata.name.clone(), metadata.namespace.clone())
    });
}

impl WasmPlugin {
    /// Reads one from YAML.
    pub fn parse(yaml: &str) -> Result<Self> {
        serde_norway::from_str(yaml).context("not a WasmPlugin")
    }

    /// `<namespace>.<name>`: Envoy's name for the plugin, in log lines and stats.
    pub fn instance(&self) -> String {
        format!("{}.{}", self.metadata.namespace, self.metadata.name)
    }

    /// The name of the extension that ECDS delivers.
    pub fn extension(&self) -> String {
        format!("extensions.istio.io/wasmplugin/{}", self.instance())
    }

    /// Where in the chain.
    pub fn phase(&self) -> Phase {
        self.spec.phase
    }

    /// Within the phase; the highest comes first.
    pub fn priority(&self) -> Option<i32> {
        self.spec.priority
    }

    /// The same with another `pluginConfig`.
    pub fn configured(&self, config: &Value) -> Self {
        let mut plugin = self.clone();
        plugin.spec.plugin_config = config.as_object().cloned();
        plugin
    }

    /// The names of `vmConfig.env` whose values are the proxy's own.
    pub fn host_env(&self) -> Vec<String> {
        let env = self.spec.vm_config.env.iter();
        env.filter(|var| var.value_from == ValueFrom::Host).map(|var| var.name.clone()).collect()
    }

    /// The filter: name and `typed_config`.
    pub fn filter(&self, module: &Path) -> Value {
        let failure_policy = match self.spec.fail_strategy {
            FailStrategy::Close => "FAIL_CLOSED",
            FailStrategy::Open => "FAIL_OPEN",
            FailStrategy::Reload => "FAIL_RELOAD",
        };
        let mut vm = json!({
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": module}},
        });
        if let Some(environment) = self.environment() {
            vm["environment_variables"] = environment;
        }
        let mut config = json!({
            "name": self.instance(),
            "root_id": self.spec.plugin_name,
            "failure_policy": failure_policy,
            "vm_config": vm,
        });
        if let Some(plugin_config) = self.spec.plugin_config.as_ref().filter(|config| !config.is_empty()) {
            config["configuration"] = json!({
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": through_protobuf(Value::Object(plugin_config.clone())).to_string(),
            });
        }
        json!({
            "name": self.extension(),
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": config,
            },
        })
    }

    fn environment(&self) -> Option<Value> {
        let env = &self.spec.vm_config.env;
        let inline: BTreeMap<_, _> = env
            .iter()
            .filter(|var| var.value_from == ValueFrom::Inline)
            .map(|var| (&var.name, &var.value))
            .collect();
        let host: Vec<_> =
            env.iter().filter(|var| var.value_from == ValueFrom::Host).map(|var| &var.name).collect();
        let mut environment = Map::new();
        if !inline.is_empty() {
            environment.insert("key_values".into(), json!(inline));
        }
        if !host.is_empty() {
            environment.insert("host_env_keys".into(), json!(host));
        }
        (!environment.is_empty()).then_some(Value::Object(environment))
    }
}

/// What a value is after it was a `google.protobuf.Struct`: keys are sorted and every number is a double.
fn through_protobuf(value: Value) -> Value {
    match value {
        Value::Number(number) => double(&number),
        Value::Array(items) => items.into_iter().map(through_protobuf).collect(),
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> =
                fields.into_iter().map(|(key, value)| (key, through_protobuf(value))).collect();
            sorted.into_iter().collect()
        }
        other => other,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "only whole numbers within the range of an i64 are cast")]
fn double(number: &Number) -> Value {
    const WHOLE: f64 = 9_223_372_036_854_775_807.0;
    match number.as_f64() {
        Some(double) if double.fract() == 0.0 && double.abs() < WHOLE => Value::from(double as i64),
        double => Value::from(double),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: path-rewrite, namespace: istio-system}
spec:
  url: oci://registry.example.com/path-rewrite:1.0.0
  pluginName: path-rewrite
  phase: AUTHN
  priority: 100
  failStrategy: FAIL_RELOAD
  match: [{mode: SERVER}]
  pluginConfig: {b: 10, a: {z: "阳明", y: [1.0, 1.5, 9007199254740993, true, null]}}
  vmConfig: {env: [{name: REGION, value: eu}, {name: POD, valueFrom: HOST}]}
"#;

    fn plugin(name: &str, phase: &str, priority: Option<i32>) -> WasmPlugin {
        let spec = json!({"phase": phase, "priority": priority});
        WasmPlugin::parse(&json!({"metadata": {"name": name}, "spec": spec}).to_string()).unwrap()
    }

    #[test]
    fn envoy_gets_what_istiod_sends() {
        assert_eq!(
            filter(FULL, Path::new("/var/lib/istio/data/x.wasm")).unwrap(),
            json!({
                "name": "extensions.istio.io/wasmplugin/istio-system.path-rewrite",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                    "config": {
                        "name": "istio-system.path-rewrite",
                        "root_id": "path-rewrite",
                        "configuration": {
                            "@type": "type.googleapis.com/google.protobuf.StringValue",
                            "value": r#"{"a":{"y":[1,1.5,9007199254740992,true,null],"z":"阳明"},"b":10}"#,
                        },
                        "failure_policy": "FAIL_RELOAD",
                        "vm_config": {
                            "runtime": "envoy.wasm.runtime.v8",
                            "code": {"local": {"filename": "/var/lib/istio/data/x.wasm"}},
                            "environment_variables": {"key_values": {"REGION": "eu"}, "host_env_keys": ["POD"]},
                        },
                    },
                },
            })
        );
    }

    #[test]
    fn what_is_not_written_is_not_sent() {
        for spec in ["{url: x}", "{url: x, pluginConfig: {}}"] {
            let filter =
                filter(&format!("{{metadata: {{name: n}}, spec: {spec}}}"), Path::new("/m")).unwrap();
            assert_eq!(
                filter["typed_config"]["config"],
                json!({
                    "name": "default.n",
                    "root_id": "",
                    "failure_policy": "FAIL_CLOSED",
                    "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": "/m"}}},
                })
            );
        }
    }

    #[test]
    fn plugins_are_chained_by_phase_then_priority_then_name() {
        let mut plugins = [
            plugin("z", "UNSPECIFIED_PHASE", Some(1000)),
            plugin("unset", "AUTHN", None),
            plugin("negative", "AUTHN", Some(-1)),
            plugin("b", "AUTHN", Some(7)),
            plugin("a", "AUTHN", Some(7)),
            plugin("s", "STATS", None),
            plugin("authz", "AUTHZ", Some(0)),
            plugin("first", "AUTHN", Some(100)),
        ];
        phase_order(&mut plugins, |plugin| plugin);
        let names: Vec<_> = plugins.iter().map(|plugin| plugin.metadata.name.as_str()).collect();
        assert_eq!(names, ["first", "a", "b", "negative", "unset", "authz", "s", "z"]);
    }
}
