//! Identity headers: only the plugin writes them, and the upstream reads in them what the token says.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)]

mod signer;

use jwt_authn::JwtAuthn;
use plugin_testkit::{Envoy, Headers, Request};
use serde_json::{Value, json};

fn config(mode: &str) -> Value {
    json!({
        "mode": mode,
        "providers": [{
            "name": "p",
            "issuer": "i",
            "jwks": signer::jwks(),
            "requireExpiration": false,
            "fromHeaders": [{"name": "authorization", "prefix": "Bearer "}, {"name": "x-token"}],
            "fromParams": ["access_token"],
            "fromCookies": ["session"],
            "outputPayloadToHeader": "x-payload",
            "outputClaimToHeaders": [
                {"header": "x-user-id", "claim": "sub"},
                {"header": "x-roles", "claim": "roles"},
                {"header": "x-roles-json", "claim": "roles", "arrayFormat": "json"}],
        }],
        "rules": [{"match": {"paths": [{"prefix": "/public"}]}, "requires": {"none": true}}],
    })
}

const IDENTITY: [&str; 4] = ["x-user-id", "x-roles", "x-roles-json", "x-payload"];

fn token(claims: Value) -> String {
    let mut all = json!({"iss": "i"});
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    signer::token("EdDSA", all.to_string())
}

fn alice() -> String {
    token(json!({"sub": "alice", "roles": ["a", "b"]}))
}

/// A request of a client that claims to be root.
fn spoofed(path: &str) -> Request {
    IDENTITY
        .iter()
        .fold(Request::post(path), |request, name| request.header(name, "root").header(name, "admin"))
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("authorization", format!("Bearer {token}"))
}

/// The values of one output for a token with this claim.
fn written(claim: &str, value: Value, header: &str) -> Vec<String> {
    let envoy = Envoy::start::<JwtAuthn>(config("enforce"));
    let request = bearer(spoofed("/"), &token(json!({claim: value})));
    envoy.request(request).upstream().unwrap().lines(header)
}

#[test]
fn a_value_with_white_space_at_its_ends_is_not_written() {
    for sub in [
        " admin",
        "admin ",
        "\tadmin",
        "\u{a0}admin",
        "admin\u{2003}",
        "\u{3000}admin",
        "\u{85}admin",
        " ",
        "\u{2028}",
        "",
    ] {
        assert_eq!(written("sub", json!(sub), "x-user-id"), [""; 0], "{sub:?}");
    }
    for sub in ["admin", "ad min", "ad\u{a0}min", "0", "阳明"] {
        assert_eq!(written("sub", json!(sub), "x-user-id"), [sub], "{sub:?}");
    }
}

#[test]
fn a_list_whose_members_could_not_be_told_apart_is_not_written_as_csv() {
    for roles in [
        json!(["a,admin"]),
        json!(["a", " admin"]),
        json!(["admin\u{a0}"]),
        json!(["a", ""]),
        json!(["a", ["b"]]),
        json!([]),
    ] {
        assert_eq!(written("roles", roles.clone(), "x-roles"), [""; 0], "{roles}");
        assert_eq!(written("roles", roles.clone(), "x-roles-json"), [roles.to_string()]);
    }
    assert_eq!(written("roles", json!(["a", 1, true]), "x-roles"), ["a,1,true"]);
}

