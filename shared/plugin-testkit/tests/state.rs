//! What outlives a request: shared data, metrics, properties; and logs.

mod probe;

use std::time::Duration;

use log::{debug, info, warn};
use plugin_kit::hostcalls::{self, HostError};
use plugin_testkit::{Envoy, LogLevel, Request, Response, SharedData, Status, allocations};
use probe::{Probe, on};
use proxy_wasm::types::{BufferType, MetricType};

#[test]
fn shared_data_is_compared_and_set() {
    let envoy = Envoy::start::<Probe>("{}");
    envoy.within(|| {
        assert_eq!(hostcalls::shared_data("k"), Ok(None));
        assert_eq!(hostcalls::set_shared_data("k", b"", u32::MAX), Ok(()), "an absent key takes any version");
        assert_eq!(hostcalls::shared_data("k"), Ok(Some((Vec::new(), 1))));
        assert_eq!(hostcalls::set_shared_data("k", b"b", u32::MAX), Err(HostError::CasMismatch));
        assert_eq!(hostcalls::set_shared_data("k", b"b", 1), Ok(()));
        assert_eq!(hostcalls::set_shared_data("k", b"c", 0), Ok(()));
        assert_eq!(hostcalls::shared_data("k"), Ok(Some((b"c".to_vec(), 3))));
    });
}

#[test]
fn workers_of_one_proxy_share_their_table() {
    let table = SharedData::default();
    let one = Envoy::builder().shared_data(table.clone()).start::<Probe>("{}");
    let other = Envoy::builder().shared_data(table.clone()).start::<Probe>("{}");
    one.within(|| hostcalls::set_shared_data("k", b"1", 0).unwrap());
    assert_eq!(other.within(|| hostcalls::shared_data("k")), Ok(Some((b"1".to_vec(), 1))));
    table.before_next_write(|table| table.set("k", "2"));
    assert_eq!(one.within(|| hostcalls::set_shared_data("k", b"3", 1)), Err(HostError::CasMismatch));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let far = Envoy::builder().shared_data(table.clone()).start::<Probe>("{}");
            far.within(|| hostcalls::set_shared_data("k", b"4", 2)).unwrap();
        });
    });
    assert_eq!(table.get("k"), Some(b"4".to_vec()));
}

#[test]
fn metrics_answer_as_envoys() {
    let envoy = Envoy::start::<Probe>("{}");
    envoy.within(|| {
        let counter = hostcalls::define_metric(MetricType::Counter, "c_total").unwrap();
        let again = hostcalls::define_metric(MetricType::Counter, "c_total").unwrap();
        assert_ne!(counter, again);
        assert_eq!(hostcalls::increment_metric(counter, 0), Err(HostError::BadArgument));
        assert_eq!(hostcalls::increment_metric(counter, -1), Err(HostError::BadArgument));
        assert_eq!(hostcalls::increment_metric(counter, 2), Ok(()));
        assert_eq!(hostcalls::record_metric(again, 3), Ok(()));
        assert_eq!(hostcalls::metric(counter), Ok(5));
        let gauge = hostcalls::define_metric(MetricType::Gauge, "g").unwrap();
        assert_eq!(hostcalls::increment_metric(gauge, -1), Ok(()));
        assert_eq!(hostcalls::metric(gauge), Ok(u64::MAX));
        let histogram = hostcalls::define_metric(MetricType::Histogram, "h").unwrap();
        assert_eq!(hostcalls::record_metric(histogram, 7), Ok(()));
        assert_eq!(hostcalls::increment_metric(histogram, 1), Err(HostError::BadArgument));
        assert_eq!(hostcalls::metric(histogram), Err(HostError::BadArgument));
        assert_eq!(hostcalls::metric(999 * 4), Err(HostError::NotFound));
    });
    assert_eq!((envoy.metric("c_total"), envoy.metric("g"), envoy.metric("none")), (5, u64::MAX, 0));
    assert_eq!(envoy.histogram("h"), [7]);
    assert_eq!(envoy.metrics().keys().collect::<Vec<_>>(), ["c_total", "g"]);
    assert!(envoy.hostcalls().contains(&"metric.add c_total".into()));
}

fn text(path: &[&str]) -> Option<String> {
    hostcalls::property(path).unwrap().map(|value| String::from_utf8(value).unwrap())
}

fn number(path: &[&str]) -> Option<u64> {
    hostcalls::property(path).unwrap().map(|value| u64::from_le_bytes(value.try_into().unwrap()))
}

