//! What others got wrong, on the plugin as it ships. The README says which test is about which of them.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)]

mod host_crypto;
mod signer;

use std::time::Duration;

use jwt_authn::JwtAuthn;
use plugin_testkit::{Cluster, Envoy, Headers, Request, Response};
use serde_json::{Value, json};

const CLAIMS: &str = r#"{"iss":"i","aud":"a","sub":"alice","exp":4102444800}"#;

fn config(more: Value) -> Value {
    let mut provider = json!({
        "name": "p", "issuer": "i", "audiences": ["a"], "jwks": signer::jwks(),
        "outputClaimToHeaders": [{"header": "x-user-id", "claim": "sub"}]});
    for (name, value) in more.as_object().unwrap() {
        provider[name] = value.clone();
    }
    json!({"providers": [provider]})
}

fn start(more: Value) -> Envoy {
    Envoy::start::<JwtAuthn>(config(more))
}

fn bearer(token: &str) -> Request {
    Request::get("/").header("authorization", format!("Bearer {token}"))
}

/// The reason, or that the request reached the upstream.
fn verdict(envoy: &Envoy, request: Request) -> String {
    match envoy.request(request).local_reply() {
        None => "valid".into(),
        Some(reply) => {
            let details = reply.details.strip_prefix("jwt_authn_access_denied{").unwrap();
            details.trim_end_matches('}').to_owned()
        }
    }
}

fn with_claims(claims: &str) -> String {
    signer::token("EdDSA", claims)
}

