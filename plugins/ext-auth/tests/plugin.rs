//! The plugin in the in-memory Envoy: behaviour that a case cannot describe.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::time::Duration;

use ext_auth::ExtAuth;
use plugin_testkit::{Cluster, Envoy, Headers, Request, Response, Stream};
use serde_json::{Value, json};

#[path = "plugin/ambiguous.rs"]
mod ambiguous;
#[path = "plugin/coalescing.rs"]
mod coalescing;
#[path = "plugin/failure.rs"]
mod failure;
#[path = "plugin/headers.rs"]
mod headers;
#[path = "plugin/shared_data.rs"]
mod shared_data;
#[path = "plugin/warnings.rs"]
mod warnings;

const CLUSTER: &str = "authz";
const MILLISECOND: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_millis(300);

/// A service by `forwardAuth`, whose `x-user` the upstream gets; `more` goes over it.
fn config(more: Value) -> Value {
    let mut config = json!({
        "service": {"cluster": CLUSTER, "forwardAuth": {"path": "/verify"}, "breaker": {"failures": 0}},
        "onAllow": {"upstreamHeaders": ["x-user", "x-role-*"], "clientHeaders": ["set-cookie"]},
        "rules": [{"match": {"paths": [{"prefix": "/open"}]}, "ask": false}],
    });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn cached() -> Value {
    config(json!({"cache": {"ttl": "30s", "denyTtl": "5s"}}))
}

fn start(config: Value) -> Envoy {
    Envoy::builder().cluster(CLUSTER, Cluster::Healthy).start::<ExtAuth>(config)
}

/// Another worker of the same proxy.
fn beside(envoy: &Envoy, config: Value) -> Envoy {
    let builder = Envoy::builder().cluster(CLUSTER, Cluster::Healthy);
    builder.shared_data(envoy.shared_data()).start::<ExtAuth>(config)
}

fn of(user: &str) -> Request {
    Request::get("/a").header("authorization", user).header("x-user", "root").header("x-role-admin", "1")
}

fn allow(user: &str) -> Response {
    Response::new(200).header("x-user", user)
}

/// The first call that waits, answered.
fn answer(envoy: &Envoy, response: Response) {
    envoy.answer(envoy.calls().first().expect("nobody asks").token, response);
}

/// Who the upstream was told.
fn user(stream: &Stream) -> Vec<String> {
    let seen = stream.upstream().expect("the request did not pass");
    assert!(seen.lines("x-role-admin").is_empty());
    seen.lines("x-user")
}

fn denied(stream: &Stream) -> (u16, String) {
    let reply = stream.local_reply().expect("the request was not answered");
    assert!(stream.upstream().is_none() && !stream.is_paused());
    (reply.status, reply.details)
}

fn total(envoy: &Envoy, name: &str) -> u64 {
    envoy.metric(&format!("wasm_filter.ext_auth.{name}"))
}

fn failed(envoy: &Envoy, reason: &str) -> u64 {
    total(envoy, &format!("component.{reason}.failed_total"))
}

#[test]
fn cases() {
    plugin_testkit::cases::<ExtAuth>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn what_a_request_costs() {
    let envoy = start(cached());
    let open = envoy.request(Request::get("/open"));
    assert_eq!(
        open.hostcalls(),
        [
            "pairs",
            "metric.define wasm_filter.ext_auth.skipped_total",
            "metric.add wasm_filter.ext_auth.skipped_total"
        ]
    );
    let asked = envoy.request(of("alice"));
    answer(&envoy, allow("alice"));
    assert_eq!(user(&asked), ["alice"]);
    let shared = |kind: &str| asked.hostcalls().iter().filter(|call| call.starts_with(kind)).count();
    assert_eq!((shared("shared.get"), shared("shared.set"), shared("http_call")), (3, 2, 1));
    drop(asked);
    let known = envoy.request(of("alice"));
    let calls = known.hostcalls();
    let bucket = calls.iter().find(|call| call.starts_with("shared.get ext-auth/")).cloned().unwrap();
    assert_eq!(
        calls,
        [
            "pairs",
            "remove x-user",
            "remove x-role-admin",
            "pairs",
            "property source.address",
            "monotonic_clock",
            &bucket,
            "metric.define wasm_filter.ext_auth.cache.hit.lookups_total",
            "metric.add wasm_filter.ext_auth.cache.hit.lookups_total",
            "metric.add wasm_filter.ext_auth.allowed_total",
            "add x-user",
        ]
    );
}

#[test]
fn a_refused_call_pauses_no_request() {
    for cluster in [None, Some(Cluster::NoEndpoints)] {
        for (failure, passes) in [("deny", false), ("allow", true)] {
            let builder = Envoy::builder();
            let builder = match cluster {
                Some(cluster) => builder.cluster(CLUSTER, cluster),
                None => builder,
            };
            let mut config = cached();
            config["failure"] = json!(failure);
            let envoy = builder.start::<ExtAuth>(config);
            for _ in 0..3 {
                let stream = envoy.request(of("alice"));
                match passes {
                    true => assert!(user(&stream).is_empty(), "nobody says who is asking"),
                    false => assert_eq!(denied(&stream), (503, "ext_auth_failed{refused}".into())),
                }
            }
            assert_eq!(failed(&envoy, "refused"), 3);
        }
    }
}

#[test]
fn every_kind_of_failed_call_is_a_failure() {
    type Way = fn(&Envoy);
    let ways: [(&str, Way); 4] = [
        ("reset", |envoy| envoy.reset_call(envoy.call().token)),
        ("timeout", |envoy| envoy.advance(TIMEOUT)),
        ("status", |envoy| answer(envoy, Response::new(503).header("x-user", "root"))),
        ("status", |envoy| answer(envoy, Response::new(99))),
    ];
    for (reason, way) in ways {
        for config in [config(json!({})), cached()] {
            let envoy = start(config.clone());
            let stream = envoy.request(of("alice"));
            assert!(stream.is_paused());
            way(&envoy);
            assert_eq!(denied(&stream), (503, format!("ext_auth_failed{{{reason}}}")));
            let mut config = config;
            config["rules"] = json!([{"failure": "allow"}]);
            let envoy = start(config);
            let stream = envoy.request(of("alice"));
            way(&envoy);
            assert!(user(&stream).is_empty(), "{reason}");
            assert_eq!(failed(&envoy, reason), 1);
        }
    }
}

#[test]
fn requests_with_the_same_key_make_one_call() {
    let envoy = start(cached());
    let streams: Vec<Stream> = (0..100).map(|_| envoy.request(of("alice"))).collect();
    let other = envoy.request(of("bob"));
    assert_eq!(envoy.calls().len(), 2);
    answer(&envoy, allow("alice"));
    assert!(streams.iter().all(|stream| user(stream) == ["alice"]));
    assert!(other.is_paused());
    answer(&envoy, Response::new(403));
    assert_eq!(denied(&other), (403, "ext_auth_denied".into()));
    assert_eq!(user(&envoy.request(of("alice"))), ["alice"]);
    assert_eq!((total(&envoy, "allowed_total"), total(&envoy, "denied_total")), (101, 1));
    assert_eq!(total(&envoy, "cache.miss.lookups_total"), 2);
}

#[test]
fn workers_make_one_call_for_the_same_key() {
    let one = start(cached());
    let two = beside(&one, cached());
    let first = one.request(of("alice"));
    let second: Vec<Stream> = (0..3).map(|_| two.request(of("alice"))).collect();
    assert_eq!((one.calls().len(), two.calls().len()), (1, 0));
    two.advance(MILLISECOND * 20);
    assert!(second.iter().all(Stream::is_paused));
    answer(&one, allow("alice"));
    assert_eq!(user(&first), ["alice"]);
    two.advance(MILLISECOND * 5);
    assert!(second.iter().all(|stream| user(stream) == ["alice"]));
    two.take_hostcalls();
    two.advance(MILLISECOND * 100);
    assert!(two.hostcalls().is_empty(), "nobody waits, so nothing ticks: {:?}", two.hostcalls());
}

#[test]
fn another_worker_calls_after_a_failed_call() {
    let one = start(cached());
    let two = beside(&one, cached());
    let first = one.request(of("alice"));
    let second = two.request(of("alice"));
    one.reset_call(one.call().token);
    assert_eq!(denied(&first).0, 503);
    two.advance(MILLISECOND * 10);
    assert_eq!(two.call().timeout, TIMEOUT);
    answer(&two, allow("alice"));
    assert_eq!(user(&second), ["alice"]);
}

#[test]
fn a_client_that_leaves_ends_no_other_request() {
    let envoy = start(cached());
    let first = envoy.request(of("alice"));
    let others: Vec<Stream> = (0..3).map(|_| envoy.request(of("alice"))).collect();
    let abandoned = envoy.call().token;
    drop(first);
    envoy.advance(MILLISECOND * 5);
    assert_eq!(envoy.calls().len(), 2);
    envoy.answer(abandoned, allow("mallory"));
    assert!(others.iter().all(Stream::is_paused), "the answer is nobody's");
    answer(&envoy, allow("alice"));
    assert!(others.iter().all(|stream| user(stream) == ["alice"]));
}

#[test]
fn a_waiting_client_may_leave() {
    let envoy = start(cached());
    let first = envoy.request(of("alice"));
    drop(envoy.request(of("alice")));
    let third = envoy.request(of("alice"));
    answer(&envoy, allow("alice"));
    assert_eq!((user(&first), user(&third)), (vec!["alice".into()], vec!["alice".into()]));
}

#[test]
fn a_private_response_is_never_shared() {
    let private: [fn(&str) -> Response; 4] = [
        |user| allow(user).header("set-cookie", "session=1"),
        |user| allow(user).header("cache-control", "no-store"),
        |user| allow(user).header("x-role-long", "x".repeat(5000)),
        |user| Response::new(302).header("location", user),
    ];
    for answer_of in private {
        let envoy = start(cached());
        let streams: Vec<Stream> = (0..4).map(|_| envoy.request(of("alice"))).collect();
        answer(&envoy, answer_of("first"));
        assert_eq!(streams.iter().filter(|stream| stream.is_paused()).count(), 3);
        envoy.advance(MILLISECOND);
        assert_eq!(envoy.calls().len(), 3, "all of them at a time");
        let more = envoy.request(of("alice"));
        assert_eq!(envoy.calls().len(), 4, "and who comes later does not wait");
        for number in 0..4 {
            answer(&envoy, answer_of(&number.to_string()));
        }
        assert!(!more.is_paused() && streams.iter().all(|stream| !stream.is_paused()));
        envoy.advance(Duration::from_secs(1));
        let _later = envoy.request(of("alice"));
        assert_eq!(envoy.calls().len(), 1);
    }
}

#[test]
fn a_cached_response_is_used_until_it_expires() {
    for (status, seconds) in [(200, 30), (401, 5), (403, 5)] {
        let envoy = start(cached());
        let _first = envoy.request(of("alice"));
        answer(&envoy, Response::new(status));
        envoy.advance(Duration::from_secs(seconds) - MILLISECOND);
        assert!(!envoy.request(of("alice")).is_paused(), "{status}");
        envoy.advance(MILLISECOND);
        assert!(envoy.request(of("alice")).is_paused(), "{status}");
    }
    let envoy = start(config(json!({"cache": {"ttl": "30s", "denyTtl": "0s"}})));
    drop(envoy.request(of("alice")));
    let stream = envoy.request(of("alice"));
    answer(&envoy, Response::new(403));
    answer(&envoy, Response::new(403));
    assert_eq!(denied(&stream).0, 403);
    assert!(envoy.request(of("alice")).is_paused());
}

#[test]
fn every_part_of_a_call_is_a_part_of_the_key() {
    let like = || Request::get("/a?b=c").header("authorization", "alice").from("10.0.0.1");
    let others: [(&str, Request); 10] = [
        ("empty query", Request::get("/a?").header("authorization", "alice").from("10.0.0.1")),
        ("method", Request::post("/a?b=c").header("authorization", "alice").from("10.0.0.1")),
        ("path", Request::get("/b?b=c").header("authorization", "alice").from("10.0.0.1")),
        ("query", Request::get("/a?b=d").header("authorization", "alice").from("10.0.0.1")),
        ("no query", Request::get("/a").header("authorization", "alice").from("10.0.0.1")),
        ("host", like().authority("shop.example.com:81")),
        ("client", like().from("10.0.0.2")),
        ("header", Request::get("/a?b=c").header("authorization", "bob").from("10.0.0.1")),
        ("one more line", like().header("authorization", "bob")),
        ("no header", Request::get("/a?b=c").from("10.0.0.1")),
    ];
    let envoy = start(cached());
    drop(envoy.request(like()));
    let _first = envoy.request(like());
    answer(&envoy, allow("alice"));
    answer(&envoy, allow("alice"));
    assert!(!envoy.request(like()).is_paused());
    assert!(!envoy.request(like().header("x-other", "1")).is_paused(), "the service is not told");
    for (what, other) in others {
        assert!(envoy.request(other).is_paused(), "another {what}");
    }
}

#[test]
fn parts_that_the_operator_leaves_out_are_not_in_the_key() {
    let envoy = start(config(json!({
        "service": {
            "cluster": CLUSTER, "forwardAuth": {"path": "/verify"}, "requestHeaders": ["authorization", "x-request-id"],
            "setHeaders": {"x-nonce": "${uuid}"},
        },
        "cache": {"ttl": "30s", "key": ["method"], "ignoreHeaders": ["X-Request-Id", "x-nonce"]},
    })));
    let _first = envoy.request(of("alice").header("x-request-id", "1"));
    answer(&envoy, allow("alice"));
    let again = Request::get("/b?c").authority("b.example.com").from("10.0.0.2");
    assert!(!envoy.request(again.header("authorization", "alice").header("x-request-id", "2")).is_paused());
    assert!(envoy.request(of("bob")).is_paused());
}

#[test]
fn another_configuration_has_an_empty_cache() {
    let envoy = start(cached());
    let _first = envoy.request(of("alice"));
    answer(&envoy, allow("alice"));
    let mut changed = cached();
    changed["configRevision"] = json!("2");
    assert!(envoy.reconfigure::<ExtAuth>(&changed));
    assert!(envoy.request(of("alice")).is_paused());
    assert!(envoy.reconfigure::<ExtAuth>(cached()));
    assert!(!envoy.request(of("alice")).is_paused());
}

#[test]
fn a_header_value_with_a_line_end_is_left_out() {
    let envoy = start(config(json!({"onDeny": {"clientHeaders": ["location"]}})));
    let evil = "a\r\nx-admin: 1";
    let stream = envoy.request(of("alice"));
    answer(&envoy, allow(evil).header("set-cookie", evil).header("x-role-b", "b"));
    let seen = stream.upstream().unwrap();
    assert_eq!((seen.lines("x-user"), seen.lines("x-role-b")), (vec![], vec!["b".into()]));
    stream.respond(Response::new(200));
    assert!(stream.response().lines("set-cookie").is_empty());
    let stream = envoy.request(of("alice"));
    answer(&envoy, Response::new(302).header("location", evil));
    assert_eq!(denied(&stream).0, 302);
    assert!(stream.response().lines("location").is_empty());
}

#[test]
fn a_dry_run_calls_and_pauses_no_request() {
    let envoy = start(config(json!({"mode": "dryRun", "cache": {"ttl": "30s"}})));
    let passed = envoy.request(of("alice"));
    assert!(user(&passed).is_empty());
    drop(passed);
    envoy.advance(MILLISECOND);
    answer(&envoy, Response::new(403));
    assert_eq!(total(&envoy, "shadow_denied_total"), 1);
    assert!(user(&envoy.request(of("alice"))).is_empty());
    assert_eq!(total(&envoy, "shadow_denied_total"), 2, "that was known");
    let _bob = envoy.request(of("bob"));
    envoy.advance(TIMEOUT + MILLISECOND);
    assert_eq!(failed(&envoy, "timeout"), 1);
    let lines = envoy.log_lines().into_iter().filter(|line| line.starts_with("dryRun"));
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "dryRun denied status=403",
            "dryRun denied status=403",
            "dryRun no decision reason=timeout failure=deny"
        ]
    );
}

#[test]
fn the_table_never_grows() {
    let envoy = start(config(json!({"cache": {"ttl": "30s", "entries": 8}})));
    for number in 0..200 {
        let stream = envoy.request(of(&number.to_string()));
        answer(&envoy, allow("somebody"));
        assert_eq!(user(&stream), ["somebody"]);
    }
    let shared = envoy.shared_data();
    assert_eq!(shared.keys().len(), 2);
    let bytes: usize = shared.keys().iter().map(|key| shared.get(key).unwrap().len()).sum();
    assert!(bytes < 8 * 100, "{bytes}");
    assert_eq!(total(&envoy, "evicted_total"), 192);
}
