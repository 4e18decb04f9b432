//! The plugin as it ships, in the in-memory Envoy.

use plugin_testkit::{Envoy, Headers, Request};
use jwt_authn::JwtAuthn;

const CONFIG: &str = r#"{"header": "x-jwt-authn"}"#;

#[test]
fn cases() {
    plugin_testkit::cases::<JwtAuthn>(env!("CARGO_MANIFEST_DIR"));
}

#[test]
fn a_request_costs_one_hostcall() {
    let envoy = Envoy::start::<JwtAuthn>(CONFIG);
    assert_eq!(envoy.request(Request::get("/")).hostcalls(), ["set x-jwt-authn"]);
}

#[test]
fn a_dry_run_costs_nothing() {
    let envoy = Envoy::start::<JwtAuthn>(r#"{"header": "x-jwt-authn", "mode": "dryRun"}"#);
    assert!(envoy.request(Request::get("/")).hostcalls().is_empty());
}

#[test]
fn a_request_of_any_bytes_passes() {
    let envoy = Envoy::start::<JwtAuthn>(CONFIG);
    let hostile = Request::new("\u{1}", b"\xff\xfe").header("x-jwt-authn", b"\xff").header("x-a", b"\x80");
    let upstream = envoy.request(hostile).upstream().unwrap();
    assert_eq!(upstream.lines("x-jwt-authn"), ["1"]);
    assert_eq!(upstream.header("x-a"), Some(&b"\x80"[..]));
}

#[test]
fn a_request_without_pseudo_headers_is_none_of_our_business() {
    let envoy = Envoy::start::<JwtAuthn>(CONFIG);
    let bare = Request::get("/").without(":path").without(":authority").without(":method");
    assert_eq!(envoy.request(bare).response().status, 404);
    envoy.log_only();
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    for (config, error) in [
        ("", "no configuration was given; missing field `header`"),
        (r#"{"header": "x y"}"#, "header: \"x y\" is not the name of a header"),
        (
            r#"{"headers": "x-a"}"#,
            "headers: unknown field `headers`, expected one of `mode`, `configRevision`, `header`, `value`",
        ),
    ] {
        assert_eq!(
            Envoy::refused::<JwtAuthn>(config),
            [format!("invalid configuration: {error}")],
            "{config}"
        );
    }
}
