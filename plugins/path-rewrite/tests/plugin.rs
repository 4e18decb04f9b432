//! The plugin as it ships, in the in-memory Envoy.

use path_rewrite::PathRewrite;
use plugin_testkit::{Envoy, Headers, Request, Response};

const RULE: &str = r#"{"originalPathHeader": "", "rules": [
    {"name": "banana", "rewrite": {"regex": {"pattern": "^/banana/([0-9]*)", "replacement": "/status/$1"}}, "match": {"paths": [{"prefix": "/banana"}]}}]}"#;

#[test]
fn cases() {
    plugin_testkit::cases::<PathRewrite>(env!("CARGO_MANIFEST_DIR"));
}

/// The hostcalls of a plugin's second request of a kind: by then its metrics are defined.
fn cost(config: &str, path: &str) -> Vec<String> {
    let envoy = Envoy::start::<PathRewrite>(config);
    drop(envoy.request(Request::get(path)));
    envoy.request(Request::get(path)).hostcalls()
}

#[test]
fn a_rewrite_costs_one_header_read_and_one_write() {
    assert_eq!(
        cost(RULE, "/banana/418"),
        [
            "get :path",
            "metric.add wasm_filter.path_rewrite.component.banana.matched_total",
            "metric.add wasm_filter.path_rewrite.component.banana.rewritten_total",
            "set :path",
        ]
    );
}

#[test]
fn a_request_that_no_rule_means_costs_one_header_read() {
    assert_eq!(cost(RULE, "/apple"), ["get :path", "metric.add wasm_filter.path_rewrite.no_match_total"]);
}

