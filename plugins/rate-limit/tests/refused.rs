//! Every mistake in a configuration is refused with one line that names the field and says what would be right.

use plugin_testkit::Envoy;
use rate_limit::RateLimit;

const RLS: &str = r#""rls": {"cluster": "c", "domain": "d"}"#;

/// The inside of one limit, and the line without its `invalid configuration: limits[0]`.
const IN_A_LIMIT: &[(&str, &str)] = &[
    ("", ": missing field `name`"),
    (r#""name": "A b", "key": []"#, ".name: \"A b\" must be of lower-case letters, digits and hyphens"),
    (r#""name": """#, ".name: \"\" must be of lower-case letters, digits and hyphens"),
    (r#""name": "a", "requests": 1, "per": "1s""#, ".key: is needed; [] is one bucket for all requests"),
    (r#""name": "a", "key": "clientIp""#, ".key: expected a sequence, not \"clientIp\""),
    (
        r#""name": "a", "key": ["ip"]"#,
        ".key[0]: \"ip\" is not a value source; known are header:NAME, cookie:NAME, query:NAME, claim:PATH, property:a.b.c, env:NAME, literal:TEXT, path, pathSegment:N, host, method, scheme, clientIp, requestId, traceId",
    ),
    (r#""name": "a", "key": [[]]"#, ".key[0]: needs at least one value source"),
    (r#""name": "a", "key": []"#, ": needs requests and per"),
    (r#""name": "a", "key": [], "requests": 1"#, ": needs requests and per"),
    (r#""name": "a", "key": [], "requests": -1, "per": "1s""#, ".requests: expected u64, not -1"),
    (
        r#""name": "a", "key": [], "requests": 1, "per": 60"#,
        ".per: expected a duration such as \"100ms\", \"10s\", \"5m\", \"1h\" or \"7d\", not 60",
    ),
    (r#""name": "a", "key": [], "requests": 1, "per": "0s""#, ".per: must be from 1ms to 366d"),
    (r#""name": "a", "key": [], "requests": 1, "per": "400d""#, ".per: must be from 1ms to 366d"),
    (
        r#""name": "a", "key": [], "requests": 10000000000, "per": "1s""#,
        ".requests: 10000000000 is more than can be counted",
    ),
    (
        r#""name": "a", "key": [], "algorithm": "fixedWindow", "requests": 4294967296, "per": "1s""#,
        ".requests: 4294967296 is more than can be counted",
    ),
    (
        r#""name": "a", "key": [], "algorithm": "leakyBucket", "requests": 1, "per": "1s""#,
        ".algorithm: unknown variant `leakyBucket`, expected one of `gcra`, `fixedWindow`, `slidingWindow`",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "burst": 0"#,
        ".burst: must be at least 1; requests: 0 denies all",
    ),
    (
        r#""name": "a", "key": [], "algorithm": "slidingWindow", "requests": 1, "per": "1s", "burst": 5"#,
        ".burst: is for gcra; a window admits all its requests at once",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "cost": 0"#,
        ".cost: expected a whole number from 1, or {header: NAME, default: 1, max: 50}, not 0",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "cost": "x-cost""#,
        ".cost: expected a whole number from 1, or {header: NAME, default: 1, max: 50}, not \"x-cost\"",
    ),
    (
        r#""name": "a", "key": [], "requests": 3, "per": "1s", "cost": 4"#,
        ".cost: is more than there can ever be left",
    ),
    (
        r#""name": "a", "key": [], "requests": 3, "per": "1s", "cost": {"header": "x y"}"#,
        ".cost.header: \"x y\" is not the name of a header",
    ),
    (
        r#""name": "a", "key": [], "requests": 3, "per": "1s", "cost": {"header": "x", "default": 3, "max": 2}"#,
        ".cost.default: must be at most max, which is 2",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "overrides": [{"value": "x", "requests": 2}]"#,
        ".overrides: are of the first part of the key, and there is none",
    ),
    (
        r#""name": "a", "key": ["path"], "requests": 1, "per": "1s", "overrides": [{"value": "x", "requests": 2}, {"value": "a*b", "requests": 2}]"#,
        ".overrides[1].value: \"a*b\" must be a value, or a prefix with * after it",
    ),
    (
        r#""name": "a", "key": ["path"], "requests": 1, "per": "1s", "overrides": [{"value": "", "requests": 2}]"#,
        ".overrides[0].value: \"\" must be a value, or a prefix with * after it",
    ),
    (
        r#""name": "a", "key": ["path"], "requests": 1, "per": "1s", "overrides": [{"value": "x", "requests": 2, "per": "0s"}]"#,
        ".overrides[0].per: must be from 1ms to 366d",
    ),
    (
        r#""name": "a", "key": ["path"], "requests": 1, "per": "1s", "overrides": [{"value": "x"}]"#,
        ".overrides[0]: missing field `requests`",
    ),
    (
        r#""name": "a", "key": ["path"], "requests": 9, "per": "1s", "cost": 4, "overrides": [{"value": "x", "requests": 0}, {"value": "y", "requests": 4}, {"value": "z", "requests": 3}]"#,
        ".overrides[2].requests: is less than cost, which is 4; requests: 0 denies all",
    ),
    (
        r#""name": "a", "key": ["path"], "requests": 9, "per": "1s", "cost": 4, "overrides": [{"value": "x", "requests": 9, "burst": 3}]"#,
        ".overrides[0].burst: is less than cost, which is 4",
    ),
    (
        r#""name": "a", "key": ["path"], "algorithm": "fixedWindow", "requests": 9, "per": "1s", "cost": 4, "overrides": [{"value": "x", "requests": 3}]"#,
        ".overrides[0].requests: is less than cost, which is 4; requests: 0 denies all",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "chargeWhen": {"statuses": [401]}"#,
        ".chargeWhen: needs charge: response",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "charge": "response", "chargeWhen": {"statuses": []}"#,
        ".chargeWhen.statuses: is empty and would charge nothing",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "charge": "response", "chargeWhen": {"statuses": [401, 99]}"#,
        ".chargeWhen.statuses[1]: must be from 100 to 599, not 99",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "onMissingKey": "allow""#,
        ".onMissingKey: unknown variant `allow`, expected one of `skip`, `deny`, `empty`",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "match": {"paths": [{"prefix": "x"}]}"#,
        ".match.paths[0].prefix: \"x\" must start with '/'",
    ),
    (
        r#""name": "a", "key": [], "requests": 1, "per": "1s", "descriptor": [{"key": "k", "value": "path"}]"#,
        ".descriptor: needs backend: rls",
    ),
    (r#""name": "a", "backend": "rls""#, ".descriptor: needs at least one entry"),
    (
        r#""name": "a", "backend": "rls", "descriptor": [{"key": "", "value": "path"}]"#,
        ".descriptor[0].key: is empty",
    ),
    (
        r#""name": "a", "backend": "rls", "descriptor": [{"key": "k", "value": "pathSegment:0"}]"#,
        ".descriptor[0].value: pathSegment counts from 1, \"0\" is not such a number",
    ),
    (
        r#""name": "a", "backend": "rls", "requests": 1, "descriptor": [{"key": "k", "value": "path"}]"#,
        ".requests: the service knows it; it is for backend: local",
    ),
    (
        r#""name": "a", "backend": "rls", "charge": "response", "descriptor": [{"key": "k", "value": "path"}]"#,
        ".charge: the service charges when it is asked; this is for backend: local",
    ),
];

/// A configuration, and the line without its `invalid configuration: `.
const MISTAKES: &[(&str, &str)] = &[
    ("", "needs limits, or maxRequests and windowSeconds"),
    ("{}", "needs limits, or maxRequests and windowSeconds"),
    ("rules", "not JSON: expected value at line 1 column 1"),
    (
        r#"{"limit": []}"#,
        "limit: unknown field `limit`, expected one of `mode`, `configRevision`, `store`, `maxKeys`, `clientIp`, `exempt`, `limits`, `rls`, `response`, `maxRequests`, `windowSeconds`",
    ),
    (r#"{"mode": "dry"}"#, "mode: unknown variant `dry`, expected one of `enforce`, `dryRun`, `off`"),
    (r#"{"windowSeconds": 60}"#, "windowSeconds: needs maxRequests"),
    (r#"{"maxRequests": 5, "windowSeconds": 0}"#, "windowSeconds: must be from 1 to 31622400, not 0"),
    (r#"{"maxRequests": 5.5}"#, "maxRequests: expected u64, not a fraction"),
    (r#"{"maxRequests": 9999999999}"#, "requests: 9999999999 is more than can be counted"),
    (
        r#"{"maxRequests": 5, "limits": [{"name": "a", "key": [], "requests": 1, "per": "1s"}]}"#,
        "maxRequests: the short form and limits exclude each other",
    ),
    (
        r#"{"limits": [{"name": "a", "key": [], "requests": 1, "per": "1s"}, {"name": "a", "key": [], "requests": 1, "per": "1s"}]}"#,
        "limits[1].name: \"a\" is the name of limits[0] already",
    ),
    (
        r#"{"limits": [{"name": "a", "backend": "rls", "descriptor": [{"key": "k", "value": "path"}]}]}"#,
        "limits[0].backend: there is no rls, which says where the service is",
    ),
    (r#"{"maxRequests": 1, "maxKeys": 0}"#, "maxKeys: must be from 1 to 16777216, not 0"),
    (
        r#"{"maxRequests": 1, "clientIp": {"trustedHops": 0}}"#,
        "clientIp.trustedHops: must be from 1 to 32, not 0",
    ),
    (r#"{"maxRequests": 1, "exempt": [{}]}"#, "exempt[0]: missing field `match`"),
    (
        r#"{"maxRequests": 1, "exempt": [{"match": {"methods": []}}]}"#,
        "exempt[0].match.methods: is empty and would match nothing; leave it out to match everything",
    ),
    (
        r#"{"maxRequests": 1, "response": {"status": 200}}"#,
        "response.status: must be from 400 to 599, not 200",
    ),
    (
        r#"{"maxRequests": 1, "response": {"headers": {"content-length": "1"}}}"#,
        "response.headers.content-length: \"content-length\" must not be written by a rule",
    ),
    (
        r#"{"maxRequests": 1, "response": {"headers": {"x-a": "1\r\n"}}}"#,
        "response.headers.x-a: must not contain control characters",
    ),
    (
        r#"{"maxRequests": 1, "response": {"rateLimitHeaders": "draft03"}}"#,
        "response.rateLimitHeaders: unknown variant `draft03`, expected one of `ietf`, `xRateLimit`, `none`",
    ),
    (r#"{"maxRequests": 1, "rls": {"cluster": "", "domain": "d"}}"#, "rls.cluster: is empty"),
    (r#"{"maxRequests": 1, "rls": {"cluster": "c", "domain": ""}}"#, "rls.domain: is empty"),
    (
        r#"{"maxRequests": 1, "rls": {"cluster": "c", "domain": "d", "timeout": "0s"}}"#,
        "rls.timeout: must be from 1ms to 60s",
    ),
    (
        r#"{"maxRequests": 1, "rls": {"cluster": "c", "domain": "d", "maxRemember": "2d"}}"#,
        "rls.maxRemember: must be at most 24h",
    ),
    (
        r#"{"maxRequests": 1, "rls": {"cluster": "c", "domain": "d", "failureMode": "open"}}"#,
        "rls.failureMode: unknown variant `open`, expected `allow` or `deny`",
    ),
    (
        r#"{"maxRequests": 1, "rls": {"cluster": "c", "domain": "d", "failureStatus": 200}}"#,
        "rls.failureStatus: must be from 400 to 599, not 200",
    ),
];

#[test]
fn each_mistake_is_named() {
    for (config, line) in MISTAKES {
        let refused = Envoy::refused::<RateLimit>(config);
        assert_eq!(refused, [format!("invalid configuration: {line}")], "{config}");
    }
    for (limit, line) in IN_A_LIMIT {
        let config = format!(r#"{{{RLS}, "limits": [{{{limit}}}]}}"#);
        let refused = Envoy::refused::<RateLimit>(&config);
        assert_eq!(refused, [format!("invalid configuration: limits[0]{line}")], "{config}");
    }
}

#[test]
fn a_store_is_not_a_novel() {
    let config = format!(r#"{{"maxRequests": 1, "store": "{}"}}"#, "x".repeat(201));
    assert_eq!(
        Envoy::refused::<RateLimit>(config),
        ["invalid configuration: store: must have at most 200 bytes"]
    );
}
