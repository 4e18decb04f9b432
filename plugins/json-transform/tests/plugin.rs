//! The plugin as it ships, in the in-memory Envoy.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use json_transform::JsonTransform;
use plugin_testkit::{Envoy, Headers, Request, Response, Stream};

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
            "property request.headers.content-encoding",
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
fn a_response_that_is_changed_costs_its_headers_and_its_body() {
    let envoy = Envoy::start::<JsonTransform>(DOWN);
    let exchange = || {
        let stream = envoy.request(Request::get("/api"));
        assert_eq!(stream.take_hostcalls(), ["get :path", "get range", "get accept-encoding"]);
        stream.respond(answer("{}"));
        stream
    };
    drop(exchange());
    assert_eq!(
        exchange().hostcalls(),
        [
            "response.get :status",
            "response.get content-type",
            "property response.headers.content-encoding",
            "response.get trailer",
            "property response.headers.cache-control",
            "response.get content-length",
            "response.remove content-length",
            "response.remove content-md5",
            "response.remove digest",
            "response.remove content-digest",
            "response.remove repr-digest",
            "response.remove etag",
            "response.remove accept-ranges",
            "buffer response_body",
            "set_buffer response_body",
            "wall_clock",
            "metric.add wasm_filter.json_transform.component.down.applied_total",
            "set_buffer response_body",
        ]
    );
}

