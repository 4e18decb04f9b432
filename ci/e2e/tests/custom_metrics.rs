//! What only Envoy can answer about custom-metrics: which labels Prometheus gets, over several workers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use e2e::frames::{END_STREAM, Field, PREFACE, conclusion, headers};
use harness::{Bootstrap, Client, Envoy, Listener, Message, Plugin, Promtool, eventually, stats_tags};
use serde::Deserialize;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
const WORKERS: u32 = 4;

/// The labels of a series and its value.
type Series = BTreeMap<BTreeMap<String, String>, u64>;

fn filter(name: &str, config: &Value) -> Value {
    Plugin::named(name).unwrap().filter(name, config).unwrap()
}

/// What `just stats-tags` prints for this configuration: Istio's part and Envoy's.
fn printed(config: &Value) -> (Value, Value) {
    let printed = stats_tags::print(&config.to_string()).unwrap();
    let mut documents =
        serde_norway::Deserializer::from_str(&printed).map(|one| Value::deserialize(one).unwrap());
    (documents.next().unwrap(), documents.next().unwrap()["stats_config"].clone())
}

/// What Istio's bootstrap makes of `extraStatTags`, beside the tags that it has anyway.
fn as_istio_does(istio: &Value) -> Value {
    let mut tags = vec![
        json!({"tag_name": "cache", "regex": r"(cache\.(.+?)\.)"}),
        json!({"tag_name": "component", "regex": r"(component\.(.+?)\.)"}),
        json!({"tag_name": "tag", "regex": r"(tag\.(.+?);\.)"}),
        json!({"tag_name": "wasm_filter", "regex": r"(wasm_filter\.(.+?)\.)"}),
        json!({"tag_name": "authz_enforce_result", "regex": r"rbac(\.(allowed|denied))"}),
    ];
    for tag in istio["meshConfig"]["defaultConfig"]["extraStatTags"].as_array().unwrap() {
        let tag = tag.as_str().unwrap();
        tags.push(json!({"tag_name": tag, "regex": format!(r"({tag}=\.=(.*?);\.;)")}));
    }
    json!({"use_all_default_tags": false, "stats_tags": tags})
}

fn direct(prefix: &str, status: u16) -> Value {
    json!({"match": {"prefix": prefix}, "direct_response": {"status": status}})
}

/// An Envoy that answers by itself.
fn start(config: &Value, stats: Value) -> (Envoy, Client) {
    start_behind(Listener::new("shop"), config, stats)
}

/// An Envoy in which path-rewrite denies requests: they never reach custom-metrics' request callback.
fn start_with_denials(config: &Value, stats: Value) -> (Envoy, Client) {
    let denied = json!({"originalPathHeader": "", "rules": [{
        "name": "denied",
        "match": {"headers": [{"name": "x-deny", "present": true}]},
        "respond": {"status": 403},
    }]});
    start_behind(Listener::new("shop").discovered(filter("path-rewrite", &denied)), config, stats)
}

fn start_behind(listener: Listener, config: &Value, stats: Value) -> (Envoy, Client) {
    let listener = listener
        .discovered(filter("custom-metrics", config))
        .raw_route(direct("/users", 200))
        .raw_route(direct("/orders", 503))
        .raw_route(direct("/", 404));
    let bootstrap = Bootstrap::new().concurrency(WORKERS).log_level("wasm:info").stats(stats);
    let envoy = bootstrap.listener(listener).start().unwrap();
    envoy.check_configured().unwrap();
    let client = Client::new(envoy.address("shop"));
    (envoy, client)
}

