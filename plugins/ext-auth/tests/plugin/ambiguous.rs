//! Requests that servers read differently.

use super::*;

const AMBIGUOUS: [&str; 12] = [
    "//open/x",
    "/open/../members",
    "/open/%2e%2e/members",
    "/open;a=1/members",
    "/open%2fmembers",
    "/open\\members",
    "/open%252fmembers",
    "/Open/x",
    "/%6fpen/x",
    "/open./members",
    "/open%20/members",
    "/open/%c0%ae%c0%ae/members",
];

fn ambiguous(envoy: &Envoy) -> u64 {
    total(envoy, "component.ambiguous.denied_total")
}

#[test]
fn an_ambiguous_request_is_rejected_where_rules_read_the_target() {
    let envoy = start(config(json!({"failure": "allow"})));
    for (number, path) in (1..).zip(AMBIGUOUS) {
        assert_eq!(denied(&envoy.request(Request::get(path))), (400, "ext_auth_ambiguous".into()), "{path}");
        assert_eq!(ambiguous(&envoy), number);
    }
    let authority = Request::get("/open").authority("x@shop.example.com");
    assert_eq!(denied(&envoy.request(authority)), (400, "ext_auth_ambiguous".into()));
    assert_eq!((total(&envoy, "malformed_total"), envoy.calls().len()), (0, 0));
}

#[test]
fn a_method_that_is_not_upper_case_is_rejected_whatever_the_rules() {
    for (rules, ambiguous_paths) in
        [(json!([]), "reject"), (json!([]), "allow"), (json!([{"ask": false}]), "allow")]
    {
        let envoy = start(config(json!({"rules": rules, "ambiguousPaths": ambiguous_paths})));
        for method in ["post", "Post", "pOST"] {
            let stream = envoy.request(Request::new(method, "/a"));
            assert_eq!(denied(&stream), (400, "ext_auth_ambiguous".into()), "{method}");
        }
    }
}

#[test]
fn an_ambiguous_request_that_is_allowed_gets_the_strictest_failure_of_all_rules() {
    let rules = json!([
        {"match": {"paths": [{"prefix": "/open"}]}, "ask": false},
        {"match": {"paths": [{"prefix": "/members"}]}, "failure": "deny"},
    ]);
    let config = config(json!({"failure": "allow", "ambiguousPaths": "allow", "rules": rules}));
    let envoy = start(config);
    for path in AMBIGUOUS.into_iter().chain(["//members/x", "/members;x/y", "/x/../members"]) {
        let stream = envoy.request(Request::get(path));
        envoy.fail_call(envoy.call().token);
        assert_eq!(denied(&stream), (503, "ext_auth_failed{connection}".into()), "{path}");
    }
    let stream = envoy.request(Request::get("/other"));
    envoy.fail_call(envoy.call().token);
    assert!(stream.upstream().is_some());
    assert_eq!(ambiguous(&envoy), 0);
}

#[test]
fn an_ambiguous_path_never_leaves_the_path_prefix() {
    let service = json!({"cluster": CLUSTER, "pathPrefix": "/auth"});
    for ambiguous_paths in ["reject", "allow"] {
        let config = config(json!({
            "service": service, "failure": "allow", "rules": [], "ambiguousPaths": ambiguous_paths,
        }));
        let envoy = start(config);
        for path in ["/a/../b", "/%2e%2e/b", "//b", "/b\\c", "/a b", "/a?b#c", "/a;b", "/a%2fb", ""] {
            let stream = envoy.request(Request::get(path));
            assert_eq!(denied(&stream), (400, "ext_auth_ambiguous".into()), "{path}");
        }
        assert_eq!((ambiguous(&envoy), total(&envoy, "malformed_total")), (9, 0));
        assert!(envoy.request(Request::get("/a?b=/../c//d;e%2f")).is_paused());
    }
}

#[test]
fn a_request_that_the_service_cannot_be_told_about_is_malformed_whatever_failure_says() {
    let service = json!({"cluster": CLUSTER, "pathPrefix": "/auth"});
    let envoy = start(config(json!({"service": service, "failure": "allow", "rules": []})));
    for path in ["/a?b c", "/a?b\tc", "*", "/a?b\r\nc"] {
        let stream = envoy.request(Request::get(path));
        assert_eq!(denied(&stream), (400, "ext_auth_malformed".into()), "{path}");
    }
    let stream = envoy.request(Request::get("/a").header("authorization", "a\r\nb: c"));
    assert_eq!(denied(&stream).0, 400);
    assert_eq!((total(&envoy, "malformed_total"), ambiguous(&envoy)), (5, 0));
}

#[test]
fn a_grpc_client_sees_that_its_request_is_ambiguous() {
    let envoy = start(config(json!({})));
    let stream = envoy.request(Request::post("//open").header("content-type", "application/grpc"));
    assert_eq!(stream.response().lines("grpc-status"), ["13"]);
}

#[test]
fn a_dry_run_counts_denials_apart_and_lets_ambiguous_requests_pass() {
    let envoy = start(config(json!({"mode": "dryRun"})));
    assert!(envoy.request(Request::get("//open").header("x-user", "root")).upstream().is_some());
    assert!(envoy.request(Request::new("post", "/a")).upstream().is_some());
    assert!(envoy.request(of("alice")).upstream().is_some());
    envoy.advance(MILLISECOND);
    answer(&envoy, Response::new(403));
    assert_eq!((ambiguous(&envoy), total(&envoy, "component.ambiguous.shadow_denied_total")), (0, 2));
    assert_eq!((total(&envoy, "denied_total"), total(&envoy, "shadow_denied_total")), (0, 1));
}
