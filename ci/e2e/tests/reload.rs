//! What Istio's pushes do to a running plugin: a good one takes effect, a bad one changes nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Bootstrap, Client, Listener, Message, Plugin, Reply, Upstream, eventually, plugins};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const REVISIONS: usize = 6;
/// A custom section of WebAssembly, which changes the binary and not what it does.
const UNUSED_SECTION: &[u8] = b"\x00\x07\x06unused";

fn filter(plugin: &Plugin, config: &Value) -> Value {
    let manifest = plugin.wasm_plugin(&plugin.name, config, &BTreeMap::new()).unwrap();
    manifest.filter(&plugin.module().unwrap())
}

#[test]
fn configurations_and_binaries_change_under_load_without_a_failed_request() {
    let plugin = Plugin::named("path-rewrite").unwrap();
    let config = |revision: usize| {
        let set = json!({"x-revision": revision.to_string()});
        json!({"rules": [], "default": {"responseHeaders": {"set": set}}})
    };
    let binaries = tempfile::tempdir().unwrap();
    let built = std::fs::read(plugin.module().unwrap()).unwrap();
    let other = binaries.path().join("other.wasm");
    std::fs::write(&other, [&built[..], UNUSED_SECTION].concat()).unwrap();
    let revision = |revision: usize| {
        let manifest = plugin.wasm_plugin(&plugin.name, &config(revision), &BTreeMap::new()).unwrap();
        // Every second one is another binary too.
        if revision.is_multiple_of(2) {
            manifest.filter(&plugin.module().unwrap())
        } else {
            manifest.filter(&other)
        }
    };
    let upstream = Upstream::start().unwrap();
    let listener = Listener::new("shop").discovered(revision(0));
    let bootstrap = Bootstrap::new().cluster("upstream", upstream.address()).listener(listener);
    let envoy = bootstrap.concurrency(2).start().unwrap();
    let client = Client::new(envoy.address("shop"));
    let served = || {
        let seen = upstream.exchange(&client, &Message::get("/"), Reply::default()).unwrap();
        assert_eq!(seen.response.status, 200);
        let revision = seen.response.headers.into_iter().find(|(name, _)| name == "x-revision");
        revision.and_then(|(_, value)| String::from_utf8(value).ok()).expect("no request passes unchanged")
    };
    assert_eq!(served(), "0");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = || {
            let mut requests = 0;
            while !done.load(Ordering::Relaxed) {
                served();
                requests += 1;
            }
            requests
        };
        let clients = [scope.spawn(load), scope.spawn(load)];
        let pushed = (1..=REVISIONS).try_for_each(|next| {
            envoy.push(&revision(next))?;
            eventually("the next revision serves", LIMIT, || (served() == next.to_string()).then_some(()))
        });
        done.store(true, Ordering::Relaxed);
        pushed.unwrap();
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
    assert!(envoy.deaths().unwrap().is_empty());
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
        let already = envoy.log().lines().count();
        envoy.push(&broken).unwrap();
        eventually("the update is refused", LIMIT, || {
            (envoy.updates(&broken).ok()?.1 > refused).then_some(())
        })
        .unwrap();

        let log = envoy.log();
        let names_it = log.lines().skip(already).filter(|line| line.contains("noSuchField")).count();
        assert_eq!(names_it, 1, "{}: {log}", plugin.name);
        assert_eq!(status(), before, "{}: the old configuration serves", plugin.name);
    }
    assert!(envoy.deaths().unwrap().is_empty());
}
