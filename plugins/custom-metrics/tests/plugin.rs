//! The plugin as it ships, in the in-memory Envoy.

use std::collections::BTreeMap;
use std::time::Duration;

use custom_metrics::CustomMetrics;
use plugin_testkit::hostile::overwrites;
use plugin_testkit::{Envoy, LogLevel, Request, Response};
use serde_json::{Value, json};

#[test]
fn cases() {
    plugin_testkit::cases::<CustomMetrics>(env!("CARGO_MANIFEST_DIR"));
}

fn requests_total() -> Value {
    json!({
        "paths": {"templates": ["/users/{id}"]},
        "metrics": [{"name": "app_requests_total", "type": "counter", "labels": {
            "status": {"statusClass": true}, "route": {"pathTemplate": true}, "method": {"method": true},
        }}],
    })
}

fn by_tenant(max_series: u32) -> Value {
    json!({
        "defaults": {"maxSeries": max_series},
        "metrics": [{"name": "t_total", "type": "counter", "labels": {"tenant": {"source": "header:x-tenant"}}}],
    })
}

fn tenant(name: impl AsRef<[u8]>) -> Request {
    Request::get("/").header("x-tenant", name)
}

/// The key in shared data; a release starts anew.
fn registry(metric: &str) -> String {
    format!("custom-metrics/{}/2/{metric}", env!("CARGO_PKG_VERSION"))
}

/// The series of one metric.
fn series(envoy: &Envoy, metric: &str) -> BTreeMap<String, u64> {
    envoy.metrics().into_iter().filter(|(name, _)| name.split(";.;").last() == Some(metric)).collect()
}

fn of<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn a_known_series_costs_its_labels_and_one_addition() {
    let envoy = Envoy::start::<CustomMetrics>(requests_total());
    let cost = || {
        let stream = envoy.request(Request::get("/users/7?a=b"));
        stream.respond(Response::new(200));
        stream.finish();
        stream.hostcalls()
    };
    let series = "route=.=/users/{id};.;method=.=GET;.;status=.=2xx;.;app_requests_total";
    let own = "wasm_filter.custom_metrics.component.app_requests_total.series";
    let key = registry("app_requests_total{route,method,status}");
    assert_eq!(
        cost(),
        [
            "pairs",
            "property response.code",
            &format!("shared.get {key}"),
            "random 16",
            &format!("shared.set {key}"),
            &format!("shared.set {key}/1"),
            &format!("metric.define {series}"),
            &format!("metric.define {own}"),
            &format!("metric.record {own}"),
            &format!("metric.add {series}"),
        ]
    );
    assert_eq!(cost(), ["pairs", "property response.code", &format!("metric.add {series}")]);
}

#[test]
fn a_value_that_several_metrics_share_is_read_once() {
    let label = json!({"route": {"pathTemplate": true}, "tenant": {"source": "header:x-tenant"}});
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [
        {"name": "a_total", "type": "counter", "labels": label},
        {"name": "b_total", "type": "counter", "labels": label},
        {"name": "c_milliseconds", "type": "histogram", "value": "requestDuration", "labels": label},
    ]}));
    drop(envoy.request(tenant("acme")));
    let stream = envoy.request(tenant("acme"));
    stream.respond(Response::new(200));
    stream.finish();
    let labels = "route=.=/;.;tenant=.=acme;.;";
    assert_eq!(
        stream.hostcalls(),
        [
            "pairs",
            "property request.duration",
            &format!("metric.add {labels}a_total"),
            &format!("metric.add {labels}b_total"),
            &format!("metric.record {labels}c_milliseconds"),
        ]
    );
}

#[test]
fn a_request_that_no_metric_means_costs_what_its_condition_reads() {
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [{
        "name": "a_total", "type": "counter", "match": {"paths": [{"prefix": "/api"}]},
        "labels": {"method": {"method": true}},
    }]}));
    let stream = envoy.request(Request::get("/"));
    stream.respond(Response::new(200));
    stream.finish();
    assert_eq!(stream.hostcalls(), ["get :path"]);
}

#[test]
fn what_is_off_costs_nothing() {
    let mut config = requests_total();
    config["mode"] = json!("off");
    let envoy = Envoy::start::<CustomMetrics>(config);
    let stream = envoy.request(Request::get("/"));
    stream.respond(Response::new(200));
    stream.finish();
    assert!(stream.hostcalls().is_empty(), "{:?}", stream.hostcalls());
    assert!(envoy.metrics().is_empty());
}