#[test]
fn looking_for_other_readings_of_a_request_costs_no_hostcall() {
    let rejecting =
        |condition: &str| format!(r#"{{"name": "no", "match": {condition}, "respond": {{"status": 403}}}}"#);
    let rewriting =
        |condition: &str| format!(r#"{{"name": "on", "match": {condition}, "rewrite": {{"full": "/"}}}}"#);
    let paths_and_more = r#"{"paths": [{"prefix": "/a"}], "methods": ["PUT"], "hosts": ["a.b"], "headers": [{"name": "x-a", "exact": "1"}]}"#;
    let method_and_host = r#"{"methods": ["PUT"], "hosts": ["a.b"]}"#;
    let hosts = r#"{"hosts": ["a.b"], "headers": [{"name": "x-a", "exact": "1"}]}"#;
    for (rules, reads) in [
        (vec![rejecting(paths_and_more)], vec!["get :path"]),
        (vec![rewriting(paths_and_more)], vec!["get :path"]),
        (vec![rejecting(method_and_host)], vec!["get :method"]),
        (vec![rejecting(hosts)], vec!["get :authority"]),
        (vec![rewriting(hosts)], vec!["get :authority"]),
        (vec![rejecting(r#"{"hosts": ["a.b"], "not": {"hosts": ["c.d"]}}"#)], vec!["get :authority"]),
        (vec![rejecting(r#"{"headers": [{"name": "x-a", "exact": "1"}]}"#)], vec!["get x-a"]),
    ] {
        let config = format!(r#"{{"originalPathHeader": "", "rules": [{}]}}"#, rules.join(","));
        let calls = cost(&config, "/apple");
        let (last, before) = calls.split_last().unwrap();
        assert_eq!(before, reads, "{config}");
        assert_eq!(last, "metric.add wasm_filter.path_rewrite.no_match_total", "{config}");
    }
}

#[test]
fn an_ambiguous_request_is_counted_where_a_rule_depends_on_it() {
    let envoy = Envoy::start::<PathRewrite>(RULE);
    for path in ["/banana//1", "/apple", "/banana/1", "/banana;x/1"] {
        drop(envoy.request(Request::get(path)));
    }
    assert_eq!(
        envoy.metric("wasm_filter.path_rewrite.ambiguous_total"),
        1,
        "the others match no rule either way"
    );
    let envoy = Envoy::start::<PathRewrite>(r#"{"rules": [{"name": "r", "rewrite": {"addPrefix": "/v2"}}]}"#);
    drop(envoy.request(Request::get("//a")));
    assert_eq!(envoy.metric("wasm_filter.path_rewrite.ambiguous_total"), 0);
}

#[test]
fn a_connect_request_keeps_its_target() {
    let envoy = Envoy::start::<PathRewrite>(
        r#"{"rules": [{"name": "r", "rewrite": {"full": "/x"}, "host": "a.b", "query": {"set": {"a": "1"}}}]}"#,
    );
    let connect = Request::new("CONNECT", "/").without(":path").authority("shop.example.com:443");
    let stream = envoy.request(connect);
    let calls = stream.hostcalls();
    assert!(!calls.iter().any(|call| call.starts_with("set ")), "{calls:?}");
}

#[test]
fn keeping_the_original_path_costs_a_write_and_guarding_it_a_read() {
    let config = RULE.replace(r#""originalPathHeader": "","#, "");
    assert_eq!(cost(&config, "/banana/418")[3..], ["set x-original-path", "set :path"]);
    assert_eq!(cost(&config, "/apple")[2..], ["get x-original-path"]);
}

#[test]
fn a_response_that_gets_nothing_costs_nothing() {
    let envoy = Envoy::start::<PathRewrite>(RULE);
    let stream = envoy.request(Request::get("/banana/418"));
    stream.take_hostcalls();
    stream.respond(Response::new(200));
    assert!(stream.hostcalls().is_empty(), "{:?}", stream.hostcalls());
}

#[test]
fn a_header_that_a_condition_wants_is_read_once() {
    let config = r#"{"originalPathHeader": "", "rules": [
        {"name": "a", "match": {"headers": [{"name": "x-env", "exact": "a"}]}, "respond": {"status": 403}},
        {"name": "b", "match": {"headers": [{"name": "x-env", "present": false, "invert": true}]}, "respond": {"status": 403}}]}"#;
    assert_eq!(cost(config, "/")[..2], ["get x-env", "metric.add wasm_filter.path_rewrite.no_match_total"]);
}

#[test]
fn a_plugin_that_is_off_costs_nothing() {
    assert!(cost(r#"{"mode": "off", "rules": [{"name": "r", "respond": {"status": 403}}]}"#, "/").is_empty());
}

#[test]
fn what_happened_is_counted() {
    let envoy = Envoy::start::<PathRewrite>(
        r#"{"rules": [
            {"name": "rewritten", "match": {"paths": [{"prefix": "/a"}]}, "rewrite": {"full": "/${query:to}"}},
            {"name": "redirected", "match": {"paths": [{"exact": "/b"}]}, "redirect": {"status": 301, "path": "/"}},
            {"name": "responded", "match": {"paths": [{"exact": "/c"}]}, "respond": {"status": 403}}]}"#,
    );
    for path in ["/a?to=x", "/a?to=..", "/b", "/c", "/d"] {
        envoy.exchange(Request::get(path), Response::new(200));
    }
    let metric = |rest: &str| envoy.metric(&format!("wasm_filter.path_rewrite.{rest}"));
    assert_eq!(metric("component.rewritten.matched_total"), 2);
    assert_eq!(metric("component.rewritten.rewritten_total"), 1);
    assert_eq!(metric("component.rewritten.rejected_total"), 1);
    assert_eq!(metric("component.redirected.redirected_total"), 1);
    assert_eq!(metric("component.responded.responded_total"), 1);
    assert_eq!(metric("no_match_total"), 1);
}

#[test]
fn a_reply_says_why_in_its_details() {
    let envoy =
        Envoy::start::<PathRewrite>(r#"{"rules": [{"name": "r", "rewrite": {"full": "/${query:to}"}}]}"#);
    let reply = envoy.request(Request::get("/a?to=..")).local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (400, "path_rewrite_dot_segment"));
}

#[test]
fn a_dry_run_says_what_it_would_do() {
    let config = RULE.replace(r#"{"originalPathHeader""#, r#"{"mode": "dryRun", "originalPathHeader""#);
    let envoy = Envoy::start::<PathRewrite>(config);
    drop(envoy.request(Request::get("/banana/418")));
    assert_eq!(
        envoy.log_lines(),
        ["dryRun rules=banana:Matched,banana:Rewritten path=/banana/418 newPath=/status/418"]
    );
}

#[test]
fn any_bytes_pass() {
    let envoy = Envoy::start::<PathRewrite>(
        r#"{"rules": [
            {"name": "bots", "match": {"headers": [{"name": "user-agent", "regex": "bot"}]}, "respond": {"status": 403}},
            {"name": "r", "rewrite": {"full": "/x"}, "requestHeaders": {"set": {"x-copy": "${header:x-raw}"}}}]}"#,
    );
    let hostile = Request::new("\u{1}", b"/\xff\xfe\x01?\xff")
        .header("x-raw", b"\xff\x80")
        .header("user-agent", b"\xff");
    let upstream = envoy.request(hostile).upstream().unwrap();
    assert_eq!(upstream.path, "/x?\u{fffd}", "{upstream:?}");
    assert_eq!(upstream.header("x-copy"), Some(&b"\xff\x80"[..]));
    let bot = envoy.request(Request::get("/").header("user-agent", b"\xff bot"));
    assert_eq!(bot.local_reply().unwrap().status, 403);
}

#[test]
fn large_and_many_headers_pass() {
    let envoy = Envoy::start::<PathRewrite>(
        r#"{"rules": [{"name": "r", "match": {"cookies": [{"name": "c99", "exact": "1"}]}, "rewrite": {"addPrefix": "/p"}}]}"#,
    );
    let cookies =
        (0..100).fold(Request::get("/"), |request, number| request.header("cookie", format!("c{number}=1")));
    let large = cookies.header("x-large", vec![b'x'; 60 << 10]);
    assert_eq!(envoy.request(large).upstream().unwrap().path, "/p/");
    let long = format!("/{}", "a".repeat(8189));
    let exact = envoy.request(Request::get(&long).header("cookie", "c99=1")).upstream().unwrap();
    assert_eq!(exact.path, format!("/p{long}"));
    let long = format!("/{}", "a".repeat(8190));
    assert_eq!(
        envoy.request(Request::get(&long).header("cookie", "c99=1")).local_reply().unwrap().status,
        400
    );
    assert_eq!(envoy.request(Request::get(&long)).upstream().unwrap().path, long);
}

#[test]
fn a_request_without_pseudo_headers_is_none_of_our_business() {
    let envoy = Envoy::start::<PathRewrite>(RULE);
    let bare = Request::get("/").without(":path").without(":authority").without(":method");
    assert_eq!(envoy.request(bare).response().status, 404);
    envoy.log_only();
}

#[test]
fn a_later_plugins_reply_carries_the_trace_id() {
    let envoy = Envoy::start::<PathRewrite>(r#"{"traceId": {"header": "x-trace-id", "generate": "hex32"}}"#);
    let stream = envoy.request(Request::get("/"));
    stream.respond(Response::new(401));
    let id = stream.response().header("x-trace-id").unwrap().to_vec();
    assert_eq!(id.len(), 32);
    assert_eq!(stream.upstream().unwrap().header("x-trace-id"), Some(&id[..]));
}

#[test]
fn a_request_whose_header_the_host_keeps_is_refused() {
    for (config, name) in [
        ("{}", "x-original-path"),
        (r#"{"traceId": {"header": "x-a", "generate": "none"}}"#, "x-a"),
        (r#"{"rules": [{"name": "r", "requestHeaders": {"remove": ["x-a"]}}]}"#, "x-a"),
        (r#"{"default": {"requestHeaders": {"set": {"x-a": "${query:q}"}}}}"#, "x-a"),
    ] {
        let envoy = Envoy::start::<PathRewrite>(config);
        envoy.refuse(&format!("remove {name}"));
        let stream = envoy.request(Request::get("/?q=%00").header(name, "a b"));
        let reply = stream.local_reply().expect(config);
        assert_eq!((reply.status, reply.details.as_str()), (500, "request_header_not_removed"), "{config}");
        assert!(stream.upstream().is_none(), "{config}");
    }
}

#[test]
fn a_grpc_request_whose_header_the_host_keeps_is_told_so_in_its_own_way() {
    let envoy = Envoy::start::<PathRewrite>("{}");
    envoy.refuse("remove x-original-path");
    let request = Request::post("/s/M").header("content-type", "application/grpc");
    let stream = envoy.request(request.header("x-original-path", "/a"));
    assert_eq!(stream.local_reply().unwrap().grpc_status, Some(13));
}

#[test]
fn a_clients_original_path_does_not_pass_as_a_trailer() {
    let config = RULE.replace(r#""originalPathHeader": "","#, "");
    let request =
        || Request::post("/banana/1").chunks(["a"]).trailer("x-original-path", "/b").trailer("x-t", "1");
    let envoy = Envoy::start::<PathRewrite>(&config);
    let stream = envoy.request(request());
    assert_eq!(stream.hostcalls().last().unwrap(), "request_trailers.remove x-original-path");
    assert_eq!(stream.upstream().unwrap().path, "/status/1");
    envoy.refuse("request_trailers.remove x-original-path");
    assert_eq!(envoy.request(request()).local_reply().unwrap().status, 500);
}

#[test]
fn of_two_trace_ids_neither_is_kept() {
    let envoy =
        Envoy::start::<PathRewrite>(r#"{"originalPathHeader": "", "traceId": {"header": "x-trace-id"}}"#);
    let request = Request::get("/").header("x-trace-id", "abc-123").header("x-trace-id", "a b");
    let stream = envoy.request(request);
    let lines = stream.upstream().unwrap().lines("x-trace-id");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].len(), 36, "{lines:?}");
    stream.respond(Response::new(200));
    assert_eq!(stream.response().lines("x-trace-id"), lines);
}

#[test]
fn a_header_operation_copies_the_host_that_the_client_asked_for() {
    let envoy = Envoy::start::<PathRewrite>(
        r#"{"rules": [{"name": "r", "host": "shop.internal", "requestHeaders": {"copy": [{"from": "host", "to": "x-host"}]}}]}"#,
    );
    let upstream = envoy.request(Request::get("/")).upstream().unwrap();
    assert_eq!(
        (upstream.authority.as_str(), upstream.header("x-host")),
        ("shop.internal", Some(&b"shop.example.com"[..]))
    );
}

#[test]
fn a_control_character_of_a_query_never_reaches_a_header() {
    let envoy = Envoy::start::<PathRewrite>(
        r#"{"rules": [{"name": "r", "requestHeaders": {"set": {"x-q": "${query:q}"}}, "responseHeaders": {"set": {"x-q": "${query:q}"}}}]}"#,
    );
    for (query, value) in [("a%01b", None), ("%1b[2J", None), ("a%7f", None), ("a%09b", Some(&b"a\tb"[..]))] {
        let exchange = envoy.exchange(Request::get(format!("/?q={query}")), Response::new(200));
        assert_eq!(exchange.upstream.unwrap().header("x-q"), value, "{query}");
        assert_eq!(exchange.response.header("x-q"), value, "{query}");
    }
}

#[test]
fn a_bad_configuration_leaves_the_old_one_serving() {
    let envoy = Envoy::start::<PathRewrite>(RULE);
    assert!(!envoy.reconfigure::<PathRewrite>(r#"{"rules": [{}]}"#));
    assert_eq!(envoy.request(Request::get("/banana/1")).upstream().unwrap().path, "/status/1");
}
