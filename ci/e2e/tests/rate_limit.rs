//! What only Envoy can answer about rate-limit: workers that count together, memory under a flood of keys, counters
//! that outlive a configuration and a binary, and a real rate limit service.
//!
//! `RATE_LIMIT_RUNS=10` and `RATE_LIMIT_KEYS=1000000` make it as thorough as the README's figures.

#[path = "rate_limit/load.rs"]
mod load;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use e2e::Service;
use harness::{Bootstrap, Client, Direction, Envoy, Listener, Message, Plugin, another, eventually};
use load::{Statuses, load};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const LIMIT: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 64;

fn filter(name: &str, config: &Value) -> Value {
    Plugin::named("rate-limit").unwrap().filter(name, config).unwrap()
}

/// A listener that answers 200 by itself, behind the plugin.
fn listener(name: &str, config: &Value) -> Listener {
    Listener::new(name).discovered(filter(name, config)).answering()
}

fn start(bootstrap: Bootstrap) -> Envoy {
    let envoy = bootstrap.log_level("wasm:warning").start().unwrap();
    envoy.check_configured().unwrap();
    envoy
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn status(client: &Client, message: &Message) -> u16 {
    client.send(message).unwrap().status
}

#[test]
fn exactly_the_limit_is_admitted_whatever_the_number_of_workers() {
    let runtime = Runtime::new().unwrap();
    let limit = |algorithm: &str| json!({"limits": [{"name": "c", "key": [], "algorithm": algorithm, "requests": 1000, "per": "366d"}]});
    for run in 0..number("RATE_LIMIT_RUNS", 1) {
        for workers in [1, 2, 4, 8] {
            let mut bootstrap = Bootstrap::new().concurrency(workers);
            for algorithm in ["gcra", "fixedWindow", "slidingWindow"] {
                bootstrap = bootstrap.listener(listener(algorithm, &limit(algorithm)));
            }
            let envoy = start(bootstrap);
            for algorithm in ["gcra", "fixedWindow", "slidingWindow"] {
                let seen = load(&runtime, envoy.address(algorithm), CONNECTIONS, 3000, |_| "x-a: b".into());
                println!("run {run}, {workers} workers, {algorithm}: {:?}", seen.as_ref().unwrap());
                let expected = Statuses::from([(200, 1000), (429, 2000)]);
                assert_eq!(seen.unwrap(), expected, "run {run}, {workers} workers, {algorithm}");
            }
            assert!(envoy.deaths().unwrap().is_empty());
        }
    }
}

#[test]
fn a_flood_of_keys_grows_memory_by_no_more_than_the_table_and_forgives_nobody() {
    const MAX_KEYS: usize = 65_536;
    // The README's bound.
    const BOUND_KIB: u64 = MAX_KEYS as u64 * 34 / 1024;
    // What is resident also has what the allocator keeps and what V8 takes to compile hot code, megabytes on a busy
    // machine; a module whose own memory grew with the keys would take more.
    const RUNTIME_KIB: u64 = 8192;
    let runtime = Runtime::new().unwrap();
    let config = |max_keys: usize| json!({"maxKeys": max_keys, "limits": [{"name": "c", "key": ["header:x-key"], "requests": 10, "per": "1h"}]});
    // As many connections and requests, but a table of a single shard: what Envoy itself grows by.
    let bootstrap = Bootstrap::new().concurrency(2);
    let bootstrap =
        bootstrap.listener(listener("small", &config(1))).listener(listener("flooded", &config(MAX_KEYS)));
    let envoy = start(bootstrap);
    let keys = number("RATE_LIMIT_KEYS", 100_000);
    load(&runtime, envoy.address("small"), CONNECTIONS, keys, |number| format!("x-key: {number}")).unwrap();
    let victim = Message::get("/").header("x-key", "victim");
    let client = Client::new(envoy.address("flooded"));
    assert_eq!((0..11).filter(|_| status(&client, &victim) == 200).count(), 10);
    load(&runtime, envoy.address("flooded"), CONNECTIONS, keys / 10, |_| "x-key: victim".into()).unwrap();
    let memory = || {
        let open = |listener: &str| envoy.stat(&format!("http.{listener}.downstream_cx_active"));
        let closed = || (open("small") == Some(0) && open("flooded") == Some(0)).then_some(());
        eventually("the connections of the load are closed", LIMIT, closed).unwrap();
        (envoy.resident_kib().unwrap(), envoy.allocated_kib().unwrap())
    };
    let before = memory();
    let seen =
        load(&runtime, envoy.address("flooded"), CONNECTIONS, keys, |number| format!("x-key: k{number}"))
            .unwrap();
    let after = memory();
    let (resident, allocated) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let evicted = envoy.stat("wasmcustom.wasm_filter.rate_limit.evicted_total").unwrap_or(0);
    println!(
        "{keys} keys: {allocated} KiB more allocated, {resident} KiB resident, {evicted} evicted, {seen:?}"
    );
    assert!(allocated <= BOUND_KIB, "{keys} keys: {allocated} KiB allocated");
    assert!(resident <= BOUND_KIB + RUNTIME_KIB, "{keys} keys: {resident} KiB resident");
    assert_eq!(seen, Statuses::from([(200, keys)]));
    assert!(keys < MAX_KEYS || evicted > 0, "what had to go is counted");
    assert_eq!(status(&client, &victim), 429, "still at its limit");
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn counters_outlive_a_configuration_and_a_binary() {
    let config = |revision: &str| json!({"configRevision": revision, "limits": [{"name": "c", "key": [], "requests": 30, "per": "366d"}]});
    let envoy = start(Bootstrap::new().concurrency(2).listener(listener("shop", &config("0"))));
    let client = Client::new(envoy.address("shop"));
    let passes = || status(&client, &Message::get("/")) == 200;
    assert_eq!((0..10).filter(|_| passes()).count(), 10);

    let pushed = |filter: &Value| {
        let (before, _) = envoy.updates(filter).unwrap();
        envoy.push(filter).unwrap();
        eventually("the update is taken", LIMIT, || (envoy.updates(filter).ok()?.0 > before).then_some(()))
            .unwrap();
    };
    pushed(&filter("shop", &config("1")));
    assert_eq!((0..10).filter(|_| passes()).count(), 10);

    let plugin = Plugin::named("rate-limit").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let other = another(&plugin.module().unwrap(), directory.path()).unwrap();
    pushed(&plugin.wasm_plugin("shop", &config("2"), &BTreeMap::new()).unwrap().filter(&other));
    assert_eq!((0..30).filter(|_| passes()).count(), 10);
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_client_that_goes_away_is_charged_for_no_response() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let config =
        json!({"limits": [{"name": "c", "key": [], "requests": 2, "per": "366d", "charge": "response"}]});
    let shop = Listener::new("shop").discovered(filter("shop", &config)).route("/silent", "silent");
    let envoy =
        start(Bootstrap::new().cluster("silent", silent.local_addr().unwrap()).listener(shop.answering()));
    let waiting = |number: u64| {
        let is = || (envoy.stat("cluster.silent.upstream_rq_active") == Some(number)).then_some(());
        eventually("the request is where it should be", LIMIT, is).unwrap();
    };
    let mut gone = TcpStream::connect(envoy.address("shop")).unwrap();
    gone.write_all(b"GET /silent HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    waiting(1);
    drop(gone);
    waiting(0);
    let client = Client::new(envoy.address("shop"));
    assert_eq!([0; 2].map(|_| status(&client, &Message::get("/"))), [200, 429]);
}

#[test]
fn two_instances_do_not_count_together_unless_they_share_a_store() {
    let own = json!({"limits": [{"name": "c", "key": [], "requests": 2, "per": "366d"}]});
    let mut shared = own.clone();
    shared["store"] = json!("both");
    let mut bootstrap = Bootstrap::new();
    for (name, config) in [("one", &own), ("two", &own), ("three", &shared), ("four", &shared)] {
        bootstrap = bootstrap.listener(listener(name, config));
    }
    let envoy = start(bootstrap);
    let passed = |name: &str| {
        let client = Client::new(envoy.address(name));
        (0..3).filter(|_| status(&client, &Message::get("/")) == 200).count()
    };
    assert_eq!(["one", "two", "three", "four"].map(passed), [2, 2, 2, 0]);
}

#[test]
fn a_client_is_who_envoy_says_it_is() {
    let believed = json!({"source": "xForwardedFor", "trustedHops": 2});
    let limit = |client: &Value| json!({"clientIp": client, "limits": [{"name": "c", "key": ["clientIp"], "requests": 2, "per": "1h"}]});
    let bootstrap = Bootstrap::new()
        .listener(listener("peer", &limit(&json!({"source": "envoy"}))))
        .listener(listener("forwarded", &limit(&believed)));
    let envoy = start(bootstrap);
    let passes = |name: &str, from: [u8; 4], forwarded: &str| {
        let mut message = Message::get("/").header("x-forwarded-for", forwarded);
        message.from = Ipv4Addr::from(from);
        status(&Client::new(envoy.address(name)), &message) == 200
    };
    let spoofed = (0..10).filter(|index| passes("peer", [127, 0, 0, 2], &format!("10.0.0.{index}")));
    assert_eq!(spoofed.count(), 2);
    assert!(passes("peer", [127, 0, 0, 3], "10.0.0.1"), "another peer");
    // One client has a whole /64.
    let hosts = (1..10).filter(|host| passes("forwarded", [127, 0, 0, 2], &format!("2001:db8:1:2::{host}")));
    assert_eq!(hosts.count(), 2);
    assert!(passes("forwarded", [127, 0, 0, 2], "2001:db8:1:3::1"), "another /64");
}

#[test]
fn an_exhausted_limit_behind_an_unusable_x_forwarded_for_stays_exhausted() {
    // Envoy itself appends the peer's address.
    let config = json!({"clientIp": {"source": "xForwardedFor", "trustedHops": 2}, "limits": [{"name": "c", "key": ["clientIp"], "requests": 2, "per": "1h"}]});
    let envoy = start(Bootstrap::new().listener(listener("shop", &config)));
    for client in [Client::new(envoy.address("shop")), Client::http2(envoy.address("shop"))] {
        for forwarded in ["garbage", "", "2.2.2.2, garbage", "2.2.2.2,", "999.1.1.1", "\u{ff}"] {
            let mut message = Message::get("/").header("x-forwarded-for", forwarded);
            message.from = Ipv4Addr::new(127, 0, 0, 7);
            let first = status(&client, &message);
            assert!(matches!(first, 200 | 429), "{first} {forwarded:?}");
        }
        let mut other = Message::get("/");
        other.from = Ipv4Addr::new(127, 0, 0, 7);
        assert_eq!(status(&client, &other), 429);
    }
    let denied = envoy.stat("wasmcustom.wasm_filter.rate_limit.component.c.denied_total");
    assert_eq!(denied, Some(12), "all but two of fourteen");
}

#[test]
fn no_spelling_of_a_path_or_method_escapes_its_limit() {
    let config = json!({
        "exempt": [{"match": {"paths": [{"prefix": "/healthz"}]}}],
        "limits": [{
            "name": "login", "match": {"methods": ["POST"], "paths": [{"exact": "/login"}]},
            "key": [], "requests": 1, "per": "366d",
        }],
    });
    let envoy = start(Bootstrap::new().listener(listener("shop", &config)));
    let post = |method: &str, path: &str| Message { method: method.into(), ..Message::get(path) };
    let http1 = Client::new(envoy.address("shop"));
    let http2 = Client::http2(envoy.address("shop"));
    assert_eq!(status(&http1, &post("POST", "/login")), 200, "the only one there is");
    let spellings = [
        "/login",
        "/login/",
        "/Login",
        "/LOGIN/",
        "//login",
        "/login;x",
        "/;/login",
        "/lo%67in",
        "/%6Cogin/",
        "/login%2F",
        "/%2flogin",
        "/login%20",
        "/login.",
        "/./login",
        "/x/../login",
        "/x/%2e%2e/login",
        "/login?x=1",
        "/login%3Fx",
        "/healthz/..%2flogin",
        "/healthz/../login",
        "/healthz;/../login",
        "/healthz/%252e%252e/login",
    ];
    for path in spellings {
        for (client, methods) in [(&http1, &["POST"][..]), (&http2, &["POST", "post", "Post"])] {
            for method in methods {
                assert_eq!(status(client, &post(method, path)), 429, "{method} {path}");
            }
        }
    }
    // Envoy reads it as a path, over HTTP/1.
    assert_eq!(status(&http1, &post("POST", "http://shop.example.com/login")), 429);
    for path in ["/", "/loginx", "/login/x", "/healthz", "/healthz/login"] {
        for client in [http1, http2] {
            assert_eq!(status(&client, &post("POST", path)), 200, "{path}");
        }
    }
}

/// Envoy does not say the direction of a listener when it configures a plugin, so all sidecars are warned.
#[test]
fn an_address_that_a_client_can_choose_is_warned_about() {
    let is_warned = |config: &Value| {
        let listener = listener("shop", config).direction(Direction::Inbound);
        let envoy = start(Bootstrap::new().listener(listener));
        envoy.log().contains("clientIp: on a sidecar or waypoint")
    };
    assert!(is_warned(&json!({"maxRequests": 5})));
    assert!(!is_warned(&json!({"limits": [{"name": "c", "key": [], "requests": 5, "per": "1s"}]})));
}

/// A listener whose limit is the service's; the fault comes with the request.
fn asking(cluster: &str, failure_mode: &str, timeout: &str) -> Value {
    json!({
        "rls": {
            "cluster": cluster,
            "authority": "ratelimit.infra.svc.cluster.local:8081",
            "domain": "edge",
            "timeout": timeout,
            "failureMode": failure_mode,
        },
        "limits": [{
            "name": "tenant",
            "backend": "rls",
            "onMissingKey": "empty",
            "descriptor": [{"key": "tenant", "value": "header:x-tenant"}, {"key": "fault", "value": "header:x-fault"}],
        }],
    })
}

#[test]
fn a_real_rate_limit_service_decides_and_its_faults_never_hold_a_request() {
    const CLUSTER: &str = "outbound|8081||ratelimit.infra.svc.cluster.local";
    let service = Service::start(&["--requests", "3"]).unwrap();
    let gone = Service::start(&[]).unwrap().address;
    let mut bootstrap =
        Bootstrap::new().concurrency(2).http2_cluster(CLUSTER, service.address).http2_cluster("gone", gone);
    for (name, cluster) in [("real", CLUSTER), ("gone", "gone"), ("unknown", "mysvc")] {
        for mode in ["allow", "deny"] {
            let name = format!("{name} {mode}");
            bootstrap = bootstrap.listener(listener(&name, &asking(cluster, mode, "500ms")));
        }
    }
    let envoy = start(bootstrap);
    let ask = |name: &str, tenant: &str, fault: &str| {
        let message = Message::get("/").header("x-tenant", tenant).header("x-fault", fault);
        let asked = Instant::now();
        let response = Client::new(envoy.address(name)).send(&message).unwrap();
        assert!(asked.elapsed() < Duration::from_secs(3), "{name} {fault}");
        response
    };
    let statuses: Vec<u16> = (0..5).map(|_| ask("real deny", "acme", "").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(ask("real deny", "other", "").status, 200);
    let denied = ask("real allow", "acme", "");
    assert_eq!(denied.status, 429);
    let header = |name: &str| {
        let line = denied.headers.iter().find(|(seen, _)| seen == name);
        line.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    assert!(header("retry-after").unwrap().parse::<u64>().unwrap() > 3000);
    assert_eq!(header("x-ratelimit-remaining").as_deref(), Some("0"));

    for fault in ["slow", "garbage", "empty", "unknown", "error"] {
        assert_eq!(ask("real allow", "t", fault).status, 200, "{fault}");
        assert_eq!(ask("real deny", "t", fault).status, 503, "{fault}");
    }
    for cluster in ["gone", "unknown"] {
        assert_eq!(ask(&format!("{cluster} allow"), "t", "").status, 200, "{cluster}");
        assert_eq!(ask(&format!("{cluster} deny"), "t", "").status, 503, "{cluster}");
    }
    assert_eq!(envoy.stat("wasmcustom.wasm_filter.rate_limit.rls_errors_total"), Some(14));
    assert!(envoy.deaths().unwrap().is_empty());
}
