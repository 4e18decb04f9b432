//! A push that a plugin refuses changes nothing; `rollout` has those that it takes.

use std::time::Duration;

use harness::{Bootstrap, Client, Listener, Message, Reply, Upstream, eventually, plugins};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_refused_configuration_leaves_the_old_one_serving_and_says_why_once() {
    let upstream = Upstream::start().unwrap();
    let plugins = plugins().unwrap();
    let mut bootstrap = Bootstrap::new().cluster("upstream", upstream.address());
    for plugin in &plugins {
        let filter = plugin.filter(&plugin.name, &plugin.example().unwrap()).unwrap();
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
        let broken = plugin.filter(&plugin.name, &broken).unwrap();
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
