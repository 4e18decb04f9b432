//! Settings that turn the names of custom-metrics' series into labels: Istio's `extraStatTags`, Envoy's `stats_tags`.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The labels of the plugins' own metrics, which Istio knows without being told.
const OWN: [(&str, &str); 3] = [
    ("wasm_filter", r"^wasmcustom\.(wasm_filter\.(.+?)\.)"),
    ("component", r"^wasmcustom\.wasm_filter\.[^.]+\.(component\.(.+?)\.)"),
    ("cache", r"^wasmcustom\.wasm_filter\.[^.]+\.(cache\.(.+?)\.)"),
];

const MILLISECONDS: &str = "[5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000]";
const BYTES: &str = "[100, 1000, 10000, 100000, 1000000, 10000000, 100000000]";
const NUMBERS: &str = "[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000, 100000]";

/// The settings for a configuration: two YAML documents, Istio's and Envoy's. `yaml` is a `pluginConfig` of
/// custom-metrics or a `WasmPlugin` with one.
pub fn print(yaml: &str) -> Result<String> {
    let document: Value = serde_norway::from_str(yaml).context("not YAML")?;
    let config = match document.get("kind").and_then(Value::as_str) {
        Some("WasmPlugin") => {
            document.pointer("/spec/pluginConfig").context("spec.pluginConfig is missing")?
        }
        Some(kind) => bail!("a {kind} is neither a WasmPlugin nor a pluginConfig"),
        None => &document,
    };
    let metrics = config.get("metrics").and_then(Value::as_array).context("there is no list `metrics`")?;
    let mut labels = BTreeSet::new();
    let mut histograms = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        let text = |field: &str| metric.get(field).and_then(Value::as_str).unwrap_or_default();
        ensure!(is_name(text("name")), "metrics[{index}].name is not [a-zA-Z_][a-zA-Z0-9_]*");
        if text("type") == "histogram" {
            let buckets = match text("value") {
                "requestDuration" => MILLISECONDS,
                "requestSize" | "responseSize" => BYTES,
                _ => NUMBERS,
            };
            histograms.push((text("name"), buckets));
        }
        for name in metric.get("labels").and_then(Value::as_object).into_iter().flat_map(|map| map.keys()) {
            ensure!(is_name(name), "metrics[{index}].labels: {name:?} is not [a-zA-Z_][a-zA-Z0-9_]*");
            labels.insert(name.as_str());
        }
    }
    Ok([istio(&labels, !histograms.is_empty()), "---\n".into(), envoy(&labels, &histograms)].concat())
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn istio(labels: &BTreeSet<&str>, has_histograms: bool) -> String {
    let mut yaml = "# Istio: a part of its MeshConfig. A proxy reads it when it starts, so restart the pods.\n\
                    # For some pods only: the annotation proxy.istio.io/config with the content of defaultConfig.\n\
                    meshConfig:\n  defaultConfig:\n    extraStatTags:"
        .to_owned();
    if labels.is_empty() {
        yaml.push_str(" []");
    }
    yaml.push('\n');
    for label in labels {
        let _ = writeln!(yaml, "    - {label}");
    }
    if has_histograms {
        let compact = MILLISECONDS.replace(' ', "");
        yaml.push_str("# Buckets, for all histograms of plugins at once: an annotation of the pods.\n");
        let _ = writeln!(yaml, "# sidecar.istio.io/statsHistogramBuckets: '{{\"wasmcustom\":{compact}}}'");
    }
    yaml
}

fn envoy(labels: &BTreeSet<&str>, histograms: &[(&str, &str)]) -> String {
    let mut yaml =
        "# Envoy without Istio: a part of its bootstrap.\nstats_config:\n  stats_tags:\n".to_owned();
    let mut tag = |name: &str, regex: &str| {
        let _ = writeln!(yaml, "  - {{tag_name: {name}, regex: '{regex}'}}");
    };
    for (name, regex) in OWN {
        tag(name, regex);
    }
    for label in labels {
        tag(label, &format!(r"^wasmcustom\.(?:.*;\.;)?({label}=\.=(.*?);\.;)"));
    }
    if !histograms.is_empty() {
        yaml.push_str(
            "  # Choose your own: Envoy counts in bins of two digits, so 123456 is in le=120000.\n",
        );
        yaml.push_str("  histogram_bucket_settings:\n");
    }
    for (name, buckets) in histograms {
        let _ = writeln!(yaml, "  - {{match: {{suffix: {name}}}, buckets: {buckets}}}");
    }
    yaml
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    const CONFIG: &str = "
metrics:
- {name: a_total, type: counter, labels: {route: {pathTemplate: true}, method: {method: true}}}
- {name: a_milliseconds, type: histogram, value: requestDuration, labels: {route: {pathTemplate: true}}}
- {name: a_bytes, type: histogram, value: responseSize}
";

    fn documents(yaml: &str) -> Vec<Value> {
        serde_norway::Deserializer::from_str(yaml).map(|one| Value::deserialize(one).unwrap()).collect()
    }

    #[test]
    fn both_blocks_are_yaml_with_every_label_once() {
        let documents = documents(&print(CONFIG).unwrap());
        let [istio, envoy] = documents.as_slice() else { panic!("{documents:?}") };
        assert_eq!(*istio, json!({"meshConfig": {"defaultConfig": {"extraStatTags": ["method", "route"]}}}));
        let tags = envoy["stats_config"]["stats_tags"].as_array().unwrap();
        let names: Vec<&str> = tags.iter().map(|tag| tag["tag_name"].as_str().unwrap()).collect();
        assert_eq!(names, ["wasm_filter", "component", "cache", "method", "route"]);
        assert_eq!(tags[4]["regex"], r"^wasmcustom\.(?:.*;\.;)?(route=\.=(.*?);\.;)");
        let buckets = envoy["stats_config"]["histogram_bucket_settings"].as_array().unwrap();
        assert_eq!(buckets.len(), 2);
        assert_eq!(buckets[0]["match"]["suffix"], "a_milliseconds");
        assert_eq!(buckets[1]["buckets"][0], 100);
    }

    #[test]
    fn a_wasmplugin_is_a_configuration_too() {
        let plugin = json!({"kind": "WasmPlugin", "spec": {"pluginConfig": serde_norway::from_str::<Value>(CONFIG).unwrap()}});
        assert_eq!(print(&plugin.to_string()).unwrap(), print(CONFIG).unwrap());
    }

    #[test]
    fn a_metric_without_labels_needs_none() {
        let documents = documents(&print("metrics: [{name: a_total, type: counter}]").unwrap());
        assert_eq!(documents[0]["meshConfig"]["defaultConfig"]["extraStatTags"], json!([]));
        assert!(documents[1]["stats_config"].get("histogram_bucket_settings").is_none());
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for (yaml, message) in [
            ("rules: []", "there is no list `metrics`"),
            ("kind: ConfigMap", "a ConfigMap is neither a WasmPlugin nor a pluginConfig"),
            ("kind: WasmPlugin\nspec: {}", "spec.pluginConfig is missing"),
            ("metrics: [{}]", "metrics[0].name is not [a-zA-Z_][a-zA-Z0-9_]*"),
            (
                "metrics: [{name: a_total, labels: {\"a'b\": {}}}]",
                "metrics[0].labels: \"a'b\" is not [a-zA-Z_][a-zA-Z0-9_]*",
            ),
        ] {
            assert_eq!(print(yaml).unwrap_err().to_string(), message, "{yaml}");
        }
    }
}
