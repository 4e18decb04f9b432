//! Key sets that are fetched: by one worker for all, before it is too late, and never on behalf of a flood.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)]

mod signer;

use std::sync::LazyLock;
use std::time::Duration;

use jwt_authn::JwtAuthn;
use plugin_testkit::{Call, Cluster, Envoy, Headers, Request, Response, SharedData, Stream};
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

/// A token of the RSA key.
fn rs256(kid: &str) -> String {
    signer::with_header("RS256", &format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#), r#"{"iss":"i"}"#)
}

fn with_kid(kid: &str) -> String {
    signer::with_header("EdDSA", &format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), r#"{"iss":"i"}"#)
}

fn bearer(token: &str) -> Request {
    Request::get("/").header("authorization", format!("Bearer {token}"))
}

/// 200 for a request that reached the upstream, 0 for one that waits.
fn status_of(stream: &Stream) -> u16 {
    match stream.local_reply() {
        Some(reply) => reply.status,
        None if stream.upstream().is_some() => 200,
        None => 0,
    }
}

/// The status of a request that does not wait.
#[track_caller]
fn status(worker: &Envoy, token: &str) -> u16 {
    let stream = worker.request(bearer(token));
    assert!(!stream.is_paused(), "the request waits");
    status_of(&stream)
}

/// Requests that wait, one for each token.
#[track_caller]
fn waiting(worker: &Envoy, tokens: &[String]) -> Vec<Stream> {
    let streams: Vec<Stream> = tokens.iter().map(|token| worker.request(bearer(token))).collect();
    assert!(
        streams.iter().all(|stream| status_of(stream) == 0 && stream.is_paused()),
        "a request does not wait"
    );
    streams
}

fn statuses(streams: &[Stream]) -> Vec<u16> {
    streams.iter().map(status_of).collect()
}

/// Workers that have this key set, as it was fetched a second ago.
fn proxy_with(workers: usize, config: &Value, keys: Response) -> Vec<Envoy> {
    let workers = proxy(workers, config);
    advance(&workers, SOON);
    answer(&workers, keys);
    advance(&workers, SECOND);
    workers
}

/// Until the tick in which a call is made, or its answer is noticed.
const SOON: Duration = Duration::from_millis(10);

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
fn the_first_tokens_of_a_rotated_key_wait_for_the_fetch_and_pass() {
    for count in [1, 4] {
        let workers = proxy_with(count, &config(json!({})), only(signer::ed25519_jwk("old")));
        assert!(workers.iter().all(|worker| status(worker, &with_kid("old")) == 200));
        let new = with_kid("new");
        let streams: Vec<Vec<Stream>> =
            workers.iter().map(|worker| waiting(worker, &vec![new.clone(); 64 / count])).collect();
        assert!(
            workers.iter().all(|worker| status(worker, &with_kid("old")) == 200),
            "other keys do not wait"
        );
        advance(&workers, SOON);
        answer(&workers, only([signer::ed25519_jwk("old"), signer::ed25519_jwk("new")].join(",")));
        advance(&workers, SOON);
        for streams in &streams {
            assert_eq!(statuses(streams), vec![200; 64 / count], "{count} workers");
            assert_eq!(streams[0].upstream().unwrap().lines("authorization"), [""; 0]);
        }
        assert!(workers.iter().all(|worker| status(worker, &new) == 200));
        assert_eq!(calls(&workers).len(), 0);
        let allowed = "wasm_filter.jwt_authn.allowed_total";
        let counted: u64 = workers.iter().map(|worker| worker.metric(allowed)).sum();
        assert_eq!(counted, 64 + 3 * workers.len() as u64, "each request is counted once");
    }
}

#[test]
fn a_worker_whose_neighbour_fetches_wakes_its_requests_within_a_tick() {
    let workers = proxy_with(2, &config(json!({})), keys());
    // Both are in their pauses of a second between two ticks.
    advance(&workers, SECOND + SECOND / 2);
    let first = waiting(&workers[0], &[with_kid("new")]);
    advance(&workers, SOON);
    assert_eq!(calls(&workers).len(), 1);
    let second = waiting(&workers[1], &[with_kid("new"), forged("x")]);
    answer(&workers, only(signer::ed25519_jwk("new")));
    advance(&workers, SOON);
    assert_eq!((statuses(&first), statuses(&second)), (vec![200], vec![200, 401]));
}

#[test]
fn unknown_kids_wait_for_the_answer_and_are_then_rejected() {
    for count in [1, 4] {
        let workers = proxy_with(count, &config(json!({})), keys());
        let tokens: Vec<String> = (0..40).map(|number| forged(&format!("k{number}"))).collect();
        let streams: Vec<Vec<Stream>> = workers.iter().map(|worker| waiting(worker, &tokens)).collect();
        advance(&workers, SOON);
        answer(&workers, keys());
        advance(&workers, SOON);
        assert!(streams.iter().all(|streams| statuses(streams) == [401; 40]));
        assert!(workers.iter().all(|worker| status(worker, &forged("another")) == 401), "at once");
        advance(&workers, 10 * SECOND);
        assert_eq!(calls(&workers).len(), 0);
        let details = streams[0][0].local_reply().unwrap().details;
        assert_eq!(details, "jwt_authn_access_denied{unknown_kid}");
    }
}

#[test]
fn an_unknown_kid_gets_503_only_where_the_fetch_fails() {
    let failures: [fn(&Envoy, u32); 3] = [
        |envoy, token| envoy.answer(token, Response::new(500)),
        |envoy, token| envoy.answer(token, Response::new(200).body("<html>")),
        |envoy, token| envoy.reset_call(token),
    ];
    for fail in failures {
        let workers = proxy_with(2, &config(json!({})), keys());
        let streams: Vec<Vec<Stream>> =
            workers.iter().map(|worker| waiting(worker, &[forged("a"), forged("b")])).collect();
        advance(&workers, SOON);
        let [(worker, call)] = <[_; 1]>::try_from(calls(&workers)).unwrap();
        fail(&workers[worker], call.token);
        advance(&workers, SOON);
        assert!(streams.iter().all(|streams| statuses(streams) == [503, 503]));
        for worker in &workers {
            assert_eq!(status(worker, &forged("c")), 503, "at once, as the set may be outdated");
            assert_eq!(status(worker, &token()), 200);
        }
    }
}

#[test]
fn a_slow_fetch_holds_no_request_for_longer_than_the_timeout() {
    let workers = proxy_with(2, &config(json!({"timeout": "2s", "onJwksUnavailable": 401})), keys());
    let first = waiting(&workers[0], &[forged("a")]);
    advance(&workers, SECOND);
    let second = waiting(&workers[1], &[forged("b")]);
    advance(&workers, SECOND - SOON);
    assert_eq!((statuses(&first), statuses(&second)), (vec![0], vec![0]));
    advance(&workers, SOON);
    assert_eq!((statuses(&first), statuses(&second)), (vec![401], vec![0]));
    assert_eq!(first[0].local_reply().unwrap().details, "jwt_authn_access_denied{jwks_unavailable}");
    advance(&workers, SECOND);
    assert_eq!(statuses(&second), [401]);
}

#[test]
fn a_fetch_that_cannot_be_started_holds_no_request() {
    let workers = proxy_with(1, &config(json!({})), keys());
    workers[0].set_cluster(CLUSTER, Cluster::NoEndpoints);
    let streams = waiting(&workers[0], &[forged("a")]);
    advance(&workers, SOON);
    assert_eq!(statuses(&streams), [503]);
}

#[test]
fn a_start_with_unknown_kids_is_one_fetch_and_then_one_more() {
    let workers = proxy(4, &config(json!({})));
    assert!(workers.iter().all(|worker| status(worker, &forged("a")) == 503), "there have never been keys");
    advance(&workers, SOON);
    answer(&workers, keys());
    let streams: Vec<Stream> = workers.iter().flat_map(|worker| waiting(worker, &[forged("b")])).collect();
    advance(&workers, SECOND / 10);
    assert_eq!(calls(&workers).len(), 0, "the set has just been fetched");
    assert_eq!(statuses(&streams), [0; 4]);
    advance(&workers, SECOND / 10);
    answer(&workers, keys());
    advance(&workers, SOON);
    assert_eq!(statuses(&streams), [401; 4]);
    advance(&workers, 29 * SECOND);
    assert_eq!(calls(&workers).len(), 0);
}

#[test]
fn a_client_that_leaves_does_not_wait() {
    let workers = proxy_with(1, &config(json!({})), keys());
    let mut streams = waiting(&workers[0], &[with_kid("new"), with_kid("new"), with_kid("new")]);
    streams[1].finish();
    drop(streams.remove(0));
    advance(&workers, SOON);
    answer(&workers, only(signer::ed25519_jwk("new")));
    assert_eq!(statuses(&streams), [0, 200]);
    assert!(!streams[0].hostcalls().iter().any(|call| call.starts_with("continue")));
}

#[test]
fn the_number_of_requests_that_wait_is_bounded() {
    let workers = proxy_with(1, &config(json!({})), keys());
    let streams = waiting(&workers[0], &vec![with_kid("new"); 1024]);
    assert_eq!(status(&workers[0], &with_kid("new")), 503);
    assert_eq!(status(&workers[0], &token()), 200);
    advance(&workers, SOON);
    answer(&workers, only(signer::ed25519_jwk("new")));
    assert_eq!(statuses(&streams), [200; 1024]);
}

#[test]
fn a_request_that_waits_arrives_whole_and_without_the_clients_identity() {
    let outputs = json!({"outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}]});
    let workers = proxy_with(1, &config(outputs), keys());
    let token =
        signer::with_header("EdDSA", r#"{"alg":"EdDSA","kid":"new"}"#, r#"{"iss":"i","sub":"alice"}"#);
    let request = Request::post("/")
        .header("authorization", format!("Bearer {token}"))
        .header("x-user-id", "root")
        .chunks(["a", "b"])
        .trailer("x-user-id", "root");
    let stream = workers[0].request(request);
    assert_eq!(status_of(&stream), 0);
    advance(&workers, SOON);
    answer(&workers, only(signer::ed25519_jwk("new")));
    let upstream = stream.upstream().unwrap();
    assert_eq!(
        (upstream.lines("x-user-id"), upstream.body.as_slice()),
        (vec!["alice".to_owned()], &b"ab"[..])
    );
    assert_eq!((upstream.lines("authorization"), upstream.trailers.as_slice()), (vec![], &[][..]));
    assert!(stream.filter_state("jwt_authn.payload").is_some());
}

#[test]
fn a_grpc_request_that_waited_is_rejected_as_grpc() {
    let workers = proxy_with(1, &config(json!({})), keys());
    let stream = workers[0].request(bearer(&forged("a")).header("content-type", "application/grpc"));
    advance(&workers, SOON);
    answer(&workers, keys());
    let response = stream.response();
    assert_eq!((response.status, response.lines("grpc-status")), (200, vec!["16".to_owned()]));
}

#[test]
fn a_request_waits_where_a_rule_lets_invalid_tokens_pass_too() {
    let mut config = config(json!({"outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}]}));
    config["defaultRequire"] = json!({"allowMissingOrInvalid": true});
    let workers = proxy_with(1, &config, keys());
    let alice =
        signer::with_header("EdDSA", r#"{"alg":"EdDSA","kid":"new"}"#, r#"{"iss":"i","sub":"alice"}"#);
    let streams = waiting(&workers[0], &[alice, forged("x")]);
    advance(&workers, SOON);
    answer(&workers, only(signer::ed25519_jwk("new")));
    assert_eq!(statuses(&streams), [200, 200]);
    let users = streams.iter().map(|stream| stream.upstream().unwrap().lines("x-user-id"));
    assert_eq!(users.collect::<Vec<_>>(), [vec!["alice".to_owned()], vec![]]);
}

#[test]
fn preflights_and_dry_runs_do_not_wait() {
    let workers = proxy_with(1, &config(json!({})), keys());
    let preflight = Request::new("OPTIONS", "/")
        .header("origin", "o")
        .header("access-control-request-method", "GET")
        .header("authorization", format!("Bearer {}", forged("a")));
    assert_eq!(status_of(&workers[0].request(preflight)), 200);
    let mut dry = config(json!({}));
    dry["mode"] = json!("dryRun");
    let workers = proxy_with(1, &dry, keys());
    assert_eq!(status(&workers[0], &forged("a")), 200);
    advance(&workers, SOON);
    answer(&workers, keys());
    assert_eq!(status(&workers[0], &forged("a")), 200);
    let denied =
        |reason: &str| workers[0].metric(&format!("wasm_filter.jwt_authn.component.{reason}.denied_total"));
    assert_eq!((denied("jwks_unavailable"), denied("unknown_kid")), (1, 1));
}

#[test]
fn requests_that_wait_are_answered_whatever_happens_to_the_configuration_or_the_clock() {
    let workers = proxy_with(1, &config(json!({})), keys());
    let streams = waiting(&workers[0], &[with_kid("new")]);
    assert!(workers[0].reconfigure::<JwtAuthn>(config(json!({"clockSkew": "1s"}))));
    advance(&workers, SOON);
    answer(&workers, only(signer::ed25519_jwk("new")));
    advance(&workers, SOON);
    assert_eq!(statuses(&streams), [200]);

    let workers = proxy_with(1, &config(json!({})), keys());
    let streams = waiting(&workers[0], &[with_kid("new")]);
    workers[0].fail_clocks();
    advance(&workers, SOON);
    assert_eq!(statuses(&streams), [503]);
    assert_eq!(status(&workers[0], &token()), 503);
}

#[test]
fn a_key_that_is_replaced_under_its_kid_or_has_none_is_fetched() {
    let other = |kid: &str| format!(r#"{{{kid}"kty":"RSA","n":"{}","e":"AQAB"}}"#, signer::OTHER_RSA_N);
    let nameless = signer::rsa_jwk("k").replace(r#""kid":"k","#, "");
    for (old, new) in [
        (other(r#""kid":"k","#), signer::rsa_jwk("k")),
        (other(""), nameless.clone()),
        (signer::p256_jwk("k"), signer::rsa_jwk("k")),
        (signer::p256_jwk("k"), nameless),
    ] {
        for count in [1, 4] {
            let workers = proxy_with(count, &config(json!({})), only(old.clone()));
            let streams: Vec<Stream> =
                workers.iter().flat_map(|worker| waiting(worker, &[rs256("k"), rs256("k")])).collect();
            advance(&workers, SOON);
            answer(&workers, only(new.clone()));
            advance(&workers, SOON);
            assert_eq!(statuses(&streams), vec![200; 2 * count], "{old}");
        }
    }
}

#[test]
fn a_forged_signature_is_one_fetch_in_an_interval() {
    let workers = proxy_with(1, &config(json!({})), keys());
    let forged = forged("ed");
    let streams = waiting(&workers[0], std::slice::from_ref(&forged));
    advance(&workers, SOON);
    answer(&workers, keys());
    assert_eq!(statuses(&streams), [401]);
    for _ in 0..28 {
        advance(&workers, SECOND);
        assert_eq!(status(&workers[0], &forged), 401);
    }
    assert_eq!(calls(&workers).len(), 0);
    advance(&workers, 2 * SECOND);
    let streams = waiting(&workers[0], &[forged]);
    advance(&workers, SOON);
    answer(&workers, only(signer::ed25519_jwk("another")));
    assert_eq!(statuses(&streams), [401]);
}

#[test]
fn a_token_of_one_provider_does_not_make_another_one_fetch() {
    let mut config = config(json!({}));
    let second = json!({
        "name": "second", "issuer": "i", "requireExpiration": false, "jwks": signer::jwks()});
    config["providers"].as_array_mut().unwrap().push(second);
    let workers = proxy_with(1, &config, only(signer::ed25519_jwk("other")));
    assert_eq!(status(&workers[0], &rs256("rsa")), 200);
    advance(&workers, SECOND);
    assert_eq!(calls(&workers).len(), 0);
}

#[test]
fn a_removed_key_takes_its_tokens_with_it_out_of_the_cache_too() {
    let envoy = one();
    envoy.advance(SECOND);
    envoy.answer(envoy.call().token, only(signer::ed25519_jwk("old")));
    assert_eq!((status(&envoy, &with_kid("old")), status(&envoy, &with_kid("old"))), (200, 200));
    envoy.answer(next_call(&envoy).token, only(signer::ed25519_jwk("new")));
    assert_eq!(status(&envoy, &with_kid("new")), 200);
    let removed = waiting(&envoy, &[with_kid("old")]);
    envoy.advance(SECOND);
    envoy.answer(envoy.call().token, only(signer::ed25519_jwk("new")));
    assert_eq!(statuses(&removed), [401]);
}

#[test]
fn a_thousand_unknown_kids_are_one_fetch_in_an_interval() {
    for workers in [1, 4] {
        let workers = proxy(workers, &config(json!({})));
        advance(&workers, SECOND);
        answer(&workers, keys());
        let mut fetches = 0;
        let mut streams = Vec::new();
        for number in 0..1_000 {
            streams.push(workers[number % workers.len()].request(bearer(&forged(&format!("k{number}")))));
            advance(&workers, SECOND / 20);
            for (worker, call) in calls(&workers) {
                workers[worker].answer(call.token, keys());
                fetches += 1;
            }
            assert_eq!(status(&workers[number % workers.len()], &token()), 200);
        }
        assert_eq!(fetches, 2, "in 50 seconds, one in each 30");
        assert_eq!(statuses(&streams), [401; 1_000], "none is unavailable while the service answers");
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