#[test]
fn every_request_is_counted_once_wherever_it_was_answered() {
    let envoy = Envoy::start::<CustomMetrics>(requests_total());
    envoy.exchange(Request::get("/users/7"), Response::new(200));
    envoy.exchange(Request::post("/users/8?x=/users/9").body("x"), Response::new(204));
    // Denied by an earlier plugin, and malformed: neither reaches on_http_request_headers.
    envoy.log_only_of(Request::get("/users/9"), Response::new(401));
    envoy.log_only();
    // The client went away before the response.
    envoy.request(Request::get("/users/1")).finish();
    assert_eq!(
        series(&envoy, "app_requests_total"),
        of([
            ("route=.=/users/{id};.;method=.=GET;.;status=.=2xx;.;app_requests_total", 1),
            ("route=.=/users/{id};.;method=.=POST;.;status=.=2xx;.;app_requests_total", 1),
            ("route=.=/users/{id};.;method=.=GET;.;status=.=4xx;.;app_requests_total", 1),
            ("route=.=unknown;.;method=.=unknown;.;status=.=4xx;.;app_requests_total", 1),
            ("route=.=/users/{id};.;method=.=GET;.;status=.=unknown;.;app_requests_total", 1),
        ])
    );
}

#[test]
fn labels_are_those_of_the_request_as_it_came() {
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [{
        "name": "a_total", "type": "counter",
        "labels": {"from": {"source": ["responseHeader:x-none", "header:x-a"]}, "route": {"pathTemplate": true}},
    }]}));
    let stream = envoy.request(Request::get("/before").header("x-a", "1"));
    // What a later plugin or the router writes.
    assert!(stream.hostcalls().contains(&"get x-a".to_owned()), "read before it can change");
    stream.respond(Response::new(200));
    stream.finish();
    assert_eq!(series(&envoy, "a_total"), of([("from=.=1;.;route=.=/before;.;a_total", 1)]));
}

#[test]
fn a_label_may_come_from_the_response() {
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [{
        "name": "a_total", "type": "counter",
        "labels": {"ab": {"source": ["responseHeader:x-ab"]}, "why": {"source": ["property:response.code_details"]}},
    }]}));
    envoy.exchange(Request::get("/"), Response::new(200).header("x-ab", "B").header("x-ab", "C"));
    envoy.exchange(Request::get("/"), Response::new(200));
    assert_eq!(
        series(&envoy, "a_total"),
        of([
            ("ab=.=B;.;why=.=via_upstream;.;a_total", 1),
            ("ab=.=unknown;.;why=.=via_upstream;.;a_total", 1)
        ])
    );
}

#[test]
fn a_grpc_status_is_counted_for_grpc() {
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [{
        "name": "a_total", "type": "counter",
        "labels": {"grpc_status": {"grpcStatus": true}, "status": {"status": true}},
    }]}));
    let grpc = || Request::post("/s/m").header("content-type", "application/grpc");
    envoy.exchange(grpc(), Response::new(200).header("grpc-status", "7"));
    envoy.exchange(grpc(), Response::new(503));
    envoy.exchange(Request::get("/"), Response::new(503));
    assert_eq!(
        series(&envoy, "a_total"),
        of([
            ("status=.=200;.;grpc_status=.=7;.;a_total", 1),
            ("status=.=503;.;grpc_status=.=14;.;a_total", 1),
            ("status=.=503;.;grpc_status=.=unknown;.;a_total", 1),
        ])
    );
}

#[test]
fn conditions_choose_requests_and_responses() {
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [
        {"name": "a_total", "type": "counter", "match": {"methods": ["POST"]}},
        {"name": "b_total", "type": "counter", "when": {"statuses": ["2xx", 404]}},
        {"name": "c_total", "type": "counter", "match": {"methods": ["POST"]}, "when": {"statuses": ["5xx"]}},
    ]}));
    envoy.exchange(Request::get("/"), Response::new(200));
    envoy.exchange(Request::get("/"), Response::new(404));
    envoy.exchange(Request::get("/"), Response::new(403));
    envoy.exchange(Request::post("/"), Response::new(500));
    envoy.request(Request::post("/")).finish();
    let count = |name| envoy.metric(name);
    assert_eq!((count("a_total"), count("b_total"), count("c_total")), (2, 2, 1));
}

