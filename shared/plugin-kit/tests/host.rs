//! The kit against a host that answers as Envoy does.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plugin_kit::callout::{GrpcService, HttpCall, HttpCallResponse};
use plugin_kit::client_ip::ClientIp;
use plugin_kit::config;
use plugin_kit::header_ops::HeaderOps;
use plugin_kit::headers::{REQUEST, RESPONSE};
use plugin_kit::hostcalls::HostError;
use plugin_kit::matching::Captures;
use plugin_kit::metrics::{Counter, Gauge, Histogram};
use plugin_kit::reply::Reply;
use plugin_kit::request::Request as View;
use plugin_kit::shared_data::{self, Contended};
use plugin_kit::{body, clock, property, random, stream};
use plugin_testkit::{Cluster, Envoy, Headers, Request, SharedData};

#[test]
fn a_part_of_a_request_is_read_once() {
    let envoy = Envoy::without_plugin();
    let stream = envoy.request(Request::get("/a?b").header("x-a", "1").header("x-a", "2"));
    stream.within(|| {
        let view = View::current(ClientIp::default());
        assert_eq!((view.path(), view.query()), (&b"/a"[..], Some(&b"b"[..])));
        assert_eq!(view.header("x-a").as_deref(), Some(&b"1"[..]));
        assert!(view.header("x-a").is_some() && view.header("x-b").is_none() && view.header("x-b").is_none());
        assert!(view.any_header_line("x-a", |value| value == b"1"));
    });
    assert_eq!(stream.take_hostcalls(), ["get :path", "get x-a", "get x-b"]);
    stream.within(|| {
        let view = View::current(ClientIp::default());
        assert!(view.any_header_line("x-a", |value| value == b"2"));
        assert_eq!(view.header(":path").as_deref(), Some(&b"/a?b"[..]), "now all are at hand");
    });
    assert_eq!(stream.take_hostcalls(), ["get x-a", "pairs"]);
}

#[test]
fn headers_that_were_read_before_are_not_read_again() {
    let envoy = Envoy::without_plugin();
    let stream = envoy.request(Request::get("/a").header("x-a", "1"));
    stream.within(|| {
        let view = View::current(ClientIp::default()).with_headers(REQUEST.pairs());
        assert_eq!((view.path(), view.header("x-a").as_deref()), (&b"/a"[..], Some(&b"1"[..])));
    });
    assert_eq!(stream.take_hostcalls(), ["pairs"]);
}

