//! Every mistake in a configuration is refused with one line that names the field and says what would be right.

use plugin_testkit::Envoy;
use swimlane_tagging::SwimlaneTagging;

/// A configuration, and the line without its `invalid configuration: `.
const MISTAKES: &[(&str, &str)] = &[
    ("lanes", "not JSON: expected value at line 1 column 1"),
    ("[]", "expected struct Config, not a sequence"),
    (
        r#"{"lane": "a"}"#,
        "lane: unknown field `lane`, expected one of `mode`, `configRevision`, `clientIp`, `header`, `lanes`, `defaultLane`, `incoming`, `overrides`, `rules`, `split`, `stickyCookie`, `propagate`, `echo`, `vary`, `bucketHeader`",
    ),
    (r#"{"mode": "dry"}"#, "mode: unknown variant `dry`, expected one of `enforce`, `dryRun`, `off`"),
    (r#"{"header": ""}"#, "header: \"\" is not the name of a header"),
    (r#"{"header": "Host"}"#, "header: \"host\" must not be written by a rule"),
    (r#"{"lanes": []}"#, "lanes: is empty; leave it out for the lanes that are named elsewhere"),
    (
        r#"{"lanes": ["production", "a b"]}"#,
        "lanes[1]: \"a b\" is not a lane: letters, digits, '-', '_' and '.', from 1 to 63 of them",
    ),
    (r#"{"lanes": ["a", "production", "a"]}"#, "lanes[2]: \"a\" is given twice"),
    (r#"{"lanes": ["a"]}"#, "defaultLane: \"production\" is none of lanes: a"),
    (
        r#"{"defaultLane": "a\r\nx: y"}"#,
        "defaultLane: \"a\\r\\nx: y\" is not a lane: letters, digits, '-', '_' and '.', from 1 to 63 of them",
    ),
    (
        r#"{"incoming": {"trust": "sometimes"}}"#,
        "incoming.trust: unknown variant `sometimes`, expected one of `never`, `always`, `clientIps`",
    ),
    (r#"{"incoming": {"trust": {"clientIps": []}}}"#, "incoming.trust.clientIps: is empty; say never"),
    (
        r#"{"incoming": {"trust": {"clientIps": ["10.0.0.0/8", "10.0.0.0/33"]}}}"#,
        "incoming.trust.clientIps[1]: \"10.0.0.0/33\" is not a network such as 10.0.0.0/8 or 2001:db8::/32",
    ),
    (
        r#"{"incoming": {"untrusted": "drop"}}"#,
        "incoming.untrusted: unknown variant `drop`, expected `remove` or `reject`",
    ),
    (
        r#"{"incoming": {"unknownLane": "remove"}}"#,
        "incoming.unknownLane: unknown variant `remove`, expected `default` or `reject`",
    ),
    (r#"{"overrides": [{"lane": "a"}]}"#, "overrides[0]: missing field `match`"),
    (
        r#"{"lanes": ["production"], "overrides": [{"lane": "a", "match": {}}]}"#,
        "overrides[0].lane: \"a\" is none of lanes: production",
    ),
    (
        r#"{"rules": [{"name": "A", "lane": "a"}]}"#,
        "rules[0].name: \"A\" must be lower-case letters, digits and '-'",
    ),
    (
        r#"{"rules": [{"name": "a", "lane": "a"}, {"name": "a", "lane": "b"}]}"#,
        "rules[1].name: \"a\" is the name of two rules",
    ),
    (
        r#"{"rules": [{"name": "a", "lane": "a", "match": {"paths": [{"prefix": "x"}]}}]}"#,
        "rules[0].match.paths[0].prefix: \"x\" must start with '/'",
    ),
    (r#"{"split": {"lanes": []}}"#, "split: missing field `key`"),
    (r#"{"split": {"key": []}}"#, "split.lanes: is empty, and there is no bucketHeader either"),
    (
        r#"{"split": {"key": [], "lanes": [{"name": "a", "percent": 1}]}}"#,
        "split.key: needs at least one value source",
    ),
    (
        r#"{"split": {"key": ["path", "cookie:a b"], "lanes": [{"name": "a", "percent": 1}]}}"#,
        "split.key[1]: \"a b\" is not the name of a cookie",
    ),
    (
        r#"{"split": {"key": "path", "algorithm": "md5"}}"#,
        "split.algorithm: unknown variant `md5`, expected one of `murmur3`, `unleash`, `growthbookV2`, `fnv1a32`, `crc32`",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a", "percent": 0.005}]}}"#,
        "split.lanes[0].percent: must be from 0 to 100, in steps of 0.01",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a", "percent": -1}]}}"#,
        "split.lanes[0].percent: must be from 0 to 100, in steps of 0.01",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a", "percent": "10%"}]}}"#,
        "split.lanes[0].percent: expected f64, not \"10%\"",
    ),
    (r#"{"split": {"key": "path", "lanes": [{"name": "a"}]}}"#, "split.lanes[0]: missing field `percent`"),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a", "percent": 60}, {"name": "b", "percent": 40.01}]}}"#,
        "split.lanes: add up to more than 100 %",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a", "percent": 6}, {"name": "a", "percent": 4}]}}"#,
        "split.lanes[1].name: \"a\" has a share already",
    ),
    (
        r#"{"split": {"key": "path", "algorithm": "unleash", "lanes": [{"name": "a", "percent": 0.25}]}}"#,
        "split.lanes: unleash has steps of 1 %",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a"}, {"name": "b", "percent": 60}],
            "ramp": {"lane": "a", "start": "2026-01-05T00:00:00Z", "end": "2026-01-06T00:00:00Z", "from": 0, "to": 50}}}"#,
        "split.lanes: add up to more than 100 %",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a", "percent": 1}],
            "ramp": {"lane": "production", "start": "2026-01-05T00:00:00Z", "end": "2026-01-06T00:00:00Z", "from": 0, "to": 50}}}"#,
        "split.ramp.lane: \"production\" is none of split.lanes",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a"}],
            "ramp": {"lane": "a", "start": "2026-01-05", "end": "2026-01-06T00:00:00Z", "from": 0, "to": 50}}}"#,
        "split.ramp.start: \"2026-01-05\" is not a time such as 2026-01-05T00:00:00Z or 2026-01-05T08:00:00+08:00",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a"}],
            "ramp": {"lane": "a", "start": "2026-01-05T00:00:00Z", "end": "2026-01-05T01:00:00+01:00", "from": 0, "to": 50}}}"#,
        "split.ramp.end: must be later than start",
    ),
    (
        r#"{"split": {"key": "path", "lanes": [{"name": "a"}],
            "ramp": {"lane": "a", "start": "2026-01-05T00:00:00Z", "end": "2026-01-06T00:00:00Z", "from": 0, "to": 101}}}"#,
        "split.ramp.to: must be from 0 to 100, in steps of 0.01",
    ),
    (
        r#"{"split": {"key": "path", "noKey": "deny", "lanes": [{"name": "a", "percent": 1}]}}"#,
        "split.noKey: unknown variant `deny`, expected one of `default`, `cookie`, `random`",
    ),
    (r#"{"stickyCookie": {"name": "a;b"}}"#, "stickyCookie.name: \"a;b\" is not the name of a cookie"),
    (
        r#"{"stickyCookie": {"path": "/a;b"}}"#,
        "stickyCookie.path: \"/a;b\" is not a path: it starts with '/' and has no ';' or space",
    ),
    (
        r#"{"stickyCookie": {"domain": "https://a"}}"#,
        "stickyCookie.domain: \"https://a\" is not a domain such as example.com",
    ),
    (r#"{"stickyCookie": {"maxAge": "100ms"}}"#, "stickyCookie.maxAge: must be one second at least"),
    (
        r#"{"stickyCookie": {"maxAge": "a month"}}"#,
        "stickyCookie.maxAge: \"a month\" is not a duration such as \"100ms\", \"10s\", \"5m\", \"1h\" or \"7d\"",
    ),
    (
        r#"{"stickyCookie": {"sameSite": "lax"}}"#,
        "stickyCookie.sameSite: unknown variant `lax`, expected one of `Lax`, `Strict`, `None`",
    ),
    (
        r#"{"stickyCookie": {"sameSite": "None", "secure": false}}"#,
        "stickyCookie.sameSite: browsers drop a cookie of None that is not secure",
    ),
    (
        r#"{"propagate": {"baggage": "a=b"}}"#,
        "propagate.baggage: must be a token: letters, digits and some of the other signs",
    ),
    (
        r#"{"propagate": {"mesh": {"enabled": true}}}"#,
        "lanes: mesh mode carries lanes that others decided, so list them",
    ),
    (
        r#"{"lanes": ["production"], "propagate": {"mesh": {"enabled": true, "slots": 3}}}"#,
        "propagate.mesh.slots: must be from 4 to 1048576, not 3",
    ),
    (
        r#"{"lanes": ["production"], "propagate": {"mesh": {"enabled": true, "ttl": "0s"}}}"#,
        "propagate.mesh.ttl: must be more than nothing",
    ),
    (
        r#"{"propagate": {"mesh": {"ownLane": ["header:"]}}}"#,
        "propagate.mesh.ownLane: \"header\" needs a name after the colon",
    ),
    (r#"{"echo": {}}"#, "echo: missing field `responseHeader`"),
    (r#"{"echo": {"responseHeader": "x y"}}"#, "echo.responseHeader: \"x y\" is not the name of a header"),
    (r#"{"vary": "cookie"}"#, "vary: unknown variant `cookie`, expected one of `auto`, `always`, `never`"),
    (r#"{"bucketHeader": "te"}"#, "bucketHeader: \"te\" must not be written by a rule"),
    (r#"{"bucketHeader": "X-Swimlane"}"#, "bucketHeader: is the header of the lane"),
    (r#"{"clientIp": {"trustedHops": 0}}"#, "clientIp.trustedHops: must be from 1 to 32, not 0"),
];

#[test]
fn each_mistake_is_named() {
    assert!(MISTAKES.len() >= 50);
    for (config, line) in MISTAKES {
        assert_eq!(
            Envoy::refused::<SwimlaneTagging>(config),
            [format!("invalid configuration: {line}")],
            "{config}"
        );
    }
}
