//! What Istio's pushes do to a running plugin: a good one takes effect, a bad one changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Bootstrap, Client, Listener, Message, Plugin, Reply, Upstream, eventually, plugins};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

fn filter(plugin: &Plugin, config: &Value) -> Value {
    let plugin_ = plugin.wasm_plugin(&plugin.name, config, &BTreeMap::new()).unwrap();
    plugin_.filter(&plugin.module().unwrap())
}

#[test]
fn a_new_configuration_takes_effect() {
    let plugin = Plugin::named("path-rewrite").unwrap();
    let revision = |revision: &str| {
        filter(
            &plugin,
            &json!({"rules": [], "default": {"responseHeaders": {"set": {"x-revision": revision}}}}),
        )
    };
    let upstream = Upstream::start().unwrap();
    let listener = Listener::new("shop").discovered(revision("1"));
    let envoy = Bootstrap::new().cluster("upstream", upstream.address()).listener(listener).start().unwrap();
    let client = Client::new(envoy.address("shop"));
    let serves = |wanted: &str| {
        let seen = upstream.exchange(&client, &Message::get("/"), Reply::default()).unwrap();
        assert_eq!(seen.response.status, 200, "no request fails while configurations change");
        let revision = seen.response.headers.into_iter().find(|(name, _)| name == "x-revision");
        revision.is_some_and(|(_, value)| value == wanted.as_bytes()).then_some(())
    };
    assert!(serves("1").is_some());
    envoy.push(&revision("2")).unwrap();
    eventually("the second revision serves", LIMIT, || serves("2")).unwrap();
}

#[test]
fn a_refused_configuration_leaves_the_old_one_serving_and_says_why_once() {
    let upstream = Upstream::start().unwrap();
    let plugins = plugins().unwrap();
    let mut bootstrap = Bootstrap::new().cluster("upstream", upstream.address());
    for plugin in &plugins {
        let filter = filter(plugin, &plugin.example().unwrap());
        bootstrap = bootstrap.listener(Listener::new(&plugin.name).discovered(filter));
    }
    let envoy = bootstrap.start().unwrap();
    envoy.check_configured().unwrap();
    for plugin in &plugins {
        let client = Client::new(envoy.address(&plugin.name));
        let status =
            || upstream.exchange(&client, &Message::get("/"), Reply::default()).unwrap().response.status;
        let before = status();

        let mut broken = plugin.example().unwrap();
        broken["noSuchField"] = json!(1);
        let broken = filter(plugin, &broken);
        let (_, refused) = envoy.updates(&broken).unwrap();
        envoy.push(&broken).unwrap();
        eventually("the update is refused", LIMIT, || {
            (envoy.updates(&broken).ok()?.1 > refused).then_some(())
        })
        .unwrap();

        let named = envoy.log().lines().filter(|line| says(line, plugin, "noSuchField")).count();
        assert_eq!(named, 1, "{}: lines that name the field", plugin.name);
        assert_eq!(status(), before, "{}: the old configuration serves", plugin.name);
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

/// A line of the plugin's own; Envoy adds lines about the refused update.
fn says(line: &str, plugin: &Plugin, what: &str) -> bool {
    line.contains(&format!("wasm log default.{} ", plugin.name)) && line.contains(what)
}
