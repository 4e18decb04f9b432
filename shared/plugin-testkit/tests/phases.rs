//! Which callback comes when, and what a plugin can read and write there.

mod probe;

use plugin_kit::headers::{REQUEST, REQUEST_TRAILERS, RESPONSE};
use plugin_kit::hostcalls::{self, HostError};
use plugin_testkit::{Envoy, Headers, Request, Response};
use probe::{Narrow, Probe, called, on, on_with};
use proxy_wasm::types::{Action, BufferType, MapType, StreamType};

fn readable(map: MapType) -> Result<Option<Vec<u8>>, HostError> {
    hostcalls::header(map, "x-a")
}

const READABLE: Result<Option<Vec<u8>>, HostError> = Ok(None);
const REFUSED: Result<Option<Vec<u8>>, HostError> = Err(HostError::BadArgument);

#[test]
fn a_stream_passes_all_callbacks_in_order() {
    let envoy = Envoy::start::<Probe>("{}");
    called();
    let request = Request::post("/").chunks(["ab", "c"]).trailer("t", "1");
    let exchange = envoy.exchange(request, Response::new(200).body("xyz"));
    assert_eq!(
        called(),
        [
            "on_http_request_headers 5 false",
            "on_http_request_body 2 false",
            "on_http_request_body 1 false",
            "on_http_request_trailers 1",
            "on_http_response_headers 2 false",
            "on_http_response_body 3 false",
            "on_http_response_body 0 true",
            "on_log",
            "on_done",
        ]
    );
    assert_eq!(exchange.upstream.unwrap().body, b"abc");
    assert_eq!(exchange.response.body, b"xyz");
}

#[test]
fn only_the_callbacks_that_a_plugin_declares_are_called() {
    let envoy = Envoy::start::<Narrow>("{}");
    called();
    envoy.exchange(Request::post("/").body("ab"), Response::new(200).body("xyz"));
    assert_eq!(called(), ["on_http_response_headers 2 false"]);
}

#[test]
fn request_headers_exist_in_their_callback_and_in_the_log() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || {
        assert_eq!(readable(MapType::HttpRequestHeaders), READABLE);
        assert_eq!(readable(MapType::HttpResponseHeaders), REFUSED);
        assert_eq!(readable(MapType::HttpCallResponseHeaders), REFUSED);
        assert_eq!(REQUEST.set("x-b", b"1"), Ok(()));
        assert_eq!(RESPONSE.set("x-b", b"1"), Err(HostError::BadArgument));
    });
    on("on_http_request_body", || {
        assert_eq!(readable(MapType::HttpRequestHeaders), REFUSED);
        assert_eq!(REQUEST.set("x-c", b"1"), Err(HostError::BadArgument));
    });
    on("on_http_response_headers", || {
        assert_eq!(readable(MapType::HttpRequestHeaders), REFUSED);
        assert_eq!(readable(MapType::HttpResponseHeaders), READABLE);
        assert_eq!(RESPONSE.set("x-d", b"1"), Ok(()));
        assert!(REQUEST.pairs().is_empty());
    });
    on("on_http_response_body", || {
        assert_eq!(RESPONSE.set("x-e", b"1"), Err(HostError::BadArgument));
    });
    on("on_log", || {
        assert_eq!(REQUEST.get_str("x-b").as_deref(), Some("1"));
        assert_eq!(RESPONSE.get_str("x-d").as_deref(), Some("1"));
        assert_eq!(REQUEST.set("x-f", b"1"), Err(HostError::BadArgument));
        assert_eq!(readable(MapType::HttpCallResponseHeaders), READABLE, "empty, and no error");
    });
    let exchange = envoy.exchange(Request::post("/").body("a"), Response::new(200).body("b"));
    assert_eq!(exchange.upstream.unwrap().lines("x-b"), ["1"]);
    assert_eq!(exchange.response.lines("x-d"), ["1"]);
}

#[test]
fn values_are_any_bytes() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || {
        assert_eq!(REQUEST.get("x-a").as_deref(), Some(&b"\xff\xfe"[..]));
        assert_eq!(REQUEST.get("x-empty"), Some(Vec::new()));
        assert_eq!(REQUEST.get_str("x-a"), None);
        assert!(REQUEST.pairs().iter().any(|line| line == (&b"x-a"[..], &b"\xff\xfe"[..])));
        REQUEST.set("x-b", b"\x80").unwrap();
    });
    let stream = envoy.request(Request::get("/").header("X-A", b"\xff\xfe").header("x-empty", ""));
    assert_eq!(stream.upstream().unwrap().header("x-b"), Some(&b"\x80"[..]));
    assert_eq!(
        stream.hostcalls(),
        ["get x-a", "get x-empty", "get x-a", "pairs", "set x-b"],
        "and that is what it cost"
    );
}

