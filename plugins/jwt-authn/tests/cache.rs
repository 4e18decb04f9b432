//! The cache saves work and decides nothing: whatever comes, the answers are those of a plugin without one.
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
use plugin_testkit::{Cluster, Envoy, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The clock of the in-memory Envoy starts at 1767571200.
const NOW: u64 = 1_767_571_200;
const SECRETS: [&str; 2] = ["a secret that has 32 bytes in it", "another one of 32 bytes, also so"];

/// Two providers with one issuer, other keys and other ideas of time; one whose keys come and go.
fn config(entries: usize) -> Value {
    let shared = |name: &str, secret: &str, skew: &str| {
        json!({
            "name": name, "issuer": "i", "algorithms": ["HS256"], "secret": {"value": secret}, "clockSkew": skew,
            "outputClaimToHeaders": [{"header": format!("x-{name}"), "claim": "sub"}]})
    };
    json!({
        "providers": [
            shared("a", SECRETS[0], "0s"),
            shared("b", SECRETS[1], "5s"),
            shared("both", SECRETS[0], "9s"),
            {"name": "c", "issuer": "c", "jwksUri": "https://c/keys", "jwksCluster": "c",
             "outputPayloadToHeader": "x-c", "jwksCache": {"ttl": "10s", "staleFor": "20s", "minRefetchInterval": "1s"}}],
        "rules": [
            {"match": {"paths": [{"exact": "/a"}]}, "requires": {"provider": "a"}},
            {"match": {"paths": [{"exact": "/b"}]}, "requires": {"anyOf": ["both", "b"], "claims": [{"claim": "sub", "anyOf": ["alice"]}]}},
            {"match": {"paths": [{"exact": "/c"}]}, "requires": {"provider": "c", "allowMissing": true}}],
        "tokenCache": {"entries": entries, "maxTtl": "4s"},
    })
}

fn tokens() -> Vec<String> {
    let by_secret = |secret: &str, claims: &str| {
        let signed = format!("{}.{}", signer::encode(r#"{"alg":"HS256"}"#), signer::encode(claims));
        let signature = signer::hmac_sha256(secret.as_bytes(), signed.as_bytes());
        format!("{signed}.{}", signer::encode(signature))
    };
    let mut tokens = vec!["a.b.c".to_owned()];
    for secret in SECRETS {
        for (sub, from, to) in [("alice", 0, 600), ("bob", 0, 600), ("alice", 3, 6)] {
            let (nbf, exp) = (NOW + from, NOW + to);
            tokens
                .push(by_secret(secret, &format!(r#"{{"iss":"i","sub":"{sub}","nbf":{nbf},"exp":{exp}}}"#)));
        }
    }
    for algorithm in ["EdDSA", "ES256"] {
        tokens.push(signer::token(algorithm, format!(r#"{{"iss":"c","exp":{}}}"#, NOW + 300)));
    }
    let forged = tokens[1].replace(&tokens[1][tokens[1].len() - 9..], "AAAAAAAAA");
    tokens.push(forged);
    tokens
}

#[derive(Clone, Debug)]
enum Step {
    Send {
        token: usize,
        path: &'static str,
    },
    /// Seconds since the start; back, too.
    SetClock(u64),
    /// Seconds, and which key set is served from now on.
    Advance(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..tokens().len(), prop::sample::select(vec!["/a", "/b", "/c", "/"]))
            .prop_map(|(token, path)| Step::Send { token, path }),
        1 => (0..12_u64).prop_map(Step::SetClock),
        2 => (1..12_u64, 0..3_usize).prop_map(|(seconds, set)| Step::Advance(seconds, set)),
    ]
}

/// What the client and the upstream see.
fn take(envoy: &Envoy, step: &Step, tokens: &[String]) -> String {
    match step {
        Step::Send { token, path } => {
            let stream = envoy
                .request(Request::get(*path).header("authorization", format!("Bearer {}", tokens[*token])));
            format!("{:?} {:?}", stream.local_reply(), stream.upstream())
        }
        Step::SetClock(seconds) => {
            envoy.set_wall_clock(Duration::from_secs(NOW + seconds));
            String::new()
        }
        Step::Advance(seconds, set) => {
            let keys =
                [signer::jwks(), format!(r#"{{"keys":[{}]}}"#, signer::p256_jwk("p256")), String::new()];
            envoy.advance(Duration::from_secs(*seconds));
            for call in envoy.calls() {
                envoy.answer(call.token, Response::new(200).body(keys[*set].clone()));
            }
            String::new()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_cache_changes_no_answer(steps in vec(step(), 1..40), entries in 1..4_usize) {
        let start = |entries| {
            Envoy::builder().cluster("c", Cluster::Healthy).start::<JwtAuthn>(config(entries))
        };
        let (with, without) = (start(entries), start(0));
        let tokens = tokens();
        for (number, step) in steps.iter().enumerate() {
            prop_assert_eq!(
                take(&with, step, &tokens), take(&without, step, &tokens), "step {}: {:?}", number, step
            );
        }
    }
}

#[test]
fn a_token_that_one_provider_refuses_and_another_takes_is_taken_again_and_again() {
    let envoy = Envoy::start::<JwtAuthn>(config(10));
    let by_the_second = &tokens()[4];
    for time in 0..3 {
        let request = Request::get("/").header("authorization", format!("Bearer {by_the_second}"));
        assert!(envoy.request(request).upstream().is_some(), "{time}");
    }
    assert_eq!(envoy.metric("wasm_filter.jwt_authn.cache.hit.lookups_total"), 2);
}