#[test]
fn values_are_times_sizes_and_whole_numbers() {
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [
        {"name": "ms", "type": "histogram", "value": "requestDuration"},
        {"name": "in_bytes_total", "type": "counter", "value": "requestSize"},
        {"name": "out_bytes", "type": "histogram", "value": "responseSize"},
        {"name": "cost_total", "type": "counter", "value": "responseHeader:x-cost"},
        {"name": "queue", "type": "gauge", "value": "header:x-queue"},
        {"name": "attempts_total", "type": "counter", "value": "property:upstream.request_attempt_count"},
        {"name": "cpus", "type": "gauge", "value": "property:xds.node.metadata.CPUS"},
        {"name": "weight", "type": "gauge", "value": "property:xds.node.metadata.WEIGHT"},
    ]}));
    envoy.set_property(&["xds", "node", "metadata", "CPUS"], 4.0_f64.to_le_bytes());
    envoy.set_property(&["xds", "node", "metadata", "WEIGHT"], 0.5_f64.to_le_bytes());
    envoy.set_property(&["upstream", "request_attempt_count"], 2_u64.to_le_bytes());
    let stream = envoy.request(Request::post("/").body("12345").header("x-queue", "7"));
    envoy.advance(Duration::from_millis(1234));
    stream.respond(Response::new(200).body("123").header("x-cost", "40"));
    stream.finish();
    envoy.exchange(Request::get("/"), Response::new(200).header("x-cost", "2"));
    envoy.exchange(Request::get("/").header("x-queue", "x"), Response::new(200).header("x-cost", "1.5"));
    assert_eq!(envoy.histogram("ms"), [1234, 0, 0]);
    assert_eq!(envoy.metric("in_bytes_total"), 5);
    assert_eq!(envoy.histogram("out_bytes"), [3, 0, 0]);
    assert_eq!(envoy.metric("cost_total"), 42);
    assert_eq!(envoy.metric("queue"), 7);
    assert_eq!(envoy.metric("attempts_total"), 6);
    assert_eq!(envoy.metric("cpus"), 4);
    let skipped =
        |metric| envoy.metric(&format!("wasm_filter.custom_metrics.component.{metric}.skipped_total"));
    assert_eq!((skipped("cost_total"), skipped("queue"), skipped("ms")), (1, 2, 0));
    assert_eq!((skipped("cpus"), skipped("weight")), (0, 3), "half of something is no whole number");
}

#[test]
fn active_requests_return_to_zero_however_they_end() {
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [{
        "name": "active", "type": "gauge", "value": "activeRequests",
        "match": {"paths": [{"prefix": "/a"}]}, "labels": {"method": {"method": true}},
    }]}));
    let active = || envoy.metric("method=.=GET;.;active");
    let streams: Vec<_> = (0..3).map(|_| envoy.request(Request::get("/a"))).collect();
    let other = envoy.request(Request::get("/b"));
    assert_eq!(active(), 3);
    streams[0].respond(Response::new(200));
    streams[0].finish();
    streams[1].finish();
    assert_eq!(active(), 1);
    // Never counted, so never taken away.
    envoy.log_only();
    envoy.log_only_of(Request::get("/a"), Response::new(403));
    other.finish();
    assert_eq!(active(), 1);
    drop(streams);
    assert_eq!(active(), 0);
}

#[test]
fn a_request_leaves_the_gauge_that_it_entered() {
    let gauge = |max: u32| {
        json!({"defaults": {"maxSeries": max}, "metrics": [{
            "name": "active", "type": "gauge", "value": "activeRequests",
            "labels": {"tenant": {"source": "header:x-tenant"}},
        }]})
    };
    let envoy = Envoy::start::<CustomMetrics>(gauge(1));
    let (a, b) = (envoy.request(tenant("a")), envoy.request(tenant("b")));
    let expected = |a, b| of([("tenant=.=a;.;active", a), ("tenant=.=_other;.;active", b)]);
    assert_eq!(series(&envoy, "active"), expected(1, 1));
    assert!(envoy.reconfigure::<CustomMetrics>(gauge(2)), "the streams keep what they began with");
    b.finish();
    assert_eq!(series(&envoy, "active"), expected(1, 0));
    a.finish();
    assert_eq!(series(&envoy, "active"), expected(0, 0));
}

