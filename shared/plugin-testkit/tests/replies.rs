//! Local replies: how Envoy completes them, and what of the plugin still sees them.

mod probe;

use plugin_kit::headers::{REQUEST, RESPONSE};
use plugin_kit::hostcalls;
use plugin_kit::reply::Reply;
use plugin_testkit::{Envoy, Headers, Request, Response};
use probe::{Probe, called, on, on_with};
use proxy_wasm::types::Action;

#[test]
fn a_reply_passes_the_plugins_own_response_callbacks() {
    let envoy = Envoy::start::<Probe>("{}");
    called();
    on("on_http_request_headers", || {
        Reply::new(403).details("no way").header("X-Why", "bot").body("Forbidden").send();
    });
    on("on_http_response_headers", || {
        assert_eq!(RESPONSE.get_str("content-type").as_deref(), Some("text/plain"));
        assert_eq!(REQUEST.get_str(":path").as_deref(), Some("/"), "as the request never went on");
        RESPONSE.set("x-seen", b"1").unwrap();
    });
    on("on_log", || {
        assert_eq!(hostcalls::property(&["response", "code_details"]), Ok(Some(b"no_way".to_vec())));
    });
    let stream = envoy.request(Request::post("/").body("never seen"));
    stream.finish();
    assert_eq!(
        called(),
        [
            "on_http_request_headers 5 false",
            "on_http_response_headers 4 false",
            "on_http_response_body 9 true",
            "on_log",
            "on_done"
        ]
    );
    assert_eq!(stream.upstream(), None);
    assert_eq!(stream.response().status, 403);
    assert_eq!(stream.response().body, b"Forbidden");
    assert_eq!(stream.response().lines("content-length"), ["9"]);
    assert_eq!(stream.response().lines("x-why"), ["bot"]);
    assert_eq!(stream.response().lines("x-seen"), ["1"]);
    let reply = stream.local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str(), reply.grpc_status), (403, "no_way", None));
}

#[test]
fn a_grpc_client_gets_200_and_a_grpc_status() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || Reply::new(429).grpc_status(8).body("slow down\n").send());
    let stream = envoy.request(Request::post("/a.B/C").header("content-type", "application/grpc"));
    let response = stream.response();
    assert_eq!((response.status, response.body.as_slice()), (200, &b""[..]));
    assert_eq!(response.lines("grpc-status"), ["8"]);
    assert_eq!(response.lines("grpc-message"), ["slow down%0A"]);

    on("on_http_request_headers", || Reply::new(429).send());
    let stream = envoy.request(Request::post("/a.B/C").header("content-type", "application/grpc+proto"));
    assert_eq!(stream.response().lines("grpc-status"), ["14"]);
}

#[test]
fn a_reply_in_place_of_a_response_is_not_seen_again() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_response_headers", || Reply::new(451).send());
    called();
    let exchange = envoy.exchange(Request::get("/"), Response::new(200).body("secret"));
    assert_eq!(exchange.response.status, 451);
    assert_eq!(exchange.response.body, b"");
    assert_eq!(
        called(),
        ["on_http_request_headers 4 true", "on_http_response_headers 2 false", "on_log", "on_done"]
    );
}

#[test]
#[should_panic(expected = "a second local reply (500) to the same request")]
fn a_second_reply_fails_the_test() {
    let envoy = Envoy::start::<Probe>("{}");
    on_with("on_http_request_headers", || {
        Reply::new(403).send();
        Reply::new(500).send();
        Action::Pause
    });
    envoy.request(Request::get("/"));
}
