//! Choices that are easily a mistake are accepted, with one line each when the plugin is configured.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod signer;

use jwt_authn::JwtAuthn;
use plugin_testkit::{Envoy, LogLevel};
use serde_json::{Value, json};

/// A provider about which there is nothing to warn of, with this change.
fn provider(change: &Value) -> Value {
    let mut provider = json!({
        "name": "p", "issuer": "i", "audiences": ["a"], "jwks": signer::jwks(),
        "fromHeaders": [{"name": "authorization", "prefix": "Bearer "}]});
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(provider.as_object_mut().unwrap().remove(name)),
            value => provider[name] = value.clone(),
        }
    }
    provider
}

fn warnings_at(node_id: &str, config: &Value) -> Vec<String> {
    let envoy = Envoy::builder().property(&["xds", "node", "id"], node_id).start::<JwtAuthn>(config);
    let logs = envoy.logs().into_iter();
    logs.filter(|(level, _)| *level == LogLevel::Warn).map(|(_, line)| line).collect()
}

fn warnings(config: &Value) -> Vec<String> {
    warnings_at("router~10.0.0.1~gateway~ns.svc.cluster.local", config)
}

#[test]
fn a_strict_configuration_has_no_warnings() {
    let config = json!({
        "providers": [provider(&json!({}))],
        "rules": [
            {"match": {"paths": [{"exact": "/healthz"}]}, "requires": {"none": true}},
            {"match": {"paths": [{"prefix": "/admin"}]}, "requires": {"claims": [{"claim": "role", "anyOf": ["admin"]}]}}]});
    assert_eq!(warnings(&config), [""; 0]);
}

#[test]
fn a_provider_that_accepts_more_than_it_names_has_a_warning() {
    for (change, expected) in [
        (
            json!({"issuer": null}),
            "provider p: without issuer, tokens of any issuer that the keys verify are accepted",
        ),
        (
            json!({"audiences": null}),
            "provider p: without audiences, tokens that were issued for other services are accepted",
        ),
        (
            json!({"fromHeaders": null}),
            "provider p: tokens in the query are accepted, where logs and Referer headers show them; fromHeaders alone avoids that",
        ),
        (
            json!({"fromParams": ["token"]}),
            "provider p: tokens in the query are accepted, where logs and Referer headers show them; fromHeaders alone avoids that",
        ),
    ] {
        assert_eq!(warnings(&json!({"providers": [provider(&change)]})), [expected], "{change}");
    }
    assert_eq!(
        warnings(&json!({"providers": [provider(&json!({"issuer": null, "issuers": ["i"]}))]})),
        [""; 0]
    );
}

#[test]
fn a_lenient_default_beside_a_stricter_rule_has_a_warning() {
    let strict = json!({"requires": {"provider": "p"}});
    for default in
        [json!({"none": true}), json!({"allowMissing": true}), json!({"allowMissingOrInvalid": true})]
    {
        let config = |rules: Value| json!({"providers": [provider(&json!({}))], "rules": rules, "defaultRequire": default});
        let open = json!({"requires": {"none": true}});
        assert_eq!(
            warnings(&config(json!([open.clone(), strict.clone()]))),
            [
                "defaultRequire: asks for less than rules[1], so a path that no rule matches passes with less; ask for the most by default, and open paths by rules"
            ],
            "{default}"
        );
        assert_eq!(warnings(&config(json!([open]))), [""; 0], "{default}");
    }
}

#[test]
fn client_addresses_that_decide_where_clients_choose_them_have_a_warning() {
    let config = |matches: Value, source: &str| {
        json!({
            "clientIp": {"source": source},
            "providers": [provider(&json!({}))],
            "rules": [{"match": matches, "requires": {"none": true}}]})
    };
    let networks = json!({"not": {"any": [{"clientIps": ["10.0.0.0/8"]}]}});
    for (node, matches, source, expected) in [
        ("sidecar", networks.clone(), "envoy", 1),
        ("waypoint", networks.clone(), "envoy", 1),
        ("waypoint", json!({"values": [{"source": "clientIp", "exact": "10.0.0.1"}]}), "envoy", 1),
        ("router", networks.clone(), "envoy", 0),
        ("sidecar", networks, "xForwardedFor", 0),
        ("sidecar", json!({"paths": [{"prefix": "/a"}]}), "envoy", 0),
    ] {
        let lines = warnings_at(
            &format!("{node}~10.0.0.1~pod~ns.svc.cluster.local"),
            &config(matches.clone(), source),
        );
        assert_eq!(lines.len(), expected, "{node} {matches} {source}: {lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("clientIp: ")), "{lines:?}");
    }
}

#[test]
fn a_plugin_that_is_off_has_no_warnings() {
    let config = json!({"mode": "off", "providers": [{"name": "p", "jwks": signer::jwks()}]});
    assert_eq!(warnings(&config), [""; 0]);
}
