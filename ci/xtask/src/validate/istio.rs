//! What Istio's CRDs, their CEL rules and its webhook say about a WasmPlugin and a TrafficExtension.

use std::collections::BTreeSet;

use crate::validate::shape::{At, Findings};
use crate::validate::url;

const SCOPE: [&str; 6] = ["selector", "targetRef", "targetRefs", "phase", "priority", "match"];
const WASM: [&str; 10] = [
    "url",
    "sha256",
    "imagePullPolicy",
    "imagePullSecret",
    "verificationKey",
    "pluginConfig",
    "pluginName",
    "failStrategy",
    "vmConfig",
    "type",
];
const TARGETS: [(&str, &str); 4] = [
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
];

/// `extensions.istio.io/v1alpha1`, WasmPlugin.
pub fn wasm_plugin(root: &At, findings: &mut Findings) {
    let Some(spec) = envelope(root, findings) else { return };
    spec.object(&[&SCOPE[..], &WASM].concat(), findings);
    scope(&spec, findings);
    wasm(&spec, findings);
}

/// `extensions.istio.io/v1alpha1`, TrafficExtension: the same with the module's part under `wasm`.
pub fn traffic_extension(root: &At, findings: &mut Findings) {
    let Some(spec) = envelope(root, findings) else { return };
    spec.object(&[&SCOPE[..], &["wasm", "lua"]].concat(), findings);
    scope(&spec, findings);
    match (spec.get("wasm"), spec.get("lua")) {
        (Some(part), None) => {
            let known: Vec<_> = WASM.into_iter().filter(|field| *field != "verificationKey").collect();
            part.object(&known, findings);
            wasm(&part, findings);
        }
        (None, Some(lua)) => {
            lua.object(&["inlineCode"], findings);
            match lua.get("inlineCode") {
                Some(code) => drop(code.sized(1, 65536, findings)),
                None => findings.error("spec.lua.inlineCode", "is missing"),
            }
        }
        _ => findings.error("spec", "must have exactly one of wasm and lua"),
    }
}

fn envelope<'a>(root: &At<'a>, findings: &mut Findings) -> Option<At<'a>> {
    root.object(&["apiVersion", "kind", "metadata", "spec", "status"], findings)?;
    if let Some(version) = root.get("apiVersion") {
        version.one_of(&["extensions.istio.io/v1alpha1"], findings);
    }
    match root.get("metadata").and_then(|metadata| metadata.get("name")) {
        Some(name) => {
            if let Some(text) = name.sized(1, 253, findings)
                && !is_dns_name(text)
            {
                findings
                    .error(&name.path, format!("{text:?} must be lower case letters, digits, '-' and '.'"));
            }
        }
        None => findings.error("metadata.name", "is missing"),
    }
    let spec = root.get("spec");
    if spec.is_none() {
        findings.error("spec", "is missing");
    }
    spec.filter(|spec| spec.value.is_object() || spec.object(&[], findings).is_some())
}

fn is_dns_name(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    })
}

fn scope(spec: &At, findings: &mut Findings) {
    let scopes: Vec<_> = ["selector", "targetRef", "targetRefs"]
        .into_iter()
        .filter(|field| spec.get(field).is_some())
        .collect();
    if scopes.len() > 1 {
        findings.error(
            "spec",
            format!("at most one of selector, targetRef and targetRefs, not {}", scopes.join(" and ")),
        );
    }
    if let Some(selector) = spec.get("selector") {
        labels(&selector, findings);
    }
    let mut refs: Vec<At> = spec.get("targetRefs").map(|refs| refs.list(findings)).unwrap_or_default();
    if refs.len() > 16 {
        findings.error("spec.targetRefs", format!("has {} items; at most 16 are allowed", refs.len()));
    }
    refs.extend(spec.get("targetRef"));
    let gateway = refs.iter().any(is_gateway);
    let waypoint = refs.iter().filter(|target| target_ref(target, findings)).count() > 0;
    match spec.get("phase") {
        Some(phase) => drop(phase.one_of(&["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"], findings)),
        None => findings
            .warn("spec.phase", "is not set: the plugin runs after all others; say AUTHN, AUTHZ or STATS"),
    }
    match spec.get("priority") {
        Some(priority) => drop(priority.integer(i32::MIN.into(), i32::MAX.into(), findings)),
        None => findings.warn(
            "spec.priority",
            "is not set: the order within the phase is the age of the objects; set a number",
        ),
    }
    if let Some(entries) = spec.get("match") {
        for entry in entries.list(findings) {
            traffic(&entry, gateway, waypoint, findings);
        }
    }
}

fn labels(selector: &At, findings: &mut Findings) {
    selector.object(&["matchLabels"], findings);
    let labels = selector.get("matchLabels");
    let Some(fields) = labels.as_ref().and_then(|labels| labels.value.as_object()) else {
        if let Some(labels) = labels {
            labels.object(&[], findings);
        } else {
            findings.warn(&selector.path, "has no matchLabels: it selects every workload; leave it out");
        }
        return;
    };
    for (key, value) in fields {
        let at =
            At { path: crate::validate::shape::join(&format!("{}.matchLabels", selector.path), key), value };
        if key.is_empty() {
            findings.error(&at.path, "a label's key must not be empty");
        }
        if key.contains('*') {
            findings.error(&at.path, "a label's key must not contain '*': wildcards are not supported");
        }
        if let Some(text) = at.sized(0, 63, findings)
            && text.contains('*')
        {
            findings.error(&at.path, "must not contain '*': wildcards are not supported");
        }
    }
}

