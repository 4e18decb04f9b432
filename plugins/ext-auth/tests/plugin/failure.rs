//! What happens without a decision of the service, and when it is no longer called.

use super::*;

const MARKER: &str = "x-envoy-auth-failure-mode-allowed";

/// A service with a breaker, and a path whose requests pass without its decision.
fn with_breaker(failures: u32) -> Value {
    let service = json!({
        "cluster": CLUSTER, "forwardAuth": {"path": "/"}, "breaker": {"failures": failures, "openFor": "1s"},
    });
    let soft = json!([{"match": {"paths": [{"prefix": "/soft"}]}, "failure": "allow"}]);
    config(json!({"service": service, "rules": soft}))
}

fn soft(user: &str) -> Request {
    Request::get("/soft").header("authorization", user).header("x-user", "root")
}

fn marked(stream: &Stream) -> Vec<String> {
    stream.upstream().expect("the request did not pass").lines(MARKER)
}

#[test]
fn no_response_of_the_service_opens_the_breaker() {
    for status in [99, 500, 502, 503, 504, 599] {
        let envoy = start(with_breaker(5));
        for _ in 0..100 {
            let stream = envoy.request(of("mallory"));
            answer(&envoy, Response::new(status));
            assert_eq!(denied(&stream), (503, "ext_auth_failed{status}".into()), "{status}");
            let stream = envoy.request(of("bob"));
            answer(&envoy, allow("bob"));
            assert_eq!(user(&stream), ["bob"], "{status}");
        }
        for _ in 0..100 {
            let _mallory = envoy.request(of("mallory"));
            answer(&envoy, Response::new(status));
        }
        let stream = envoy.request(of("bob"));
        answer(&envoy, allow("bob"));
        assert_eq!(user(&stream), ["bob"], "{status}");
    }
}

#[test]
fn what_the_proxy_refuses_to_send_never_opens_the_breaker() {
    let envoy = start(with_breaker(2));
    envoy.set_cluster(CLUSTER, Cluster::NoEndpoints);
    for _ in 0..10 {
        assert_eq!(denied(&envoy.request(of("alice"))), (503, "ext_auth_failed{refused}".into()));
    }
    envoy.set_cluster(CLUSTER, Cluster::Healthy);
    assert!(envoy.request(of("alice")).is_paused());
}

#[test]
fn an_overload_that_a_client_can_cause_never_opens_the_breaker() {
    let envoy = start(with_breaker(2));
    for _ in 0..10 {
        let stream = envoy.request(of("alice"));
        envoy.overload_call(envoy.call().token);
        assert_eq!(denied(&stream), (503, "ext_auth_failed{refused}".into()));
    }
}

#[test]
fn connections_that_fail_and_timeouts_open_the_breaker() {
    type Way = fn(&Envoy);
    let ways: [(&str, Way); 3] = [
        ("connection", |envoy| envoy.fail_call(envoy.call().token)),
        ("reset", |envoy| envoy.reset_call(envoy.call().token)),
        ("timeout", |envoy| envoy.advance(TIMEOUT)),
    ];
    for (reason, fail) in ways {
        let envoy = start(with_breaker(2));
        for _ in 0..2 {
            let stream = envoy.request(of("alice"));
            fail(&envoy);
            assert_eq!(denied(&stream), (503, format!("ext_auth_failed{{{reason}}}")));
        }
        assert_eq!(denied(&envoy.request(of("alice"))), (503, "ext_auth_failed{breaker}".into()));
        let line = format!("breaker open: 2 calls in a row failed, the last one with reason={reason}");
        assert_eq!(
            envoy.log_lines().iter().filter(|seen| seen.contains("breaker")).collect::<Vec<_>>(),
            [&line]
        );
        envoy.advance(Duration::from_secs(1));
        let one = envoy.request(of("alice"));
        assert!(one.is_paused() && !envoy.request(of("alice")).is_paused(), "one request tries");
        answer(&envoy, allow("alice"));
        assert_eq!(user(&one), ["alice"]);
        assert!(envoy.request(of("alice")).is_paused());
    }
}

#[test]
fn an_open_breaker_never_stops_a_request_that_passes_without_a_decision() {
    let envoy = start(with_breaker(1));
    let _failed = envoy.request(of("alice"));
    envoy.fail_call(envoy.call().token);
    assert_eq!(denied(&envoy.request(of("alice"))).1, "ext_auth_failed{breaker}");
    for _ in 0..10 {
        let stream = envoy.request(soft("bob"));
        assert!(stream.is_paused(), "it calls the service");
        answer(&envoy, Response::new(403));
        assert_eq!(denied(&stream), (403, "ext_auth_denied".into()));
    }
}

#[test]
fn calls_of_requests_that_pass_without_a_decision_never_open_the_breaker() {
    let envoy = start(with_breaker(1));
    for _ in 0..10 {
        let stream = envoy.request(soft("bob"));
        envoy.fail_call(envoy.call().token);
        assert_eq!(marked(&stream), ["true"]);
    }
    assert!(envoy.request(of("alice")).is_paused());
}

#[test]
fn with_failure_allow_each_request_passes_after_its_own_call_and_is_marked() {
    for cache in [json!(null), json!({"ttl": "30s"})] {
        let mut config = with_breaker(1);
        config["failure"] = json!("allow");
        if cache.is_object() {
            config["cache"] = cache;
        }
        let envoy = start(config);
        for _ in 0..10 {
            let stream = envoy.request(of("alice"));
            envoy.advance(TIMEOUT - MILLISECOND);
            assert!(stream.is_paused());
            envoy.advance(MILLISECOND);
            assert_eq!(marked(&stream), ["true"]);
            assert!(user(&stream).is_empty());
        }
    }
}

#[test]
fn with_failure_allow_requests_that_wait_for_another_one_make_their_own_calls() {
    let envoy = start(config(json!({"failure": "allow", "cache": {"ttl": "30s"}})));
    let first = envoy.request(of("alice"));
    let others: Vec<Stream> = (0..3).map(|_| envoy.request(of("alice"))).collect();
    envoy.fail_call(envoy.call().token);
    assert_eq!(marked(&first), ["true"]);
    for passed in 0..3 {
        envoy.advance(MILLISECOND);
        assert_eq!(others.iter().filter(|stream| !stream.is_paused()).count(), passed);
        envoy.fail_call(envoy.call().token);
    }
    assert!(others.iter().all(|stream| marked(stream) == ["true"]));
}