/// A line of Prometheus' text format.
struct Sample {
    metric: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads the text format, every character of it: a line that is not of it fails the test.
fn samples(envoy: &Envoy) -> Vec<Sample> {
    let text = envoy.prometheus().unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).unwrap_or_else(|| panic!("not Prometheus' text format: {line}"))).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (metric, mut rest) = line.split_at(line.find(['{', ' '])?);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (name, quoted) = rest.split_once("=\"")?;
            let mut value = String::new();
            let mut characters = quoted.char_indices();
            let end = loop {
                match characters.next()? {
                    (end, '"') => break end,
                    (_, '\\') => value.push(match characters.next()?.1 {
                        'n' => '\n',
                        escaped @ ('"' | '\\') => escaped,
                        _ => return None,
                    }),
                    (_, plain) => value.push(plain),
                }
            };
            assert_eq!(labels.insert(name.to_owned(), value), None, "a label is there twice: {line}");
            rest = &quoted[end + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        rest = &rest[1..];
    }
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let named = is_name(metric) && labels.keys().all(|name| is_name(name));
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    named.then_some(Sample { metric: metric.to_owned(), labels, value })
}

fn series(envoy: &Envoy, metric: &str) -> Series {
    let samples = samples(envoy).into_iter().filter(|sample| sample.metric == metric);
    let mut series = Series::new();
    for sample in samples {
        let twice = series.insert(sample.labels, sample.value as u64);
        assert_eq!(twice, None, "{metric}: a series is there twice");
    }
    series
}

fn labels<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The series once all requests have been logged: a client has its answer a moment before.
fn series_of(envoy: &Envoy, metric: &str, requests: u64) -> Series {
    let mut last = Series::new();
    let all = eventually("every request is counted", LIMIT, || {
        last = series(envoy, metric);
        (last.values().sum::<u64>() >= requests).then(|| last.clone())
    });
    all.unwrap_or_else(|late| panic!("{late}: {last:#?}"))
}

fn requests_total() -> Value {
    json!({
        "paths": {"templates": ["/users/{id}"]},
        "metrics": [
            {"name": "app_requests_total", "type": "counter", "labels": {
                "route": {"pathTemplate": true},
                "method": {"method": true},
                "status": {"statusClass": true},
                "grpc_status": {"grpcStatus": true},
                "tenant": {"source": ["header:x-tenant"], "allow": ["a", "b"], "otherwise": "other"},
            }},
            {"name": "app_request_duration_milliseconds", "type": "histogram", "value": "requestDuration",
             "labels": {"route": {"pathTemplate": true}}},
            {"name": "app_requests_active", "type": "gauge", "value": "activeRequests"},
        ],
    })
}

const MALFORMED: u64 = 100;

/// Sends 10,000 requests of which we know what becomes of each, and returns how often each series must be there.
fn send_mixed(client: &Client) -> Series {
    let mut expected = Series::new();
    let mut messages = Vec::new();
    let mut send = |times: u64, message: Message, labels: BTreeMap<String, String>| {
        messages.extend((0..times).map(|_| message.clone()));
        *expected.entry(labels).or_insert(0) += times;
    };
    let named = |route: &str, method: &str, status: &str, tenant: &str, grpc: &str| {
        labels([
            ("route", route),
            ("method", method),
            ("status", status),
            ("tenant", tenant),
            ("grpc_status", grpc),
        ])
    };
    for user in 0..40 {
        let get = Message::get(format!("/users/{user}?token=secret"));
        send(100, get.clone().header("x-tenant", "a"), named("/users/{id}", "GET", "2xx", "a", "unknown"));
        send(40, get.header("x-tenant", "zzz"), named("/users/{id}", "GET", "2xx", "other", "unknown"));
    }
    // Without a body: Envoy would close the connection, as it answers before it has read it.
    let post = |path: &str| Message { method: "POST".into(), ..Message::get(path) };
    let order = post("/orders/550e8400-e29b-41d4-a716-446655440000/items/7");
    send(
        1500,
        order.header("x-tenant", "b"),
        named("/orders/{id}/items/{id}", "POST", "5xx", "b", "unknown"),
    );
    let grpc = post("/orders/grpc").header("content-type", "application/grpc");
    send(300, grpc, named("/orders/grpc", "POST", "2xx", "unknown", "14"));
    send(1000, Message::get("/none/1"), named("/none/{id}", "GET", "4xx", "unknown", "unknown"));
    let odd = Message { method: "PROPFIND".into(), ..Message::get("/users/1") };
    send(500, odd, named("/users/{id}", "_OTHER", "2xx", "unknown", "unknown"));
    let denied = Message::get("/users/9").header("x-deny", "1");
    send(1000, denied, named("/users/{id}", "GET", "4xx", "unknown", "unknown"));

    let loaded = messages.len() as u64;
    assert_eq!(loaded + MALFORMED, 10_000);
    let answered = client.load(8, messages).unwrap();
    assert_eq!(answered.values().sum::<u64>(), loaded, "{answered:?}");
    // Envoy lingers before it closes their connections.
    std::thread::scope(|scope| {
        for _ in 0..MALFORMED {
            scope.spawn(|| {
                let answer = client.raw(b"GET / HTTP/1.1\r\nno colon\r\n\r\n").unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
            });
        }
    });
    let malformed = named("unknown", "unknown", "4xx", "unknown", "unknown");
    *expected.entry(malformed).or_insert(0) += MALFORMED;
    expected
}