#[test]
fn a_second_costs_one_look_at_the_clock() {
    let envoy = Envoy::start::<JsonTransform>(DOWN);
    envoy.take_hostcalls();
    envoy.advance(seconds(1));
    assert_eq!(envoy.hostcalls(), ["monotonic_clock"]);
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

/// An upload by a client of this address: so many bytes, without the `"}` at the end.
fn unfinished(envoy: &Envoy, client: &str, length: usize) -> Stream {
    let body = format!(r#"{{"b":"{}"#, "x".repeat(length - 6));
    envoy.request(json(Request::post("/api").from(client)).chunks([body]).unfinished())
}

const MEBIBYTE: usize = 1 << 20;
const BOTH: &str = r#"{"onTooLarge": "reject", "onParseError": "reject", "onUnsupported": "reject",
    "request": [{"name": "up", "patch": [{"op": "set", "path": "/a", "value": 1}], "onPatchError": "reject"}],
    "response": [{"name": "down", "patch": [{"op": "remove", "path": "/secret"}], "onPatchError": "skip"}]}"#;

fn details(stream: &Stream) -> Option<(u16, String)> {
    stream.local_reply().map(|reply| (reply.status, reply.details))
}

#[test]
fn unfinished_uploads_of_one_client_change_no_response() {
    let envoy = Envoy::start::<JsonTransform>(BOTH);
    let uploads: Vec<Stream> = (0..200).map(|_| unfinished(&envoy, "127.0.0.1", MEBIBYTE)).collect();
    for _ in 0..50 {
        let response = envoy.exchange(Request::get("/api").from("127.0.0.2"), answer(r#"{"secret":1}"#));
        assert_eq!(response.response.body, b"{}");
    }
    drop(uploads);
}

#[test]
fn unfinished_uploads_of_one_client_neither_change_nor_end_those_of_another() {
    let envoy = Envoy::start::<JsonTransform>(BOTH);
    let slow = unfinished(&envoy, "127.0.0.2", 2000);
    let uploads: Vec<Stream> = (0..200)
        .map(|_| {
            slow.send("x".repeat(1024));
            unfinished(&envoy, "127.0.0.1", MEBIBYTE)
        })
        .collect();
    for _ in 0..100 {
        let upload = json(Request::post("/api").from("127.0.0.2")).chunks([r#"{"b""#, ":2}"]);
        assert_eq!(sent(&envoy.request(upload)), r#"{"b":2,"a":1}"#);
    }
    slow.send_last(r#""}"#);
    assert!(sent(&slow).ends_with(r#"","a":1}"#));
    let gone = (503, "json_transform_buffer_exhausted".to_owned());
    let ended = uploads.iter().filter(|upload| details(upload) == Some(gone.clone())).count();
    assert!((137..=138).contains(&ended), "{ended}");
    assert!(uploads[..ended].iter().all(|upload| details(upload).is_some()), "the oldest give way");
    assert_eq!(envoy.metric(&format!("{METRIC}component.requests.buffer_exhausted_total")), ended as u64);
    assert_eq!(envoy.metric(&format!("{METRIC}component.responses.buffer_exhausted_total")), 0);
}

#[test]
fn an_upload_that_gave_way_is_answered_once_and_its_reply_is_not_transformed() {
    let config = BOTH.replacen('{', r#"{"maxBodyBytes": 1000, "maxBufferedBytes": {"requests": 1000},"#, 1);
    let envoy = Envoy::start::<JsonTransform>(config);
    let first = unfinished(&envoy, "127.0.0.1", 600);
    let second = unfinished(&envoy, "127.0.0.1", 600);
    assert_eq!(first.response().status, 503);
    first.send("x");
    assert!(first.upstream().is_none());
    second.send_last(r#""}"#);
    assert!(second.upstream().is_some());
}

#[test]
fn responses_that_do_not_end_give_way_to_others() {
    let config = BOTH.replacen('{', r#"{"maxBodyBytes": 1000, "maxBufferedBytes": {"responses": 1000},"#, 1);
    let envoy = Envoy::start::<JsonTransform>(config);
    let stalled = envoy.request(Request::get("/api"));
    stalled.respond(answer("").chunks([r#"{"secret":"#, &"1".repeat(900)]).unfinished());
    let other = envoy.exchange(Request::get("/api"), answer(&format!(r#"{{"secret":{}}}"#, "1".repeat(200))));
    assert_eq!(other.response.body, b"{}");
    assert!(stalled.is_reset());
    assert_eq!(envoy.metric(&format!("{METRIC}component.responses.buffer_exhausted_total")), 1);
    assert_eq!(envoy.metric(&format!("{METRIC}component.requests.buffer_exhausted_total")), 0);
}

const fn seconds(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

#[test]
fn a_body_that_takes_too_long_is_refused_where_bodies_do_not_pass() {
    let envoy = Envoy::start::<JsonTransform>(BOTH);
    let upload = unfinished(&envoy, "127.0.0.1", 100);
    let download = envoy.request(Request::get("/api"));
    download.respond(answer("").chunks(["{"]).unfinished());
    for _ in 0..29 {
        envoy.advance(seconds(1));
        upload.send("x".repeat(2000));
        download.respond_more(" ".repeat(2000));
    }
    assert!(details(&upload).is_none() && !download.is_reset());
    envoy.advance(seconds(1));
    assert_eq!(details(&upload), Some((408, "json_transform_body_timeout".to_owned())));
    assert!(download.is_reset());
    assert_eq!(envoy.metric(&format!("{METRIC}component.requests.body_timeout_total")), 1);
    assert_eq!(envoy.metric(&format!("{METRIC}component.responses.body_timeout_total")), 1);
}

#[test]
fn a_body_that_takes_too_long_passes_as_it_is_where_bodies_pass() {
    let config = DOWN.replacen(
        '{',
        r#"{"bodyTimeout": "5s", "request": [{"name": "up", "patch": [{"op": "remove", "path": "/b"}]}],"#,
        1,
    );
    let envoy = Envoy::start::<JsonTransform>(config);
    let upload = unfinished(&envoy, "127.0.0.1", 100);
    let download = envoy.request(Request::get("/api"));
    download.respond(answer("").chunks([r#"{"c":"#]).unfinished());
    envoy.advance(seconds(1));
    upload.send("x".repeat(2000));
    download.respond_more(" ".repeat(2000));
    envoy.advance(seconds(4));
    upload.send_last(r#""}"#);
    download.respond_last("1}");
    assert_eq!(sent(&upload), format!(r#"{{"b":"{}"}}"#, "x".repeat(2094)));
    assert_eq!(download.response().body, format!(r#"{{"c":{}1}}"#, " ".repeat(2000)).into_bytes());
    let stalled = unfinished(&envoy, "127.0.0.1", 100);
    envoy.advance(seconds(6));
    assert_eq!(details(&stalled), Some((408, "json_transform_body_timeout".to_owned())));
}

#[test]
fn a_dry_run_ends_no_upload() {
    let config = BOTH.replacen(
        '{',
        r#"{"mode": "dryRun", "maxBodyBytes": 1000, "maxBufferedBytes": {"requests": 1000}, "#,
        1,
    );
    let envoy = Envoy::start::<JsonTransform>(config);
    let (first, second) = (unfinished(&envoy, "127.0.0.1", 600), unfinished(&envoy, "127.0.0.1", 600));
    envoy.advance(seconds(31));
    for upload in [first, second] {
        upload.send_last(r#""}"#);
        assert_eq!(upload.upstream().unwrap().body.len(), 602);
    }
    assert_eq!(
        envoy.log_lines(),
        ["dryRun refused=json_transform_buffer_exhausted", "dryRun refused=json_transform_body_timeout"]
    );
}

/// Headers of requests with the body `{}` that say of it what its readers may not mind.
const EVASIONS: &[&[(&str, &str)]] = &[
    &[],
    &[("content-type", "")],
    &[("content-type", "text/json")],
    &[("content-type", "text/plain")],
    &[("content-type", "application/json;charset=latin1")],
    &[("content-type", "application/json; charset = utf-16")],
    &[("content-type", "application/json"), ("content-type", "application/json")],
    &[("content-type", "application/json"), ("content-type", "text/plain")],
    &[("content-type", "text/plain, application/json")],
    &[("content-type", "application/json, text/plain")],
    &[("content-type", "application/grpc+json")],
    &[("content-type", "application/grpc")],
    &[("content-type", "application/x-ndjson")],
    &[("content-type", "application/stream+json")],
    &[("content-type", "application/json"), ("trailer", "x")],
    &[("content-type", "application/json"), ("content-encoding", "")],
    &[("content-type", "application/json"), ("content-encoding", "identity")],
    &[("content-type", "application/json"), ("content-encoding", "Identity, identity")],
    &[("content-type", "application/json"), ("content-encoding", "x-none")],
    &[("content-type", "application/json"), ("content-encoding", "identity, gzip")],
    &[("content-type", "application/json"), ("content-encoding", "identity"), ("content-encoding", "gzip")],
    &[("content-type", "application/json"), ("content-encoding", "gzip"), ("content-encoding", "identity")],
    &[("content-type", "application/json"), ("cache-control", "no-transform")],
    &[("content-type", "application/json;profile=\"a,b\";q")],
    &[("content-type", "application/problem+json")],
    &[("content-type", "APPLICATION/JSON")],
];

#[test]
fn where_unsupported_bodies_are_refused_none_passes_unchanged() {
    let rejecting = [
        UP.replacen('{', r#"{"onUnsupported": "reject","#, 1),
        UP.replacen('{', r#"{"onTooLarge": "reject","#, 1),
        UP.replacen('{', r#"{"onParseError": "reject","#, 1),
        UP.replace(r#""patch""#, r#""onPatchError": "reject", "patch""#),
    ];
    for config in rejecting {
        let envoy = Envoy::start::<JsonTransform>(&config);
        for headers in EVASIONS {
            for (framing, request) in [
                ("whole", Request::post("/").body("{}")),
                ("chunks", Request::post("/").chunks(["{", "}"])),
                ("trailers", Request::post("/").chunks(["{}"]).trailer("x", "1")),
                ("GET", Request::get("/").body("{}")),
                ("HEAD", Request::new("HEAD", "/").body("{}")),
                ("upgrade", Request::post("/").header("upgrade", "websocket").chunks(["{}"])),
            ] {
                let request =
                    headers.iter().fold(request, |request, (name, value)| request.header(name, value));
                let stream = envoy.request(request);
                match (details(&stream), stream.upstream()) {
                    (Some((415, reason)), None) => assert_eq!(reason, "json_transform_unsupported"),
                    (Some((400, reason)), None) => assert_eq!(reason, "json_transform_trailers", "{framing}"),
                    (None, Some(upstream)) => {
                        assert_eq!(upstream.body, br#"{"a":1}"#, "{framing} {headers:?}")
                    }
                    other => panic!("{framing} {headers:?}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_body_that_says_it_is_json_is_transformed_whatever_else_it_says() {
    let envoy = Envoy::start::<JsonTransform>(UP.replacen('{', r#"{"onUnsupported": "reject","#, 1));
    for headers in [
        [("content-encoding", ""), ("content-encoding", "identity")],
        [("trailer", "x"), ("x-a", "")],
        [("cache-control", "no-transform"), ("x-a", "")],
    ] {
        let request = json(Request::post("/").body("{}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        assert_eq!(sent(&envoy.request(request)), r#"{"a":1}"#, "{headers:?}");
    }
}

#[test]
fn where_unsupported_bodies_pass_they_pass_as_they_are() {
    let config = UP.replacen('{', r#"{"onParseError": "reject", "onUnsupported": "pass","#, 1);
    let envoy = Envoy::start::<JsonTransform>(config);
    for headers in [
        &[("content-type", "text/json")][..],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        let request = Request::post("/").body("{}");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let upstream = envoy.request(request).upstream().unwrap();
        assert_eq!(
            (upstream.body.as_slice(), upstream.header("content-length")),
            (&b"{}"[..], Some(&b"2"[..]))
        );
    }
    assert_eq!(
        envoy.metric(&format!("{METRIC}unsupported_total")),
        1,
        "another media type is none of the rule's"
    );
}

#[test]
fn a_request_without_a_body_is_not_refused_whatever_its_headers_say() {
    let envoy = Envoy::start::<JsonTransform>(BOTH);
    for request in [
        Request::get("/"),
        Request::post("/").header("content-type", "text/plain"),
        Request::post("/").header("content-length", "0").chunks([""]),
        Request::post("/").chunks([""]),
        Request::post("/").chunks([""]).trailer("x-t", "1"),
    ] {
        let stream = envoy.request(request);
        assert!(stream.upstream().is_some(), "{:?}", details(&stream));
    }
}

#[test]
fn a_request_that_no_rule_is_for_is_not_refused() {
    let config = r#"{"onUnsupported": "reject", "request": [{"name": "up", "match": {"paths": [{"prefix": "/api"}]},
        "patch": [{"op": "set", "path": "/a", "value": 1}]}]}"#;
    let envoy = Envoy::start::<JsonTransform>(config);
    assert_eq!(
        sent(&envoy.request(Request::post("/form").header("content-type", "text/plain").body("a=b"))),
        "a=b"
    );
    let refused = envoy.request(Request::post("/api").header("content-type", "text/plain").body("a=b"));
    assert_eq!(details(&refused), Some((415, "json_transform_unsupported".to_owned())));
}

#[test]
fn an_unsupported_response_is_refused_where_that_is_said() {
    let envoy = Envoy::start::<JsonTransform>(BOTH);
    let respond = |response: Response| {
        let stream = envoy.request(Request::get("/api"));
        stream.respond(response);
        stream.response()
    };
    let plain = |status: u16| Response::new(status).body(r#"{"secret":1}"#);
    for response in [
        plain(200),
        plain(200).header("content-type", "application/json").header("content-type", "text/plain"),
        plain(200).header("content-type", "application/json; charset=utf-16"),
        plain(200).header("content-type", "application/stream+json"),
        plain(200)
            .header("content-type", "application/json")
            .header("content-encoding", "identity")
            .header("content-encoding", "br"),
        plain(206).header("content-type", "application/json"),
        plain(206).header("content-type", "multipart/byteranges; boundary=a"),
        plain(101).header("upgrade", "websocket"),
    ] {
        let refused = respond(response.clone());
        assert_eq!((refused.status, refused.body.as_slice()), (502, &b""[..]), "{response:?}");
    }
    for response in [
        answer(r#"{"secret":1}"#).header("content-encoding", "identity").header("content-encoding", ""),
        answer(r#"{"secret":1}"#).header("trailer", "x"),
        answer(r#"{"secret":1}"#).header("cache-control", "no-transform"),
    ] {
        assert_eq!(respond(response.clone()).body, b"{}", "{response:?}");
    }
    for response in [
        plain(200).header("content-type", "text/html"),
        Response::new(200),
        Response::new(204).header("content-type", "application/json").header("content-encoding", "br"),
        Response::new(304).header("content-type", "application/json").header("content-encoding", "br"),
        Response::new(200).header("content-length", "0").chunks([""]),
    ] {
        let passed = respond(response.clone());
        assert_ne!(passed.status, 502, "{response:?}");
    }
}

#[test]
fn a_response_that_must_not_be_transformed_passes_where_bodies_pass() {
    let envoy = Envoy::start::<JsonTransform>(DOWN);
    for (value, is_transformed) in [("no-transform", false), ("max-age=1", true)] {
        let response = answer("{ }").header("cache-control", "private").header("cache-control", value);
        let body = envoy.exchange(Request::get("/api"), response).response.body;
        assert_eq!(body != b"{ }", is_transformed, "{value}");
    }
    assert_eq!(envoy.metric(&format!("{METRIC}unsupported_total")), 1);
}

#[test]
fn a_body_whose_length_the_host_keeps_is_not_changed() {
    let envoy = Envoy::start::<JsonTransform>(BOTH);
    for map in ["", "response."] {
        envoy.refuse(&format!("{map}remove content-length"));
    }
    let upload = envoy.request(json(Request::post("/").body("{}")));
    assert_eq!(details(&upload), Some((500, "json_transform_header_not_removed".to_owned())));
    let response = envoy.exchange(Request::get("/"), answer("{}")).response;
    assert_eq!((response.status, response.body.as_slice()), (502, &b""[..]));
}

#[test]
fn copies_are_bounded() {
    let doubling = vec![r#"{"op": "copy", "from": "", "path": "/a"}"#; 200].join(",");
    let config = format!(r#"{{"request": [{{"name": "up", "patch": [{doubling}]}}]}}"#);
    let envoy = Envoy::start::<JsonTransform>(config);
    assert_eq!(sent(&envoy.request(json(Request::post("/").body("{}")))), "{}");
    assert_eq!(envoy.metric(&format!("{METRIC}component.up.failed_total")), 1);
}
