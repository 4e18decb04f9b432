//! `broken.yaml`, each with the line it must be refused with, and what may not be refused.

use serde_json::Value;

use crate::validate::input::Document;
use crate::validate::plugin::Plugins;
use crate::validate::shape::Severity;
use crate::validate::{check, input};
use crate::workspace::Workspace;

fn document(yaml: &str) -> Document {
    let content = serde_norway::from_str::<serde_norway::Value>(yaml);
    let content = content.map_err(|error| error.to_string());
    Document { source: "test".into(), content: content.map(|yaml| serde_json::to_value(yaml).unwrap()) }
}

fn lines(yaml: &str, severity: Severity) -> Vec<String> {
    let findings = check(&document(yaml), None).unwrap();
    findings.0.iter().filter(|finding| finding.severity == severity).map(ToString::to_string).collect()
}

/// Each document after the comment that is its expected line.
fn broken() -> Vec<(&'static str, &'static str)> {
    let documents = include_str!("broken.yaml").split("\n---\n");
    documents.map(|document| document.trim_start().split_once('\n').unwrap()).collect()
}

#[test]
fn broken_plugins_are_refused_with_the_field_named() {
    let broken = broken();
    assert!(broken.len() >= 20);
    let workspace = Workspace::load().unwrap();
    let mut plugins = Plugins::of_schemas(&workspace);
    for (expected, yaml) in broken {
        let findings = check(&document(yaml), Some(&mut plugins)).unwrap();
        let errors: Vec<_> =
            findings.0.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert_eq!(errors.iter().map(|error| format!("# {error}")).collect::<Vec<_>>(), [expected], "{yaml}");
    }
}

const WHOLE: &str = r#"
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: path-rewrite, namespace: shop}
spec:
  selector: {matchLabels: {app: shop}}
  url: oci://registry.example.com:5000/path-rewrite:1.0.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
  imagePullPolicy: IfNotPresent
  imagePullSecret: registry
  pluginName: path-rewrite
  phase: AUTHN
  priority: -1
  failStrategy: FAIL_RELOAD
  match: [{mode: SERVER, ports: [{number: 80}, {number: 443}]}, {mode: CLIENT}]
  type: HTTP
  vmConfig: {env: [{name: REGION, value: eu}, {name: POD, valueFrom: HOST}]}
  pluginConfig: {rules: []}
"#;

#[test]
fn every_field_that_istio_has_is_known() {
    assert_eq!(lines(WHOLE, Severity::Error), Vec::<String>::new());
    assert_eq!(lines(WHOLE, Severity::Warning), Vec::<String>::new());
}

