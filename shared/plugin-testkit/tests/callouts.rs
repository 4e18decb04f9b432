//! Calls, ticks and time.

mod probe;

use std::time::Duration;

use plugin_kit::headers::{CALL_RESPONSE, REQUEST};
use plugin_kit::hostcalls::{self, HostError, HostResult};
use plugin_kit::reply::Reply;
use plugin_testkit::{Cluster, Envoy, Headers, Request, Response};
use probe::{Probe, called, grpc_service, on, on_with};
use proxy_wasm::types::{Action, BufferType, StreamType};

const HEADERS: [(&str, &[u8]); 3] = [(":method", b"GET"), (":path", b"/jwks"), (":authority", b"idp")];

fn call(headers: &[(&str, &[u8])]) -> HostResult<u32> {
    hostcalls::http_call("idp", headers, Some(b"q"), Duration::from_secs(2))
}

fn grpc_call(target: &[u8]) -> HostResult<u32> {
    hostcalls::grpc_call(target, "a.B", "C", b"request", Duration::from_millis(20))
}

/// The request waits for its call.
fn waiting() {
    on_with("on_http_request_headers", || {
        call(&HEADERS).unwrap();
        Action::Pause
    });
}

#[test]
fn a_paused_request_goes_on_with_the_answer() {
    let envoy = Envoy::builder().cluster("idp", Cluster::Healthy).start::<Probe>("{}");
    waiting();
    on("on_http_call_response", || {
        assert_eq!(CALL_RESPONSE.get_str(":status").as_deref(), Some("200"));
        let body = hostcalls::buffer(BufferType::HttpCallResponseBody, 0, 99).unwrap().unwrap();
        REQUEST.set("x-user", &body).unwrap();
        hostcalls::continue_stream(StreamType::HttpRequest).unwrap();
    });
    let stream = envoy.request(Request::get("/"));
    let call = envoy.call();
    assert_eq!((call.cluster.as_str(), call.body.as_slice()), ("idp", &b"q"[..]));
    assert_eq!(call.lines(":path"), ["/jwks"]);
    called();
    envoy.answer(call.token, Response::new(200).body("alice"));
    assert_eq!(called(), ["on_http_call_response 3 5 0"]);
    assert_eq!(stream.upstream().unwrap().lines("x-user"), ["alice"]);
    assert_eq!(
        stream.hostcalls(),
        ["http_call idp", "call.get :status", "buffer call_response_body", "set x-user", "continue request"]
    );
}

#[test]
fn calls_of_two_streams_are_answered_in_any_order() {
    let envoy = Envoy::builder().cluster("idp", Cluster::Healthy).start::<Probe>("{}");
    waiting();
    on("on_http_call_response", || Reply::new(401).send());
    let first = envoy.request(Request::get("/1"));
    let second = envoy.request(Request::get("/2"));
    let tokens: Vec<u32> = envoy.calls().iter().map(|call| call.token).collect();
    envoy.answer(tokens[1], Response::new(200));
    assert!(first.is_paused());
    assert_eq!(second.response().status, 401);
}

#[test]
fn a_call_that_cannot_be_made_is_refused_at_once() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || {
        assert_eq!(call(&HEADERS), Err(HostError::BadArgument));
        assert_eq!(grpc_call(&grpc_service("idp")), Err(HostError::InternalFailure));
    });
    envoy.request(Request::get("/"));
    envoy.set_cluster("idp", Cluster::NoEndpoints);
    on("on_http_request_headers", || {
        assert_eq!(call(&HEADERS[1..]), Err(HostError::BadArgument), "no :method");
        assert_eq!(call(&HEADERS), Err(HostError::InternalFailure));
        assert_eq!(grpc_call(&grpc_service("idp")), Err(HostError::InternalFailure));
    });
    envoy.request(Request::get("/"));
    assert_eq!(envoy.calls(), []);
}

#[test]
fn a_call_times_out_as_a_504_and_a_reset_has_no_headers() {
    let envoy = Envoy::builder().cluster("idp", Cluster::Healthy).start::<Probe>("{}");
    waiting();
    let slow = envoy.request(Request::get("/"));
    called();
    envoy.advance(Duration::from_millis(1_999));
    assert_eq!(called(), [""; 0]);
    on("on_http_call_response", || assert_eq!(CALL_RESPONSE.get_str(":status").as_deref(), Some("504")));
    envoy.advance(Duration::from_millis(1));
    assert_eq!(called(), ["on_http_call_response 3 24 0"]);
    on("on_http_call_response", || assert_eq!(CALL_RESPONSE.get(":status"), None));
    let reset = envoy.request(Request::get("/"));
    called();
    envoy.reset_call(envoy.call().token);
    assert_eq!(called(), ["on_http_call_response 0 0 0"]);
    assert!(slow.is_paused() && reset.is_paused(), "nobody let them go on");
}