#[test]
fn a_call_on_headers_can_be_refused() {
    let envoy = Envoy::start::<Probe>("{}");
    envoy.refuse("remove x-a");
    on("on_http_request_headers", || {
        assert_eq!(REQUEST.remove("x-a"), Err(HostError::InternalFailure));
        assert_eq!(REQUEST.remove("x-b"), Ok(()));
    });
    let stream = envoy.request(Request::get("/").header("x-a", "1").header("x-b", "2"));
    let upstream = stream.upstream().unwrap();
    assert_eq!((upstream.lines("x-a"), upstream.lines("x-b")), (vec!["1".into()], vec![]));
}

#[test]
fn the_upstream_gets_the_trailers_as_the_plugin_leaves_them() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_trailers", || {
        assert_eq!(REQUEST_TRAILERS.get("x-a").as_deref(), Some(&b"1"[..]));
        REQUEST_TRAILERS.remove("x-a").unwrap();
    });
    let request = Request::post("/").body("a").trailer("x-a", "1").trailer("x-b", "2");
    let upstream = envoy.request(request).upstream().unwrap();
    assert_eq!(upstream.trailers, [("x-b".into(), b"2".to_vec())]);
}

#[test]
fn a_line_end_in_a_request_header_is_answered_by_the_router() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || {
        hostcalls::set_header(MapType::HttpRequestHeaders, "x-a", b"1\r\nx-b: 2").unwrap();
    });
    let stream = envoy.request(Request::get("/"));
    assert_eq!(stream.upstream(), None);
    assert_eq!(stream.response().status, 503);
    assert_eq!(stream.response().body, b"invalid header value for: x-a");
}

#[test]
fn without_a_path_there_is_no_route() {
    let envoy = Envoy::start::<Probe>("{}");
    let exchange = envoy.exchange(Request::get("/").without(":path"), Response::new(200));
    assert_eq!((exchange.upstream, exchange.response.status), (None, 404));
}

#[test]
fn a_paused_request_gets_its_body_when_it_goes_on() {
    let envoy = Envoy::start::<Probe>("{}");
    called();
    on_with("on_http_request_headers", || Action::Pause);
    let stream = envoy.request(Request::post("/").chunks(["ab", "c"]));
    assert!(stream.is_paused());
    assert_eq!(called(), ["on_http_request_headers 5 false"]);
    assert_eq!(stream.upstream(), None);
    stream.within(|| {
        REQUEST.set("x-a", b"1").unwrap();
        hostcalls::continue_stream(StreamType::HttpRequest).unwrap();
        assert_eq!(REQUEST.set("x-a", b"2"), Err(HostError::BadArgument), "it has gone on");
    });
    assert!(!stream.is_paused());
    assert_eq!(called(), ["on_http_request_body 3 true"]);
    assert_eq!(stream.upstream().unwrap().lines("x-a"), ["1"]);
    assert_eq!(stream.upstream().unwrap().body, b"abc");
}

#[test]
fn going_on_without_having_paused_is_nothing() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || hostcalls::continue_stream(StreamType::HttpRequest).unwrap());
    let stream = envoy.request(Request::get("/"));
    assert!(stream.upstream().is_some());
}

#[test]
fn going_on_wins_over_pausing() {
    let envoy = Envoy::start::<Probe>("{}");
    on_with("on_http_request_headers", || {
        hostcalls::continue_stream(StreamType::HttpRequest).unwrap();
        Action::Pause
    });
    let stream = envoy.request(Request::post("/").body("ab"));
    assert_eq!(stream.upstream().unwrap().body, b"ab");
}

#[test]
fn a_body_is_written_at_its_start_and_at_its_end() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_body", || {
        let set = |start, size, value: &[u8]| {
            hostcalls::set_buffer(BufferType::HttpRequestBody, start, size, value)
        };
        assert_eq!(set(0, 1, b"ZZ"), Ok(()));
        assert_eq!(set(1, 1, b"Y"), Err(HostError::BadArgument));
        assert_eq!(set(99, 0, b"END"), Ok(()));
        assert_eq!(hostcalls::buffer(BufferType::HttpRequestBody, 98, 1), Ok(Some(Vec::new())));
    });
    let stream = envoy.request(Request::post("/").chunks(["abcdef"]));
    assert_eq!(
        stream.upstream().unwrap().body,
        b"ZZbcdefENDZZEND",
        "once for the chunk and once for the end"
    );
}

#[test]
fn a_body_is_held_back_and_rewritten_as_a_whole() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || REQUEST.remove("content-length").unwrap());
    let mut calls = 0;
    on_with("on_http_request_body", move || {
        calls += 1;
        if calls < 3 {
            return Action::Pause;
        }
        let body = hostcalls::buffer(BufferType::HttpRequestBody, 0, usize::MAX).unwrap().unwrap();
        assert_eq!(body, b"abc");
        hostcalls::set_buffer(BufferType::HttpRequestBody, 0, usize::MAX, b"rewritten").unwrap();
        Action::Continue
    });
    called();
    let stream = envoy.request(Request::post("/").chunks(["ab", "c"]));
    assert_eq!(
        called()[1..],
        ["on_http_request_body 2 false", "on_http_request_body 3 false", "on_http_request_body 3 true"]
    );
    assert_eq!(stream.upstream().unwrap().body, b"rewritten");
}