#[test]
fn what_istio_takes_and_bites_is_a_warning() {
    for (from, to, expected) in [
        ("phase: AUTHN", "phase: null", "spec.phase: is not set"),
        ("priority: -1", "priority: null", "spec.priority: is not set"),
        (
            "oci://registry.example.com:5000/path",
            "registry.example.com/path",
            "has no scheme, which means oci",
        ),
        ("@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "", ""),
        (
            "selector: {matchLabels: {app: shop}}",
            "targetRefs: [{kind: Service, name: shop}]",
            "never match at a waypoint",
        ),
        (
            "selector: {matchLabels: {app: shop}}",
            "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: public}]",
            "SERVER never matches at an ingress gateway",
        ),
        ("name: REGION", "name: ISTIO_META_X", "the agent strips names"),
        ("selector: {matchLabels: {app: shop}}", "selector: {}", "it selects every workload"),
    ] {
        let yaml = WHOLE.replace(from, to);
        assert_ne!(yaml, WHOLE, "{from}");
        assert_eq!(lines(&yaml, Severity::Error), Vec::<String>::new(), "{yaml}");
        assert!(lines(&yaml, Severity::Warning).concat().contains(expected), "{yaml}");
    }
}

#[test]
fn a_tag_that_moves_is_warned_of() {
    let digest = "1.0.0@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let warnings = lines(&WHOLE.replace(digest, "latest"), Severity::Warning);
    assert!(warnings.concat().contains("`:latest` changes under you"), "{warnings:?}");
}

#[test]
fn an_overlay_wants_digests() {
    let yaml = WHOLE.replace("@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "");
    let mut document = document(&yaml);
    document.source = "kustomize manifests/overlays/prod".into();
    let findings = check(&document, None).unwrap().0;
    assert!(findings.iter().any(|finding| finding.message.starts_with("has no digest")), "{findings:?}");
}

#[test]
fn a_placeholder_is_not_released_yet() {
    let yaml = WHOLE.replace(&"a".repeat(64), &"0".repeat(64));
    assert!(lines(&yaml, Severity::Warning).concat().contains("is not released yet"));
}

#[test]
fn a_traffic_extension_is_the_same_with_its_module_under_wasm() {
    let yaml = r#"
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: path-rewrite}
spec:
  phase: AUTHN
  priority: 100
  wasm: {url: "oci://registry.example.com/path-rewrite:1.0.0", pluginName: path-rewrite, pluginConfig: {rules: []}}
"#;
    assert_eq!(lines(yaml, Severity::Error), Vec::<String>::new());
    let errors = lines(&yaml.replace("pluginName", "plugInName"), Severity::Error);
    assert_eq!(errors, ["spec.wasm.plugInName: unknown field; did you mean pluginName?"]);
    let errors = lines(&yaml.replace("  wasm:", "  lua: {inlineCode: x}\n  wasm:"), Severity::Error);
    assert_eq!(errors, ["spec: must have exactly one of wasm and lua"]);
}

#[test]
fn a_kind_has_its_api_version() {
    let errors = lines("{apiVersion: v1, kind: Job, metadata: {name: smoke}}", Severity::Error);
    assert_eq!(errors, ["apiVersion: \"v1\" has no Job; batch/v1 has"]);
}

#[test]
fn a_plugin_inside_an_envoy_filter_is_found() {
    let yaml = r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: local}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    patch:
      operation: INSERT_BEFORE
      value:
        name: path-rewrite
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config:
            root_id: path-rewrite
            configuration: {"@type": type.googleapis.com/google.protobuf.StringValue, value: '{"rulez": []}'}
            vm_config: {code: {local: {filename: /plugin.wasm}}}
"#;
    let workspace = Workspace::load().unwrap();
    let findings = check(&document(yaml), Some(&mut Plugins::of_schemas(&workspace))).unwrap().0;
    assert!(findings.iter().any(|finding| {
        finding.to_string()
            == "spec.configPatches[0].patch.value.typed_config.config.configuration.value.rulez: unknown field; did you mean rules?"
    }), "{findings:?}");
    let errors = lines(&yaml.replace("StringValue", "Struct"), Severity::Error);
    assert!(errors[0].contains("reaches the plugin as protobuf"), "{errors:?}");
}

#[test]
fn keys_that_are_there_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("twice.yaml");
    std::fs::write(&file, "kind: WasmPlugin\nkind: WasmPlugin\n").unwrap();
    let mut input = input::Input::new(dir.path());
    input.add(&file).unwrap();
    let error = input.documents[0].content.as_ref().unwrap_err();
    assert!(error.contains("duplicate"), "{error}");
}

#[test]
fn parts_that_a_kustomization_patches_with_are_no_documents() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "kustomization.yaml",
        "kind: Component\npatches: [{path: patch.yaml}]\npatchesStrategicMerge: [other.yaml]\n",
    );
    write("patch.yaml", "kind: WasmPlugin\n");
    write("other.yaml", "kind: WasmPlugin\n");
    let mut input = input::Input::new(dir.path());
    input.add(dir.path()).unwrap();
    let kinds: Vec<_> =
        input.documents.iter().map(|document| document.content.as_ref().unwrap()["kind"].clone()).collect();
    assert_eq!(kinds, [Value::from("Component")]);
}