#[test]
fn properties_exist_in_their_phases() {
    let envoy = Envoy::start::<Probe>("{}");
    envoy.set_client("127.0.0.9");
    on("on_http_request_headers", || {
        assert_eq!(text(&["source", "address"]).as_deref(), Some("127.0.0.9:40000"));
        assert_eq!(text(&["request", "url_path"]).as_deref(), Some("/a"));
        assert_eq!(text(&["request", "query"]).as_deref(), Some("b=c"));
        assert_eq!(text(&["request", "headers", "x-a"]).as_deref(), Some("1,2"));
        assert_eq!(text(&["xds", "node", "metadata", "LABELS", "lane"]).as_deref(), Some("blue"));
        assert_eq!(number(&["xds", "listener_direction"]), Some(2));
        assert_eq!(number(&["response", "code"]), None);
        assert_eq!(hostcalls::property(&["source"]), Err(HostError::SerializationFailure));
        assert_eq!(hostcalls::property(&["filter_state"]), Err(HostError::SerializationFailure));
        assert_eq!(hostcalls::property(&["route_name"]), Ok(None));
        hostcalls::set_property("lane", b"blue").unwrap();
    });
    on("on_http_response_headers", || {
        assert_eq!(text(&["request", "path"]), None);
        assert_eq!(number(&["response", "code"]), Some(204));
        assert_eq!(text(&["lane"]).as_deref(), Some("blue"));
        assert_eq!(text(&["filter_state", "wasm.lane"]).as_deref(), Some("blue"));
    });
    on("on_log", || {
        assert_eq!(text(&["request", "path"]).as_deref(), Some("/a?b=c"));
        assert_eq!(number(&["request", "duration"]), Some(30_000_000));
        assert_eq!(number(&["response", "backend_latency"]), Some(30_000_000));
        assert_eq!(text(&["metadata", "filter_metadata", "jwt", "sub"]).as_deref(), Some("alice"));
    });
    envoy.set_property(&["xds", "listener_direction"], 2_u64.to_le_bytes());
    let stream = envoy.request(Request::get("/a?b=c").header("x-a", "1").header("x-a", "2"));
    stream.set_property(&["metadata", "filter_metadata", "jwt", "sub"], "alice");
    envoy.advance(Duration::from_millis(30));
    stream.respond(Response::new(204));
    stream.finish();
    assert_eq!(stream.filter_state("lane"), Some(b"blue".to_vec()));
    assert!(stream.hostcalls().contains(&"property filter_state.wasm.lane".into()));
}

#[test]
fn foreign_functions_are_what_the_test_offers() {
    let envoy = Envoy::start::<Probe>("{}");
    envoy.set_foreign_function("twice", |argument| Ok([argument, argument].concat()));
    envoy.set_foreign_function("broken", |_| Err(Status::BadArgument));
    envoy.within(|| {
        assert_eq!(hostcalls::call_foreign_function("twice", b"a"), Ok(b"aa".to_vec()));
        assert_eq!(hostcalls::call_foreign_function("broken", b""), Err(HostError::BadArgument));
        assert_eq!(hostcalls::call_foreign_function("clear_route_cache", b""), Ok(Vec::new()));
        assert_eq!(hostcalls::call_foreign_function("none", b""), Err(HostError::NotFound));
    });
}

#[test]
fn randomness_is_the_same_in_every_run() {
    let random = |seed| {
        let envoy = Envoy::builder().seed(seed).start::<Probe>("{}");
        let mut bytes = [0; 11];
        envoy.within(|| hostcalls::random(&mut bytes)).unwrap();
        bytes
    };
    assert_eq!(random(1), random(1));
    assert_ne!(random(1), random(2));
}

#[test]
fn lines_below_the_level_are_dropped() {
    let said = |level| {
        let envoy = Envoy::builder().log_level(level).start::<Probe>("{}");
        on("on_http_request_headers", || {
            debug!("d");
            info!("i");
            warn!("w");
        });
        (envoy.request(Request::get("/")).hostcalls(), envoy.log_lines())
    };
    assert_eq!(said(LogLevel::Warn), (vec!["log warn".into()], vec!["w".into()]));
    assert_eq!(said(LogLevel::Debug).1, ["d", "i", "w"]);
    assert_eq!(said(LogLevel::Info).1, ["i", "w"]);
}

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(Box::new(1))), 1);
    let envoy = Envoy::start::<Probe>("{}");
    let stream = envoy.request(Request::get("/"));
    let before = stream.allocations();
    stream.within(|| drop(hostcalls::buffer(BufferType::HttpRequestBody, 0, 9)));
    assert_eq!(stream.allocations() - before, 0, "nothing was returned");
    stream.within(|| drop(hostcalls::property(&["source", "address"])));
    assert_eq!(stream.allocations() - before, 2, "the path, and the value that the host returned");
}
