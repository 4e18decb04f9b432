//! The plugin as it ships, in the in-memory Envoy.
#![allow(clippy::unwrap_used)]

use json_transform::JsonTransform;
use plugin_testkit::{Envoy, Request, Response, Stream};

const UP: &str = r#"{"request": [{"name": "up", "patch": [{"op": "set", "path": "/a", "value": 1}]}]}"#;
const DOWN: &str = r#"{"response": [{"name": "down", "match": {"paths": [{"prefix": "/api"}]},
    "patch": [{"op": "set", "path": "/at", "value": "${now}"}, {"op": "set", "path": "/q", "value": "${query:q|default:-}"}]}]}"#;
const METRIC: &str = "wasm_filter.json_transform.";

fn json(request: Request) -> Request {
    request.header("content-type", "application/json")
}

fn answer(body: &str) -> Response {
    Response::new(200).header("content-type", "application/json").body(body)
}

fn sent(stream: &Stream) -> String {
    String::from_utf8(stream.upstream().unwrap().body).unwrap()
}

#[test]
fn cases() {
    plugin_testkit::cases::<JsonTransform>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn a_request_without_a_body_costs_nothing_where_only_bodies_are_changed() {
    let envoy = Envoy::start::<JsonTransform>(UP);
    assert!(envoy.request(Request::get("/")).hostcalls().is_empty());
}

#[test]
fn a_body_of_another_type_costs_one_read() {
    let envoy = Envoy::start::<JsonTransform>(UP);
    assert_eq!(envoy.request(Request::post("/").body("a")).hostcalls(), ["get content-type"]);
}

#[test]
fn a_request_that_is_changed_costs_its_headers_and_its_body() {
    let envoy = Envoy::start::<JsonTransform>(UP);
    drop(envoy.request(json(Request::post("/").body("{}"))));
    assert_eq!(
        envoy.request(json(Request::post("/").body("{}"))).hostcalls(),
        [
            "get content-type",
            "get content-encoding",
            "get trailer",
            "get content-length",
            "remove content-length",
            "remove content-md5",
            "remove digest",
            "remove content-digest",
            "remove repr-digest",
            "buffer request_body",
            "set_buffer request_body",
            "wall_clock",
            "metric.add wasm_filter.json_transform.component.up.applied_total",
            "set_buffer request_body",
        ]
    );
}

#[test]
fn a_response_that_no_rule_means_costs_nothing() {
    let envoy = Envoy::start::<JsonTransform>(DOWN);
    let stream = envoy.request(Request::get("/other"));
    assert_eq!(stream.take_hostcalls(), ["get :path"]);
    stream.respond(answer("{}"));
    assert!(stream.hostcalls().is_empty(), "{:?}", stream.hostcalls());
}

#[test]
fn a_plugin_that_is_off_costs_nothing() {
    let envoy = Envoy::start::<JsonTransform>(DOWN.replacen('{', r#"{"mode": "off","#, 1));
    let stream = envoy.request(Request::get("/api"));
    stream.respond(answer("{}"));
    assert!(stream.hostcalls().is_empty());
}

#[test]
fn the_time_of_a_response_is_when_it_comes() {
    let envoy = Envoy::start::<JsonTransform>(DOWN);
    envoy.set_wall_clock(std::time::Duration::from_secs(1_767_225_600));
    let stream = envoy.request(Request::get("/api?q=%22x"));
    envoy.advance(std::time::Duration::from_secs(61));
    stream.respond(answer("{}"));
    assert_eq!(
        String::from_utf8(stream.response().body).unwrap(),
        r#"{"at":"2026-01-01T00:01:01.000Z","q":"\"x"}"#
    );
}

#[test]
fn a_mebibyte_in_pieces_of_three_bytes_is_changed_once() {
    let envoy = Envoy::start::<JsonTransform>(UP);
    let body = format!(r#"{{"n":123456789012345678901234567890,"pad":"{}"}}"#, "x".repeat((1 << 20) - 45));
    assert_eq!(body.len(), 1 << 20);
    let stream = envoy.request(json(Request::post("/")).chunks(body.as_bytes().chunks(3)));
    assert_eq!(sent(&stream), body.replace("x\"}", "x\",\"a\":1}"));
}

#[test]
fn a_body_that_grows_too_large_passes_from_its_first_byte() {
    let envoy = Envoy::start::<JsonTransform>(UP.replacen('{', r#"{"maxBodyBytes": 10,"#, 1));
    let pieces = [r#"{"b":"#, r#""12345"#, r#"67890""#, "}"];
    let stream = envoy.request(json(Request::post("/")).chunks(pieces));
    assert_eq!(sent(&stream), pieces.concat());
    assert_eq!(envoy.metric(&format!("{METRIC}too_large_total")), 1);
}

#[test]
fn trailers_that_are_announced_leave_the_body_alone() {
    let envoy = Envoy::start::<JsonTransform>(UP);
    let request = json(Request::post("/")).header("trailer", "x-t").chunks(["{}"]).trailer("x-t", "1");
    assert_eq!(sent(&envoy.request(request)), "{}");
}

#[test]
fn trailers_that_nobody_announced_are_refused() {
    let envoy = Envoy::start::<JsonTransform>(UP);
    let stream = envoy.request(json(Request::post("/")).chunks(["{}"]).trailer("x-t", "1"));
    let reply = stream.local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (400, "json_transform_trailers"));

    let envoy = Envoy::start::<JsonTransform>(DOWN);
    let stream = envoy.request(Request::get("/api"));
    stream.respond(
        Response::new(200).header("content-type", "application/json").chunks(["{}"]).trailer("x-t", "1"),
    );
    assert!(stream.is_reset());
}

#[test]
fn a_response_that_is_refused_breaks_off() {
    let envoy = Envoy::start::<JsonTransform>(DOWN.replacen('{', r#"{"onParseError": "reject","#, 1));
    let stream = envoy.request(Request::get("/api"));
    stream.respond(answer("{"));
    assert!(stream.is_reset());
    assert_eq!(envoy.metric(&format!("{METRIC}rejected_total")), 1);
}

#[test]
fn a_reply_of_its_own_is_not_changed() {
    let config = r#"{"onParseError": "reject", "request": [{"name": "up", "patch": [{"op": "remove", "path": "/a"}]}],
        "response": [{"name": "down", "when": {"contentTypes": ["*"]}, "patch": [{"op": "set", "path": "/b", "value": 1}]}]}"#;
    let envoy = Envoy::start::<JsonTransform>(config);
    let stream = envoy.request(json(Request::post("/").body("{")));
    let reply = stream.local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (400, "json_transform_not_json"));
    assert!(!stream.is_reset());
}

#[test]
fn what_happened_is_counted() {
    let config = r#"{"request": [
        {"name": "first", "patch": [{"op": "test", "path": "/v", "value": 1}, {"op": "remove", "path": "/v"}]},
        {"name": "second", "patch": [{"op": "add", "path": "/w", "value": 2}]}]}"#;
    let envoy = Envoy::start::<JsonTransform>(config);
    for (body, expected) in
        [(r#"{"v":1.0}"#, r#"{"w":2}"#), (r#"{"v":2}"#, r#"{"v":2,"w":2}"#), ("[1]", "[1]"), ("{", "{")]
    {
        assert_eq!(sent(&envoy.request(json(Request::post("/").body(body)))), expected);
    }
    let zipped = json(Request::post("/").body("x")).header("content-encoding", "gzip");
    drop(envoy.request(zipped));
    let metric = |rest: &str| envoy.metric(&format!("{METRIC}{rest}"));
    assert_eq!(metric("component.first.applied_total"), 1);
    assert_eq!(metric("component.first.failed_total"), 2);
    assert_eq!(metric("component.second.applied_total"), 2);
    assert_eq!(metric("component.second.failed_total"), 1);
    assert_eq!(metric("parse_error_total"), 1);
    assert_eq!(metric("encoded_total"), 1);
}

#[test]
fn a_dry_run_says_what_it_would_do() {
    let envoy = Envoy::start::<JsonTransform>(UP.replacen('{', r#"{"mode": "dryRun","#, 1));
    drop(envoy.request(json(Request::post("/").body("{}"))));
    drop(envoy.request(json(Request::post("/").body("[]"))));
    assert_eq!(
        envoy.log_lines(),
        ["dryRun rule=up result=applied operation=0", "dryRun rule=up result=no_place operation=0"]
    );
}

#[test]
fn a_path_that_a_rule_caught_is_in_its_values() {
    let config = r#"{"request": [{"name": "up", "match": {"paths": [{"template": "/users/{id}"}]},
        "patch": [{"op": "set", "path": "/user/id", "value": "${id}"}]}]}"#;
    let envoy = Envoy::start::<JsonTransform>(config);
    assert_eq!(sent(&envoy.request(json(Request::post("/users/7").body("{}")))), r#"{"user":{"id":"7"}}"#);
}

#[test]
fn any_bytes_pass() {
    let envoy = Envoy::start::<JsonTransform>(UP);
    for body in [&b"\xff\xfe"[..], b"{\"\xff\":1}", b"\0", b"[[[[", b"{\"a\":\"\\ud800\"}"] {
        let hostile =
            Request::new("\u{1}", b"/\xff").header("content-type", b"application/json;\xff").body(body);
        assert!(envoy.request(hostile).upstream().is_some());
    }
    let deep = "[".repeat(100_000);
    assert_eq!(sent(&envoy.request(json(Request::post("/").body(&deep)))), deep);
}

#[test]
fn a_request_without_pseudo_headers_is_none_of_our_business() {
    let envoy = Envoy::start::<JsonTransform>(UP);
    let bare = Request::get("/").without(":path").without(":authority").without(":method");
    assert_eq!(envoy.request(bare).response().status, 404);
    envoy.log_only();
}

#[test]
fn copies_are_bounded() {
    let doubling = vec![r#"{"op": "copy", "from": "", "path": "/a"}"#; 200].join(",");
    let config = format!(r#"{{"request": [{{"name": "up", "patch": [{doubling}]}}]}}"#);
    let envoy = Envoy::start::<JsonTransform>(config);
    assert_eq!(sent(&envoy.request(json(Request::post("/").body("{}")))), "{}");
    assert_eq!(envoy.metric(&format!("{METRIC}component.up.failed_total")), 1);
}
