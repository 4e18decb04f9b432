//! What is no plugin itself: whether it is an object of Kubernetes at all, and whether there is a plugin inside.

use serde_json::{Value, json};

use crate::validate::shape::{At, Findings};

/// The `apiVersion`s of the kinds that a repository such as this one has; others are taken as they are.
const KINDS: [(&str, &[&str]); 20] = [
    ("AppProject", &["argoproj.io/v1alpha1"]),
    ("Application", &["argoproj.io/v1alpha1"]),
    ("ApplicationSet", &["argoproj.io/v1alpha1"]),
    ("Component", &["kustomize.config.k8s.io/v1alpha1"]),
    ("ConfigMap", &["v1"]),
    ("DaemonSet", &["apps/v1"]),
    ("Deployment", &["apps/v1"]),
    (
        "DestinationRule",
        &["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"],
    ),
    ("EnvoyFilter", &["networking.istio.io/v1alpha3"]),
    (
        "Gateway",
        &[
            "gateway.networking.k8s.io/v1",
            "gateway.networking.k8s.io/v1beta1",
            "networking.istio.io/v1",
            "networking.istio.io/v1beta1",
            "networking.istio.io/v1alpha3",
        ],
    ),
    ("Job", &["batch/v1"]),
    ("Kustomization", &["kustomize.config.k8s.io/v1beta1"]),
    ("Namespace", &["v1"]),
    ("PersistentVolume", &["v1"]),
    ("PersistentVolumeClaim", &["v1"]),
    ("Secret", &["v1"]),
    ("Service", &["v1"]),
    (
        "ServiceEntry",
        &["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"],
    ),
    ("Telemetry", &["telemetry.istio.io/v1", "telemetry.istio.io/v1alpha1"]),
    (
        "VirtualService",
        &["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"],
    ),
];

/// `apiVersion`, `kind`, and a name where one is needed.
pub fn check(root: &At, findings: &mut Findings) {
    let mut text = |field: &str| match root.get(field) {
        Some(value) => value.text(findings),
        None => {
            findings.error(field, "is missing");
            None
        }
    };
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else { return };
    let known = KINDS.iter().find(|(known, _)| *known == kind).map(|(_, versions)| *versions);
    if let Some(versions) = known
        && !versions.contains(&version)
    {
        findings.error("apiVersion", format!("{version:?} has no {kind}; {} has", versions.join(", ")));
    }
    let metadata = root.get("metadata");
    let named = ["name", "generateName"].iter().any(|field| {
        metadata.as_ref().and_then(|metadata| metadata.get(field)).is_some_and(|name| name.value.is_string())
    });
    if !named && !matches!(kind, "Kustomization" | "Component" | "List") {
        findings.error("metadata.name", "is missing");
    }
}

/// A plugin that an EnvoyFilter configures by hand, as the WasmPlugin that would do the same, and where its
/// configuration lies.
pub fn inline_plugin(root: &At, findings: &mut Findings) -> Option<(Value, String)> {
    let patches = root.get("spec")?.get("configPatches")?.list(findings);
    let filter = patches.into_iter().find_map(|patch| {
        let value = patch.get("patch")?.get("value")?;
        let typed = value.get("typed_config").or_else(|| value.get("typedConfig"))?;
        let typed = typed.get("value").unwrap_or(typed);
        let config = typed.get("config")?;
        config.get("vm_config").or_else(|| config.get("vmConfig"))?;
        Some(config)
    })?;
    let name = filter.get("root_id").or_else(|| filter.get("rootId"))?.text(findings)?;
    let configuration = filter.get("configuration");
    let config = match &configuration {
        None => json!({}),
        Some(configuration) => {
            let kind = configuration.get("@type").and_then(|kind| kind.value.as_str()).unwrap_or_default();
            if !kind.ends_with("google.protobuf.StringValue") {
                findings.error(
                    format!("{}[\"@type\"]", configuration.path),
                    "must be type.googleapis.com/google.protobuf.StringValue: anything else reaches the plugin as protobuf",
                );
                return None;
            }
            let value = configuration.get("value")?;
            match serde_json::from_str(value.text(findings)?) {
                Ok(config) => config,
                Err(error) => {
                    findings.error(&value.path, format!("is not JSON: {error}"));
                    return None;
                }
            }
        }
    };
    let path =
        configuration.map_or_else(String::new, |configuration| format!("{}.value", configuration.path));
    let plugin = json!({
        "metadata": {"name": "validate"},
        "spec": {"pluginName": name, "pluginConfig": config},
    });
    Some((plugin, path))
}