#[test]
fn the_bound_holds_over_all_workers_and_counts_add_up() {
    let first = Envoy::start::<CustomMetrics>(by_tenant(100));
    let workers = [
        Envoy::builder().shared_data(first.shared_data()).start::<CustomMetrics>(by_tenant(100)),
        Envoy::builder().shared_data(first.shared_data()).start::<CustomMetrics>(by_tenant(100)),
        first,
    ];
    for number in 0..3000 {
        drop(workers[number % 3].request(tenant(format!("t{}", number % 1000))));
    }
    let mut all = BTreeMap::new();
    for worker in &workers {
        for (name, value) in series(worker, "t_total") {
            *all.entry(name).or_insert(0) += value;
        }
    }
    assert_eq!(all.len(), 101, "a hundred, and the one for the rest");
    assert_eq!(all.values().sum::<u64>(), 3000);
    assert_eq!(all["tenant=.=_other;.;t_total"], 2700);
    assert!(all.iter().all(|(name, value)| name.contains("_other") || *value == 3), "{all:?}");
    let overflowed: u64 = workers
        .iter()
        .map(|worker| worker.metric("wasm_filter.custom_metrics.component.t_total.overflowed_total"))
        .sum();
    assert_eq!(overflowed, 2700);
    assert_eq!(workers[0].shared_data().keys().len(), 101, "one key a metric, and one a series");
    assert_eq!(
        workers[0].shared_data().get(&workers[0].shared_data().keys()[0]).unwrap().len(),
        16 + 8 + 100 * 8
    );
}

#[test]
fn a_full_metric_asks_nothing_more() {
    let envoy = Envoy::start::<CustomMetrics>(by_tenant(2));
    for name in ["a", "b", "c"] {
        drop(envoy.request(tenant(name)));
    }
    let cost = |name: &str| {
        let stream = envoy.request(tenant(name));
        stream.finish();
        stream.hostcalls()
    };
    assert_eq!(cost("b"), ["get x-tenant", "metric.add tenant=.=b;.;t_total"]);
    assert_eq!(
        cost("d"),
        [
            "get x-tenant",
            "metric.add wasm_filter.custom_metrics.component.t_total.overflowed_total",
            "metric.add tenant=.=_other;.;t_total",
        ]
    );
    // Another worker, new to all of them, reads once that it is full, and which are in.
    let other = Envoy::builder().shared_data(envoy.shared_data()).start::<CustomMetrics>(by_tenant(2));
    for name in ["z", "a", "y", "b"] {
        drop(other.request(tenant(name)));
    }
    assert_eq!(
        series(&other, "t_total"),
        of([("tenant=.=_other;.;t_total", 2), ("tenant=.=a;.;t_total", 1), ("tenant=.=b;.;t_total", 1)])
    );
}

fn by_route(templates: &[&str], max_series: u32) -> Value {
    json!({
        "paths": {"templates": templates},
        "defaults": {"maxSeries": max_series},
        "metrics": [{"name": "r_total", "type": "counter", "labels": {"route": {"pathTemplate": true}, "method": {"method": true}}}],
    })
}

#[test]
fn paths_without_a_template_leave_half_of_the_series_to_templates() {
    let config = by_route(&["/users/{id}", "/carts/{id}", "/shops/{id}"], 6);
    let first = Envoy::start::<CustomMetrics>(&config);
    let other = Envoy::builder().shared_data(first.shared_data()).start::<CustomMetrics>(&config);
    for number in 0..100 {
        drop([&first, &other][number % 2].request(Request::get(format!("/junk-{number}"))));
    }
    for worker in [&first, &other] {
        for path in ["/users/7", "/carts/7", "/shops/7"] {
            drop(worker.request(Request::get(path)));
        }
        // The seventh.
        drop(worker.request(Request::post("/users/7")));
    }
    let mut all = BTreeMap::new();
    for (name, value) in [&first, &other].into_iter().flat_map(|worker| series(worker, "r_total")) {
        *all.entry(name).or_insert(0) += value;
    }
    let junk = |number: u32| format!("route=.=/junk-{number};.;method=.=GET;.;r_total");
    assert_eq!(
        all,
        of([
            (&junk(0), 1),
            (&junk(1), 1),
            (&junk(2), 1),
            ("route=.=/users/{id};.;method=.=GET;.;r_total", 2),
            ("route=.=/carts/{id};.;method=.=GET;.;r_total", 2),
            ("route=.=/shops/{id};.;method=.=GET;.;r_total", 2),
            ("route=.=_other;.;method=.=_other;.;r_total", 97 + 2),
        ])
    );
    assert_eq!(first.metric("wasm_filter.custom_metrics.component.r_total.series"), 6);
}