#[test]
#[should_panic(expected = "a body was set to 9 bytes under content-length: 3")]
fn a_body_that_outgrows_its_content_length_fails_the_test() {
    let envoy = Envoy::start::<Probe>("{}");
    let mut rewritten = false;
    on("on_http_request_body", move || {
        if !std::mem::replace(&mut rewritten, true) {
            hostcalls::set_buffer(BufferType::HttpRequestBody, 0, usize::MAX, b"rewritten").unwrap();
        }
    });
    envoy.request(Request::post("/").body("abc"));
}

#[test]
#[should_panic(expected = "a body of 1048577 bytes was put into Envoy's buffer, which has room for 1048576")]
fn a_body_that_outgrows_the_buffer_fails_the_test() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || REQUEST.remove("content-length").unwrap());
    let mut calls = 0;
    on_with("on_http_request_body", move || {
        calls += 1;
        if calls == 1 {
            return Action::Pause;
        }
        let large = vec![b'x'; (1 << 20) + 1];
        hostcalls::set_buffer(BufferType::HttpRequestBody, 0, usize::MAX, &large).unwrap();
        Action::Continue
    });
    envoy.request(Request::post("/").body("abc"));
}

#[test]
fn a_malformed_request_has_a_log_and_no_request_headers() {
    let envoy = Envoy::start::<Probe>("{}");
    called();
    on("on_log", || {
        assert_eq!(hostcalls::header(MapType::HttpRequestHeaders, ":path"), Ok(None));
        assert_eq!(RESPONSE.get_str(":status").as_deref(), Some("400"));
        assert_eq!(hostcalls::property(&["request", "path"]), Ok(None));
        assert_eq!(hostcalls::property(&["response", "code"]), Ok(Some(400_u64.to_le_bytes().to_vec())));
    });
    envoy.log_only();
    assert_eq!(called(), ["on_log", "on_done"]);
}

#[test]
fn a_request_that_an_earlier_filter_answered_has_a_log_with_headers() {
    let envoy = Envoy::start::<Probe>("{}");
    called();
    on("on_log", || {
        assert_eq!(REQUEST.get_str(":path").as_deref(), Some("/a"));
        assert_eq!(RESPONSE.get_str(":status").as_deref(), Some("401"));
    });
    let stream = envoy.log_only_of(Request::get("/a"), Response::new(401));
    assert_eq!(called(), ["on_log", "on_done"]);
    assert_eq!(stream.hostcalls(), ["get :path", "response.get :status"]);
}

#[test]
fn streams_can_be_open_at_the_same_time() {
    let envoy = Envoy::start::<Probe>("{}");
    on_with("on_http_request_headers", || {
        let first = REQUEST.get_str(":path").as_deref() == Some("/1");
        if first { Action::Pause } else { Action::Continue }
    });
    let first = envoy.request(Request::get("/1"));
    let second = envoy.request(Request::get("/2"));
    second.respond(Response::new(200));
    assert!(first.is_paused());
    assert_eq!(second.response().status, 200);
    first.within(|| hostcalls::continue_stream(StreamType::HttpRequest).unwrap());
    assert_eq!(first.upstream().unwrap().path, "/1");
}

#[test]
fn a_new_configuration_is_for_the_streams_to_come() {
    let envoy = Envoy::start::<Probe>(r#"{"name":"old "}"#);
    on("on_http_response_headers", || {});
    let open = envoy.request(Request::get("/"));
    assert!(envoy.reconfigure::<Probe>(r#"{"name":"new "}"#));
    assert!(!envoy.reconfigure::<Probe>(r#"{"name":"bad"}"#));
    called();
    envoy.request(Request::get("/"));
    assert_eq!(called()[0], "on_http_request_headers new 4 true");
    open.respond(Response::new(200));
    assert_eq!(called(), ["on_http_response_headers 1 true"]);
    assert_eq!(envoy.log_lines(), ["invalid configuration: name: must not be \"bad\""]);
}

#[test]
fn without_a_plugin_a_stream_waits_at_its_headers() {
    let envoy = Envoy::without_plugin();
    let stream = envoy.request(Request::get("/").property(&["connection", "sni"], "a"));
    stream.within(|| {
        assert_eq!(hostcalls::property(&["connection", "sni"]), Ok(Some(b"a".to_vec())));
        REQUEST.set("x-a", b"1").unwrap();
        hostcalls::continue_stream(StreamType::HttpRequest).unwrap();
    });
    assert_eq!(stream.upstream().unwrap().lines("x-a"), ["1"]);
    stream.respond(Response::new(200));
    stream.within(|| assert_eq!(RESPONSE.get_str(":status").as_deref(), Some("200")));
}

#[test]
fn a_refused_configuration_is_what_was_logged() {
    let lines = Envoy::refused::<Probe>(r#"{"nam":"x"}"#);
    assert_eq!(lines, ["invalid configuration: nam: unknown field `nam`, expected `tick` or `name`"]);
}
