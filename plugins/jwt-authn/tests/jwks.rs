//! Key sets that are fetched: by one worker for all, before it is too late, and never on behalf of a flood.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)]

mod signer;

use std::sync::LazyLock;
use std::time::Duration;

use jwt_authn::JwtAuthn;
use plugin_testkit::{Call, Cluster, Envoy, Headers, Request, Response, SharedData};
use serde_json::{Value, json};

const CLUSTER: &str = "outbound|443||issuer.example.com";
const SECOND: Duration = Duration::from_secs(1);

fn config(provider: Value) -> Value {
    let mut all = json!({
        "name": "p",
        "issuer": "i",
        "jwksUri": "https://issuer.example.com/certs",
        "jwksCache": {"ttl": "10m", "staleFor": "1h", "minRefetchInterval": "30s"},
        "requireExpiration": false,
    });
    for (name, value) in provider.as_object().unwrap() {
        all[name] = value.clone();
    }
    json!({"providers": [all]})
}

fn worker(shared: &SharedData, config: &Value) -> Envoy {
    Envoy::builder().shared_data(shared.clone()).cluster(CLUSTER, Cluster::Healthy).start::<JwtAuthn>(config)
}

fn proxy(workers: usize, config: &Value) -> Vec<Envoy> {
    let shared = SharedData::default();
    (0..workers).map(|_| worker(&shared, config)).collect()
}

fn one() -> Envoy {
    proxy(1, &config(json!({}))).remove(0)
}

fn calls(workers: &[Envoy]) -> Vec<(usize, Call)> {
    let calls = |(index, worker): (usize, &Envoy)| worker.calls().into_iter().map(move |call| (index, call));
    workers.iter().enumerate().flat_map(calls).collect()
}

fn advance(workers: &[Envoy], by: Duration) {
    workers.iter().for_each(|worker| worker.advance(by));
}

/// Answers the only call of all workers.
#[track_caller]
fn answer(workers: &[Envoy], response: Response) {
    let [(worker, call)] =
        <[_; 1]>::try_from(calls(workers)).unwrap_or_else(|calls| panic!("{} calls", calls.len()));
    workers[worker].answer(call.token, response);
}

fn keys() -> Response {
    Response::new(200).body(signer::jwks())
}

fn only(jwk: String) -> Response {
    Response::new(200).body(format!("{{\"keys\":[{jwk}]}}"))
}