#[test]
fn without_templates_every_path_may_take_a_series() {
    for (config, expected) in
        [(by_route(&[], 6), 6), (by_route(&["/users/{id}"], 1), 1), (by_route(&["/users/{id}"], 5), 3)]
    {
        let envoy = Envoy::start::<CustomMetrics>(&config);
        for number in 0..20 {
            drop(envoy.request(Request::get(format!("/junk-{number}"))));
        }
        assert_eq!(series(&envoy, "r_total").len(), expected + 1, "{config}");
    }
}

#[test]
fn a_full_share_of_paths_without_a_template_asks_nothing_more() {
    let envoy = Envoy::start::<CustomMetrics>(by_route(&["/users/{id}"], 2));
    for path in ["/a", "/b"] {
        drop(envoy.request(Request::get(path)));
    }
    let cost = |path: &str| {
        let stream = envoy.request(Request::get(path));
        stream.finish();
        stream.hostcalls()
    };
    for path in ["/c", "/d"] {
        assert_eq!(
            cost(path),
            [
                "pairs",
                "metric.add wasm_filter.custom_metrics.component.r_total.overflowed_total",
                "metric.add route=.=_other;.;method=.=_other;.;r_total",
            ]
        );
    }
    assert!(cost("/users/7").iter().any(|call| call.starts_with("shared.get")), "a template still may");
}

/// Client A fills what it can; what is counted of client B is as without it.
#[test]
fn junk_of_one_client_changes_no_series_of_another() {
    let run = |with_junk: bool| {
        let envoy = Envoy::start::<CustomMetrics>(by_route(&["/users/{id}", "/carts/{id}"], 8));
        for number in 0..50 {
            if with_junk {
                for junk in 0..20 {
                    let path = format!("/junk-{}?/users/7", number * 20 + junk);
                    envoy.exchange(Request::new("FROB", path), Response::new(404));
                }
            }
            for path in ["/users/7?x", "/carts/8"] {
                envoy.exchange(Request::get(path), Response::new(200));
            }
        }
        let mut counted = series(&envoy, "r_total");
        counted.retain(|name, _| name.contains("=GET;"));
        counted
    };
    let alone = run(false);
    assert_eq!(alone.values().copied().collect::<Vec<_>>(), [50, 50]);
    assert_eq!(run(true), alone);
}

#[test]
fn whatever_a_neighbour_writes_new_series_are_taken() {
    let config = by_tenant(4);
    let key = registry("t_total{tenant}");
    let stored = {
        let envoy = Envoy::start::<CustomMetrics>(&config);
        ["a", "b"].iter().for_each(|name| drop(envoy.request(tenant(name))));
        envoy.shared_data().get(&key).unwrap()
    };
    for value in overwrites(&stored) {
        let old = Envoy::start::<CustomMetrics>(&config);
        drop(old.request(tenant("a")));
        old.shared_data().set(&key, &value);
        old.shared_data().set(&format!("{key}/1"), &value);
        let new = Envoy::builder().shared_data(old.shared_data()).start::<CustomMetrics>(&config);
        for (worker, names) in [(&old, ["b", "c"]), (&new, ["d", "c"])] {
            for name in names {
                drop(worker.request(tenant(name)));
                let counted = worker.metric(&format!("tenant=.={name};.;t_total"));
                assert_eq!(counted, 1, "{name}: {}", value.escape_ascii());
            }
        }
        // The next VM holds the series that were taken since.
        let next = Envoy::builder().shared_data(old.shared_data()).start::<CustomMetrics>(&config);
        let held = series(&next, "t_total");
        assert!(
            ["b", "c", "d"].iter().all(|name| held.contains_key(&format!("tenant=.={name};.;t_total"))),
            "{held:?}"
        );
    }
}

