//! What a neighbour does to the shared data: another plugin of the same proxy can write any bytes under any key.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod signer;

use std::time::Duration;

use jwt_authn::JwtAuthn;
use plugin_testkit::{Cluster, Envoy, Request, Response, SharedData};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);
/// `ttl`: a removed key verifies for no longer, as long as the key server answers.
const TTL: u64 = 60;
/// The longest pause after failures, and one tick.
const LONGEST_PAUSE: u64 = 31;

fn worker(shared: &SharedData) -> Envoy {
    let config = json!({"providers": [{
        "name": "p", "issuer": "i", "requireExpiration": false, "jwksUri": "https://i/", "jwksCluster": "keys",
        "jwksCache": {"ttl": "60s", "staleFor": "1h", "minRefetchInterval": "30s"}}]});
    Envoy::builder().shared_data(shared.clone()).cluster("keys", Cluster::Healthy).start::<JwtAuthn>(config)
}

/// A key set of the RSA key and the Ed25519 key under these names.
fn keys(rsa: &str, ed: &str) -> String {
    format!(r#"{{"keys":[{},{}]}}"#, signer::rsa_jwk(rsa), signer::ed25519_jwk(ed))
}

fn token(algorithm: &str, kid: &str) -> String {
    signer::with_header(algorithm, &format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#), r#"{"iss":"i"}"#)
}

fn accepts(worker: &Envoy, token: &str) -> bool {
    worker.request(Request::get("/").header("authorization", format!("Bearer {token}"))).upstream().is_some()
}

/// A second passes, in which the server answers with this set.
fn pass_a_second(workers: &[Envoy], set: &str) -> usize {
    let mut answered = 0;
    for _ in 0..10 {
        for worker in workers {
            worker.advance(SECOND / 10);
        }
        for worker in workers {
            for call in worker.calls() {
                worker.answer(call.token, Response::new(200).body(set));
                answered += 1;
            }
        }
    }
    answered
}

type Values = Vec<(String, Vec<u8>)>;

fn values(shared: &SharedData) -> Values {
    shared.keys().into_iter().map(|key| (key.clone(), shared.get(&key).unwrap())).collect()
}

/// What is written under one key, with a name for it.
fn overwritten(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for length in [0, 1, 8, value.len() / 2, value.len().saturating_sub(1)] {
        all.push((format!("the first {length} bytes"), value[..length].to_vec()));
    }
    for byte in [0x00, 0xff, 0x7f] {
        for length in [8, 48, value.len(), value.len() + 1, 1 << 20] {
            all.push((format!("{length} times {byte:#x}"), vec![byte; length]));
        }
    }
    for word in 0..(value.len() / 8).min(12) {
        for byte in [0x00, 0xff] {
            let mut bytes = value.to_vec();
            bytes[word * 8..(word + 1) * 8].fill(byte);
            all.push((format!("{byte:#x} in word {word}"), bytes));
        }
    }
    all
}

#[test]
fn a_neighbour_neither_stops_fetches_nor_keeps_removed_keys() {
    let (kept, removed) = (token("EdDSA", "kept"), token("RS256", "removed"));
    let prepare = || {
        let shared = SharedData::default();
        let workers = vec![worker(&shared), worker(&shared)];
        let mut old = Vec::new();
        for worker in &workers {
            worker.advance(SECOND / 100);
        }
        old.push(values(&shared));
        pass_a_second(&workers, &keys("older", "kept"));
        old.push(values(&shared));
        // The next refresh.
        while !accepts(&workers[0], &removed) {
            assert!(pass_a_second(&workers, &keys("removed", "kept")) < 2);
        }
        pass_a_second(&workers, &keys("removed", "kept"));
        (shared, workers, old)
    };
    let (shared, _, old) = prepare();
    let mut all: Vec<(String, Values)> = Vec::new();
    for (key, value) in values(&shared) {
        for (name, bytes) in overwritten(&value) {
            all.push((format!("{key}: {name}"), vec![(key.clone(), bytes)]));
        }
    }
    for (version, values) in old.into_iter().enumerate() {
        for value in &values {
            all.push((format!("{}: version {version}", value.0), vec![value.clone()]));
        }
        all.push((format!("version {version}"), values));
    }
    for (name, values) in all {
        let (shared, mut workers, _) = prepare();
        for (key, bytes) in &values {
            shared.set(key, bytes);
        }
        // It knows nothing but what is in the shared data.
        workers.push(worker(&shared));
        let server = keys("another", "kept");
        let mut fetches = 0;
        for second in 0..=TTL + 10 {
            fetches += pass_a_second(&workers, &server);
            for (number, worker) in workers.iter().enumerate() {
                if number < 2 || second >= LONGEST_PAUSE {
                    assert!(accepts(worker, &kept), "{name}: worker {number} has no keys after {second} s");
                }
                if second >= TTL {
                    assert!(
                        !accepts(worker, &removed),
                        "{name}: worker {number} keeps a key after {second} s"
                    );
                }
            }
        }
        assert!((1..=4).contains(&fetches), "{name}: {fetches} fetches");
    }
}

#[test]
fn a_set_that_is_not_the_one_of_the_record_is_not_taken_over() {
    let shared = SharedData::default();
    let first = vec![worker(&shared)];
    pass_a_second(&first, &keys("old", "kept"));
    let before = values(&shared);
    while !accepts(&first[0], &token("RS256", "new")) {
        pass_a_second(&first, &keys("new", "kept"));
    }
    for (key, value) in before.iter().filter(|(key, _)| key.ends_with("/set")) {
        shared.set(key, value);
    }
    let second = worker(&shared);
    assert!(!accepts(&second, &token("RS256", "old")));
    second.advance(SECOND);
    second.answer(second.call().token, Response::new(200).body(keys("new", "kept")));
    assert!(accepts(&second, &token("RS256", "new")));
}