#[test]
fn an_odd_claim_spoils_only_itself() {
    let envoy = Envoy::start::<JwtAuthn>(config("enforce"));
    let token = signer::token("EdDSA", r#"{"iss":"i","sub":"alice","roles":[1e400,"a"],"odd":1e400}"#);
    let upstream = envoy.request(bearer(spoofed("/"), &token)).upstream().unwrap();
    assert_eq!(upstream.lines("x-user-id"), ["alice"]);
}

#[test]
fn removes_a_clients_identity_from_request_trailers() {
    for mode in ["enforce", "dryRun"] {
        let envoy = Envoy::start::<JwtAuthn>(config(mode));
        for request in [Request::post("/public"), bearer(Request::post("/"), &alice())] {
            let request = IDENTITY
                .iter()
                .fold(request.chunks(["a", "b"]), |request, name| request.trailer(name, "root"));
            let upstream = envoy.request(request.trailer("x-checksum", "1")).upstream().unwrap();
            assert_eq!(upstream.trailers, [("x-checksum".into(), b"1".to_vec())], "{mode}");
            assert_eq!(upstream.body, b"ab");
        }
    }
}

#[test]
fn a_dry_run_removes_a_clients_identity_and_writes_none() {
    let envoy = Envoy::start::<JwtAuthn>(config("dryRun"));
    for request in [spoofed("/"), spoofed("/public"), bearer(spoofed("/"), &alice())] {
        let upstream = envoy.request(request).upstream().unwrap();
        for name in IDENTITY {
            assert_eq!(upstream.lines(name), [""; 0], "{name}");
        }
    }
}

#[test]
fn off_changes_nothing() {
    let envoy = Envoy::start::<JwtAuthn>(config("off"));
    let stream = envoy.request(spoofed("/").body("a").trailer("x-user-id", "root"));
    let upstream = stream.upstream().unwrap();
    assert_eq!(upstream.lines("x-user-id"), ["root", "admin"]);
    assert_eq!(upstream.trailers, [("x-user-id".into(), b"root".to_vec())]);
    assert_eq!(stream.hostcalls(), [""; 0]);
}

/// The status and the details of the reply.
fn reply(envoy: &Envoy, request: Request) -> (u16, String) {
    let stream = envoy.request(request);
    assert_eq!(stream.upstream(), None);
    let reply = stream.local_reply().unwrap();
    (reply.status, reply.details)
}

#[test]
fn a_request_with_an_identity_header_that_cannot_be_removed_is_rejected() {
    let unsanitized = (500, "request_header_not_removed".to_owned());
    for name in IDENTITY {
        let envoy = Envoy::start::<JwtAuthn>(config("enforce"));
        envoy.refuse(&format!("remove {name}"));
        assert_eq!(reply(&envoy, spoofed("/public")), unsanitized, "{name}");
        assert_eq!(reply(&envoy, spoofed("/")).0, 401, "a denial stays what it is");
        envoy.refuse(&format!("set {name}"));
        assert_eq!(reply(&envoy, bearer(spoofed("/"), &alice())), unsanitized, "{name}");
        assert!(envoy.request(Request::get("/public")).upstream().is_some(), "there is nothing to remove");
        assert_eq!(envoy.metric("wasm_filter.jwt_authn.component.unsanitized.denied_total"), 2);
    }
}

#[test]
fn an_identity_header_that_cannot_be_written_is_removed() {
    let envoy = Envoy::start::<JwtAuthn>(config("enforce"));
    envoy.refuse("set x-user-id");
    let upstream = envoy.request(bearer(spoofed("/"), &alice())).upstream().unwrap();
    assert_eq!(upstream.lines("x-user-id"), [""; 0]);
    assert_eq!(upstream.lines("x-roles"), ["a,b"]);
}

#[test]
fn a_request_with_an_identity_trailer_that_cannot_be_removed_is_rejected() {
    let envoy = Envoy::start::<JwtAuthn>(config("enforce"));
    envoy.refuse("request_trailers.remove x-user-id");
    let request = Request::post("/public").body("a").trailer("x-user-id", "root");
    assert_eq!(reply(&envoy, request), (500, "request_header_not_removed".to_owned()));
    assert!(envoy.request(Request::post("/public").body("a").trailer("x-a", "1")).upstream().is_some());
}

#[test]
fn a_grpc_request_that_cannot_be_sanitized_gets_its_status_as_grpc() {
    let envoy = Envoy::start::<JwtAuthn>(config("enforce"));
    envoy.refuse("remove x-user-id");
    let stream = envoy.request(spoofed("/public").header("content-type", "application/grpc"));
    let response = stream.response();
    assert_eq!((response.status, response.lines("grpc-status")), (200, vec!["13".to_owned()]));
}

#[test]
fn a_request_whose_token_cannot_be_removed_is_rejected() {
    let alice = alice();
    for (call, request) in [
        ("remove authorization", bearer(Request::get("/"), &alice)),
        ("remove x-token", Request::get("/").header("x-token", &alice)),
        ("remove cookie", Request::get("/").header("cookie", format!("session={alice}; a=b"))),
        ("add cookie", Request::get("/").header("cookie", format!("session={alice}; a=b"))),
        ("set :path", Request::get(format!("/?access_token={alice}"))),
    ] {
        let envoy = Envoy::start::<JwtAuthn>(config("enforce"));
        envoy.refuse(call);
        assert_eq!(reply(&envoy, request), (500, "request_header_not_removed".to_owned()), "{call}");
    }
}

#[test]
fn no_token_with_a_date_passes_while_the_clock_fails() {
    let envoy = Envoy::start::<JwtAuthn>(config("enforce"));
    let expired = token(json!({"sub": "alice", "exp": 1_600_000_000}));
    let good = token(json!({"sub": "alice", "exp": 4_102_444_800_u64}));
    let early = token(json!({"sub": "alice", "nbf": 4_102_444_800_u64}));
    assert!(envoy.request(bearer(Request::get("/"), &good)).upstream().is_some());
    envoy.fail_clocks();
    for token in [&expired, &good, &early] {
        assert_eq!(reply(&envoy, bearer(Request::get("/"), token)).0, 401);
    }
}
