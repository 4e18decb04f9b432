//! What only Envoy can answer about ext-auth: services in all the states that services get into, workers that ask once
//! together, clients that leave, memory under a flood of users.
//!
//! `EXT_AUTH_USERS=100000` makes it as thorough as the README's figure.

#[path = "ext_auth/service.rs"]
mod service;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::{Bootstrap, Client, Direction, Envoy, Listener, Message, Plugin, Reply, Upstream, eventually};
use serde_json::{Value, json};
use service::Service;

const LIMIT: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 64;
const WORKERS: [u32; 2] = [1, 4];
const MARKER: &str = "x-envoy-auth-failure-mode-allowed";

fn config(cluster: &str, more: Value) -> Value {
    let mut config = json!({
        "service": {"cluster": cluster, "forwardAuth": {"path": "/verify"}, "timeout": "10s"},
        "onAllow": {"upstreamHeaders": ["x-user"]},
    });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn filter(name: &str, config: &Value) -> Value {
    Plugin::named("ext-auth").unwrap().filter(name, config).unwrap()
}

fn listener(name: &str, config: &Value) -> Listener {
    Listener::new(name).discovered(filter(name, config))
}

fn start(bootstrap: Bootstrap) -> Envoy {
    let envoy = bootstrap.log_level("wasm:warning").start().unwrap();
    envoy.check_configured().unwrap();
    envoy
}

fn of(authorization: &str) -> Message {
    Message::get("/").header("authorization", authorization).header("x-user", "root")
}

fn total(envoy: &Envoy, name: &str) -> u64 {
    envoy.stat(&format!("wasmcustom.wasm_filter.ext_auth.{name}")).unwrap_or(0)
}

/// A process that listens, and does nothing more.
fn stopped() -> Envoy {
    let envoy = start(Bootstrap::new().listener(Listener::new("service").answering()));
    let stop = format!("kill -STOP {}", envoy.process_id());
    assert!(Command::new("sh").args(["-c", &stop]).status().unwrap().success());
    envoy
}

/// Nobody listens here.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind(("127.0.0.79", 0)).unwrap().local_addr().unwrap()
}

