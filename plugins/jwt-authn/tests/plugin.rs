//! The plugin as it ships, in the in-memory Envoy.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)]

mod host_crypto;
mod signer;

use jwt_authn::JwtAuthn;
use plugin_testkit::{Envoy, Headers, LogLevel, Request, Response};
use serde_json::{Value, json};

/// The clock of the in-memory Envoy starts at 1767571200.
const NOW: u64 = 1_767_571_200;

fn config(provider: Value) -> Value {
    let mut all = json!({
        "name": "p",
        "issuer": "https://issuer.example.com",
        "jwks": signer::jwks(),
        "outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}],
    });
    for (name, value) in provider.as_object().unwrap() {
        all[name] = value.clone();
    }
    json!({"providers": [all]})
}

fn claims() -> String {
    format!(r#"{{"iss":"https://issuer.example.com","sub":"alice","exp":{}}}"#, NOW + 300)
}

fn bearer(token: &str) -> Request {
    Request::get("/").header("authorization", format!("Bearer {token}"))
}

/// A metric, without what all of them begin with.
fn metric(envoy: &Envoy, rest: &str) -> u64 {
    envoy.metric(&format!("wasm_filter.jwt_authn.{rest}"))
}

#[test]
fn cases() {
    plugin_testkit::cases::<JwtAuthn>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn a_request_that_needs_no_token_costs_one_read_of_all_headers() {
    let mut config = config(json!({}));
    config["rules"] = json!([{"match": {"paths": [{"prefix": "/public"}]}, "requires": {"none": true}}]);
    let envoy = Envoy::start::<JwtAuthn>(config);
    drop(envoy.request(Request::get("/public")));
    assert_eq!(
        envoy.request(Request::get("/public")).hostcalls(),
        ["pairs", "metric.add wasm_filter.jwt_authn.allowed_total", "get x-user-id"]
    );
}

#[test]
fn a_token_that_is_known_costs_no_signature() {
    let envoy = Envoy::start::<JwtAuthn>(config(
        json!({"fromHeaders": [{"name": "authorization", "prefix": "Bearer "}]}),
    ));
    envoy.set_foreign_function("verify_signature", host_crypto::verify_signature);
    assert!(envoy.reconfigure::<JwtAuthn>(config(
        json!({"fromHeaders": [{"name": "authorization", "prefix": "Bearer "}]})
    )));
    let token = signer::token("RS256", claims());
    let first = envoy.request(bearer(&token)).hostcalls();
    assert!(first.contains(&"foreign verify_signature".to_owned()), "{first:?}");
    drop(envoy.request(bearer(&token)));
    assert_eq!(
        envoy.request(bearer(&token)).hostcalls(),
        [
            "pairs",
            "wall_clock",
            "metric.add wasm_filter.jwt_authn.cache.hit.lookups_total",
            "metric.add wasm_filter.jwt_authn.allowed_total",
            "remove authorization",
            "set x-user-id",
            "set_property jwt_authn.payload",
        ]
    );
    assert_eq!(
        (metric(&envoy, "cache.hit.lookups_total"), metric(&envoy, "cache.miss.lookups_total")),
        (2, 1)
    );
}

#[test]
fn a_known_token_ends_when_it_ends() {
    let envoy = Envoy::start::<JwtAuthn>(config(json!({"clockSkew": "0s"})));
    let token = signer::token("EdDSA", claims());
    for (second, status) in [(298, None), (300, Some(401)), (299, None)] {
        envoy.set_wall_clock(std::time::Duration::from_secs(NOW + second));
        let reply = envoy.request(bearer(&token)).local_reply().map(|reply| reply.status);
        assert_eq!(reply, status, "{second}");
    }
    assert_eq!(metric(&envoy, "cache.hit.lookups_total"), 2);
    assert_eq!(metric(&envoy, "component.expired.denied_total"), 1);
}

#[test]
fn one_byte_of_a_known_token_makes_it_another_one() {
    let envoy = Envoy::start::<JwtAuthn>(config(json!({})));
    let token = signer::token("ES256", claims());
    assert!(envoy.request(bearer(&token)).upstream().is_some());
    for at in 0..token.len() {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let stream = envoy.request(bearer(std::str::from_utf8(&other).unwrap()));
        assert_eq!(stream.local_reply().map(|reply| reply.status), Some(401), "byte {at}");
    }
}

#[test]
fn host_and_rust_give_the_same_verdict() {
    let tokens: Vec<String> = signer::ASYMMETRIC
        .iter()
        .flat_map(|algorithm| {
            let good = signer::token(algorithm, claims());
            let (signed, signature) = good.rsplit_once('.').unwrap();
            let bytes = signer::decode(signature);
            let mut flipped = bytes.clone();
            flipped[0] ^= 1;
            let short = &bytes[1..];
            let zeros = vec![0; bytes.len()];
            let forged: Vec<String> = [&flipped[..], short, &zeros, b"x"]
                .iter()
                .map(|signature| format!("{signed}.{}", signer::encode(signature)))
                .collect();
            let other_kid = signer::with_header(
                algorithm,
                &format!(
                    r#"{{"alg":"{algorithm}","kid":"{}"}}"#,
                    if signer::kid(algorithm) == "rsa" { "p256" } else { "rsa" }
                ),
                claims(),
            );
            [vec![good.clone(), other_kid], forged].concat()
        })
        .collect();
    let verdicts = |offload: &str, function: bool| -> Vec<Option<u16>> {
        let mut config = config(json!({}));
        config["cryptoOffload"] = json!(offload);
        config["tokenCache"] = json!({"entries": 0});
        let envoy = Envoy::start::<JwtAuthn>(&config);
        if function {
            envoy.set_foreign_function("verify_signature", host_crypto::verify_signature);
            assert!(envoy.reconfigure::<JwtAuthn>(&config));
        }
        let verdicts =
            tokens.iter().map(|token| envoy.request(bearer(token)).local_reply().map(|reply| reply.status));
        let verdicts = verdicts.collect();
        let probes = envoy.hostcalls().iter().filter(|call| *call == "foreign verify_signature").count();
        assert_eq!(probes > 5, offload == "auto" && function, "{offload} {function}: {probes}");
        verdicts
    };
    let rust = verdicts("never", true);
    assert_eq!(rust.iter().filter(|verdict| verdict.is_none()).count(), signer::ASYMMETRIC.len());
    assert_eq!(verdicts("auto", true), rust);
    assert_eq!(verdicts("auto", false), rust);
}

#[test]
fn the_payload_is_there_for_later_plugins() {
    let envoy = Envoy::start::<JwtAuthn>(config(json!({})));
    let stream = envoy.request(bearer(&signer::token("EdDSA", claims())));
    assert_eq!(stream.filter_state("jwt_authn.payload").as_deref(), Some(claims().as_bytes()));
    assert_eq!(envoy.request(Request::get("/")).filter_state("jwt_authn.payload"), None);
}

#[test]
fn a_reply_says_why_in_its_details() {
    let envoy = Envoy::start::<JwtAuthn>(config(json!({})));
    let reply = envoy.request(Request::get("/")).local_reply().unwrap();
    assert_eq!(reply.details, "jwt_authn_access_denied{missing}");
    let grpc = envoy.request(Request::post("/a.B/C").header("content-type", "application/grpc"));
    let reply = grpc.local_reply().unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (401, &b"a token is required"[..]));
}

#[test]
fn every_reason_is_counted_under_its_name() {
    let far = NOW + 300;
    let claims =
        |more: &str| format!(r#"{{"iss":"https://issuer.example.com","aud":"a","exp":{far}{more}}}"#);
    let mut config = config(json!({"audiences": ["a"], "tokenTypes": [""]}));
    config["limits"] = json!({"tokenBytes": 1024});
    config["rules"] = json!([
        {"match": {"paths": [{"exact": "/claims"}]}, "requires": {"claims": [{"claim": "role", "anyOf": ["a"]}]}},
        {"match": {"paths": [{"exact": "/scope"}]}, "requires": {"scopes": {"anyOf": ["a"]}}}]);
    let envoy = Envoy::start::<JwtAuthn>(config);
    let get = |path: &str, token: &str| Request::get(path).header("authorization", format!("Bearer {token}"));
    let ed = |claims: String| signer::token("EdDSA", claims);
    let good = ed(claims(""));
    let typed = signer::with_header("EdDSA", r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#, claims(""));
    let stranger = signer::with_header("EdDSA", r#"{"alg":"EdDSA","kid":"x"}"#, claims(""));
    for (reason, request, status) in [
        ("missing", Request::get("/"), 401),
        ("malformed", get("/", "a.b"), 401),
        ("alg", get("/", &signer::token("HS256", claims(""))), 401),
        ("issuer", get("/", &ed(r#"{"iss":"x"}"#.into())), 401),
        ("audience", get("/", &ed(claims("").replace("\"a\"", "\"b\""))), 401),
        ("expired", get("/", &ed(claims("").replace(&far.to_string(), "1"))), 401),
        ("not_yet_valid", get("/", &ed(claims(r#","nbf":9999999999"#))), 401),
        ("unknown_kid", get("/", &stranger), 401),
        (
            "signature",
            get("/", &format!("{}.{}", good.rsplit_once('.').unwrap().0, signer::encode([0; 64]))),
            401,
        ),
        ("claims", get("/claims", &good), 403),
        ("scope", get("/scope", &good), 403),
        ("multiple", get("/?access_token=x", &good), 400),
        ("too_large", get("/", &"a".repeat(1025)), 401),
        ("type", get("/", &typed), 401),
    ] {
        assert_eq!(envoy.request(request).local_reply().map(|reply| reply.status), Some(status), "{reason}");
        assert_eq!(metric(&envoy, &format!("component.{reason}.denied_total")), 1, "{reason}");
    }
    assert_eq!(metric(&envoy, "allowed_total"), 0);
    let denied: u64 = envoy
        .metrics()
        .iter()
        .filter(|(name, _)| name.ends_with(".denied_total"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(denied, 14, "each request is counted once");
}

#[test]
fn nothing_of_a_token_is_logged() {
    let envoy = Envoy::builder().log_level(LogLevel::Trace).start::<JwtAuthn>(config(json!({})));
    let token = signer::token("EdDSA", claims());
    let parts: Vec<&str> = token.split('.').collect();
    for text in [token.clone(), format!("{}.{}.AAAA", parts[0], parts[1]), "a.b.c".into()] {
        drop(envoy.request(bearer(&text)));
        drop(envoy.request(Request::get(format!("/?access_token={text}"))));
    }
    let logs = envoy.log_lines().join("\n");
    assert!(logs.contains("denied reason=signature provider=p"), "{logs}");
    assert!(parts.iter().all(|part| !logs.contains(part)), "{logs}");
}

#[test]
fn a_dry_run_says_what_it_would_do() {
    let mut config = config(json!({}));
    config["mode"] = json!("dryRun");
    let envoy = Envoy::start::<JwtAuthn>(config);
    let configured = envoy.log_lines().len();
    drop(envoy.request(Request::get("/a?access_token=x")));
    assert_eq!(envoy.log_lines()[configured..], ["dryRun denied reason=malformed provider=- path=/a"]);
}

#[test]
fn any_bytes_pass_or_are_refused() {
    let config = config(json!({
        "fromHeaders": [{"name": "authorization", "prefix": "Bearer "}, {"name": "x-token"}],
        "fromParams": ["access_token"], "fromCookies": ["session"]}));
    let envoy = Envoy::start::<JwtAuthn>(config);
    let hostile = [&b"\xff"[..], b"\xff.\xff.\xff", b"", b"...", b"\x01", b"eyJ", b"=.=.="];
    for bytes in hostile {
        let path = [b"/?access_token=", bytes].concat();
        for request in [
            Request::get("/").header("authorization", [b"Bearer ", bytes].concat()),
            Request::get("/").header("authorization", bytes),
            Request::get("/").header("x-token", bytes).header("x-user-id", bytes),
            Request::get("/").header("cookie", [b"session=", bytes].concat()),
            Request::new("\u{1}", path),
        ] {
            let reply = envoy.request(request).local_reply().unwrap();
            assert!(matches!(reply.status, 400 | 401), "{bytes:?}");
        }
    }
    let bare = Request::get("/").without(":path").without(":authority").without(":method");
    assert_eq!(envoy.request(bare).local_reply().unwrap().status, 400);
    envoy.log_only();
}

#[test]
fn a_bad_configuration_leaves_the_old_one_serving() {
    let envoy = Envoy::start::<JwtAuthn>(config(json!({})));
    assert!(!envoy.reconfigure::<JwtAuthn>(r#"{"providers": []}"#));
    let token = signer::token("EdDSA", claims());
    assert!(
        envoy.exchange(bearer(&token), Response::new(200)).upstream.unwrap().header("x-user-id").is_some()
    );
}

#[test]
fn the_current_secret_and_those_before_it_verify_tokens() {
    const SECRETS: [&str; 3] = [
        "the current secret of 32 bytes, ok",
        "the secret before, of 32 bytes too",
        "a secret that has been removed, 32",
    ];
    let config = json!({"providers": [{
        "name": "p", "issuer": "i", "algorithms": ["HS256"], "requireExpiration": false,
        "secret": [{"value": SECRETS[0]}, {"value": signer::encode(SECRETS[1]), "encoding": "base64url"}]}]});
    let envoy = Envoy::start::<JwtAuthn>(config);
    let token = |secret: &str| {
        let signed = format!(
            "{}.{}",
            signer::encode(r#"{"alg":"HS256","kid":"k"}"#),
            signer::encode(r#"{"iss":"i"}"#)
        );
        format!("{signed}.{}", signer::encode(signer::hmac_sha256(secret.as_bytes(), signed.as_bytes())))
    };
    let statuses =
        SECRETS.map(|secret| envoy.request(bearer(&token(secret))).local_reply().map(|reply| reply.status));
    assert_eq!(statuses, [None, None, Some(401)]);
}
