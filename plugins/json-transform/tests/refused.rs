//! Every mistake in a configuration is refused with one line that names the field and says what would be right.

use json_transform::JsonTransform;
use plugin_testkit::Envoy;

/// An operation, and what is wrong with it, from `request[0].patch[0]` on.
const OPERATIONS: &[(&str, &str)] = &[
    ("{}", ": missing field `op`"),
    (
        r#"{"op": "put"}"#,
        ".op: unknown variant `put`, expected one of `add`, `remove`, `replace`, `move`, `copy`, `test`, `set`, `rename`, `merge`",
    ),
    (r#"{"op": "add", "value": 1}"#, ".path: is missing"),
    (r#"{"op": "add", "path": "/a"}"#, ".value: is missing"),
    (r#"{"op": "move", "path": "/a"}"#, ".from: is missing"),
    (r#"{"op": "rename", "path": "/a"}"#, ".to: is missing"),
    (r#"{"op": "add", "path": "a", "value": 1}"#, ".path: \"a\" must be empty or start with '/'"),
    (
        r#"{"op": "copy", "path": "/a", "from": "/~"}"#,
        ".from: a ~ needs 0 or 1 after it: ~0 is a ~, ~1 is a /",
    ),
    (r#"{"op": "remove", "path": ""}"#, ".path: must not be the whole document"),
    (r#"{"op": "move", "path": "/a/b", "from": "/a"}"#, ".path: must not lie inside of from"),
    (
        r#"{"op": "add", "path": "/a", "value": {"b": ["$"]}}"#,
        ".value.b[0]: a $ needs {…} after it; write $$ for a dollar",
    ),
    (r#"{"op": "add", "path": "/a", "value": "${id}"}"#, ".value: \"id\" is not a value source; known are "),
    (r#"{"op": "add", "path": "/a", "value": {"b": 1, "b": 2}}"#, ".value.b: is given twice"),
];

/// A configuration, and the line without its `invalid configuration: `.
const MISTAKES: &[(&str, &str)] = &[
    (
        r#"{"rules": []}"#,
        "rules: unknown field `rules`, expected one of `mode`, `configRevision`, `clientIp`, `request`, `response`, `maxBodyBytes`, `maxBufferedBytes`, `bodyTimeout`, `onTooLarge`, `onParseError`, `onUnsupported`, `acceptEncoding`",
    ),
    (r#"{"maxBodyBytes": 0}"#, "maxBodyBytes: must be from 1 to 16777216, not 0"),
    (r#"{"maxBodyBytes": 16777217}"#, "maxBodyBytes: must be from 1 to 16777216, not 16777217"),
    (
        r#"{"maxBufferedBytes": {"requests": 1048575}}"#,
        "maxBufferedBytes.requests: must be from maxBodyBytes (1048576) to 268435456, not 1048575",
    ),
    (
        r#"{"maxBufferedBytes": {"responses": 268435457}}"#,
        "maxBufferedBytes.responses: must be from maxBodyBytes (1048576) to 268435456, not 268435457",
    ),
    (r#"{"maxBufferedBytes": 1}"#, "maxBufferedBytes: expected struct MaxBufferedBytes, not 1"),
    (r#"{"bodyTimeout": "999ms"}"#, "bodyTimeout: must be from 1s to 1h"),
    (r#"{"bodyTimeout": "2h"}"#, "bodyTimeout: must be from 1s to 1h"),
    (r#"{"onUnsupported": "drop"}"#, "onUnsupported: unknown variant `drop`, expected `pass` or `reject`"),
    (r#"{"onTooLarge": "deny"}"#, "onTooLarge: unknown variant `deny`, expected `pass` or `reject`"),
    (r#"{"request": [{"patch": []}]}"#, "request[0]: missing field `name`"),
    (r#"{"request": [{"name": "a"}]}"#, "request[0]: missing field `patch`"),
    (r#"{"request": [{"name": "a", "patch": []}]}"#, "request[0].patch: needs at least one operation"),
    (
        r#"{"request": [{"name": "A", "patch": []}]}"#,
        "request[0].name: \"A\" must be of lower-case letters, digits and hyphens",
    ),
    (
        r#"{"request": [{"name": "a", "patch": [{"op": "remove", "path": "/a"}]}], "response": [{"name": "a", "patch": []}]}"#,
        "response[0].name: \"a\" is the name of another rule already",
    ),
    (
        r#"{"request": [{"name": "a", "when": {"statuses": [200]}, "patch": []}]}"#,
        "request[0].when.statuses: is for responses only: a request has no status",
    ),
    (
        r#"{"response": [{"name": "a", "when": {"statuses": ["2x"]}, "patch": []}]}"#,
        "response[0].when.statuses[0]: \"2x\" is neither a status such as 404 nor a class such as 5xx",
    ),
    (
        r#"{"response": [{"name": "a", "when": {"contentTypes": ["json"]}, "patch": []}]}"#,
        "response[0].when.contentTypes[0]: \"json\" is not a media type such as application/*+json",
    ),
    (
        r#"{"response": [{"name": "a", "match": {"paths": [{"prefix": "b"}]}, "patch": []}]}"#,
        "response[0].match.paths[0].prefix: \"b\" must start with '/'",
    ),
    (
        r#"{"response": [{"name": "a", "patch": [{"op": "add", "path": "", "value": 1e400}]}]}"#,
        "not JSON: number out of range at line 1 column 78",
    ),
];

#[test]
fn every_mistake_is_pointed_at() {
    for (config, message) in MISTAKES {
        assert_eq!(
            Envoy::refused::<JsonTransform>(config),
            [format!("invalid configuration: {message}")],
            "{config}"
        );
    }
}

#[test]
fn every_mistake_in_an_operation_is_pointed_at() {
    for (operation, message) in OPERATIONS {
        let config = format!(r#"{{"request": [{{"name": "a", "patch": [{operation}]}}]}}"#);
        let refused = Envoy::refused::<JsonTransform>(&config).concat();
        let expected = format!("invalid configuration: request[0].patch[0]{message}");
        assert!(refused.starts_with(&expected), "{refused}\n{expected}");
    }
}
