//! The examples of RFC 6902 (appendix A) and RFC 7386 (appendix A), each through the plugin.
#![allow(clippy::unwrap_used)]

use json_transform::JsonTransform;
use plugin_testkit::{Envoy, Request};
use serde_json::Value;

/// What the upstream gets of a document; `None` where the patch is not applied.
fn patched(document: &str, patch: &str) -> Option<Value> {
    let envoy =
        Envoy::start::<JsonTransform>(format!(r#"{{"request": [{{"name": "rfc", "patch": {patch}}}]}}"#));
    let request = Request::post("/").header("content-type", "application/json").body(document);
    let body = envoy.request(request).upstream().unwrap().body;
    let applied = envoy.metric("wasm_filter.json_transform.component.rfc.applied_total") == 1;
    if !applied {
        assert_eq!(String::from_utf8(body).unwrap(), document);
        return None;
    }
    Some(serde_json::from_slice(&body).unwrap())
}

/// The section, the document, the patch, and the result.
const PATCHES: &[(&str, &str, &str, Option<&str>)] = &[
    (
        "A.1 adding an object member",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz", "value": "qux"}]"#,
        Some(r#"{"baz": "qux", "foo": "bar"}"#),
    ),
    (
        "A.2 adding an array element",
        r#"{"foo": ["bar", "baz"]}"#,
        r#"[{"op": "add", "path": "/foo/1", "value": "qux"}]"#,
        Some(r#"{"foo": ["bar", "qux", "baz"]}"#),
    ),
    (
        "A.3 removing an object member",
        r#"{"baz": "qux", "foo": "bar"}"#,
        r#"[{"op": "remove", "path": "/baz"}]"#,
        Some(r#"{"foo": "bar"}"#),
    ),
    (
        "A.4 removing an array element",
        r#"{"foo": ["bar", "qux", "baz"]}"#,
        r#"[{"op": "remove", "path": "/foo/1"}]"#,
        Some(r#"{"foo": ["bar", "baz"]}"#),
    ),
    (
        "A.5 replacing a value",
        r#"{"baz": "qux", "foo": "bar"}"#,
        r#"[{"op": "replace", "path": "/baz", "value": "boo"}]"#,
        Some(r#"{"baz": "boo", "foo": "bar"}"#),
    ),
    (
        "A.6 moving a value",
        r#"{"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}"#,
        r#"[{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]"#,
        Some(r#"{"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}"#),
    ),
    (
        "A.7 moving an array element",
        r#"{"foo": ["all", "grass", "cows", "eat"]}"#,
        r#"[{"op": "move", "from": "/foo/1", "path": "/foo/3"}]"#,
        Some(r#"{"foo": ["all", "cows", "eat", "grass"]}"#),
    ),
    (
        "A.8 testing a value: success",
        r#"{"baz": "qux", "foo": ["a", 2, "c"]}"#,
        r#"[{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]"#,
        Some(r#"{"baz": "qux", "foo": ["a", 2, "c"]}"#),
    ),
    (
        "A.9 testing a value: error",
        r#"{"baz": "qux"}"#,
        r#"[{"op": "test", "path": "/baz", "value": "bar"}]"#,
        None,
    ),
    (
        "A.10 adding a nested member object",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/child", "value": {"grandchild": {}}}]"#,
        Some(r#"{"foo": "bar", "child": {"grandchild": {}}}"#),
    ),
    (
        "A.11 ignoring unrecognized elements",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]"#,
        Some(r#"{"foo": "bar", "baz": "qux"}"#),
    ),
    (
        "A.12 adding to a nonexistent target",
        r#"{"foo": "bar"}"#,
        r#"[{"op": "add", "path": "/baz/bat", "value": "qux"}]"#,
        None,
    ),
    (
        "A.14 ~ escape ordering",
        r#"{"/": 9, "~1": 10}"#,
        r#"[{"op": "test", "path": "/~01", "value": 10}]"#,
        Some(r#"{"/": 9, "~1": 10}"#),
    ),
    (
        "A.15 comparing strings and numbers",
        r#"{"/": 9, "~1": 10}"#,
        r#"[{"op": "test", "path": "/~01", "value": "10"}]"#,
        None,
    ),
    (
        "A.16 adding an array value",
        r#"{"foo": ["bar"]}"#,
        r#"[{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]"#,
        Some(r#"{"foo": ["bar", ["abc", "def"]]}"#),
    ),
];

#[test]
fn every_patch_of_rfc_6902_does_what_it_says() {
    for (section, document, patch, expected) in PATCHES {
        let expected: Option<Value> = expected.map(|text| serde_json::from_str(text).unwrap());
        assert_eq!(patched(document, patch), expected, "{section}");
    }
}

#[test]
fn the_invalid_patch_of_rfc_6902_is_refused() {
    // A.13: two members of one name.
    let patch = r#"[{"op": "add", "path": "/baz", "value": "qux", "op": "remove"}]"#;
    let config = format!(r#"{{"request": [{{"name": "rfc", "patch": {patch}}}]}}"#);
    assert_eq!(
        Envoy::refused::<JsonTransform>(config),
        ["invalid configuration: request[0].patch[0].op: is given twice"]
    );
}

/// The original, the patch, and the result.
const MERGES: &[(&str, &str, &str)] = &[
    (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
    (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
    (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
    (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
    (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
    (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
    (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
    (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
    (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
    (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
    (r#"{"a":"foo"}"#, "null", "null"),
    (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
    (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
    ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
    ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
];

#[test]
fn every_merge_of_rfc_7386_does_what_it_says() {
    for (original, patch, result) in MERGES {
        let expected: Value = serde_json::from_str(result).unwrap();
        let merged = patched(original, &format!(r#"[{{"op": "merge", "value": {patch}}}]"#));
        assert_eq!(merged, Some(expected), "{original} {patch}");
    }
    let deeper =
        patched(r#"{"x":{"y":{"a":1}}}"#, r#"[{"op":"merge","path":"/x/y","value":{"a":null,"b":2}}]"#);
    assert_eq!(deeper, Some(serde_json::json!({"x": {"y": {"b": 2}}})));
    let absent = patched("{}", r#"[{"op":"merge","path":"/x/y","value":{"a":null,"b":2}}]"#);
    assert_eq!(absent, Some(serde_json::json!({"x": {"y": {"b": 2}}})));
}
