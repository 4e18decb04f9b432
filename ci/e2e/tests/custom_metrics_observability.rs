//! The dashboard and the alert rules of `manifests/observability/`: every expression is PromQL, every metric is one that
//! a plugin or Envoy has, and the alerts fire when they should.

use std::fs;
use std::path::PathBuf;

use harness::{Promtool, workspace_root};
use serde_json::{Value, json};

/// The plugins' own metrics, as their READMEs list them.
const METRICS: [(&str, &[&str]); 5] = [
    (
        "path_rewrite",
        &[
            "matched_total",
            "rewritten_total",
            "redirected_total",
            "responded_total",
            "rejected_total",
            "no_match_total",
        ],
    ),
    ("jwt_authn", &["allowed_total", "denied_total", "lookups_total", "jwks_fetch_total"]),
    (
        "rate_limit",
        &["allowed_total", "denied_total", "shadow_denied_total", "rls_errors_total", "evicted_total"],
    ),
    (
        "swimlane_tagging",
        &["tagged_total", "decided_total", "untrusted_total", "unknown_lane_total", "correlated_total"],
    ),
    ("custom_metrics", &["series", "overflowed_total", "skipped_total", "undecided_total"]),
];

fn file(name: &str) -> PathBuf {
    workspace_root().join("manifests/observability").join(name)
}

fn rules(yaml: &str) -> Vec<String> {
    let rules: Value = serde_norway::from_str(yaml).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect()
}

/// The expressions of the dashboard, with values for Grafana's variables.
fn expressions() -> Vec<String> {
    let dashboard = fs::read_to_string(file("grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let expressions = targets.flatten().map(|target| target["expr"].as_str().unwrap());
    expressions
        .map(|expression| {
            let filled = expression
                .replace("$__rate_interval", "5m")
                .replace("$namespace", ".*")
                .replace("$pod", ".*");
            assert!(!filled.contains('$'), "an unknown variable: {expression}");
            filled
        })
        .collect()
}

#[test]
fn every_expression_of_the_dashboard_is_promql() {
    let rules: Vec<Value> = expressions()
        .iter()
        .enumerate()
        .map(|(number, expression)| json!({"record": format!("panel:{number}"), "expr": expression}))
        .collect();
    assert!(rules.len() >= 25, "{}", rules.len());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.yaml");
    fs::write(&path, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).unwrap();
    Promtool::locate().unwrap().check(&["check", "rules", &path.to_string_lossy()]).unwrap();
}

#[test]
fn the_alerts_are_rules_and_fire_when_they_should() {
    let promtool = Promtool::locate().unwrap();
    promtool.check(&["check", "rules", &file("alerts.yaml").to_string_lossy()]).unwrap();
    promtool.check(&["test", "rules", &file("alerts.test.yaml").to_string_lossy()]).unwrap();
}

#[test]
fn every_metric_is_one_that_a_plugin_has() {
    let alerts = rules(&fs::read_to_string(file("alerts.yaml")).unwrap());
    let expressions = [expressions(), alerts].concat();
    let mut shown = 0;
    for expression in &expressions {
        for (before, after) in
            expression.match_indices("{wasm_filter=\"").map(|(at, _)| expression.split_at(at))
        {
            let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            let plugin = after.split('"').nth(1).unwrap();
            let (_, metrics) = METRICS.iter().find(|(known, _)| *known == plugin).expect(plugin);
            assert!(metrics.contains(&name), "{plugin} has no metric {name}: {expression}");
            shown += 1;
        }
        let selects = expression.contains("{wasm_filter=\"") || expression.contains("{__name__=~\"(envoy_)?");
        assert!(selects, "neither a plugin's metric nor Envoy's: {expression}");
    }
    assert!(shown >= 25, "{shown}");
}