#[test]
fn a_value_that_would_split_a_header_is_not_written() {
    let envoy = Envoy::without_plugin();
    let sent = envoy.request(Request::get("/").header("x-a", "mine"));
    sent.within(|| {
        for value in [&b"a\r\nx: y"[..], b"a\n", b"\0"] {
            assert_eq!(REQUEST.set("x-a", value), Err(HostError::BadArgument));
            assert_eq!(REQUEST.add("x-b", value), Err(HostError::BadArgument));
        }
        let ops: HeaderOps = config::parse(br#"{"set": {"x-a": "${query:q|default:x}"}}"#).unwrap();
        let evil = View::detached(&[(":path", b"/?q=%0d%0a")]);
        ops.compile::<&str>(&[]).unwrap().fill(&evil, &Captures::default()).apply(REQUEST).unwrap();
        stream::resume_request();
    });
    assert!(sent.hostcalls().iter().all(|call| !call.starts_with("set x") && !call.starts_with("add")));
    assert_eq!(sent.upstream().unwrap().header("x-a"), None, "the client's own does not stay either");
}

#[test]
fn the_host_of_a_request_can_be_copied_to_another_header() {
    let envoy = Envoy::without_plugin();
    let sent = envoy.request(Request::get("/").header("x-host", "mine"));
    sent.within(|| {
        let ops: HeaderOps = config::parse(br#"{"copy": [{"from": "Host", "to": "x-host"}]}"#).unwrap();
        let request = View::current(ClientIp::default());
        ops.compile::<&str>(&[]).unwrap().fill(&request, &Captures::default()).apply(REQUEST).unwrap();
        stream::resume_request();
    });
    let upstream = sent.upstream().unwrap();
    assert_eq!(upstream.header("x-host"), Some(&b"shop.example.com"[..]));
    assert_eq!(upstream.authority, "shop.example.com");
}

#[test]
fn an_operation_reports_a_header_that_the_host_keeps() {
    for ops in [
        r#"{"remove": ["x-a"]}"#,
        r#"{"rename": [{"from": "x-a", "to": "x-b"}]}"#,
        r#"{"copy": [{"from": "x-b", "to": "x-a"}]}"#,
        r#"{"set": {"x-a": "${query:q}"}}"#,
    ] {
        let envoy = Envoy::without_plugin();
        let sent = envoy.request(Request::get("/?q=%0d").header("x-a", "mine").header("x-b", "mine"));
        envoy.refuse("remove x-a");
        sent.within(|| {
            let request = View::current(ClientIp::default());
            let ops: HeaderOps = config::parse(ops.as_bytes()).unwrap();
            let edits = ops.compile::<&str>(&[]).unwrap().fill(&request, &Captures::default());
            assert_eq!(edits.apply(REQUEST), Err(HostError::InternalFailure), "{ops:?}");
        });
    }
}

#[test]
fn what_does_not_exist_in_a_phase_is_none_and_not_a_panic() {
    let envoy = Envoy::without_plugin();
    envoy.request(Request::get("/")).within(|| {
        assert_eq!(RESPONSE.get(":status"), None);
        assert!(RESPONSE.pairs().is_empty());
        assert_eq!(RESPONSE.set("x-a", b"1"), Err(HostError::BadArgument));
        assert!(body::RESPONSE.read(99).is_empty());
        assert_eq!(property::get(&["source"]), None, "a whole root cannot be serialized");
        assert_eq!(property::get_i64(&["response", "code"]), None);
    });
    envoy.log_only().within(|| assert_eq!(REQUEST.get(":path"), None));
}

#[test]
fn filter_state_is_for_later_plugins() {
    let envoy = Envoy::without_plugin();
    let stream = envoy.request(Request::get("/"));
    stream.within(|| property::set_filter_state("swimlane", b"blue").unwrap());
    assert_eq!(stream.filter_state("swimlane").as_deref(), Some(&b"blue"[..]));
    stream.within(|| assert_eq!(property::get_str(&["swimlane"]).as_deref(), Some("blue")));
}

#[test]
fn a_reply_has_details_and_no_header_that_splits() {
    let envoy = Envoy::without_plugin();
    let stream = envoy.request(Request::get("/"));
    let reply = Reply::new(403).details("why").header("x-a", "1").header("x-b", "1\r\n2").body("no");
    stream.within(|| reply.send());
    let sent = stream.local_reply().unwrap();
    assert_eq!((sent.status, sent.details.as_str(), sent.body.as_slice()), (403, "why", &b"no"[..]));
    assert_eq!((sent.lines("x-a"), sent.header("x-b")), (vec!["1".to_owned()], None));
    assert_eq!(sent.grpc_status, None);
}

#[test]
fn a_metric_is_defined_once() {
    let envoy = Envoy::without_plugin();
    envoy.within(|| {
        let (counter, gauge) = (Counter::new("c_total".into()), Gauge::new("g".into()));
        counter.increment();
        counter.add(2);
        counter.add(0);
        gauge.set(5);
        gauge.add(-2);
        let histogram = Histogram::new("h_milliseconds".into());
        histogram.record(7);
    });
    assert_eq!((envoy.metric("c_total"), envoy.metric("g")), (3, 3));
    assert_eq!(envoy.histogram("h_milliseconds"), [7]);
    let defined = envoy.hostcalls().iter().filter(|call| call.starts_with("metric.define")).count();
    assert_eq!(defined, 3);
}

#[test]
fn of_several_workers_one_inserts() {
    let table = SharedData::default();
    let workers: Vec<Envoy> =
        (0..3).map(|_| Envoy::builder().shared_data(table.clone()).start::<Idle>("")).collect();
    let inserted = workers.iter().filter(|envoy| envoy.within(|| shared_data::insert("k", b"v").unwrap()));
    assert_eq!(inserted.count(), 1);
}

#[test]
fn an_update_that_another_worker_overtakes_is_done_again() {
    let envoy = Envoy::builder().start::<Idle>("");
    let table = envoy.shared_data();
    let add = |stored: Option<&[u8]>| {
        let count = stored.and_then(|stored| stored.first()).copied().unwrap_or(0) + 1;
        (Some(vec![count]), count)
    };
    assert_eq!(envoy.within(|| shared_data::update("k", add)), Ok(1));
    table.before_next_write(|table| table.set("k", [41]));
    assert_eq!(envoy.within(|| shared_data::update("k", add)), Ok(42), "nothing is lost");
    table.before_next_write(|table| table.set("new", [7]));
    assert_eq!(envoy.within(|| shared_data::update("new", add)), Ok(8), "nor is it where the key was absent");
    assert_eq!(envoy.within(|| shared_data::update("k", |_| (None, "read"))), Ok("read"));
}

#[test]
fn an_update_gives_up_after_many_lost_races() {
    let envoy = Envoy::builder().start::<Idle>("");
    let table = envoy.shared_data();
    let mut tries = 0;
    let updated = envoy.within(|| {
        shared_data::update("k", |_| {
            tries += 1;
            table.set("k", [0]);
            (Some(vec![1]), ())
        })
    });
    assert_eq!((updated, tries), (Err(Contended), shared_data::RETRIES));
}

fn call(cluster: &str, path: &[u8]) -> Result<u32, HostError> {
    let (method, authority, timeout) = (b"GET", b"idp", Duration::ZERO);
    HttpCall { cluster, method, path, authority, headers: &[("x-a", b"\xff")], body: None, timeout }
        .dispatch()
}

#[test]
fn a_call_that_cannot_be_made_is_an_error_and_not_a_pause_for_ever() {
    let envoy = Envoy::builder().cluster("away", Cluster::NoEndpoints).start::<Idle>("");
    envoy.within(|| {
        assert_eq!(call("unknown", b"/"), Err(HostError::BadArgument));
        assert_eq!(call("away", b"/"), Err(HostError::InternalFailure));
        assert_eq!(call("away", b"/\r\n"), Err(HostError::BadArgument));
        let service = GrpcService::new("unknown", "");
        assert_eq!(service.call("a.B", "C", b"", Duration::ZERO), Err(HostError::InternalFailure));
    });
}

#[test]
fn a_call_always_has_a_timeout_and_may_carry_any_bytes() {
    let envoy = Envoy::builder().cluster("idp", Cluster::Healthy).start::<Idle>("");
    envoy.within(|| call("idp", b"/keys").unwrap());
    let sent = envoy.call();
    assert_eq!((sent.timeout, sent.header("x-a")), (Duration::from_millis(1), Some(&b"\xff"[..])));
    assert_eq!(
        (sent.lines(":path"), sent.lines(":authority")),
        (vec!["/keys".to_owned()], vec!["idp".to_owned()])
    );
}

#[test]
fn a_grpc_call_names_cluster_and_authority_however_long() {
    let cluster = format!("outbound|8081||{}.svc.cluster.local", "ratelimit".repeat(20));
    let envoy = Envoy::builder().cluster(&cluster, Cluster::Healthy).start::<Idle>("");
    envoy
        .within(|| GrpcService::new(&cluster, "").call("a.B", "C", b"x", Duration::from_millis(20)).unwrap());
    let sent = envoy.call();
    assert_eq!(
        (sent.cluster.as_str(), sent.grpc.as_deref(), sent.body.as_slice()),
        (cluster.as_str(), Some("a.B/C"), &b"x"[..])
    );
}

#[test]
fn an_answer_without_headers_is_a_reset() {
    let envoy = Envoy::without_plugin();
    envoy.within(|| assert_eq!(HttpCallResponse::read(0, 0, 99), None));
}

#[test]
fn clocks_and_randomness_come_from_the_host() {
    let envoy = Envoy::without_plugin();
    let clocks = || (clock::wall().unwrap(), clock::monotonic().unwrap());
    let before = envoy.within(clocks);
    envoy.advance(Duration::from_secs(5));
    let after = envoy.within(clocks);
    assert_eq!((after.0 - before.0, after.1 - before.1), (Duration::from_secs(5), Duration::from_secs(5)));
    envoy.set_wall_clock(Duration::ZERO);
    assert!(envoy.within(clocks).1 >= after.1, "a step of the wall clock does not turn time back");
    let (one, other) = envoy.within(|| (random::uuid().unwrap(), random::uuid().unwrap()));
    assert!(one != other && one.len() == 36);
    envoy.fail_clocks();
    assert_eq!(envoy.within(|| (clock::wall(), clock::monotonic())), (None, None));
}

/// A plugin that does nothing, for what happens outside requests.
struct Idle;

impl plugin_kit::Plugin for Idle {
    type Config = serde::de::IgnoredAny;
    type Filter = IdleFilter;

    fn new(_: Self::Config) -> Result<Self, config::ConfigError> {
        Ok(Self)
    }

    fn filter(&self) -> IdleFilter {
        IdleFilter
    }
}

struct IdleFilter;
impl proxy_wasm::traits::Context for IdleFilter {}
impl proxy_wasm::traits::HttpContext for IdleFilter {}

impl plugin_kit::Callbacks for Idle {
    const CALLBACKS: &'static [&'static str] = &[];
}
