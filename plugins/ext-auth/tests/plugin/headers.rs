//! Headers that only the service and the plugin may set.

use super::*;

const MARKER: &str = "x-envoy-auth-failure-mode-allowed";

fn marked(stream: &Stream) -> Vec<String> {
    stream.upstream().expect("the request did not pass").lines(MARKER)
}

#[test]
fn only_the_plugin_says_that_a_request_passed_without_a_decision() {
    let forged = |path: &str| {
        let request = Request::post(path).header("authorization", "a").header(MARKER, "true");
        request.header(MARKER, "false").body("ab").trailer(MARKER, "true")
    };
    for mode in ["enforce", "dryRun"] {
        let mut config = config(json!({"mode": mode}));
        config["onAllow"] = json!({"upstreamHeaders": ["x-e*"]});
        let envoy = start(config);
        for path in ["/open", "/a"] {
            let stream = envoy.request(forged(path));
            if stream.is_paused() {
                answer(&envoy, allow("a").header(MARKER, "true").header("x-else", "1"));
            }
            assert!(marked(&stream).is_empty(), "{mode} {path}");
            assert_eq!(stream.upstream().unwrap().trailers, [], "{mode} {path}");
        }
    }
}

#[test]
fn rules_do_not_see_a_clients_own_identity_header() {
    let by_header = |name: &str| json!({"headers": [{"name": name, "present": true}]});
    let by_value = |source: &str| json!({"values": [{"source": source, "present": true}]});
    for matches in [by_header("x-user"), by_header("x-role-admin"), by_value("header:x-user")] {
        let envoy = start(config(json!({"rules": [{"match": matches, "ask": false}]})));
        assert!(envoy.request(of("alice")).is_paused(), "{matches}");
    }
}

#[test]
fn the_service_gets_a_clients_own_identity_header_only_where_it_is_listed() {
    let service = json!({
        "cluster": CLUSTER, "forwardAuth": {"path": "/verify"}, "requestHeaders": ["authorization", "x-role-key"],
        "setHeaders": {"x-claimed-user": "${header:x-user|default:none}", "x-claimed-role": "${header:x-role-admin}"},
    });
    let upstream = json!({"upstreamHeaders": ["authorization", "x-user", "x-role-*"]});
    let envoy = start(config(json!({"service": service, "onAllow": upstream})));
    let stream = envoy.request(of("alice").header("x-role-key", "k1").header("x-role-key", "k2"));
    let call = envoy.call();
    assert_eq!((call.lines("authorization"), call.lines("x-role-key").len()), (vec!["alice".into()], 2));
    assert_eq!(call.lines("x-claimed-user"), ["none"]);
    for absent in ["x-claimed-role", "x-user", "x-role-admin"] {
        assert!(call.lines(absent).is_empty(), "{absent}");
    }
    answer(&envoy, allow("alice").header("authorization", "Bearer inner"));
    let seen = stream.upstream().unwrap();
    assert_eq!(
        (seen.lines("authorization"), seen.lines("x-role-key")),
        (vec!["Bearer inner".into()], vec![])
    );
}

#[test]
fn identity_headers_are_removed_from_trailers_too() {
    let trailers = |request: Request| {
        let request = request.trailer("x-user", "root").trailer("x-role-admin", "1").trailer("x-kept", "1");
        request.trailer("x-user", "admin")
    };
    for (mode, path) in [("enforce", "/open"), ("enforce", "/a"), ("dryRun", "/a")] {
        let envoy = start(config(json!({"mode": mode})));
        let stream = envoy.request(trailers(Request::post(path).body("ab")));
        if stream.is_paused() {
            answer(&envoy, allow("alice"));
        }
        let trailers = stream.upstream().unwrap().trailers;
        assert_eq!(trailers, [("x-kept".to_owned(), b"1".to_vec())], "{mode} {path}");
    }
    let envoy = start(config(json!({"mode": "off"})));
    assert_eq!(envoy.request(trailers(Request::post("/a"))).upstream().unwrap().trailers.len(), 4);
}

#[test]
fn a_header_that_cannot_be_removed_ends_the_request() {
    for name in ["x-user", "x-role-admin", MARKER] {
        for (mode, path) in [("enforce", "/open"), ("enforce", "/a"), ("dryRun", "/a")] {
            let envoy = start(config(json!({"mode": mode})));
            for map in ["", "request_trailers."] {
                envoy.refuse(&format!("{map}remove {name}"));
            }
            let in_headers = Request::get(path).header(name, "root");
            let in_trailers = Request::post(path).body("ab").trailer(name, "root");
            for request in [in_headers, in_trailers] {
                let stream = envoy.request(request);
                if stream.is_paused() {
                    answer(&envoy, allow("alice"));
                }
                let case = format!("{name} {mode} {path}");
                assert_eq!(denied(&stream), (500, "request_header_not_removed".into()), "{case}");
            }
            let _passes = envoy.request(Request::get("/open").header("x-kept", "1")).upstream().unwrap();
        }
    }
}

#[test]
fn a_grpc_client_sees_that_a_header_cannot_be_removed() {
    let envoy = start(config(json!({})));
    envoy.refuse("remove x-user");
    envoy.refuse("request_trailers.remove x-user");
    let request = || Request::post("/open").header("content-type", "application/grpc").body("ab");
    for request in [request().header("x-user", "root"), request().trailer("x-user", "root")] {
        assert_eq!(envoy.request(request).response().lines("grpc-status"), ["13"]);
    }
}

#[test]
fn headers_that_cannot_be_read_end_the_request() {
    for mode in ["enforce", "dryRun"] {
        for map in ["", "request_trailers."] {
            let envoy = start(config(json!({"mode": mode})));
            envoy.refuse(&format!("{map}pairs"));
            let stream = envoy.request(Request::post("/open").body("ab").trailer("x-user", "root"));
            assert_eq!(denied(&stream), (500, "request_header_not_removed".into()), "{mode} {map}");
        }
    }
}