fn token() -> String {
    static TOKEN: LazyLock<String> = LazyLock::new(|| signer::token("EdDSA", r#"{"iss":"i"}"#));
    TOKEN.clone()
}

/// Nobody's, in the name of the issuer.
fn forged(kid: &str) -> String {
    let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
    format!("{}.{}.{}", signer::encode(header), signer::encode(r#"{"iss":"i"}"#), signer::encode([7; 64]))
}

/// Lets time pass until a key set is asked for.
#[track_caller]
fn next_call(envoy: &Envoy) -> Call {
    for _ in 0..1_000 {
        if let Some(call) = envoy.calls().pop() {
            return call;
        }
        envoy.advance(SECOND);
    }
    panic!("nobody asks");
}

fn with_kid(kid: &str) -> String {
    signer::with_header("EdDSA", &format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), r#"{"iss":"i"}"#)
}

/// 200 for a request that reached the upstream.
fn status(worker: &Envoy, token: &str) -> u16 {
    let stream = worker.request(Request::get("/").header("authorization", format!("Bearer {token}")));
    assert!(!stream.is_paused(), "no request waits for keys");
    stream.local_reply().map_or(200, |reply| reply.status)
}

#[test]
fn one_worker_fetches_and_all_have_the_keys() {
    let workers = proxy(5, &config(json!({})));
    advance(&workers, SECOND / 100);
    let fetch = calls(&workers);
    assert_eq!(fetch.len(), 1, "{fetch:?}");
    let call = &fetch[0].1;
    assert_eq!(call.lines(":path"), ["/certs"]);
    assert_eq!(call.lines(":authority"), ["issuer.example.com"]);
    assert_eq!(call.timeout, 5 * SECOND);
    assert!(workers.iter().all(|worker| status(worker, &token()) == 503), "nobody waits");
    answer(&workers, keys());
    assert!(workers.iter().all(|worker| status(worker, &token()) == 200), "before anybody's next tick");
    advance(&workers, 60 * SECOND);
    assert_eq!(calls(&workers).len(), 0);
}

#[test]
fn nothing_is_fetched_while_configuring() {
    let envoy = one();
    assert!(!envoy.hostcalls().iter().any(|call| call.starts_with("http_call")), "{:?}", envoy.hostcalls());
    assert!(envoy.hostcalls().contains(&"tick_period 10".to_owned()));
}

#[test]
fn without_keys_the_answer_is_as_configured() {
    for (configured, expected, header) in [(503, 503, None), (401, 401, Some(r#"Bearer realm="api""#))] {
        let workers = proxy(1, &config(json!({"onJwksUnavailable": configured})));
        let stream =
            workers[0].request(Request::get("/").header("authorization", format!("Bearer {}", token())));
        let reply = stream.local_reply().unwrap();
        assert_eq!(reply.status, expected);
        assert_eq!(reply.lines("www-authenticate").first().map(String::as_str), header);
        assert_eq!(workers[0].metric("wasm_filter.jwt_authn.component.jwks_unavailable.denied_total"), 1);
    }
}

#[test]
fn keys_are_fetched_again_before_they_expire() {
    let workers = proxy(3, &config(json!({})));
    advance(&workers, SECOND);
    answer(&workers, keys());
    advance(&workers, 478 * SECOND);
    assert_eq!(calls(&workers).len(), 0);
    advance(&workers, 3 * SECOND);
    answer(&workers, keys());
    assert_eq!(status(&workers[0], &token()), 200);
}

#[test]
fn down_at_start_it_is_asked_again_with_pauses() {
    let envoy = one();
    let mut fetches = 0;
    for _ in 0..120 {
        envoy.advance(SECOND);
        for call in envoy.calls() {
            envoy.answer(call.token, Response::new(503));
            fetches += 1;
        }
    }
    assert!((7..=10).contains(&fetches), "{fetches} fetches in two minutes");
    envoy.answer(next_call(&envoy).token, keys());
    assert_eq!(status(&envoy, &token()), 200);
    assert_eq!(envoy.metric("wasm_filter.jwt_authn.component.failed.jwks_fetch_total"), fetches);
    assert_eq!(envoy.metric("wasm_filter.jwt_authn.component.success.jwks_fetch_total"), 1);
}

#[test]
fn down_later_the_last_keys_are_good_until_they_are_stale() {
    let envoy = one();
    envoy.advance(SECOND);
    envoy.answer(envoy.call().token, keys());
    for _ in 0..(69 * 12) {
        envoy.advance(5 * SECOND);
        envoy.calls().iter().for_each(|call| envoy.answer(call.token, Response::new(500)));
        assert_eq!(status(&envoy, &token()), 200);
    }
    envoy.advance(120 * SECOND);
    assert_eq!(status(&envoy, &token()), 503);
    envoy.answer(next_call(&envoy).token, keys());
    assert_eq!(status(&envoy, &token()), 200);
}

#[test]
fn what_is_no_key_set_takes_nothing_away() {
    let odd: [Response; 9] = [
        Response::new(404).body(signer::jwks()),
        Response::new(301).header("location", "https://evil.example/"),
        Response::new(200),
        Response::new(200).body("<html>"),
        Response::new(200).body(b"\xff\xfe\x00"),
        Response::new(200).body(r#"{"keys":[]}"#),
        Response::new(200).body("[".repeat(200_000)),
        Response::new(200).body(vec![b' '; 10 << 20]),
        Response::new(200).body(signer::secret_jwks()),
    ];
    let envoy = one();
    envoy.advance(SECOND);
    envoy.answer(envoy.call().token, keys());
    for response in odd {
        envoy.answer(next_call(&envoy).token, response);
        assert_eq!(status(&envoy, &token()), 200);
    }
    envoy.reset_call(next_call(&envoy).token);
    assert_eq!(status(&envoy, &token()), 200);
    assert_eq!(envoy.metric("wasm_filter.jwt_authn.component.failed.jwks_fetch_total"), 10);
}

#[test]
fn a_slow_answer_is_given_up_and_asked_for_again() {
    let envoy = one();
    envoy.advance(SECOND);
    assert_eq!(envoy.calls().len(), 1);
    envoy.advance(4 * SECOND);
    assert_eq!(status(&envoy, &token()), 503);
    envoy.advance(3 * SECOND);
    assert_eq!(envoy.calls().len(), 1, "another one");
    envoy.answer(envoy.call().token, keys());
    assert_eq!(status(&envoy, &token()), 200);
}

#[test]
fn an_odd_key_is_left_out_and_the_others_count() {
    let envoy = one();
    envoy.advance(SECOND);
    let odd = r#"{"kty":"AKP","kid":"new"},{"kty":"OKP","crv":"Ed25519","x":"AA","kid":"short"},7"#;
    envoy.answer(envoy.call().token, only(format!("{odd},{}", signer::ed25519_jwk("ed"))));
    assert_eq!(status(&envoy, &token()), 200);
    let logs = envoy.log_lines();
    assert!(
        logs.iter().any(|line| line == r#"a key of provider p is left out: key "new": an unknown kty"#),
        "{logs:?}"
    );
}

#[test]
fn a_rotated_key_is_fetched_and_meanwhile_nobody_is_told_that_a_good_token_is_bad() {
    for workers in [1, 4] {
        let workers = proxy(workers, &config(json!({})));
        advance(&workers, SECOND);
        answer(&workers, only(signer::ed25519_jwk("old")));
        advance(&workers, SECOND);
        assert!(workers.iter().all(|worker| status(worker, &with_kid("old")) == 200));
        assert!(
            workers.iter().all(|worker| status(worker, &with_kid("new")) == 503),
            "somebody goes and looks"
        );
        advance(&workers, SECOND / 100);
        assert!(workers.iter().all(|worker| status(worker, &with_kid("new")) == 503));
        let both = [signer::ed25519_jwk("old"), signer::ed25519_jwk("new")].join(",");
        answer(&workers, only(both));
        for worker in &workers {
            assert_eq!((status(worker, &with_kid("new")), status(worker, &with_kid("old"))), (200, 200));
        }
    }
}

#[test]
fn a_removed_key_takes_its_tokens_with_it_out_of_the_cache_too() {
    let envoy = one();
    envoy.advance(SECOND);
    envoy.answer(envoy.call().token, only(signer::ed25519_jwk("old")));
    assert_eq!((status(&envoy, &with_kid("old")), status(&envoy, &with_kid("old"))), (200, 200));
    envoy.answer(next_call(&envoy).token, only(signer::ed25519_jwk("new")));
    assert_eq!(status(&envoy, &with_kid("new")), 200);
    assert_ne!(status(&envoy, &with_kid("old")), 200);
}

#[test]
fn a_thousand_unknown_kids_are_one_fetch_in_an_interval() {
    for workers in [1, 4] {
        let workers = proxy(workers, &config(json!({})));
        advance(&workers, SECOND);
        answer(&workers, keys());
        let mut fetches = 0;
        let mut statuses = Vec::new();
        for number in 0..1_000 {
            statuses.push(status(&workers[number % workers.len()], &forged(&format!("k{number}"))));
            advance(&workers, SECOND / 20);
            for (worker, call) in calls(&workers) {
                workers[worker].answer(call.token, keys());
                fetches += 1;
            }
            assert_eq!(status(&workers[number % workers.len()], &token()), 200);
        }
        assert_eq!(fetches, 2, "in 50 seconds, one in each 30");
        assert!(statuses.iter().all(|status| matches!(status, 401 | 503)));
        assert!(statuses.iter().filter(|status| **status == 503).count() <= 2 * workers.len());
    }
}

#[test]
fn unknown_kids_of_other_issuers_and_of_configured_keys_fetch_nothing() {
    let envoy = one();
    envoy.advance(SECOND);
    envoy.answer(envoy.call().token, keys());
    let foreign = signer::with_header("EdDSA", r#"{"alg":"EdDSA","kid":"x"}"#, r#"{"iss":"other"}"#);
    assert_eq!(status(&envoy, &foreign), 401);
    envoy.advance(5 * SECOND);
    assert_eq!(envoy.calls().len(), 0);
    let off =
        json!({"ttl": "10m", "staleFor": "1h", "minRefetchInterval": "30s", "refetchOnUnknownKid": false});
    let workers = proxy(1, &config(json!({"jwksCache": off})));
    advance(&workers, SECOND);
    answer(&workers, keys());
    assert_eq!(status(&workers[0], &with_kid("x")), 401);
    advance(&workers, 5 * SECOND);
    assert_eq!(calls(&workers).len(), 0);
}

#[test]
fn a_leader_that_dies_is_replaced() {
    let shared = SharedData::default();
    let first = worker(&shared, &config(json!({})));
    first.advance(SECOND);
    assert_eq!(first.calls().len(), 1);
    drop(first);
    let second = worker(&shared, &config(json!({})));
    second.advance(5 * SECOND);
    assert_eq!(second.calls().len(), 0, "the first may yet come back");
    second.advance(3 * SECOND);
    second.answer(second.call().token, keys());
    assert_eq!(status(&second, &token()), 200);
}

#[test]
fn a_cluster_that_is_not_there_is_no_reason_to_hang() {
    for cluster in [None, Some(Cluster::NoEndpoints)] {
        let mut builder = Envoy::builder();
        if let Some(cluster) = cluster {
            builder = builder.cluster(CLUSTER, cluster);
        }
        let envoy = builder.start::<JwtAuthn>(config(json!({})));
        envoy.advance(10 * SECOND);
        assert_eq!(status(&envoy, &token()), 503);
        envoy.set_cluster(CLUSTER, Cluster::Healthy);
        envoy.answer(next_call(&envoy).token, keys());
        assert_eq!(status(&envoy, &token()), 200);
    }
}

#[test]
fn another_instance_and_a_new_configuration_use_what_is_there() {
    let shared = SharedData::default();
    let first = worker(&shared, &config(json!({})));
    first.advance(SECOND);
    first.answer(first.call().token, keys());
    let second = worker(&shared, &config(json!({"name": "again"})));
    assert_eq!(status(&second, &token()), 200, "at once");
    assert!(first.reconfigure::<JwtAuthn>(config(json!({"clockSkew": "1s"}))));
    assert_eq!(status(&first, &token()), 200, "at once");
    assert_eq!(first.calls().len() + second.calls().len(), 0);
}

#[test]
fn what_somebody_else_wrote_into_shared_data_is_no_key_set() {
    let envoy = one();
    envoy.advance(SECOND);
    envoy.answer(envoy.call().token, keys());
    for key in envoy.shared_data().keys() {
        envoy.shared_data().set(&key, b"\xff\x00nonsense");
    }
    envoy.advance(2 * SECOND);
    assert!(matches!(status(&envoy, &token()), 200 | 503));
    envoy.answer(envoy.call().token, keys());
    assert_eq!(status(&envoy, &token()), 200);
}

#[test]
fn the_workers_do_not_disturb_each_other_between_read_and_write() {
    let workers = proxy(2, &config(json!({})));
    let (first, second) = (&workers[0], &workers[1]);
    second.advance(SECOND);
    let taken = first.shared_data();
    let record = taken.keys().into_iter().find(|key| key.ends_with("/record")).unwrap();
    let leased = taken.get(&record).unwrap();
    second.answer(second.call().token, keys());
    let fetched = taken.get(&record).unwrap();
    taken.set(&record, b"");
    first.shared_data().before_next_write(move |shared| shared.set(&record, &leased));
    first.advance(SECOND);
    assert_eq!(first.calls().len(), 0, "the other one was faster");
    let record = taken.keys().into_iter().find(|key| key.ends_with("/record")).unwrap();
    taken.set(&record, fetched);
    assert_eq!(status(first, &token()), 200);
}