#[test]
fn a_public_key_is_no_secret() {
    let envoy = start(json!({}));
    let pem = include_bytes!("vectors/public-keys.pem");
    let n = signer::jwks();
    for secret in [&pem[..], n.as_bytes(), signer::rsa_jwk("rsa").as_bytes()] {
        for kid in ["rsa", "p256", "ed"] {
            let header = signer::encode(format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#));
            let signed = format!("{header}.{}", signer::encode(CLAIMS));
            let token =
                format!("{signed}.{}", signer::encode(signer::hmac_sha256(secret, signed.as_bytes())));
            assert_eq!(verdict(&envoy, bearer(&token)), "alg");
        }
    }
}

#[test]
fn an_algorithm_is_its_name_to_the_letter() {
    let envoy = start(json!({}));
    for name in [
        "none", "None", "NONE", "nOnE", "", "rs256", "Rs256", "RS256 ", "EDDSA", "ES512", "ES256K", "RS1",
        "Ed25519",
    ] {
        let token = signer::with_header("EdDSA", &format!(r#"{{"alg":"{name}","kid":"ed"}}"#), CLAIMS);
        assert_eq!(verdict(&envoy, bearer(&token)), "alg", "{name:?}");
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(verdict(&envoy, bearer(&unsigned)), "malformed", "{name:?}");
    }
    let only = start(json!({"algorithms": ["ES256"]}));
    assert_eq!(verdict(&only, bearer(&signer::token("RS256", CLAIMS))), "alg");
}

#[test]
fn a_kid_is_a_name_and_nothing_else() {
    let envoy = start(json!({}));
    for kid in
        ["../../dev/null", "' OR 1=1 --", "https://evil.example/key", "|/bin/true", "ED", "ed ", "e", ""]
    {
        let token = signer::with_header("EdDSA", &format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), CLAIMS);
        assert_eq!(verdict(&envoy, bearer(&token)), "unknown_kid", "{kid}");
    }
}

#[test]
fn a_token_does_not_bring_its_own_key() {
    let other = format!(r#"{{"keys":[{}]}}"#, signer::p256_jwk("k"));
    let envoy = start(json!({"jwks": other}));
    let key = signer::ed25519_jwk("k");
    for header in [
        format!(r#"{{"alg":"EdDSA","jwk":{key}}}"#),
        r#"{"alg":"EdDSA","jku":"https://evil.example/jwks"}"#.into(),
        r#"{"alg":"EdDSA","x5u":"https://evil.example/cert","x5c":["AAAA"]}"#.into(),
    ] {
        let stream = envoy.request(bearer(&signer::with_header("EdDSA", &header, CLAIMS)));
        assert_eq!(stream.local_reply().unwrap().status, 401, "{header}");
        assert!(!stream.hostcalls().iter().any(|call| call.starts_with("http_call")));
    }
}

#[test]
fn what_must_be_understood_is_refused() {
    let envoy = start(json!({}));
    for more in [
        r#""crit":[]"#,
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["b64"],"b64":true"#,
        r#""b64":false"#,
        r#""zip":"DEF""#,
    ] {
        let token = signer::with_header("EdDSA", &format!(r#"{{"alg":"EdDSA","kid":"ed",{more}}}"#), CLAIMS);
        assert_eq!(verdict(&envoy, bearer(&token)), "malformed", "{more}");
    }
    assert_eq!(verdict(&envoy, bearer("a.b.c.d.e")), "malformed", "a JWE");
}

#[test]
fn a_member_twice_is_refused() {
    let envoy = start(json!({}));
    let twice = r#"{"iss":"i","aud":"a","sub":"alice","exp":4102444800,"x":{"role":1,"role":2}}"#;
    assert_eq!(verdict(&envoy, bearer(&with_claims(twice))), "malformed");
    let escaped = r#"{"iss":"i","aud":"a","sub":"alice","\u0073ub":"root","exp":4102444800}"#;
    assert_eq!(verdict(&envoy, bearer(&with_claims(escaped))), "malformed");
    let header = signer::with_header("EdDSA", r#"{"alg":"EdDSA","kid":"ed","kid":"rsa"}"#, CLAIMS);
    assert_eq!(verdict(&envoy, bearer(&header)), "malformed");
}

#[test]
fn what_is_configured_must_be_there_and_of_its_type() {
    let envoy = start(json!({}));
    for (claims, expected) in [
        (r#"{"aud":"a","exp":4102444800}"#, "issuer"),
        (r#"{"iss":"ii","aud":"a","exp":4102444800}"#, "issuer"),
        (r#"{"iss":"I","aud":"a","exp":4102444800}"#, "issuer"),
        (r#"{"iss":["evil","i"],"aud":"a","exp":4102444800}"#, "malformed"),
        (r#"{"iss":1,"aud":"a","exp":4102444800}"#, "malformed"),
        (r#"{"iss":"i","exp":4102444800}"#, "audience"),
        (r#"{"iss":"i","aud":[],"exp":4102444800}"#, "audience"),
        (r#"{"iss":"i","aud":"A","exp":4102444800}"#, "audience"),
        (r#"{"iss":"i","aud":{"a":1},"exp":4102444800}"#, "malformed"),
        (r#"{"iss":"i","aud":["a",5],"exp":4102444800}"#, "malformed"),
        (r#"{"iss":"i","aud":"a"}"#, "claims"),
        (r#"{"iss":"i","aud":"a","exp":"4102444800"}"#, "malformed"),
        (r#"{"iss":"i","aud":"a","exp":0}"#, "malformed"),
        (r#"{"iss":"i","aud":"a","exp":-1}"#, "malformed"),
        (r#"{"iss":"i","aud":"a","exp":1e400}"#, "malformed"),
        (r#"{"iss":"i","aud":"a","exp":18446744073709551616}"#, "malformed"),
        (r#"{"iss":"i","aud":"a","exp":4102444800,"nbf":"0"}"#, "malformed"),
        (r#"{"iss":"i","aud":"a","exp":4102444800,"sub":1}"#, "malformed"),
        (r#"["i","a",4102444800]"#, "malformed"),
        (r#"{"iss":"i","aud":"a","exp":4102444800,"iat":4102444799}"#, "not_yet_valid"),
        (r#"{"iss":"i","aud":"a","exp":4102444800,"nbf":4102444799}"#, "not_yet_valid"),
        (r#"{"iss":"i","aud":["b","a"],"exp":4102444800.5}"#, "valid"),
    ] {
        assert_eq!(verdict(&envoy, bearer(&with_claims(claims))), expected, "{claims}");
    }
}

#[test]
fn one_kind_of_token_is_not_taken_for_another() {
    let envoy = start(json!({"tokenTypes": ["at+jwt"]}));
    for (typ, expected) in [
        ("at+jwt", "valid"),
        ("AT+JWT", "valid"),
        ("application/at+jwt", "valid"),
        ("JWT", "type"),
        ("", "type"),
    ] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"ed","typ":"{typ}"}}"#);
        assert_eq!(
            verdict(&envoy, bearer(&signer::with_header("EdDSA", &header, CLAIMS))),
            expected,
            "{typ}"
        );
    }
    assert_eq!(verdict(&envoy, bearer(&with_claims(CLAIMS))), "type", "none");
}

/// Of an ECDSA signature there are always two. Both are good, and nothing is known by its signature.
#[test]
fn the_other_signature_of_a_token_is_the_same_token_of_the_same_user() {
    let token = signer::token("ES256", CLAIMS);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = p256::ecdsa::Signature::from_slice(&signer::decode(signature)).unwrap();
    let (r, s) = first.split_scalars();
    let second = p256::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
    let other = format!("{signed}.{}", signer::encode(second.to_bytes()));
    let envoy = start(json!({}));
    for token in [&token, &other] {
        let upstream = envoy.request(bearer(token)).upstream().unwrap();
        assert_eq!(upstream.lines("x-user-id"), ["alice"]);
    }
    assert_eq!(envoy.metric("wasm_filter.jwt_authn.cache.hit.lookups_total"), 0);
}

#[test]
fn two_spellings_of_one_signature_are_not_two_tokens() {
    let envoy = start(json!({}));
    let token = signer::token("EdDSA", CLAIMS);
    assert_eq!(verdict(&envoy, bearer(&token)), "valid");
    for other in
        [format!("{token}="), format!("{token}=="), token.replacen('.', ". ", 1), format!("{token}.")]
    {
        assert_eq!(verdict(&envoy, bearer(&other)), "malformed", "{other}");
    }
    // The last character has bits that count for nothing.
    let last = token.chars().last().unwrap();
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .chars()
        .filter(|other| *other != last)
    {
        let spelled = format!("{}{other}", &token[..token.len() - 1]);
        assert_ne!(verdict(&envoy, bearer(&spelled)), "valid", "{other}");
    }
}

#[test]
fn a_token_without_a_kid_costs_at_most_ten_tries() {
    let other = |number: u8| {
        let mut scalar = [0; 32];
        scalar[31] = number;
        let point = p256::ecdsa::SigningKey::from_slice(&scalar).unwrap();
        let point = point.verifying_key().to_sec1_point(false);
        let coordinate = |from: usize| signer::encode(&point.as_bytes()[from..from + 32]);
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, coordinate(1), coordinate(33))
    };
    for (others, expected) in [(9, "valid"), (10, "signature")] {
        let mut keys: Vec<String> = (1..=others).map(other).collect();
        keys.push(signer::p256_jwk("last"));
        let envoy = start(json!({"jwks": format!("{{\"keys\":[{}]}}", keys.join(","))}));
        let token = signer::with_header("ES256", r#"{"alg":"ES256"}"#, CLAIMS);
        assert_eq!(verdict(&envoy, bearer(&token)), expected, "{others}");
    }
}

#[test]
fn what_is_wrong_is_found_before_the_signature_and_a_wrong_signature_once() {
    let envoy = start(json!({}));
    envoy.set_foreign_function("verify_signature", host_crypto::verify_signature);
    assert!(envoy.reconfigure::<JwtAuthn>(config(json!({}))));
    let signatures = |token: &str| {
        let calls = envoy.request(bearer(token)).hostcalls();
        calls.iter().filter(|call| *call == "foreign verify_signature").count()
    };
    let expired = signer::token("RS256", CLAIMS.replace("4102444800", "1"));
    let stranger = signer::token("RS256", CLAIMS.replace("\"i\"", "\"x\""));
    for token in [&expired, &stranger, "a.b.c"] {
        assert_eq!(signatures(token), 0, "{token}");
    }
    let good = signer::token("RS256", CLAIMS);
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, signer::encode([7; 256]));
    assert_eq!((signatures(&forged), signatures(&forged)), (1, 0));
}

#[test]
fn an_answer_to_a_plugin_that_has_gone_disturbs_nobody() {
    let remote = |name: &str| json!({"providers": [{"name": name, "issuer": "i", "jwksUri": "https://i/", "jwksCluster": "i"}]});
    let envoy = Envoy::builder().cluster("i", Cluster::Healthy).start::<JwtAuthn>(remote("one"));
    envoy.advance(Duration::from_secs(1));
    let call = envoy.call();
    assert!(envoy.reconfigure::<JwtAuthn>(remote("two")));
    envoy.answer(call.token, Response::new(200).body(signer::jwks()));
    envoy.advance(Duration::from_secs(10));
    envoy.calls().iter().for_each(|call| envoy.answer(call.token, Response::new(200).body(signer::jwks())));
    let token = with_claims(r#"{"iss":"i","exp":4102444800}"#);
    assert_eq!(verdict(&envoy, bearer(&token)), "valid");
}

#[test]
fn a_clients_own_identity_never_reaches_the_upstream() {
    let mut config = config(json!({"outputPayloadToHeader": "x-payload"}));
    config["rules"] = json!([
        {"match": {"paths": [{"prefix": "/public"}]}, "requires": {"none": true}},
        {"match": {"paths": [{"prefix": "/missing"}]}, "requires": {"allowMissing": true}},
        {"match": {"paths": [{"prefix": "/soft"}]}, "requires": {"allowMissingOrInvalid": true}}]);
    let envoy = Envoy::start::<JwtAuthn>(config);
    let no_sub = with_claims(r#"{"iss":"i","aud":"a","exp":4102444800}"#);
    let spoofed = |request: Request| {
        request.header("x-user-id", "root").header("X-User-Id", "admin").header("x-payload", "e30")
    };
    for request in [
        Request::get("/public"),
        Request::get("/missing"),
        Request::get("/soft"),
        Request::get("/soft?access_token=nonsense"),
        Request::new("OPTIONS", "/").header("origin", "o").header("access-control-request-method", "GET"),
        bearer(&no_sub),
    ] {
        let upstream = envoy.request(spoofed(request.clone())).upstream().unwrap();
        assert!(upstream.lines("x-user-id").is_empty(), "{request:?}");
        assert!(!upstream.lines("x-payload").contains(&"e30".to_owned()), "{request:?}");
    }
    let known = envoy.request(spoofed(bearer(&with_claims(CLAIMS)))).upstream().unwrap();
    assert_eq!(known.lines("x-user-id"), ["alice"], "one line");
}

#[test]
fn a_clients_own_identity_chooses_no_rule() {
    let matches = [
        json!({"headers": [{"name": "x-user-id", "exact": "root"}]}),
        json!({"any": [{"headers": [{"name": "x-user-id", "present": true}]}]}),
        json!({"not": {"headers": [{"name": "x-user-id", "present": false}]}}),
        json!({"values": [{"source": "header:x-user-id", "exact": "root"}]}),
    ];
    for matches in matches {
        let mut config = config(json!({}));
        config["rules"] = json!([{"match": matches, "requires": {"none": true}}]);
        let envoy = Envoy::start::<JwtAuthn>(config);
        let request = Request::get("/").header("x-user-id", "root");
        assert_eq!(verdict(&envoy, request), "missing", "{matches}");
    }
    let outputs = json!({"outputClaimToHeaders": [{"header": "origin", "claim": "sub"}]});
    let preflight =
        Request::new("OPTIONS", "/").header("origin", "o").header("access-control-request-method", "GET");
    assert_eq!(verdict(&start(outputs), preflight), "missing", "an origin that nobody verified");
}

#[test]
fn nothing_of_the_request_is_in_the_reply() {
    let envoy = start(json!({}));
    let stream = envoy.request(Request::get("/secret-path?access_token=secret-token&realm=\"x"));
    let reply = stream.local_reply().unwrap();
    let text = format!("{:?} {}", reply.headers, String::from_utf8_lossy(&reply.body));
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(
        reply.lines("www-authenticate"),
        [r#"Bearer realm="api", error="invalid_token", error_description="the token is malformed""#]
    );
}
