//! The plugin as it ships, in the in-memory Envoy.

use std::time::Duration;

use plugin_testkit::hostile::overwrites;
use plugin_testkit::{Cluster, Envoy, Exchange, Headers, Request, Response, SharedData};
use rate_limit::RateLimit;

const SECOND: Duration = Duration::from_secs(1);
/// Three at once for each client, then one in twenty seconds.
const THREE: &str = r#"{"store": "s", "maxKeys": 32, "limits": [{"name": "c", "key": ["clientIp"], "requests": 3, "per": "60s"}]}"#;

#[test]
fn cases() {
    plugin_testkit::cases::<RateLimit>(env!("CARGO_MANIFEST_DIR"));
}

fn get(envoy: &Envoy) -> Exchange {
    envoy.exchange(Request::get("/"), Response::new(200))
}

/// How many of `requests` pass.
fn admitted(envoy: &Envoy, requests: usize) -> usize {
    (0..requests).filter(|_| get(envoy).upstream.is_some()).count()
}

fn limit(rest: &str) -> String {
    format!(r#"{{"store": "s", "maxKeys": 32, "limits": [{{"name": "c", {rest}}}]}}"#)
}

fn worker(shared_data: &SharedData, config: &str) -> Envoy {
    Envoy::builder().shared_data(shared_data.clone()).start::<RateLimit>(config)
}

/// The hostcalls of the second request of a kind: by then its metrics are defined.
fn cost(config: &str, requests: usize) -> Vec<String> {
    let envoy = Envoy::start::<RateLimit>(config);
    for _ in 1..requests {
        get(&envoy);
    }
    envoy.request(Request::get("/")).hostcalls()
}

#[test]
fn a_decision_costs_one_read_and_one_write_of_shared_data() {
    assert_eq!(
        cost(THREE, 2),
        [
            "property source.address",
            "monotonic_clock",
            "shared.get rate-limit/s/1/0",
            "shared.set rate-limit/s/1/0",
            "metric.add wasm_filter.rate_limit.component.c.allowed_total",
        ]
    );
}

#[test]
fn several_limits_of_one_key_cost_no_more() {
    let limit = |index: usize| {
        format!(r#"{{"name": "l{index}", "key": ["clientIp"], "requests": {}, "per": "60s"}}"#, index + 100)
    };
    let limits: Vec<String> = (0..5).map(limit).collect();
    let calls = cost(&format!(r#"{{"limits": [{}]}}"#, limits.join(",")), 2);
    assert_eq!(calls.iter().filter(|call| call.starts_with("shared.")).count(), 2, "{calls:?}");
}

#[test]
fn a_denial_that_this_worker_knows_costs_no_shared_data() {
    let calls = cost(THREE, 5);
    assert_eq!(calls[..2], ["property source.address", "monotonic_clock"]);
    assert!(!calls.iter().any(|call| call.starts_with("shared.")), "{calls:?}");
}

#[test]
fn a_window_reads_the_wall_clock_too() {
    let calls = cost(&limit(r#""key": [], "algorithm": "fixedWindow", "requests": 3, "per": "60s""#), 2);
    assert_eq!(calls[..2], ["monotonic_clock", "wall_clock"]);
}

#[test]
fn what_no_limit_means_costs_nothing() {
    assert!(cost(r#"{"mode": "off", "maxRequests": 1}"#, 1).is_empty());
    let elsewhere =
        limit(r#""key": ["clientIp"], "match": {"paths": [{"exact": "/a"}]}, "requests": 1, "per": "1s""#);
    assert_eq!(cost(&elsewhere, 1), ["get :path"]);
}

#[test]
fn time_gives_back_what_was_used() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    assert_eq!(admitted(&envoy, 5), 3);
    envoy.advance(19 * SECOND);
    assert_eq!(admitted(&envoy, 2), 0);
    envoy.advance(SECOND);
    assert_eq!(admitted(&envoy, 2), 1);
    envoy.advance(3600 * SECOND);
    assert_eq!(admitted(&envoy, 5), 3);
}

#[test]
fn a_window_starts_anew_at_its_boundary() {
    let envoy = Envoy::start::<RateLimit>(limit(
        r#""key": [], "algorithm": "fixedWindow", "requests": 3, "per": "60s""#,
    ));
    envoy.advance(59 * SECOND);
    assert_eq!(admitted(&envoy, 5), 3);
    envoy.advance(SECOND);
    assert_eq!(admitted(&envoy, 5), 3);
}

#[test]
fn workers_count_together() {
    let shared = SharedData::default();
    let workers: Vec<Envoy> = (0..4).map(|_| worker(&shared, THREE)).collect();
    let all: usize = workers.iter().map(|envoy| admitted(envoy, 3)).sum();
    assert_eq!(all, 3);
}

#[test]
fn a_worker_that_lost_a_race_decides_again() {
    let shared = SharedData::default();
    let (one, other) = (worker(&shared, THREE), worker(&shared, THREE));
    assert_eq!(admitted(&one, 2), 2);
    // The last one is taken between the read and the write of this worker.
    let values = shared.keys().into_iter().map(|key| (key.clone(), shared.get(&key).unwrap()));
    let before: Vec<_> = values.collect();
    assert_eq!(admitted(&other, 1), 1);
    let after = shared.get("rate-limit/s/1/0").unwrap();
    for (key, value) in before {
        shared.set(&key, value);
    }
    shared.before_next_write(move |shared| shared.set("rate-limit/s/1/0", &after));
    assert_eq!(admitted(&one, 1), 0);
}

#[test]
fn a_worker_that_lost_the_race_for_the_first_write_decides_again() {
    let shared = SharedData::default();
    let config = limit(r#""key": [], "requests": 1, "per": "60s""#);
    let (one, other) = (worker(&shared, &config), worker(&shared, &config));
    assert_eq!(admitted(&other, 1), 1);
    let value = shared.get("rate-limit/s/1/0").unwrap();
    let fresh = SharedData::default();
    fresh.set("rate-limit/s/1/secret", shared.get("rate-limit/s/1/secret").unwrap());
    let one = {
        drop(one);
        worker(&fresh, &config)
    };
    fresh.before_next_write(move |shared| shared.set("rate-limit/s/1/0", &value));
    assert_eq!(admitted(&one, 1), 0);
}

/// Writes after each other forever, as a worker that is always faster.
fn interfere(shared: &SharedData) {
    let again = |shared: &SharedData| {
        shared.set("rate-limit/s/1/0", b"\x01\x00");
        interfere(shared);
    };
    shared.before_next_write(again);
}

#[test]
fn what_cannot_be_written_is_denied() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    get(&envoy);
    interfere(&envoy.shared_data());
    let stream = envoy.request(Request::get("/"));
    let reply = stream.local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (503, "rate_limit_contended"));
    assert_eq!(envoy.metric("wasm_filter.rate_limit.contended_total"), 1);
}

#[test]
fn a_request_that_one_limit_denies_is_charged_to_none() {
    let envoy = Envoy::start::<RateLimit>(
        r#"{"limits": [
            {"name": "tenant", "key": ["header:x-tenant"], "requests": 5, "per": "60s"},
            {"name": "client", "key": ["clientIp"], "requests": 2, "per": "60s"}]}"#,
    );
    let ask = |from: &str| {
        let request = Request::get("/").header("x-tenant", "a").from(from);
        envoy.exchange(request, Response::new(200)).upstream.is_some()
    };
    let passed = (0..10).filter(|_| ask("127.0.0.2")).count();
    assert_eq!(passed, 2);
    // Eight denials later the tenant still has three.
    let others = (3..9).filter(|last| ask(&format!("127.0.0.{last}"))).count();
    assert_eq!(others, 3);
}

#[test]
fn what_was_charged_first_is_taken_back_when_a_second_shard_says_no() {
    let config = |store: &str| {
        format!(
            r#"{{"store": "{store}", "maxKeys": 65536, "limits": [
            {{"name": "a", "key": ["header:x-a"], "requests": 3, "per": "60s"}},
            {{"name": "b", "key": ["header:x-b"], "requests": 1, "per": "60s"}}]}}"#
        )
    };
    // Each of them twice: whichever shard is written first, one of the two takes back.
    let mut taken_back = 0;
    for seed in 0..20 {
        let shared = SharedData::default();
        let start =
            || Envoy::builder().shared_data(shared.clone()).seed(seed).start::<RateLimit>(config("s"));
        let (one, other) = (start(), start());
        let request = || Request::get("/").header("x-a", "1").header("x-b", "2");
        // Another worker takes the only one of b between this worker's reads and its writes.
        let only_b = Request::get("/").header("x-b", "2");
        drop(other.exchange(only_b, Response::new(200)));
        let writes: Vec<(String, Vec<u8>)> = shared
            .keys()
            .into_iter()
            .filter(|key| !key.ends_with("secret"))
            .map(|key| (key.clone(), shared.get(&key).unwrap()))
            .collect();
        assert_eq!(writes.len(), 1);
        let (key, full) = writes[0].clone();
        shared.set(&key, b"\x01\x00");
        shared.before_next_write(move |shared| shared.set(&key, &full));
        let stream = one.request(request());
        assert!(stream.local_reply().is_some(), "b is used up");
        let sets = stream.hostcalls().iter().filter(|call| call.starts_with("shared.set")).count();
        taken_back += usize::from(sets > 2);
        drop(stream);
        let left = (0..5).filter(|_| {
            one.exchange(Request::get("/").header("x-a", "1"), Response::new(200)).upstream.is_some()
        });
        assert_eq!(left.count(), 3, "seed {seed}: a was not charged");
    }
    assert!(taken_back > 0, "in some order the first write is taken back");
}

#[test]
fn a_spoofed_forwarded_for_changes_nothing() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    let passed = (0..10).filter(|index| {
        let request = Request::get("/").header("x-forwarded-for", format!("10.0.0.{index}"));
        envoy.exchange(request, Response::new(200)).upstream.is_some()
    });
    assert_eq!(passed.count(), 3);
}

#[test]
fn an_exhausted_limit_behind_an_unusable_x_forwarded_for_stays_exhausted() {
    let envoy =
        Envoy::start::<RateLimit>(THREE.replacen('{', r#"{"clientIp": {"source": "xForwardedFor"}, "#, 1));
    let status = |forwarded: Option<&[u8]>| {
        let request = Request::get("/").from("10.9.9.9");
        let request =
            forwarded.into_iter().fold(request, |request, line| request.header("x-forwarded-for", line));
        envoy.exchange(request, Response::new(200)).response.status
    };
    assert_eq!([(); 3].map(|()| status(Some(b"garbage"))), [200; 3]);
    for unusable in [
        &b"garbage"[..],
        b"",
        b" ",
        b",",
        b"2.2.2.2, garbage",
        b"2.2.2.2,",
        b"999.1.1.1",
        b"unknown",
        b"\xff",
    ] {
        assert_eq!(status(Some(unusable)), 429, "{}", unusable.escape_ascii());
    }
    assert_eq!(status(None), 429);
    assert_eq!(status(Some(b"2.2.2.2")), 200, "another client");
}

#[test]
fn an_empty_value_before_a_real_one_loses_no_part_of_a_key() {
    for (source, name, values) in
        [("header:x-tenant", "x-tenant", ["", "acme"]), ("cookie:sid", "cookie", ["sid=", "sid=acme"])]
    {
        let envoy =
            Envoy::start::<RateLimit>(limit(&format!(r#""key": ["{source}"], "requests": 1, "per": "1h""#)));
        let statuses = [(); 2].map(|()| {
            let request = values.iter().fold(Request::get("/"), |request, value| request.header(name, value));
            envoy.exchange(request, Response::new(200)).response.status
        });
        assert_eq!(statuses, [200, 429], "{source}");
    }
    let envoy = Envoy::start::<RateLimit>(limit(r#""key": ["query:t"], "requests": 1, "per": "1h""#));
    let statuses =
        [(); 2].map(|()| envoy.exchange(Request::get("/?t=&t=acme"), Response::new(200)).response.status);
    assert_eq!(statuses, [200, 429]);
}

#[test]
fn ipv6_clients_are_told_apart_by_their_64() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    let passes =
        |from: &str| envoy.exchange(Request::get("/").from(from), Response::new(200)).upstream.is_some();
    assert_eq!((0..10).filter(|host| passes(&format!("2001:db8:1:2::{host}"))).count(), 3);
    assert!(passes("2001:db8:1:3::1"));
}

/// A limit on one path, and exemptions that another spelling could slip under.
const LOGIN: &str = r#"{
    "exempt": [
        {"match": {"paths": [{"prefix": "/healthz"}]}},
        {"match": {"methods": ["GET"], "not": {"any": [{"paths": [{"exact": "/login"}]}, {"hosts": ["admin.example.com"]}]}}}],
    "limits": [{"name": "login", "match": {"methods": ["POST", "GET"], "paths": [{"exact": "/login"}]},
        "key": ["clientIp"], "requests": 2, "per": "1h"}]}"#;

/// Whether the third of three such requests is denied.
fn is_limited(config: &str, request: &Request) -> bool {
    let envoy = Envoy::start::<RateLimit>(config);
    let statuses = [(); 3].map(|()| envoy.exchange(request.clone(), Response::new(200)).response.status);
    assert_eq!(statuses[..2], [200, 200], "{request:?}");
    statuses[2] == 429
}

#[test]
fn no_spelling_of_a_path_escapes_its_limit() {
    for path in [
        "/login",
        "/login?x=1",
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
        "/login\\",
        "/./login",
        "/x/../login",
        "/x/%2e%2e/login",
        "/login#x",
        "/login%00",
        "/login%3Fx",
        "/healthz/..%2flogin",
        "/healthz/../login",
        "/healthz;/../login",
        "/healthz/%252e%252e/login",
        "http://shop.example.com/login",
    ] {
        for method in ["POST", "GET", "post"] {
            assert!(is_limited(LOGIN, &Request::new(method, path)), "{method} {path}");
        }
    }
}

#[test]
fn other_paths_are_not_charged_to_a_limit_on_a_path() {
    for path in
        ["/", "/loginx", "/login/x", "/healthz", "/healthz/", "/healthz/login", "/a%20b", "/caf%C3%A9", "*"]
    {
        assert!(!is_limited(LOGIN, &Request::post(path)), "{path}");
    }
    assert!(!is_limited(LOGIN, &Request::new("PUT", "//login")), "another method is no spelling of this one");
}

#[test]
fn a_path_in_another_spelling_is_not_exempt() {
    let config = r#"{"exempt": [{"match": {"paths": [{"prefix": "/healthz"}]}}], "limits": [
        {"name": "c", "key": [], "requests": 2, "per": "1h"}]}"#;
    for path in ["/healthz/..%2fadmin", "/healthz/../admin", "/healthz//x", "/healthz;x", "/Healthz"] {
        assert!(is_limited(config, &Request::get(path)), "{path}");
    }
    for path in ["/healthz", "/healthz/", "/healthz/live?x=..%2f"] {
        assert!(!is_limited(config, &Request::get(path)), "{path}");
    }
}

#[test]
fn no_spelling_of_a_host_escapes_its_limit() {
    let config = r#"{"exempt": [{"match": {"hosts": ["health.example.com"]}}], "limits": [
        {"name": "admin", "match": {"hosts": ["admin.example.com"]}, "key": [], "requests": 2, "per": "1h"}]}"#;
    for authority in [
        "admin.example.com",
        "ADMIN.example.com.:443",
        "x@admin.example.com",
        "admin.example.com..",
        "admin.example.com:443:443",
        "health.example.com@admin.example.com",
        "admin.example.com:80@health.example.com",
    ] {
        assert!(is_limited(config, &Request::get("/").authority(authority)), "{authority}");
    }
    for authority in ["shop.example.com", "health.example.com"] {
        assert!(!is_limited(config, &Request::get("//a").authority(authority)), "{authority}");
    }
}

#[test]
fn a_limit_that_no_path_and_no_host_decides_about_reads_neither() {
    let at = |matches: &str| {
        cost(&limit(&format!(r#""key": [], "match": {matches}, "requests": 9, "per": "1s""#)), 1)
    };
    let reads = |calls: Vec<String>| -> Vec<String> {
        calls.into_iter().filter(|call| call.starts_with("get ")).collect()
    };
    assert_eq!(reads(at(r#"{"methods": ["GET"]}"#)), ["get :method"]);
    assert_eq!(reads(at(r#"{"paths": [{"exact": "/a"}]}"#)), ["get :path"]);
    assert_eq!(reads(at(r#"{"hosts": ["shop.example.com"]}"#)), ["get :authority"]);
    assert_eq!(
        reads(at(r#"{"paths": [{"exact": "/a"}], "hosts": ["a"]}"#)),
        ["get :path"],
        "no reading of the path matches, whatever the host"
    );
}

#[test]
fn a_new_configuration_goes_on_with_the_old_counts() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    assert_eq!(admitted(&envoy, 2), 2);
    assert!(
        envoy
            .reconfigure::<RateLimit>(THREE.replace(r#""requests": 3"#, r#""requests": 3, "enforce": true"#))
    );
    assert_eq!(admitted(&envoy, 3), 1);
}

#[test]
fn an_incompatible_stored_value_is_ignored() {
    for value in [&b"\x02\x01junk"[..], b"", b"\x01\xff", b"\xff"] {
        let envoy = Envoy::start::<RateLimit>(THREE);
        envoy.shared_data().set("rate-limit/s/1/0", value);
        assert_eq!(admitted(&envoy, 5), 3, "{value:?}");
    }
    let shared = SharedData::default();
    shared.set("rate-limit/s/1/secret", b"short");
    let workers = [worker(&shared, THREE), worker(&shared, THREE)];
    assert_eq!(admitted(&workers[0], 5) + admitted(&workers[1], 5), 3);
}

/// The time after which a limit of three in 60 s counts as before, whatever was written over its counters: what README.md
/// says under "Failure", and the second for which a worker remembers a denial.
const RECOVERY: [(&str, u32); 3] = [("gcra", 121), ("fixedWindow", 121), ("slidingWindow", 181)];

#[test]
fn whatever_a_neighbour_writes_a_limit_recovers() {
    for (algorithm, seconds) in RECOVERY {
        for enforce in [true, false] {
            let config = limit(&format!(
                r#""key": ["clientIp"], "algorithm": "{algorithm}", "requests": 3, "per": "60s", "enforce": {enforce}"#
            ));
            let stored = {
                let envoy = Envoy::start::<RateLimit>(&config);
                admitted(&envoy, 3);
                envoy.shared_data().get("rate-limit/s/1/0").unwrap()
            };
            for value in overwrites(&stored) {
                let envoy = Envoy::start::<RateLimit>(&config);
                envoy.shared_data().set("rate-limit/s/1/0", &value);
                admitted(&envoy, 1);
                envoy.advance(seconds * SECOND);
                let denied = || {
                    envoy.metric("wasm_filter.rate_limit.component.c.denied_total")
                        + envoy.metric("wasm_filter.rate_limit.component.c.shadow_denied_total")
                };
                let before = denied();
                admitted(&envoy, 5);
                assert_eq!(denied() - before, 2, "{algorithm}, enforce {enforce}: {}", value.escape_ascii());
            }
        }
    }
}

#[test]
fn entries_that_end_in_the_far_future_take_no_place_from_others() {
    // As many as a shard has, each used up: 8 bytes of key, 8 of the end, 8 of counts, the clock, the share.
    let entry = |key: u64| [&key.to_le_bytes()[..], &[0xff; 8], &[0; 8], &[0, 0xff]].concat();
    let entries: Vec<u8> = (1..=32).flat_map(entry).collect();
    let envoy = Envoy::start::<RateLimit>(THREE);
    envoy.shared_data().set("rate-limit/s/1/0", [&[1, 32], &entries[..]].concat());
    let passes =
        |from: &str| envoy.exchange(Request::get("/").from(from), Response::new(200)).upstream.is_some();
    for turn in 0..5 {
        for client in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            assert_eq!(passes(client), turn < 3, "{client} {turn}");
        }
    }
}

#[test]
fn a_secret_that_a_neighbour_wrote_over_is_replaced() {
    for value in overwrites(&[7; 16]) {
        let shared = SharedData::default();
        shared.set("rate-limit/s/1/secret", &value);
        let workers = [worker(&shared, THREE), worker(&shared, THREE)];
        assert_eq!(admitted(&workers[0], 5) + admitted(&workers[1], 5), 3, "{value:?}");
    }
}

#[test]
fn a_failing_clock_admits_no_more() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    assert_eq!(admitted(&envoy, 1), 1);
    envoy.fail_clocks();
    let stream = envoy.request(Request::get("/"));
    let reply = stream.local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (503, "rate_limit_contended"));
    assert_eq!(envoy.metric("wasm_filter.rate_limit.contended_total"), 1);

    for shadow in [
        THREE.replace(r#""per""#, r#""enforce": false, "per""#),
        THREE.replacen('{', r#"{"mode": "dryRun", "#, 1),
    ] {
        let envoy = Envoy::start::<RateLimit>(shadow);
        envoy.fail_clocks();
        assert_eq!(admitted(&envoy, 5), 5, "it denies nothing");
    }
}

#[test]
fn a_response_is_charged_although_the_clock_fails_meanwhile() {
    for algorithm in ["gcra", "fixedWindow", "slidingWindow"] {
        let config = limit(&format!(
            r#""key": [], "algorithm": "{algorithm}", "requests": 1, "per": "60s", "charge": "response""#
        ));
        let shared = SharedData::default();
        let failing = worker(&shared, &config);
        let stream = failing.request(Request::get("/"));
        failing.fail_clocks();
        stream.respond(Response::new(200));
        drop(stream);
        assert_eq!(admitted(&worker(&shared, &config), 1), 0, "{algorithm}");
    }
}

#[test]
fn stores_are_apart_and_the_same_store_is_shared() {
    let shared = SharedData::default();
    let config = |store: &str| format!(r#"{{"store": "{store}", "maxRequests": 1}}"#);
    let [a, b, also_a] = ["a", "b", "a"].map(|store| worker(&shared, &config(store)));
    assert_eq!([admitted(&a, 1), admitted(&b, 1), admitted(&also_a, 1)], [1, 1, 0]);
    let instance = |name: &str| {
        let builder = Envoy::builder().shared_data(shared.clone()).property(&["plugin_name"], name);
        builder.start::<RateLimit>(r#"{"maxRequests": 1}"#)
    };
    let [one, two, also_one] = ["ns.one", "ns.two", "ns.one"].map(instance);
    assert_eq!([admitted(&one, 1), admitted(&two, 1), admitted(&also_one, 1)], [1, 1, 0]);
}

#[test]
fn a_flood_never_grows_the_table_and_does_not_forgive_a_client_at_its_limit() {
    let envoy = Envoy::start::<RateLimit>(
        r#"{"store": "s", "maxKeys": 1024, "response": {"rateLimitHeaders": "none"}, "limits": [{"name": "c", "key": ["clientIp"], "requests": 100, "per": "60s"}]}"#,
    );
    assert_eq!(admitted(&envoy, 200), 100);
    for index in 0..20_000_u32 {
        let client = std::net::Ipv4Addr::from_bits(0x0a00_0000 + index).to_string();
        envoy.exchange(Request::get("/").from(&client), Response::new(200));
    }
    let shared = envoy.shared_data();
    let keys = shared.keys();
    assert!(keys.len() <= 1024 / 32 + 1, "{}", keys.len());
    assert!(keys.iter().all(|key| shared.get(key).unwrap().len() <= 834));
    assert!(envoy.metric("wasm_filter.rate_limit.evicted_total") > 10_000);
    assert_eq!(admitted(&envoy, 10), 0, "still at its limit");
}

#[test]
fn a_response_is_charged_where_it_is_meant() {
    let envoy = Envoy::start::<RateLimit>(limit(
        r#""key": ["clientIp"], "requests": 2, "per": "10m", "charge": "response", "chargeWhen": {"statuses": [401]}"#,
    ));
    let login = |status: u16| envoy.exchange(Request::post("/login"), Response::new(status)).response.status;
    assert_eq!((0..10).map(|_| login(200)).collect::<Vec<_>>(), [200; 10]);
    assert_eq!([401, 200, 401, 200, 401].map(login), [401, 200, 401, 429, 429]);
}

#[test]
fn a_request_that_only_asks_writes_nothing() {
    let config = limit(
        r#""key": [], "requests": 2, "per": "10m", "charge": "response", "chargeWhen": {"statuses": [401]}"#,
    );
    let calls = cost(&config, 2);
    assert_eq!(calls.iter().filter(|call| call.starts_with("shared.")).count(), 1, "{calls:?}");
}

#[test]
fn what_a_response_costs_it_says_itself() {
    let envoy = Envoy::start::<RateLimit>(limit(
        r#""key": [], "requests": 100, "per": "60s", "charge": "response", "cost": {"header": "x-tokens", "default": 0, "max": 80}"#,
    ));
    let ask = |tokens: &str| {
        let response = Response::new(200).header("x-tokens", tokens);
        envoy.exchange(Request::get("/"), response).response
    };
    assert_eq!(ask("30").lines("ratelimit"), ["\"c\";r=70;t=18"]);
    assert_eq!(ask("none").lines("ratelimit"), ["\"c\";r=70;t=18"]);
    assert_eq!(ask("1000").lines("ratelimit"), ["\"c\";r=0;t=66"], "80 at most: a debt of 10");
    assert_eq!(ask("1").status, 429);
}

#[test]
fn a_client_that_goes_away_is_charged_where_any_response_is() {
    let envoy =
        Envoy::start::<RateLimit>(limit(r#""key": [], "requests": 2, "per": "60s", "charge": "response""#));
    for _ in 0..2 {
        let stream = envoy.request(Request::get("/"));
        assert!(stream.upstream().is_some());
        stream.finish();
    }
    assert_eq!(admitted(&envoy, 1), 0);
}

#[test]
fn a_client_cannot_ask_for_free_nor_for_more_than_the_most() {
    let envoy = Envoy::start::<RateLimit>(limit(
        r#""key": [], "requests": 10, "per": "60s", "cost": {"header": "x-cost", "max": 5}"#,
    ));
    let ask = |cost: &str| {
        let request = Request::get("/").header("x-cost", cost);
        envoy.exchange(request, Response::new(200)).response.lines("ratelimit")
    };
    assert_eq!(ask("0"), ["\"c\";r=9;t=6"]);
    assert_eq!(ask("999"), ["\"c\";r=4;t=36"]);
    assert_eq!(ask("5"), ["\"c\";r=4;t=6"], "denied: five are not left, and will be in six seconds");
    assert_eq!(ask("2"), ["\"c\";r=2;t=48"]);
}

#[test]
fn a_shadow_counts_and_shows_nothing() {
    let envoy =
        Envoy::start::<RateLimit>(limit(r#""key": [], "requests": 1, "per": "60s", "enforce": false"#));
    let seen: Vec<_> = (0..3).map(|_| get(&envoy).response).collect();
    assert!(seen.iter().all(|response| response.status == 200 && response.header("ratelimit").is_none()));
    assert_eq!(envoy.metric("wasm_filter.rate_limit.component.c.allowed_total"), 1);
    assert_eq!(envoy.metric("wasm_filter.rate_limit.component.c.shadow_denied_total"), 2);
}

#[test]
fn a_dry_run_decides_and_denies_nothing() {
    let envoy = Envoy::start::<RateLimit>(THREE.replace(r#"{"store""#, r#"{"mode": "dryRun", "store""#));
    assert_eq!(admitted(&envoy, 5), 5);
    assert_eq!(get(&envoy).response.header("ratelimit"), None);
    assert_eq!(envoy.metric("wasm_filter.rate_limit.component.c.shadow_denied_total"), 3);
    assert!(envoy.log_lines().contains(&"dryRun denied limits=c".to_owned()));
}

#[test]
fn a_denial_says_what_and_when() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    admitted(&envoy, 3);
    let stream = envoy.request(Request::get("/"));
    assert_eq!(stream.local_reply().unwrap().details, "rate_limit_c");
    let response = stream.response();
    assert_eq!((response.status, response.body.as_slice()), (429, &b"Rate limit exceeded"[..]));
    assert_eq!(response.lines("retry-after"), ["20"]);
    assert_eq!(response.lines("ratelimit"), ["\"c\";r=0;t=20"]);
    assert_eq!(response.lines("ratelimit-policy"), ["\"c\";q=3;w=60"]);
    envoy.advance(Duration::from_millis(500));
    assert_eq!(get(&envoy).response.lines("retry-after"), ["20"], "from this worker's memory, rounded up");
    envoy.advance(Duration::from_millis(700));
    assert_eq!(get(&envoy).response.lines("retry-after"), ["19"]);
    assert_eq!(envoy.metric("wasm_filter.rate_limit.component.c.denied_total"), 3);
}

#[test]
fn a_grpc_client_is_told_resource_exhausted() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    admitted(&envoy, 3);
    let request = Request::post("/a.B/C").header("content-type", "application/grpc").header("te", "trailers");
    let response = envoy.request(request).response();
    assert_eq!(response.status, 200);
    assert_eq!(response.lines("grpc-status"), ["8"]);
    assert_eq!(response.lines("grpc-message"), ["Rate limit exceeded"]);
    assert_eq!(response.lines("retry-after"), ["20"]);
}

#[test]
fn a_problem_is_json_and_names_the_policies() {
    let envoy = Envoy::start::<RateLimit>(
        r#"{"response": {"problemJson": true, "body": "Slow \"down\""}, "limits": [{"name": "daily", "key": [], "requests": 0, "per": "1d"}]}"#,
    );
    let response = get(&envoy).response;
    assert_eq!(response.lines("content-type"), ["application/problem+json"]);
    let problem: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(
        problem,
        serde_json::json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "status": 429,
            "detail": "Slow \"down\"",
            "violated-policies": ["daily"],
        })
    );
    assert_eq!(response.lines("retry-after"), Vec::<String>::new(), "there is no such time");
}

#[test]
fn an_upstreams_own_fields_are_kept() {
    let envoy = Envoy::start::<RateLimit>(THREE);
    let own =
        Response::new(200).header("ratelimit", "\"db\";r=1;t=1").header("ratelimit-policy", "\"db\";q=1;w=1");
    let response = envoy.exchange(Request::get("/"), own).response;
    assert_eq!(response.lines("ratelimit"), ["\"db\";r=1;t=1", "\"c\";r=2;t=20"]);
    assert_eq!(response.lines("ratelimit-policy"), ["\"db\";q=1;w=1", "\"c\";q=3;w=60"]);
    let envoy = Envoy::start::<RateLimit>(r#"{"maxRequests": 3}"#);
    let own = Response::new(200).header("x-ratelimit-limit", "7");
    let response = envoy.exchange(Request::get("/"), own).response;
    assert_eq!(response.lines("x-ratelimit-limit"), ["7"]);
    assert_eq!(response.header("x-ratelimit-remaining"), None);
}

#[test]
fn fields_of_any_response_parse_as_structured_fields() {
    let envoy = Envoy::start::<RateLimit>(
        r#"{"limits": [
            {"name": "a", "key": [], "requests": 3, "per": "100ms"},
            {"name": "b-2", "key": ["clientIp"], "algorithm": "slidingWindow", "requests": 2, "per": "7d"}]}"#,
    );
    for _ in 0..4 {
        let response = get(&envoy).response;
        for name in ["ratelimit", "ratelimit-policy"] {
            let value = response.header(name).unwrap();
            let list: sfv::List = sfv::Parser::new(value).parse().unwrap();
            assert!(!list.is_empty());
        }
    }
}

#[test]
fn what_is_left_is_never_more_than_the_quota_of_the_policy() {
    for (numbers, policy, left) in [
        (r#""requests": 10, "per": "60s", "burst": 100"#, "\"c\";q=10;w=60", "\"c\";r=10;t=6"),
        (r#""requests": 10, "per": "60s", "burst": 3"#, "\"c\";q=10;w=60", "\"c\";r=2;t=6"),
        // A window is in whole seconds, so the quota is of as many periods as it has.
        (r#""requests": 3, "per": "100ms""#, "\"c\";q=30;w=1", "\"c\";r=2;t=1"),
        (r#""requests": 3, "per": "1500ms""#, "\"c\";q=4;w=2", "\"c\";r=2;t=1"),
        (r#""requests": 1, "per": "2500ms""#, "\"c\";q=1;w=3", "\"c\";r=0;t=3"),
        (r#""requests": 3, "per": "100ms", "burst": 1000"#, "\"c\";q=30;w=1", "\"c\";r=30;t=1"),
    ] {
        let envoy = Envoy::start::<RateLimit>(limit(&format!(r#""key": [], {numbers}"#)));
        let response = get(&envoy).response;
        assert_eq!(response.lines("ratelimit-policy"), [policy], "{numbers}");
        assert_eq!(response.lines("ratelimit"), [left], "{numbers}");
    }
    let older = limit(r#""key": [], "requests": 10, "per": "60s", "burst": 100"#);
    let older = older.replacen('{', r#"{"response": {"rateLimitHeaders": "xRateLimit"}, "#, 1);
    let response = get(&Envoy::start::<RateLimit>(older)).response;
    assert_eq!(response.lines("x-ratelimit-limit"), ["10"]);
    assert_eq!(response.lines("x-ratelimit-remaining"), ["10"]);
}

#[test]
fn a_client_whose_address_can_be_forged_is_warned_about() {
    const WARNING: &str = "clientIp: on a sidecar or waypoint, source.address is";
    let is_warned = |config: &str, node: &str| {
        let builder = Envoy::builder().cluster("c", Cluster::Healthy).property(&["xds", "node", "id"], node);
        builder.start::<RateLimit>(config).log_lines().iter().any(|line| line.starts_with(WARNING))
    };
    let (sidecar, gateway) = ("sidecar~10.0.0.1~a.b~b.svc", "router~10.0.0.1~a.b~b.svc");
    let at = |rest: &str| limit(&format!(r#"{rest}, "requests": 1, "per": "1s""#));
    let rls = r#"{"rls": {"cluster": "c", "domain": "d"}, "limits": [{"name": "a", "backend": "rls", "descriptor": [{"key": "ip", "value": ["header:x-a", "clientIp"]}]}]}"#;
    let exempt = r#"{"exempt": [{"match": {"not": {"clientIps": ["10.0.0.0/8"]}}}], "limits": [{"name": "a", "key": [], "requests": 1, "per": "1s"}]}"#;
    for config in [
        THREE,
        r#"{"maxRequests": 1}"#,
        &at(r#""key": [["header:x-user", "clientIp"]]"#),
        &at(r#""key": [], "match": {"clientIps": ["10.0.0.0/8"]}"#),
        rls,
        exempt,
    ] {
        assert!(is_warned(config, sidecar), "{config}");
        assert!(!is_warned(config, gateway), "{config}");
    }
    assert!(!is_warned(&at(r#""key": ["header:x-user"]"#), sidecar));
    let forwarded = THREE.replacen('{', r#"{"clientIp": {"source": "xForwardedFor"}, "#, 1);
    assert!(!is_warned(&forwarded, sidecar));
}

#[test]
fn a_request_without_anything_to_read_is_no_trouble() {
    let envoy = Envoy::start::<RateLimit>(
        r#"{"limits": [{"name": "c", "key": ["header:x-none", "path", "claim:sub"], "requests": 1, "per": "1s", "onMissingKey": "empty", "cost": {"header": "x-cost"}}]}"#,
    );
    let odd = Request::get("/\u{ff}").header("x-cost", b"\xff").header("content-type", b"\xff");
    assert!(envoy.request(odd.clone()).upstream().is_some());
    assert_eq!(envoy.request(odd).response().status, 429);
    let bare = Request::get("/").without(":path").without(":authority").without(":method");
    assert_eq!(envoy.request(bare).response().status, 404);
    envoy.log_only();
}

#[test]
fn exempt_requests_pay_nothing_and_are_told_nothing() {
    let envoy = Envoy::start::<RateLimit>(
        r#"{"maxRequests": 1, "exempt": [{"match": {"paths": [{"exact": "/healthz"}]}}]}"#,
    );
    for _ in 0..3 {
        let seen = envoy.exchange(Request::get("/healthz"), Response::new(200));
        assert_eq!((seen.response.status, seen.response.header("x-ratelimit-limit")), (200, None));
    }
    assert_eq!(admitted(&envoy, 3), 1);
}