#[test]
fn whatever_the_service_does_every_request_is_answered() {
    let (service, stopped) = (Service::start(), stopped());
    for workers in WORKERS {
        let mut bootstrap = Bootstrap::new()
            .concurrency(workers)
            .cluster("authz", service.address())
            .cluster("slow", service.address())
            .cluster("nobody", nobody())
            .cluster("stopped", stopped.address("service"))
            .raw_cluster(json!({"name": "empty", "type": "STATIC", "connect_timeout": "1s"}));
        let clusters = ["authz", "slow", "nobody", "stopped", "empty", "unknown"];
        let kept = json!({"ttl": "1h"});
        for cluster in clusters {
            for failure in ["deny", "allow"] {
                for (name, cache) in [("cached", &kept), ("uncached", &Value::Null)] {
                    let mut config = config(cluster, json!({"failure": failure}));
                    if cache.is_object() {
                        config["cache"] = cache.clone();
                    }
                    if ["slow", "stopped"].contains(&cluster) {
                        config["service"]["timeout"] = json!("300ms");
                    }
                    // A breaker would hide what follows the first failures.
                    config["service"]["breaker"] = json!({"failures": 0});
                    let name = format!("{cluster} {failure} {name}");
                    bootstrap = bootstrap.listener(listener(&name, &config).answering());
                }
            }
        }
        let envoy = start(bootstrap);
        let of_the_service = ["good", "bad", "broken", "error", "garbage"].map(|kind| ("authz", kind));
        let of_the_others =
            [("slow", "slow"), ("nobody", ""), ("stopped", ""), ("empty", ""), ("unknown", "")];
        for (cluster, kind) in of_the_service.into_iter().chain(of_the_others) {
            for failure in ["deny", "allow"] {
                for cache in ["cached", "uncached"] {
                    let expected = match (cluster, kind, failure) {
                        ("authz", "good", _) => 200,
                        ("authz", "bad", _) => 401,
                        (.., "deny") => 503,
                        _ => 200,
                    };
                    let client = Client::new(envoy.address(&format!("{cluster} {failure} {cache}")));
                    let messages = vec![of(&format!("{kind} alice")); 32];
                    let asked = Instant::now();
                    let seen = client.load(16, messages).unwrap();
                    println!(
                        "{workers} workers, {cluster}, {kind}, {failure}, {cache}: {seen:?} in {:?}",
                        asked.elapsed()
                    );
                    assert_eq!(
                        seen,
                        BTreeMap::from([(expected, 32)]),
                        "{workers} {cluster} {kind} {failure} {cache}"
                    );
                }
            }
        }
        for reason in ["refused", "connection", "timeout", "status"] {
            assert!(total(&envoy, &format!("component.{reason}.failed_total")) > 0, "{reason}");
        }
        assert!(envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn errors_that_one_client_causes_change_nothing_for_another() {
    const EACH: usize = 100;
    for workers in WORKERS {
        for failure in ["deny", "allow"] {
            for error in ["error", "unreachable", "overdue", "overloaded", "garbage"] {
                let service = Service::start();
                let config = config("authz", json!({"failure": failure}));
                let bootstrap = Bootstrap::new().concurrency(workers).cluster("authz", service.address());
                let envoy = start(bootstrap.listener(listener("shop", &config).answering()));
                let client = Client::new(envoy.address("shop"));
                let mut seen = client.load(4, vec![of(&format!("{error} mallory")); EACH]).unwrap();
                let mut others = vec![of("good bob"); EACH / 2];
                others.resize(EACH, of("bad eve"));
                for (status, count) in client.load(4, others).unwrap() {
                    *seen.entry(status).or_default() += count;
                }
                let (each, half) = (EACH as u64, EACH as u64 / 2);
                let expected = match failure {
                    "deny" => BTreeMap::from([(503, each), (200, half), (401, half)]),
                    _ => BTreeMap::from([(200, each + half), (401, half)]),
                };
                assert_eq!(seen, expected, "{workers} workers, {failure}, {error}");
                assert_eq!(service.asked(), 2 * EACH, "{workers} workers, {failure}, {error}");
                assert_eq!(total(&envoy, "component.status.failed_total"), each, "{error}");
            }
        }
    }
}

#[test]
fn with_failure_allow_each_request_passes_after_its_own_timeout_and_is_marked() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    const CLIENTS: u64 = 16;
    let stopped = stopped();
    for workers in WORKERS {
        let upstream = Upstream::start().unwrap();
        let mut bootstrap = Bootstrap::new()
            .concurrency(workers)
            .cluster("upstream", upstream.address())
            .cluster("stopped", stopped.address("service"));
        for (name, cache) in [("cached", json!({"ttl": "1h"})), ("uncached", Value::Null)] {
            let mut config = config("stopped", json!({"failure": "allow"}));
            config["service"]["timeout"] = json!("300ms");
            if cache.is_object() {
                config["cache"] = cache;
            }
            bootstrap = bootstrap.listener(listener(name, &config));
        }
        let envoy = start(bootstrap);
        for name in ["cached", "uncached"] {
            let client = Client::new(envoy.address(name));
            let message = of("good alice").header(MARKER, "false");
            let before = total(&envoy, "cache.miss.lookups_total");
            for _ in 0..2 {
                std::thread::scope(|scope| {
                    for _ in 0..CLIENTS {
                        scope.spawn(|| {
                            let sent = Instant::now();
                            let seen = upstream.exchange(&client, &message, Reply::default()).unwrap();
                            let took = sent.elapsed();
                            let case = format!("{workers} workers, {name}: {took:?}");
                            // Envoy's timers are a few milliseconds early.
                            assert!(took > TIMEOUT - Duration::from_millis(10), "{case}");
                            assert!(took < 2 * TIMEOUT + Duration::from_secs(1), "{case}");
                            let headers = seen.upstream.unwrap().headers;
                            let lines = |name: &str| -> Vec<Vec<u8>> {
                                let lines = headers.iter().filter(|(seen, _)| seen == name);
                                lines.map(|(_, value)| value.clone()).collect()
                            };
                            assert_eq!((lines(MARKER), lines("x-user").len()), (vec![b"true".to_vec()], 0));
                        });
                    }
                });
            }
            let calls = total(&envoy, "cache.miss.lookups_total") - before;
            assert_eq!(calls, 2 * CLIENTS, "{workers} workers, {name}: each request made its own call");
        }
        assert_eq!(total(&envoy, "component.breaker.failed_total"), 0);
    }
}

#[test]
fn connections_that_fail_and_timeouts_open_the_breaker() {
    let (service, stopped) = (Service::start(), stopped());
    for (cluster, address, kind, reason) in [
        ("nobody", nobody(), "", "connection"),
        ("authz", service.address(), "broken", "connection"),
        ("authz", service.address(), "cut", "reset"),
        ("stopped", stopped.address("service"), "", "timeout"),
    ] {
        let mut config = config(cluster, json!({}));
        config["service"]["timeout"] = json!("100ms");
        config["service"]["breaker"] = json!({"failures": 5, "openFor": "1h"});
        let bootstrap = Bootstrap::new().cluster(cluster, address);
        let envoy = start(bootstrap.listener(listener("shop", &config).answering()));
        let client = Client::new(envoy.address("shop"));
        let seen = client.load(1, vec![of(&format!("{kind} mallory")); 20]).unwrap();
        assert_eq!(seen, BTreeMap::from([(503, 20)]), "{cluster} {kind}");
        assert_eq!(total(&envoy, &format!("component.{reason}.failed_total")), 5, "{cluster} {kind}");
        assert_eq!(total(&envoy, "component.breaker.failed_total"), 15, "{cluster} {kind}");
        let line = format!("breaker open: 5 calls in a row failed, the last one with reason={reason}");
        assert_eq!(envoy.log().matches(&line).count(), 1, "{cluster} {kind}");
    }
}

#[test]
fn a_response_for_one_client_is_asked_for_again_with_a_full_timeout() {
    for workers in WORKERS {
        let service = Service::start();
        let mut config = config("authz", json!({"cache": {"ttl": "1h"}}));
        config["service"]["timeout"] = json!("300ms");
        let bootstrap = Bootstrap::new().concurrency(workers).cluster("authz", service.address());
        let envoy = start(bootstrap.listener(listener("shop", &config).answering()));
        let seen = Client::new(envoy.address("shop")).load(8, vec![of("redirect alice"); 8]).unwrap();
        assert_eq!(seen, BTreeMap::from([(302, 8)]), "{workers} workers");
        assert_eq!(service.asked(), 8, "{workers} workers");
    }
}

#[test]
fn over_http2_a_method_in_lower_case_is_rejected() {
    let service = Service::start();
    let config = config("authz", json!({"rules": [{"match": {"methods": ["GET"]}, "ask": false}]}));
    let bootstrap = Bootstrap::new().cluster("authz", service.address());
    let envoy = start(bootstrap.listener(listener("shop", &config).answering()));
    let send = |method: &str| {
        let mut message = of("bad mallory");
        message.method = method.into();
        Client::http2(envoy.address("shop")).send(&message).unwrap().status
    };
    assert_eq!([send("GET"), send("POST"), send("post"), send("get")], [200, 401, 400, 400]);
    assert_eq!(total(&envoy, "component.ambiguous.denied_total"), 2);
}

#[test]
fn identity_headers_never_reach_the_upstream_as_trailers() {
    let (service, upstream) = (Service::start(), Upstream::start().unwrap());
    let more = json!({"onAllow": {"upstreamHeaders": ["x-user", "x-role-*"]}});
    let bootstrap = Bootstrap::new().http2_cluster("upstream", upstream.address());
    let bootstrap = bootstrap.cluster("authz", service.address());
    let envoy = start(bootstrap.listener(listener("shop", &config("authz", more)).permissive()));
    let address = envoy.address("shop");
    for client in [Client::new(address), Client::http2(address)] {
        let message =
            Message::post("/", "ab").header("authorization", "good alice").trailer("x-user", "root");
        let message = message.trailer("x-role-admin", "1").trailer(MARKER, "true").trailer("x-kept", "1");
        let seen = upstream.exchange(&client, &message, Reply::default()).unwrap().upstream.unwrap();
        assert_eq!(seen.trailers, [("x-kept".to_owned(), b"1".to_vec())]);
        assert!(seen.headers.contains(&("x-user".to_owned(), b"alice".to_vec())));
    }
}

#[test]
fn dangerous_configurations_are_warned_of_in_one_line_for_each_vm() {
    let service = Service::start();
    let config = config(
        "authz",
        json!({"failure": "allow", "rules": [{"match": {"not": {"paths": [{"prefix": "/a"}]}}, "ask": false}]}),
    );
    let bootstrap = Bootstrap::new().cluster("authz", service.address());
    let listener = listener("shop", &config).direction(Direction::Inbound).answering();
    let log = start(bootstrap.listener(listener)).log();
    for line in [
        "rules[0] has ask: false and matches any path: requests pass without a check",
        "failure is allow: requests pass without a check",
        "clientIp: on a sidecar or waypoint, source.address is the last entry of x-forwarded-for",
    ] {
        // One VM tries the configuration, one is of the main thread, and one of the only worker.
        assert!((1..=3).contains(&log.matches(line).count()), "{line}: {log}");
    }
}

#[test]
fn whatever_a_client_sends_it_is_asked_about_or_turned_away() {
    let service = Service::start();
    let mut by_path = config("authz", json!({}));
    by_path["service"] = json!({"cluster": "authz", "pathPrefix": "/auth", "timeout": "10s"});
    let bootstrap = Bootstrap::new()
        .cluster("authz", service.address())
        .listener(listener("headers", &config("authz", json!({"cache": {"ttl": "1h"}}))).answering())
        .listener(listener("path", &by_path).answering());
    let envoy = start(bootstrap);
    let long = "a".repeat(50 << 10);
    for name in ["headers", "path"] {
        let client = Client::new(envoy.address(name));
        for (method, path, authorization) in [
            ("GET", "/", &b"\xff\xfe"[..]),
            ("GET", "/", long.as_bytes()),
            ("GET", "/a?b=\u{e4}%ff%00&&", b"x"),
            ("POST", "/%zz/%2?a=%&%c3%28", b"x"),
            ("FROB", "/", b""),
            ("OPTIONS", "*", b"x"),
            ("CONNECT", "shop.example.com:443", b"x"),
        ] {
            let mut message = Message::get(path).header("authorization", authorization);
            message.method = method.into();
            let seen = client.send(&message).unwrap().status;
            assert!([400, 401, 404].contains(&seen), "{name}, {method} {path}: {seen}");
            assert_eq!(client.send(&of("good alice")).unwrap().status, 200, "{name}, after {method} {path}");
        }
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn all_requests_of_a_user_are_one_question_whatever_the_number_of_workers() {
    const REQUESTS: usize = 10_000;
    for workers in WORKERS {
        let service = Service::start();
        let config = config("authz", json!({"cache": {"ttl": "1h"}}));
        let bootstrap = Bootstrap::new().concurrency(workers).cluster("authz", service.address());
        let envoy = start(bootstrap.listener(listener("shop", &config).answering()));
        let client = Client::new(envoy.address("shop"));
        let seen = client.load(CONNECTIONS, vec![of("thoughtful alice"); REQUESTS]).unwrap();
        println!("{workers} workers: {seen:?}, {} questions", service.asked());
        assert_eq!(seen, BTreeMap::from([(200, REQUESTS as u64)]));
        assert_eq!(service.asked(), 1, "{workers} workers");
        let seen = client.load(CONNECTIONS, vec![of("bad mallory"); REQUESTS / 10]).unwrap();
        assert_eq!(seen, BTreeMap::from([(401, REQUESTS as u64 / 10)]));
        assert!(envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn a_user_is_one_question_for_each_ttl() {
    const TTL: Duration = Duration::from_secs(1);
    let service = Service::start();
    let config = config("authz", json!({"cache": {"ttl": "1s", "denyTtl": "1s"}}));
    let bootstrap = Bootstrap::new().concurrency(4).cluster("authz", service.address());
    let envoy = start(bootstrap.listener(listener("shop", &config).answering()));
    let client = Client::new(envoy.address("shop"));
    for (kind, status) in [("thoughtful alice", 200), ("bad mallory", 401)] {
        let (started, before) = (Instant::now(), service.asked());
        let mut requests = 0;
        while started.elapsed() < 3 * TTL {
            let seen = client.load(CONNECTIONS, vec![of(kind); 2_000]).unwrap();
            assert_eq!(seen, BTreeMap::from([(status, 2_000)]));
            requests += 2_000;
        }
        let (asked, times) = (service.asked() - before, started.elapsed().as_secs() + 1);
        println!("{kind}: {requests} requests in {:?}, {asked} questions", started.elapsed());
        assert!(asked >= 2 && asked as u64 <= times, "{asked} questions in {:?}", started.elapsed());
    }
    assert!(envoy.deaths().unwrap().is_empty());
}

#[test]
fn a_client_that_leaves_while_the_service_thinks_takes_nobody_with_it() {
    for workers in WORKERS {
        let service = Service::start();
        let config = config("authz", json!({"cache": {"ttl": "1h"}}));
        let upstream = Upstream::start().unwrap();
        let bootstrap = Bootstrap::new().cluster("upstream", upstream.address()).concurrency(workers);
        let bootstrap = bootstrap.cluster("authz", service.address()).listener(listener("shop", &config));
        let envoy = start(bootstrap);
        let raw = b"GET / HTTP/1.1\r\nhost: shop.example.com\r\nauthorization: held alice\r\n\r\n";
        let asks = |times: usize| {
            eventually("the service is asked", LIMIT, || (service.asked() >= times).then_some(())).unwrap();
        };
        let mut leaving = TcpStream::connect(envoy.address("shop")).unwrap();
        leaving.write_all(raw).unwrap();
        asks(1);
        let client = Client::new(envoy.address("shop"));
        std::thread::scope(|scope| {
            let mut staying = Vec::new();
            for _ in 0..8 {
                staying.push(scope.spawn(|| upstream.exchange(&client, &of("held alice"), Reply::default())));
            }
            let active = "http.shop.downstream_rq_active";
            eventually("all of them wait", LIMIT, || (envoy.stat(active)? == 9).then_some(())).unwrap();
            drop(leaving);
            asks(2);
            service.release();
            service.release();
            for exchange in staying {
                let seen = exchange.join().unwrap().unwrap();
                assert_eq!(seen.response.status, 200);
                let told: Vec<_> =
                    seen.upstream.unwrap().headers.into_iter().filter(|(name, _)| name == "x-user").collect();
                assert_eq!(told, [("x-user".to_owned(), b"alice".to_vec())]);
            }
        });
        assert_eq!(service.asked(), 2, "{workers} workers: one of those who stayed asked for all");
        assert!(envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn who_waits_while_the_configuration_changes_is_answered() {
    for workers in WORKERS {
        let service = Service::start();
        let of_revision = |revision: u32| {
            config("authz", json!({"cache": {"ttl": "1h"}, "configRevision": revision.to_string()}))
        };
        let bootstrap = Bootstrap::new().concurrency(workers).cluster("authz", service.address());
        let envoy = start(bootstrap.listener(listener("shop", &of_revision(0)).answering()));
        let client = Client::new(envoy.address("shop"));
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| client.send(&of("held alice")))).collect();
            let active = "http.shop.downstream_rq_active";
            eventually("all of them wait", LIMIT, || (envoy.stat(active)? == 8).then_some(())).unwrap();
            let pushed = filter("shop", &of_revision(1));
            let (before, _) = envoy.updates(&pushed).unwrap();
            envoy.push(&pushed).unwrap();
            let taken = || (envoy.updates(&pushed).ok()?.0 > before).then_some(());
            eventually("the update is taken", LIMIT, taken).unwrap();
            assert_eq!(client.send(&of("good bob")).unwrap().status, 200);
            service.release();
            for response in waiting {
                assert_eq!(response.join().unwrap().unwrap().status, 200, "{workers} workers");
            }
        });
        assert_eq!(service.asked(), 2, "{workers} workers");
        assert!(envoy.deaths().unwrap().is_empty());
    }
}

#[test]
fn a_flood_of_users_grows_memory_by_no_more_than_the_table() {
    const ENTRIES: usize = 4096;
    // The README's bound, for answers of up to 64 bytes.
    const BOUND_KIB: u64 = ENTRIES as u64 * (64 + 128) / 1024;
    // What is resident grows in steps: a huge page, in which Envoy's allocator asks the kernel for memory.
    const STEP_KIB: u64 = 2048;
    let users = std::env::var("EXT_AUTH_USERS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let service = Service::start();
    // As many connections and calls, but a table of one bucket: what Envoy itself grows by.
    let of_entries = |entries: usize| config("authz", json!({"cache": {"ttl": "1h", "entries": entries}}));
    let bootstrap = Bootstrap::new().concurrency(2).cluster("authz", service.address());
    let bootstrap = bootstrap
        .listener(listener("small", &of_entries(4)).answering())
        .listener(listener("flooded", &of_entries(ENTRIES)).answering());
    let envoy = start(bootstrap);
    let flood = |listener: &str, users: usize| {
        let messages = (0..users).map(|user| of(&format!("good user{user}"))).collect();
        Client::new(envoy.address(listener)).load(CONNECTIONS, messages).unwrap()
    };
    flood("small", users);
    flood("flooded", 1);
    let memory = || {
        let open = |listener: &str| envoy.stat(&format!("http.{listener}.downstream_cx_active"));
        let closed = || (open("small") == Some(0) && open("flooded") == Some(0)).then_some(());
        eventually("the connections of the load are closed", LIMIT, closed).unwrap();
        (envoy.resident_kib().unwrap(), envoy.allocated_kib().unwrap())
    };
    let before = memory();
    let seen = flood("flooded", users);
    let after = memory();
    let (resident, allocated) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let evicted = total(&envoy, "evicted_total");
    println!("{users} users: {allocated} KiB more allocated, {resident} KiB resident, {evicted} evicted");
    assert_eq!(seen, BTreeMap::from([(200, users as u64)]));
    assert!(allocated <= BOUND_KIB, "{users} users: {allocated} KiB allocated");
    assert!(resident <= BOUND_KIB + STEP_KIB, "{users} users: {resident} KiB resident");
    assert!(evicted as usize >= users - ENTRIES, "{evicted}");
    assert!(envoy.deaths().unwrap().is_empty());
}