#[test]
fn no_query_becomes_a_label_whatever_the_target_looks_like() {
    let envoy = Envoy::start::<CustomMetrics>(json!({"metrics": [{
        "name": "a_total", "type": "counter",
        "labels": {"route": {"pathTemplate": true}, "first": {"source": "pathSegment:1"}, "seen": {"source": "header:x-original-url"}},
    }]}));
    for target in [
        "?token=secret",
        "http://shop.example.com/users/7?token=secret",
        "http://shop.example.com?token=secret",
        "//shop.example.com/users/7?token=secret",
        "/users/7%3Ftoken=secret",
        "/users/7#?token=secret",
        "/?token=secret",
    ] {
        drop(envoy.request(Request::get(target).header("x-original-url", target)));
    }
    let names: Vec<String> = envoy.metrics().into_keys().collect();
    assert!(names.iter().all(|name| !name.contains("secret")), "{names:#?}");
}

#[test]
fn as_many_series_as_allowed_need_no_other() {
    let envoy = Envoy::start::<CustomMetrics>(by_tenant(3));
    for name in ["a", "b", "c", "a"] {
        drop(envoy.request(tenant(name)));
    }
    assert_eq!(series(&envoy, "t_total").len(), 3);
    assert_eq!(envoy.metric("wasm_filter.custom_metrics.component.t_total.series"), 3);
}

#[test]
fn a_metric_may_have_a_bound_of_its_own() {
    let mut config = by_tenant(500);
    config["metrics"][0]["maxSeries"] = json!(1);
    let envoy = Envoy::start::<CustomMetrics>(config);
    for name in ["a", "b", "c"] {
        drop(envoy.request(tenant(name)));
    }
    assert_eq!(
        series(&envoy, "t_total"),
        of([("tenant=.=a;.;t_total", 1), ("tenant=.=_other;.;t_total", 2)])
    );
}

#[test]
fn another_worker_between_reading_and_writing_loses_nothing() {
    let envoy = Envoy::start::<CustomMetrics>(by_tenant(2));
    drop(envoy.request(tenant("a")));
    let shared = envoy.shared_data();
    let other = Envoy::builder().shared_data(shared.clone()).start::<CustomMetrics>(by_tenant(2));
    drop(other.request(tenant("b")));
    let key = shared.keys()[0].clone();
    let full = shared.get(&key).unwrap();
    // Back to one series, and the second one arrives just before ours is written.
    let fresh = Envoy::start::<CustomMetrics>(by_tenant(2));
    fresh.shared_data().before_next_write(move |data| data.set(&key, &full));
    drop(fresh.request(tenant("c")));
    assert_eq!(series(&fresh, "t_total"), of([("tenant=.=_other;.;t_total", 1)]));
}

/// Envoy frees a series with the last VM that holds it.
#[test]
fn whoever_comes_next_holds_the_series_that_there_are() {
    let envoy = Envoy::start::<CustomMetrics>(by_tenant(2));
    for name in ["a", "b", "c"] {
        drop(envoy.request(tenant(name)));
    }
    let next = Envoy::builder().shared_data(envoy.shared_data()).start::<CustomMetrics>(by_tenant(2));
    let held =
        of([("tenant=.=a;.;t_total", 0), ("tenant=.=b;.;t_total", 0), ("tenant=.=_other;.;t_total", 0)]);
    assert_eq!(series(&next, "t_total"), held);
    let key = registry("t_total{tenant}");
    envoy.shared_data().set(&format!("{key}/1"), b"tenant=.=never;.;t_total");
    let next = Envoy::builder().shared_data(envoy.shared_data()).start::<CustomMetrics>(by_tenant(2));
    assert_eq!(
        series(&next, "t_total"),
        of([("tenant=.=b;.;t_total", 0), ("tenant=.=_other;.;t_total", 0)]),
        "what was never taken is not believed"
    );
}

#[test]
fn a_value_in_shared_data_that_is_not_ours_is_replaced() {
    let envoy = Envoy::start::<CustomMetrics>(by_tenant(2));
    envoy.shared_data().set(&registry("t_total{tenant}"), b"junk");
    drop(envoy.request(tenant("a")));
    assert_eq!(series(&envoy, "t_total"), of([("tenant=.=a;.;t_total", 1)]));
}

