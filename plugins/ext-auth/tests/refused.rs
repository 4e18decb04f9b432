//! Every mistake in a configuration is refused with one line that names the field and says what would be right.

use ext_auth::ExtAuth;
use plugin_testkit::Envoy;

const SERVICE: &str = r#""cluster": "c", "forwardAuth": {"path": "/v"}"#;

/// The inside of `service`, and the line without its `invalid configuration: service`.
const IN_THE_SERVICE: &[(&str, &str)] = &[
    ("", ": missing field `cluster`"),
    (r#""cluster": "", "pathPrefix": "/a""#, ".cluster: is empty"),
    (r#""cluster": "c""#, ": needs exactly one of forwardAuth, pathPrefix"),
    (
        r#""cluster": "c", "pathPrefix": "/a", "forwardAuth": {"path": "/v"}"#,
        ": needs exactly one of forwardAuth, pathPrefix",
    ),
    (r#""cluster": "c", "pathPrefix": "auth""#, ".pathPrefix: \"auth\" is not a path such as /verify"),
    (
        r#""cluster": "c", "pathPrefix": "/auth/""#,
        ".pathPrefix: \"/auth/\" must have no query and no / at its end",
    ),
    (
        r#""cluster": "c", "forwardAuth": {"path": "/v w"}"#,
        ".forwardAuth.path: \"/v w\" is not a path such as /verify",
    ),
    (r#""cluster": "c", "forwardAuth": {}"#, ".forwardAuth: missing field `path`"),
    (
        r#""cluster": "c", "pathPrefix": "/a", "path_prefix": "/b""#,
        ".path_prefix: unknown field `path_prefix`, expected one of `cluster`, `authority`, `forwardAuth`, `pathPrefix`, `timeout`, `requestHeaders`, `setHeaders`, `breaker`",
    ),
    (
        r#""cluster": "c", "pathPrefix": "/a", "authority": "a\r\nb""#,
        ".authority: must not contain control characters",
    ),
    (r#""cluster": "c", "pathPrefix": "/a", "timeout": "0s""#, ".timeout: must be from 1ms to 60s"),
    (r#""cluster": "c", "pathPrefix": "/a", "timeout": "61s""#, ".timeout: must be from 1ms to 60s"),
    (
        r#""cluster": "c", "pathPrefix": "/a", "requestHeaders": ["x", "Host"]"#,
        ".requestHeaders[1]: \"host\" must not be written by a rule",
    ),
    (
        r#""cluster": "c", "pathPrefix": "/a", "requestHeaders": ["x", "X"]"#,
        ".requestHeaders[1]: the service gets \"x\" already",
    ),
    (
        r#""cluster": "c", "forwardAuth": {"path": "/v"}, "requestHeaders": ["x-forwarded-uri"]"#,
        ".requestHeaders[0]: the service gets \"x-forwarded-uri\" already",
    ),
    (
        r#""cluster": "c", "pathPrefix": "/a", "setHeaders": {"authorization": "x"}"#,
        ".setHeaders.authorization: the service gets \"authorization\" already",
    ),
    (
        r#""cluster": "c", "pathPrefix": "/a", "setHeaders": {"x": "${1}"}"#,
        ".setHeaders.x: there is no group \"1\"",
    ),
    (
        r#""cluster": "c", "pathPrefix": "/a", "breaker": {"openFor": "0s"}"#,
        ".breaker.openFor: must be from 1ms to 1h",
    ),
];

/// What stands beside a service that is right, and the line without its `invalid configuration: `.
const BESIDE_THE_SERVICE: &[(&str, &str)] = &[
    (r#""mode": "on""#, "mode: unknown variant `on`, expected one of `enforce`, `dryRun`, `off`"),
    (r#""failure": "open""#, "failure: unknown variant `open`, expected `deny` or `allow`"),
    (r#""failureStatus": 200"#, "failureStatus: must be from 400 to 599, not 200"),
    (
        r#""onAllow": {"upstreamHeaders": ["x-a", "*"]}"#,
        "onAllow.upstreamHeaders[1]: \"\" is not the name of a header",
    ),
    (
        r#""onAllow": {"upstreamHeaders": ["x-a", "X-Envoy-Auth-Failure-Mode-Allowed"]}"#,
        "onAllow.upstreamHeaders[1]: \"x-envoy-auth-failure-mode-allowed\" is set by the plugin itself",
    ),
    (
        r#""onAllow": {"clientHeaders": ["content-length"]}"#,
        "onAllow.clientHeaders[0]: \"content-length\" must not be written by a rule",
    ),
    (
        r#""onDeny": {"clientHeaders": [":status"]}"#,
        "onDeny.clientHeaders[0]: \":status\" is not the name of a header",
    ),
    (r#""cache": {}"#, "cache: missing field `ttl`"),
    (r#""cache": {"ttl": "0s"}"#, "cache.ttl: must be from 1ms to 1h"),
    (r#""cache": {"ttl": "2h"}"#, "cache.ttl: must be from 1ms to 1h"),
    (r#""cache": {"ttl": "1s", "denyTtl": "2h"}"#, "cache.denyTtl: must be at most 1h"),
    (r#""cache": {"ttl": "1s", "entries": 0}"#, "cache.entries: must be from 1 to 1048576, not 0"),
    (r#""cache": {"ttl": "1s", "entryBytes": 1}"#, "cache.entryBytes: must be from 64 to 131072, not 1"),
    (
        r#""cache": {"ttl": "1s", "key": ["user"]}"#,
        "cache.key[0]: unknown variant `user`, expected one of `method`, `scheme`, `host`, `path`, `query`, `clientIp`",
    ),
    (
        r#""cache": {"ttl": "1s", "ignoreHeaders": ["cookie"]}"#,
        "cache.ignoreHeaders[0]: the service does not get \"cookie\"",
    ),
    (
        r#""cache": {"ttl": "1s", "cacheControl": "maybe"}"#,
        "cache.cacheControl: unknown variant `maybe`, expected `respect` or `ignore`",
    ),
    (r#""rules": [{"ask": false, "failure": "deny"}]"#, "rules[0].failure: has no effect with ask: false"),
    (
        r#""rules": [{"match": {"paths": [{"prefix": "api"}]}}]"#,
        "rules[0].match.paths[0].prefix: \"api\" must start with '/'",
    ),
    (r#""clientIp": {"trustedHops": 0}"#, "clientIp.trustedHops: must be from 1 to 32, not 0"),
];

#[track_caller]
fn refused(config: &str, line: &str) {
    assert_eq!(Envoy::refused::<ExtAuth>(config), [format!("invalid configuration: {line}")], "{config}");
}

#[test]
fn errors_name_the_field_of_the_service() {
    refused("{}", "missing field `service`");
    for (inside, line) in IN_THE_SERVICE {
        refused(&format!("{{\"service\": {{{inside}}}}}"), &format!("service{line}"));
    }
}

#[test]
fn errors_name_every_other_field() {
    for (beside, line) in BESIDE_THE_SERVICE {
        refused(&format!("{{\"service\": {{{SERVICE}}}, {beside}}}"), line);
    }
}