#[test]
fn only_a_response_of_the_service_has_the_time_that_it_took() {
    let envoy = Envoy::builder().cluster("idp", Cluster::Healthy).start::<Probe>("{}");
    type Respond = fn(&Envoy);
    let ways: [(Respond, &str, Option<&str>); 3] = [
        (|envoy| envoy.answer(envoy.call().token, Response::new(503)), "503", Some("0")),
        (|envoy| envoy.fail_call(envoy.call().token), "503", None),
        (|envoy| envoy.advance(Duration::from_secs(2)), "504", None),
    ];
    for (respond, status, time) in ways {
        waiting();
        on("on_http_call_response", move || {
            assert_eq!(CALL_RESPONSE.get_str(":status").as_deref(), Some(status));
            assert_eq!(CALL_RESPONSE.get_str("x-envoy-upstream-service-time").as_deref(), time);
            hostcalls::continue_stream(StreamType::HttpRequest).unwrap();
        });
        let stream = envoy.request(Request::get("/"));
        respond(&envoy);
        assert!(stream.upstream().is_some());
    }
}

#[test]
fn an_answer_to_a_stream_that_has_gone_is_dropped() {
    let envoy = Envoy::builder().cluster("idp", Cluster::Healthy).start::<Probe>("{}");
    waiting();
    drop(envoy.request(Request::get("/")));
    called();
    envoy.answer(envoy.call().token, Response::new(200));
    assert_eq!(called(), [""; 0]);
}

#[test]
fn a_grpc_call_is_answered_by_a_message_or_a_status() {
    let envoy = Envoy::builder().cluster("limit", Cluster::Healthy).start::<Probe>("{}");
    on_with("on_http_request_headers", || {
        grpc_call(&grpc_service("limit")).unwrap();
        Action::Pause
    });
    let _first = envoy.request(Request::get("/"));
    let call = envoy.call();
    assert_eq!(call.grpc.as_deref(), Some("a.B/C"));
    assert_eq!((call.body.as_slice(), call.lines(":authority")), (&b"request"[..], vec!["limit".to_owned()]));
    on("on_grpc_call_response", || {
        let message = hostcalls::buffer(BufferType::GrpcReceiveBuffer, 0, 99);
        assert_eq!(message, Ok(Some(b"answer".to_vec())));
    });
    called();
    envoy.answer_grpc(call.token, Ok(b"answer".to_vec()));
    assert_eq!(called(), ["on_grpc_call_response 0 6"]);

    on("on_grpc_call_response", || hostcalls::continue_stream(StreamType::HttpRequest).unwrap());
    let second = envoy.request(Request::get("/"));
    called();
    envoy.advance(Duration::from_millis(20));
    assert_eq!(called(), ["on_grpc_call_response 14 0"]);
    assert!(second.upstream().is_some());
}

#[test]
#[should_panic(expected = "Envoy aborts the process on a bare cluster name")]
fn a_bare_cluster_name_in_a_grpc_call_fails_the_test() {
    let envoy = Envoy::start::<Probe>("{}");
    on("on_http_request_headers", || {
        let _ = grpc_call(b"mysvc");
    });
    envoy.request(Request::get("/"));
}

#[test]
fn ticks_and_timeouts_happen_in_order() {
    let envoy = Envoy::builder().cluster("idp", Cluster::Healthy).start::<Probe>(r#"{"tick":800}"#);
    let start = envoy.wall_clock();
    let mut due = [800, 1_600, 2_400, 2_900].into_iter();
    on("on_tick", move || {
        let due = due.next().unwrap();
        assert_eq!(hostcalls::wall_clock(), Ok(start + Duration::from_millis(due)));
        if due == 800 {
            call(&HEADERS).unwrap();
        }
    });
    called();
    envoy.advance(Duration::from_millis(2_900));
    assert_eq!(called(), ["on_tick", "on_tick", "on_tick", "root.on_http_call_response 3 24"]);
    assert_eq!(envoy.wall_clock(), start + Duration::from_millis(2_900));
    envoy.tick();
    assert_eq!(envoy.hostcalls()[..3], ["buffer plugin_configuration", "tick_period 800", "wall_clock"]);
}

#[test]
fn the_wall_clock_can_be_stepped_without_the_other() {
    let envoy = Envoy::start::<Probe>("{}");
    let (wall, monotonic) =
        envoy.within(|| (hostcalls::wall_clock().unwrap(), hostcalls::monotonic_clock().unwrap()));
    assert_eq!(wall, Duration::from_secs(1_767_571_200));
    envoy.set_wall_clock(Duration::from_secs(1));
    envoy.advance(Duration::from_secs(1));
    envoy.within(|| {
        assert_eq!(hostcalls::wall_clock(), Ok(Duration::from_secs(2)));
        assert_eq!(hostcalls::monotonic_clock(), Ok(monotonic + Duration::from_secs(1)));
    });
}