#[test]
fn no_value_becomes_another_label() {
    let envoy = Envoy::start::<CustomMetrics>(by_tenant(500));
    for value in [&b"x;.;method=.=EVIL"[..], b"a\tb", &[b'y'; 2000], b"\xff", b"", b"cache.hit.x", b"=.="] {
        drop(envoy.request(tenant(value)));
    }
    let long = format!("tenant=.={};.;t_total", "y".repeat(128));
    assert_eq!(
        series(&envoy, "t_total"),
        of([
            ("tenant=.=x_._method_EVIL;.;t_total", 1),
            ("tenant=.=a_b;.;t_total", 1),
            (&long, 1),
            ("tenant=.=_;.;t_total", 2),
            ("tenant=.=unknown;.;t_total", 1),
            ("tenant=.=cache_hit.x;.;t_total", 1),
        ])
    );
}

#[test]
fn the_order_of_the_labels_is_always_the_same() {
    for labels in [
        r#"{"bb": {"method": true}, "a": {"method": true}, "bc": {"method": true}}"#,
        r#"{"bc": {"method": true}, "bb": {"method": true}, "a": {"method": true}}"#,
    ] {
        let config =
            format!(r#"{{"metrics": [{{"name": "a_total", "type": "counter", "labels": {labels}}}]}}"#);
        let envoy = Envoy::start::<CustomMetrics>(config);
        drop(envoy.request(Request::get("/")));
        assert_eq!(series(&envoy, "a_total"), of([("a=.=GET;.;bb=.=GET;.;bc=.=GET;.;a_total", 1)]));
    }
}

#[test]
fn any_bytes_are_counted() {
    let envoy = Envoy::start::<CustomMetrics>(requests_total());
    let hostile = Request::new("\u{1}", b"/\xff\xfe;.;x").header("x-tenant", b"\xff");
    envoy.exchange(hostile, Response::new(999));
    let bare = Request::get("/").without(":path").without(":authority").without(":method");
    drop(envoy.request(bare));
    assert_eq!(
        series(&envoy, "app_requests_total"),
        of([
            ("route=.=/___._x;.;method=.=_OTHER;.;status=.=_OTHER;.;app_requests_total", 1),
            ("route=.=unknown;.;method=.=unknown;.;status=.=4xx;.;app_requests_total", 1),
        ])
    );
}

#[test]
fn a_dry_run_records_nothing_and_says_what_it_would() {
    let mut config = requests_total();
    config["mode"] = json!("dryRun");
    let envoy = Envoy::builder().log_level(LogLevel::Debug).start::<CustomMetrics>(config);
    envoy.exchange(Request::get("/users/7"), Response::new(200));
    assert!(envoy.metrics().is_empty());
    assert!(envoy.shared_data().keys().is_empty());
    assert_eq!(
        envoy.log_lines(),
        [
            "dryRun metric=app_requests_total series=route=.=/users/{id};.;method=.=GET;.;status=.=2xx;.;app_requests_total value=1"
        ]
    );
}

#[test]
fn the_configuration_of_the_manual_is_accepted() {
    Envoy::start::<CustomMetrics>(json!({
        "paths": {"templates": ["/users/{id}", "/orders/{id}/items/{item}", "/static/{rest=**}"], "unmatched": "auto"},
        "defaults": {"maxSeries": 500.0, "overflowValue": "_other", "maxLabelLength": 128, "missing": "unknown"},
        "metrics": [
            {
                "name": "app_requests_total", "type": "counter", "match": {}, "when": {"statuses": ["2xx", "5xx"]},
                "value": "one",
                "labels": {
                    "route": {"pathTemplate": true},
                    "method": {"method": true},
                    "status": {"statusClass": true},
                    "grpc_status": {"grpcStatus": true},
                    "tenant": {"source": ["header:x-tenant"], "allow": ["a", "b", "c"], "otherwise": "other"},
                    "plan": {"source": ["claim:plan"]},
                    "version": {"source": ["property:xds.node.metadata.LABELS.version"]},
                    "ab": {"source": ["responseHeader:x-ab"]},
                },
            },
            {"name": "app_request_duration_milliseconds", "type": "histogram", "value": "requestDuration",
             "labels": {"route": {"pathTemplate": true}}},
            {"name": "app_requests_active", "type": "gauge", "value": "activeRequests"},
        ],
    }));
}

#[test]
fn a_bad_configuration_leaves_the_old_one_serving() {
    let envoy = Envoy::start::<CustomMetrics>(by_tenant(2));
    assert!(!envoy.reconfigure::<CustomMetrics>(r#"{"metrics": [{}]}"#));
    drop(envoy.request(tenant("a")));
    assert_eq!(series(&envoy, "t_total").len(), 1);
}