/// What promtool says about our metrics, but for what is as it must be: Envoy writes no help, and its histograms are of
/// whole numbers, so durations are in milliseconds.
fn lint(envoy: &Envoy) -> Vec<String> {
    let text = envoy.prometheus().unwrap();
    assert!(text.contains("app_requests_total{"), "{text}");
    let (_, said) = Promtool::locate().unwrap().run(&["check", "metrics"], &text).unwrap();
    assert!(!said.contains("error while linting"), "Prometheus could not read the text: {said}");
    let as_it_must_be = ["no help text", "use base unit \"seconds\" instead of \"milliseconds\""];
    let ours = said.lines().filter(|line| line.starts_with("app_"));
    ours.filter(|line| !as_it_must_be.iter().any(|end| line.ends_with(end))).map(str::to_owned).collect()
}

#[test]
fn ten_thousand_mixed_requests_are_counted_exactly_with_the_printed_stats_tags() {
    let config = requests_total();
    let (envoy, client) = start_with_denials(&config, printed(&config).1);
    let expected = send_mixed(&client);
    assert_eq!(series_of(&envoy, "app_requests_total", 10_000), expected);
    assert_eq!(series(&envoy, "app_requests_active"), BTreeMap::from([(labels([]), 0)]));

    let text = envoy.prometheus().unwrap();
    assert!(text.contains("# TYPE app_requests_total counter"), "{text}");
    assert!(text.contains(r#"route="/users/{id}""#));
    assert!(!text.contains("secret"), "no query becomes a label");
    assert!(!text.contains("__"), "no label is left in a name: {text}");
    assert_eq!(lint(&envoy), Vec::<String>::new());
    // Histograms are there after a flush, with the buckets that were printed.
    let histogram = |part: &str| series(&envoy, &format!("app_request_duration_milliseconds_{part}"));
    let flushed = || (histogram("count").values().sum::<u64>() == 10_000).then_some(());
    eventually("histograms are flushed", LIMIT, flushed).unwrap();
    assert!(histogram("bucket").keys().any(|labels| labels["le"] == "7500"));
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn ten_thousand_mixed_requests_are_counted_exactly_with_istios_expressions() {
    let config = requests_total();
    let (envoy, client) = start_with_denials(&config, as_istio_does(&printed(&config).0));
    let expected = send_mixed(&client);
    assert_eq!(series_of(&envoy, "app_requests_total", 10_000), expected);
    assert_eq!(lint(&envoy), Vec::<String>::new());
    // What the dashboard and the alerts ask Envoy for.
    let names: Vec<String> = samples(&envoy).into_iter().map(|sample| sample.metric).collect();
    for (start, end) in [
        ("wasm_", "_vm_reload_success"),
        ("wasm_", "_vm_reload_failure"),
        ("wasm_", "_vm_reload_backoff"),
        ("extension_config_discovery_", "_config_fail"),
        ("extension_config_discovery_", "_update_rejected"),
        ("wasm_envoy_wasm_runtime_v8_active", ""),
    ] {
        let is = |name: &String| {
            let name = name.trim_start_matches("envoy_");
            name.starts_with(start) && name.ends_with(end)
        };
        assert!(names.iter().any(is), "{start}…{end}: {names:#?}");
    }
    let own = labels([("wasm_filter", "custom_metrics"), ("component", "app_requests_total")]);
    assert_eq!(series(&envoy, "series")[&own], expected.len() as u64);
}

const TENANTS: usize = 100_000;
const MAX_SERIES: usize = 200;

#[test]
fn a_hundred_thousand_tenants_and_paths_stay_within_the_bound() {
    let by = |name: &str, label: Value| json!({"name": name, "type": "counter", "labels": {"by": label}});
    let config = json!({
        "defaults": {"maxSeries": MAX_SERIES},
        "metrics": [
            by("tenants_total", json!({"source": "header:x-tenant"})),
            by("paths_total", json!({"pathTemplate": true})),
        ],
    });
    let (envoy, client) = start(&config, printed(&config).1);
    let message =
        |number: usize| Message::get(format!("/users/u{number}")).header("x-tenant", format!("t{number}"));
    let first = TENANTS / 10;
    assert_eq!(client.load(16, (0..first).map(message).collect()).unwrap()[&200], first as u64);
    let before = envoy.resident_kib().unwrap();
    assert_eq!(
        client.load(16, (first..TENANTS).map(message).collect()).unwrap()[&200],
        (TENANTS - first) as u64
    );
    let grown = envoy.resident_kib().unwrap().saturating_sub(before);
    for metric in ["tenants_total", "paths_total"] {
        let series = series_of(&envoy, metric, TENANTS as u64);
        assert_eq!(series.len(), MAX_SERIES + 1, "{metric}: the bound, and the series of the rest");
        assert_eq!(series.values().sum::<u64>(), TENANTS as u64);
        let rest = series[&labels([("by", "_other")])];
        assert_eq!(rest as usize, TENANTS - MAX_SERIES, "{metric}: every other tenant came once");
        let own = labels([("wasm_filter", "custom_metrics"), ("component", metric)]);
        assert_eq!(self::series(&envoy, "overflowed_total")[&own], rest);
    }
    assert!(envoy.stats("tenants_total").unwrap().len() < MAX_SERIES + 8, "nothing else was made");
    println!("resident memory grew by {grown} KiB with {} requests more", TENANTS - first);
    assert!(grown < 16 * 1024, "grown by {grown} KiB");
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn no_client_invents_a_label() {
    let config = json!({"metrics": [{"name": "app_requests_total", "type": "counter", "labels": {
        "tenant": {"source": "header:x-tenant"}, "method": {"method": true}, "ab": {"source": "responseHeader:x-ab"},
    }}]});
    let (istio, stats) = printed(&config);
    for stats in [stats, as_istio_does(&istio)] {
        let (envoy, client) = start(&config, stats);
        let long = "y".repeat(2000);
        let values: [(&[u8], &str); 8] = [
            (b"x;.;method=.=EVIL", "x_._method_EVIL"),
            (b"\xff\xfe", "__"),
            (long.as_bytes(), &long[..128]),
            (b"a\tb", "a_b"),
            (b"cache.hit.x", "cache_hit.x"),
            (b"x;.;app_requests_total", "x_._app_requests_total"),
            (b"{le=\"1\"} a,b=\\n", "{le=\"1\"} a,b=\\n"),
            ("阳明".as_bytes(), "阳明"),
        ];
        let mut expected = Series::new();
        for (value, label) in values {
            let message = Message::get("/users/1").header("x-tenant", value);
            assert_eq!(client.send(&message.header("connection", "close")).unwrap().status, 200, "{label}");
            expected.insert(labels([("tenant", label), ("method", "GET"), ("ab", "unknown")]), 1);
        }
        assert_eq!(series_of(&envoy, "app_requests_total", values.len() as u64), expected);
        // A line end in a header is two headers or none; Envoy sees to that, and it never is a label.
        let raw =
            b"GET /users/1 HTTP/1.1\r\nhost: a\r\nx-tenant: a\n;.;method=.=EVIL\r\nconnection: close\r\n\r\n";
        let _ = client.raw(raw);
        let methods =
            || series(&envoy, "app_requests_total").into_keys().map(|labels| labels["method"].clone());
        assert!(methods().all(|method| ["GET", "unknown"].contains(&method.as_str())));
        assert!(samples(&envoy).iter().all(|sample| !sample.metric.contains("EVIL")));
        assert!(envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn a_line_end_in_a_claim_is_one_clean_label() {
    // No header can have a line end, but the JSON of a token can.
    let config = json!({"metrics": [{"name": "app_requests_total", "type": "counter", "labels": {
        "plan": {"source": "claim:plan"}, "method": {"method": true},
    }}]});
    let claims = json!({
        "name": "envoy.filters.http.set_metadata",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": [{
                "metadata_namespace": "envoy.filters.http.jwt_authn",
                "value": {"payload": {"plan": "gold\n;.;method=.=EVIL\r\n\u{0}"}},
            }],
        },
    });
    let listener = Listener::new("shop").filter(claims).discovered(filter("custom-metrics", &config));
    let bootstrap = Bootstrap::new().stats(printed(&config).1).listener(listener.raw_route(direct("/", 200)));
    let envoy = bootstrap.start().unwrap();
    envoy.check_configured().unwrap();
    assert_eq!(Client::new(envoy.address("shop")).load(1, vec![Message::get("/")]).unwrap()[&200], 1);
    let expected = labels([("plan", "gold__._method_EVIL___"), ("method", "GET")]);
    assert_eq!(series_of(&envoy, "app_requests_total", 1), BTreeMap::from([(expected, 1)]));
}

/// A query with a secret in every kind of target. Envoy makes a path of an absolute form over HTTP/1.1, which is `?…` where
/// it has none, and resets streams of HTTP/2 with a `:path` that has no slash.
#[test]
fn no_query_becomes_a_label_whatever_the_target_looks_like() {
    let config = json!({
        "paths": {"templates": ["/users/{id}"]},
        "metrics": [{"name": "app_requests_total", "type": "counter", "labels": {
            "route": {"pathTemplate": true}, "first": {"source": "pathSegment:1"}, "status": {"status": true},
        }}],
    });
    let (envoy, http1) = start(&config, printed(&config).1);
    let templated = ("/users/{id}", "users");
    let mut expected = Series::new();
    for (target, over_http1, over_http2, (route, first)) in [
        ("?token=secret", Some("400"), None, ("unknown", "unknown")),
        ("token?token=secret", Some("400"), None, ("unknown", "unknown")),
        ("http://shop.example.com/users/7?token=secret", Some("200"), None, templated),
        ("http://shop.example.com?token=secret", Some("404"), None, ("unknown", "unknown")),
        ("//a/users/7?token=secret", Some("404"), Some("404"), ("//a/users/{id}", "unknown")),
        ("/users/7?token=secret", Some("200"), Some("200"), templated),
        ("/users/7%3Ftoken=secret", Some("200"), Some("200"), templated),
        ("/none%3Ftoken=secret", Some("404"), Some("404"), ("/none", "none")),
        ("/users/7#?token=secret", Some("400"), Some("400"), templated),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n");
        http1.raw(head.as_bytes()).unwrap();
        let mut stream = TcpStream::connect(envoy.address("shop")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let fields: [Field; 4] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"shop.example.com"),
            (b":path", target.as_bytes()),
        ];
        stream.write_all(&[PREFACE, &headers(1, END_STREAM, &fields)].concat()).unwrap();
        conclusion(&mut stream).unwrap();
        for status in [over_http1, over_http2].into_iter().flatten() {
            *expected.entry(labels([("route", route), ("first", first), ("status", status)])).or_insert(0) +=
                1;
        }
    }
    assert_eq!(series_of(&envoy, "app_requests_total", expected.values().sum()), expected);
    assert!(!envoy.prometheus().unwrap().contains("secret"));
    assert!(envoy.deaths().unwrap().is_empty());
}

/// Every number in metadata is a double.
#[test]
fn numbers_in_metadata_are_read_as_doubles() {
    let by = |key: &str| json!({"source": format!("property:metadata.filter_metadata.demo.{key}")});
    let config = json!({"metrics": [
        {"name": "app_requests_total", "type": "counter", "labels": {"a": by("whole"), "b": by("half"), "c": by("printable")}},
        {"name": "app_weight", "type": "gauge", "value": "property:metadata.filter_metadata.demo.whole"},
    ]});
    let metadata = json!({
        "name": "envoy.filters.http.set_metadata",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": [{"metadata_namespace": "demo", "value": {"whole": 3, "half": -0.5, "printable": 11.2}}],
        },
    });
    let listener = Listener::new("shop").filter(metadata).discovered(filter("custom-metrics", &config));
    let bootstrap = Bootstrap::new().stats(printed(&config).1).listener(listener.raw_route(direct("/", 200)));
    let envoy = bootstrap.start().unwrap();
    envoy.check_configured().unwrap();
    assert_eq!(Client::new(envoy.address("shop")).send(&Message::get("/")).unwrap().status, 200);
    let expected = labels([("a", "3"), ("b", "-0.5"), ("c", "11.2")]);
    assert_eq!(series_of(&envoy, "app_requests_total", 1), BTreeMap::from([(expected, 1)]));
    assert_eq!(series(&envoy, "app_weight"), BTreeMap::from([(labels([]), 3)]));
}

#[test]
fn junk_paths_of_one_client_take_no_series_from_the_templates() {
    let config = json!({
        "paths": {"templates": ["/users/{id}"]},
        "defaults": {"maxSeries": 20},
        "metrics": [{"name": "app_requests_total", "type": "counter", "labels": {"route": {"pathTemplate": true}}}],
    });
    let (envoy, client) = start(&config, printed(&config).1);
    let junk = (0..2000).map(|number| Message::get(format!("/junk-{number}")));
    client.load(8, junk.collect()).unwrap();
    client.load(8, (0..100).map(|user| Message::get(format!("/users/{user}"))).collect()).unwrap();
    let counted = series_of(&envoy, "app_requests_total", 2100);
    assert_eq!(counted[&labels([("route", "/users/{id}")])], 100);
    assert_eq!(counted[&labels([("route", "_other")])], 1990, "half of the series were for junk");
    assert_eq!(counted.len(), 12);
}

#[test]
fn active_requests_return_to_zero_after_clients_that_went_away() {
    let config = requests_total();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = Listener::new("shop").discovered(filter("custom-metrics", &config));
    let envoy = Bootstrap::new()
        .cluster("silent", silent.local_addr().unwrap())
        .concurrency(WORKERS)
        .stats(printed(&config).1)
        .listener(listener)
        .start()
        .unwrap();
    envoy.check_configured().unwrap();
    let active = || series(&envoy, "app_requests_active").into_values().sum::<u64>();
    let clients: Vec<TcpStream> = (0..50)
        .map(|number| {
            let mut client = TcpStream::connect(envoy.address("shop")).unwrap();
            write!(client, "GET /users/{number} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            client
        })
        .collect();
    eventually("all requests are active", LIMIT, || (active() == 50).then_some(())).unwrap();
    drop(clients);
    eventually("none is active any more", LIMIT, || (active() == 0).then_some(())).unwrap();
    // And without a response they are counted all the same.
    let gone = labels([
        ("route", "/users/{id}"),
        ("method", "GET"),
        ("status", "unknown"),
        ("tenant", "unknown"),
        ("grpc_status", "unknown"),
    ]);
    assert_eq!(series_of(&envoy, "app_requests_total", 50), BTreeMap::from([(gone, 50)]));
    // What is malformed was never active.
    let mut refused = TcpStream::connect(envoy.address("shop")).unwrap();
    refused.write_all(b"GET /\x01 HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let _ = refused.read(&mut [0; 64]);
    assert_eq!(active(), 0);
    assert!(envoy.deaths().unwrap().is_empty());
}
