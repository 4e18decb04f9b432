//! Requests that servers read differently: none of them gets by with less than its plain spelling needs.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod signer;

use jwt_authn::JwtAuthn;
use plugin_testkit::{Envoy, Headers, Request};
use serde_json::{Value, json};

/// Spellings of `/admin/users`.
const SPELLINGS: [&str; 10] = [
    "//admin/users",
    "/admin;x=1/users",
    "/;/admin/users",
    "/admin%2fusers",
    "/\\admin/users",
    "/admin%5cusers",
    "/Admin/users",
    "/admin%20/users",
    "/admin./users",
    "/%61dmin/users",
];

fn config(change: Value) -> Value {
    let provider = |name: &str, issuer: &str| {
        json!({"name": name, "issuer": issuer, "requireExpiration": false, "jwks": signer::jwks(),
               "fromHeaders": [{"name": "authorization", "prefix": "Bearer "}], "fromCookies": ["session"],
               "fromParams": ["access_token"]})
    };
    let mut config = json!({
        "providers": [provider("corp", "corp"), provider("partner", "partner")],
        "rules": [
            {"match": {"paths": [{"prefix": "/admin"}]}, "requires": {"claims": [{"claim": "role", "anyOf": ["admin"]}]}},
            {"match": {"paths": [{"prefix": "/internal"}]}, "requires": {"provider": "corp"}},
            {"match": {"paths": [{"prefix": "/orders"}], "methods": ["POST"]}, "requires": {"scopes": {"allOf": ["write"]}}}]});
    for (name, value) in change.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

fn token(issuer: &str, more: &str) -> String {
    signer::token("EdDSA", format!(r#"{{"iss":"{issuer}"{more}}}"#))
}

fn user() -> String {
    token("corp", r#","role":"user""#)
}

fn with(request: Request, token: &str) -> Request {
    request.header("authorization", format!("Bearer {token}"))
}

/// The status of the reply; `None` where the request reached the upstream.
fn denied(envoy: &Envoy, request: Request) -> Option<u16> {
    let stream = envoy.request(request);
    let reply = stream.local_reply().map(|reply| reply.status);
    assert_eq!(reply.is_none(), stream.upstream().is_some());
    reply
}

#[test]
fn no_spelling_of_a_path_escapes_its_rule() {
    let envoy = Envoy::start::<JwtAuthn>(config(json!({})));
    let user = user();
    assert_eq!(denied(&envoy, with(Request::get("/admin/users"), &user)), Some(403));
    assert_eq!(denied(&envoy, with(Request::get("/users"), &user)), None);
    let mut count = 0;
    for path in SPELLINGS {
        for request in [
            Request::get(path),
            with(Request::get(path), &user),
            with(Request::get(path), &token("corp", r#","role":"admin""#)),
            Request::get(path).header("cookie", format!("session={user}")),
            Request::get(format!("{path}?access_token={user}")),
            with(Request::post(path).header("content-type", "application/grpc"), &user),
        ] {
            assert_eq!(denied(&envoy, request), Some(400), "{path}");
            count += 1;
        }
    }
    let partner = token("partner", "");
    assert_eq!(denied(&envoy, with(Request::get("/internal/x"), &partner)), Some(401));
    assert_eq!(denied(&envoy, with(Request::get("//internal/x"), &partner)), Some(400));
    assert_eq!(envoy.metric("wasm_filter.jwt_authn.component.ambiguous.denied_total"), count + 1);
}

#[test]
fn a_method_in_lower_case_is_rejected() {
    let envoy = Envoy::start::<JwtAuthn>(config(json!({})));
    assert_eq!(denied(&envoy, with(Request::post("/orders"), &user())), Some(403));
    for method in ["post", "Post", "POST "] {
        assert_eq!(denied(&envoy, with(Request::new(method, "/orders"), &user())), Some(400), "{method}");
    }
}

#[test]
fn the_reply_to_an_ambiguous_request_is_in_the_configured_format() {
    let description = "the request is ambiguous: servers may read its path, host or method differently";
    let challenge =
        format!(r#"Bearer realm="api", error="invalid_request", error_description="{description}""#);
    for (format, content_type, body) in [
        (
            "json",
            Some("application/json"),
            format!(r#"{{"error":"invalid_request","error_description":"{description}"}}"#),
        ),
        ("text", Some("text/plain"), description.to_owned()),
        ("none", None, String::new()),
    ] {
        let envoy = Envoy::start::<JwtAuthn>(config(json!({"errors": {"format": format}})));
        let response = envoy.request(Request::get("//admin")).response();
        assert_eq!((response.status, response.body), (400, body.into_bytes()), "{format}");
        assert_eq!(
            response
                .headers
                .iter()
                .find(|(name, _)| name == "content-type")
                .map(|(_, value)| value.as_slice()),
            content_type.map(str::as_bytes)
        );
        let challenges = response.headers.iter().filter(|(name, _)| name == "www-authenticate");
        assert_eq!(challenges.map(|(_, value)| value.as_slice()).collect::<Vec<_>>(), [challenge.as_bytes()]);
    }
    let envoy = Envoy::start::<JwtAuthn>(config(json!({})));
    let response =
        envoy.request(Request::post("//admin").header("content-type", "application/grpc")).response();
    assert_eq!((response.status, response.lines("grpc-status")), (200, vec!["3".to_owned()]));
}

#[test]
fn where_one_requirement_covers_all_paths_any_path_passes_it() {
    for rules in [
        json!([]),
        json!([{"match": {"headers": [{"name": "x-probe", "present": true}]}, "requires": {"none": true}}]),
    ] {
        let envoy = Envoy::start::<JwtAuthn>(config(json!({"rules": rules})));
        for path in ["/a%2Fb", "/a;v=1", "/@scope%2fname", "//admin/users"] {
            assert_eq!(denied(&envoy, with(Request::get(path), &user())), None, "{path}");
            assert_eq!(denied(&envoy, Request::get(path)), Some(401), "{path}");
        }
    }
}

#[test]
fn an_ambiguous_path_that_is_allowed_needs_what_all_rules_need() {
    let envoy = Envoy::start::<JwtAuthn>(config(json!({"ambiguousPaths": "allow"})));
    let everything = token("corp", r#","role":"admin","scope":"write""#);
    for path in SPELLINGS {
        assert_eq!(denied(&envoy, with(Request::get(path), &everything)), None, "{path}");
        assert_eq!(denied(&envoy, with(Request::get(path), &user())), Some(403), "{path}");
        assert_eq!(denied(&envoy, Request::get(path)), Some(401), "{path}");
        let partner = token("partner", r#","role":"admin","scope":"write""#);
        assert_eq!(denied(&envoy, with(Request::get(path), &partner)), Some(401), "{path}");
    }
    assert_eq!(denied(&envoy, with(Request::new("post", "/orders"), &everything)), Some(400));
}