/// Whether what it refers to is served by a waypoint.
fn target_ref(target: &At, findings: &mut Findings) -> bool {
    if target.object(&["group", "kind", "name", "namespace"], findings).is_none() {
        return false;
    }
    let mut text =
        |field: &str, least, most| target.get(field).and_then(|value| value.sized(least, most, findings));
    let (group, kind, name, namespace) =
        (text("group", 0, 253), text("kind", 1, 63), text("name", 1, 253), text("namespace", 0, 63));
    for (field, value) in [("kind", kind), ("name", name)] {
        if value.is_none() && target.get(field).is_none() {
            findings.error(format!("{}.{field}", target.path), "is missing");
        }
    }
    if namespace.is_some_and(|namespace| !namespace.is_empty()) {
        findings.error(
            format!("{}.namespace", target.path),
            "must be empty: a plugin is attached to what lies in its own namespace",
        );
    }
    let Some(kind) = kind else { return false };
    let group = group.filter(|group| *group != "core").unwrap_or_default();
    match TARGETS.iter().find(|(_, known)| *known == kind) {
        None => findings.error(
            format!("{}.kind", target.path),
            format!("{kind:?} is not one of Gateway, GatewayClass, Service, ServiceEntry"),
        ),
        Some((expected, _)) if *expected != group => findings.error(
            format!("{}.group", target.path),
            format!("{group:?} must be {expected:?}, the group of {kind}"),
        ),
        Some(_) if kind == "GatewayClass" && name != Some("istio-waypoint") => {
            findings.error(
                format!("{}.name", target.path),
                "the only GatewayClass that can be a target is istio-waypoint",
            );
        }
        Some(_) => {}
    }
    kind != "Gateway"
}

/// A Gateway is an ingress or a waypoint, and which of them its object does not say.
fn is_gateway(target: &At) -> bool {
    target.get("kind").is_some_and(|kind| kind.value == "Gateway")
}

fn traffic(entry: &At, gateway: bool, waypoint: bool, findings: &mut Findings) {
    if entry.object(&["mode", "ports"], findings).is_none() {
        return;
    }
    if let Some(mode) = entry.get("mode") {
        let text = mode.one_of(&["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"], findings);
        if waypoint && text == Some("CLIENT") {
            findings.warn(&mode.path, "CLIENT never matches at a waypoint; say SERVER, or leave match out");
        }
        if gateway && text == Some("SERVER") {
            findings.warn(
                &mode.path,
                "SERVER never matches at an ingress gateway, where all passes unseen; leave match out",
            );
        }
    }
    let Some(ports) = entry.get("ports") else { return };
    if waypoint {
        findings.warn(&ports.path, "never match at a waypoint; leave them out");
    }
    let mut seen = BTreeSet::new();
    for port in ports.list(findings) {
        if port.object(&["number"], findings).is_none() {
            continue;
        }
        match port.get("number") {
            Some(number) => {
                if let Some(value) = number.integer(1, 65535, findings)
                    && !seen.insert(value)
                {
                    findings.error(&number.path, format!("{value} is there twice"));
                }
            }
            None => findings.error(format!("{}.number", port.path), "is missing"),
        }
    }
}

fn wasm(part: &At, findings: &mut Findings) {
    url::check(part, findings);
    if let Some(policy) = part.get("imagePullPolicy") {
        policy.one_of(&["UNSPECIFIED_POLICY", "IfNotPresent", "Always"], findings);
    }
    if let Some(secret) = part.get("imagePullSecret") {
        secret.sized(1, 253, findings);
    }
    if let Some(key) = part.get("verificationKey") {
        key.text(findings);
        findings.warn(&key.path, "is not implemented by Istio: nothing is verified");
    }
    if let Some(config) = part.get("pluginConfig")
        && !config.value.is_object()
    {
        config.object(&[], findings);
    }
    if let Some(name) = part.get("pluginName") {
        name.sized(1, 256, findings);
    }
    if let Some(strategy) = part.get("failStrategy") {
        strategy.one_of(&["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"], findings);
    }
    if let Some(kind) = part.get("type") {
        kind.one_of(&["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"], findings);
    }
    if let Some(vm) = part.get("vmConfig") {
        vm.object(&["env"], findings);
        if let Some(env) = vm.get("env") {
            environment(&env, findings);
        }
    }
}

fn environment(env: &At, findings: &mut Findings) {
    let vars = env.list(findings);
    if vars.len() > 256 {
        findings.error(&env.path, format!("has {} items; at most 256 are allowed", vars.len()));
    }
    let mut seen = BTreeSet::new();
    for var in vars {
        if var.object(&["name", "value", "valueFrom"], findings).is_none() {
            continue;
        }
        match var.get("name") {
            Some(name) => {
                if let Some(text) = name.sized(1, 256, findings) {
                    if !seen.insert(text) {
                        findings.error(&name.path, format!("{text:?} is there twice"));
                    }
                    if text.starts_with("ISTIO_META_") {
                        findings.warn(&name.path, "the agent strips names that begin with ISTIO_META_");
                    }
                }
            }
            None => findings.error(format!("{}.name", var.path), "is missing"),
        }
        let from = var.get("valueFrom").and_then(|from| from.one_of(&["INLINE", "HOST"], findings));
        if let Some(value) = var.get("value")
            && value.sized(0, 2048, findings).is_some()
            && from == Some("HOST")
        {
            findings.error(&value.path, "must not be set with valueFrom: HOST, which takes the proxy's own");
        }
    }
}
