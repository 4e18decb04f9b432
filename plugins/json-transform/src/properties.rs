//! What holds for every body. A million cases take `PROPTEST_CASES=200000`.

use std::time::Duration;

use plugin_kit::request::Request;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::IgnoredAny;

use crate::config::Config;
use crate::document::Value;
use crate::json::{self, Flaw};
use crate::rules::Rules;

/// What a rule makes of a body; `None` where it leaves it as it is.
fn transform(rules: &str, body: &[u8]) -> Result<Option<Vec<u8>>, Flaw> {
    let configuration = format!(r#"{{"request": {rules}}}"#).into_bytes();
    let config: Config = plugin_kit::config::parse(&configuration).unwrap();
    let rules = Rules::compile(&config.request, "request", &configuration).unwrap();
    let chosen = rules.choose(&Request::detached(&[("x-a", b"\"\xff")]), None);
    rules.transform(&chosen, body, Duration::ZERO, 1000).map(|outcome| outcome.body)
}

fn patch(operations: &str, body: &str) -> Option<String> {
    let patched =
        transform(&format!(r#"[{{"name": "r", "patch": {operations}}}]"#), body.as_bytes()).unwrap();
    patched.map(|body| String::from_utf8(body).unwrap())
}

/// Takes all of it apart.
fn open_all(value: &mut Value<'_>) {
    match value.open() {
        Value::Array(items) => items.iter_mut().for_each(open_all),
        Value::Object(members) => members.iter_mut().for_each(|(_, value)| open_all(value)),
        Value::Raw(_) => {}
    }
}

/// Every operation, each in a rule of its own, each skipped where it cannot take place.
const EVERYTHING: &str = r#"[
    {"name": "a", "onPatchError": "skip", "patch": [{"op": "add", "path": "/a", "value": "${header:x-a} ${now}"}, {"op": "add", "path": "/-", "value": 1}]},
    {"name": "b", "onPatchError": "skip", "patch": [{"op": "set", "path": "/b/0/c", "value": {}}, {"op": "remove", "path": "/0"}]},
    {"name": "c", "onPatchError": "skip", "patch": [{"op": "move", "from": "/a", "path": "/b/a"}, {"op": "rename", "path": "/b", "to": "a"}]},
    {"name": "d", "patch": [{"op": "copy", "from": "", "path": "/copy"}, {"op": "copy", "from": "", "path": "/copy/copy"}]},
    {"name": "e", "patch": [{"op": "test", "path": "/a", "value": {"a": [1.0, "x"]}}, {"op": "replace", "path": "", "value": null}]},
    {"name": "f", "patch": [{"op": "merge", "value": {"a": {"b": null, "c": 1}}}]}
]"#;

/// Text that comes close to JSON.
const JSON_LIKE: &str = "([\\[\\]{}:,\" \\\\]|\"[ab0\\\\u]{0,6}\"|-?[0-9]{1,30}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?|true|false|null|\"[abc]\":){0,40}";

/// JSON without white space, of any numbers, escapes and names.
fn canonical() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,9})?",
        text(),
    ];
    scalar.prop_recursive(4, 64, 6, |inner| {
        let member = (text(), inner.clone()).prop_map(|(name, value)| format!("{name}:{value}"));
        prop_oneof![
            vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A string in its quotes, with escapes that need not be, and lone surrogates.
fn text() -> impl Strategy<Value = String> {
    "\"([ -!#-\\[\\]-~é阳😀]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,8}\""
}

/// JSON as any library reads it: names without escapes, each once, and numbers that a double holds.
fn plain() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-9..9).prop_map(Into::into),
        "[a-c~/é]{0,2}".prop_map(Into::into),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("[abc~/0]{0,2}", inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Operations that often meet something in a [`plain`] document.
fn operation() -> impl Strategy<Value = serde_json::Value> {
    let path = || {
        vec("[abc0-2]|~0|~1|-", 0..3)
            .prop_map(|steps| steps.iter().map(|step| format!("/{step}")).collect::<String>())
    };
    prop_oneof![
        ("add|replace|test", path(), plain())
            .prop_map(|(op, path, value)| serde_json::json!({"op": op, "path": path, "value": value})),
        path()
            .prop_filter("the whole", |path| !path.is_empty())
            .prop_map(|path| serde_json::json!({"op": "remove", "path": path})),
        ("move|copy", path(), path())
            .prop_filter("into itself", |(_, from, path)| !format!("{path}/")
                .starts_with(&format!("{from}/")))
            .prop_map(|(op, from, path)| serde_json::json!({"op": op, "from": from, "path": path})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
    ))]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        let _ = transform(EVERYTHING, &bytes);
    }

    #[test]
    fn what_is_json_stays_json(text in JSON_LIKE) {
        let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
        prop_assert_eq!(json::check(text.as_bytes()).is_ok(), is_json);
        if let Ok(Some(changed)) = transform(EVERYTHING, text.as_bytes()) {
            prop_assert!(json::check(&changed).is_ok());
        }
    }

    #[test]
    fn what_is_taken_apart_is_written_as_it_was(text in canonical()) {
        let mut value = Value::Raw(json::check(text.as_bytes()).unwrap());
        open_all(&mut value);
        let mut written = Vec::new();
        value.write(&mut written);
        prop_assert_eq!(str::from_utf8(&written).unwrap(), text.as_str());
        prop_assert!(value.weigh(json::MAX_DEPTH).is_some_and(|weight| weight >= text.len()));
    }

    #[test]
    fn what_no_operation_names_keeps_its_bytes(
        values in vec((canonical(), "[ \t\r\n]{0,3}"), 1..8),
        named in any::<prop::sample::Index>(),
    ) {
        let named = named.index(values.len());
        let members = |space: bool, changed: bool| {
            let member = |(index, (value, white)): (usize, &(String, String))| {
                let white = if space { white.as_str() } else { "" };
                let value = if changed && index == named { "1.00" } else { value };
                format!("{white}\"m{index}\"{white}:{white}{value}{white}")
            };
            let members: Vec<String> = values.iter().enumerate().map(member).collect();
            format!("{{{}}}", members.join(","))
        };
        let operations = format!(r#"[{{"op": "replace", "path": "/m{named}", "value": 1.00}}]"#);
        prop_assert_eq!(patch(&operations, &members(true, false)), Some(members(false, true)));
    }

    #[test]
    fn a_patch_does_what_another_implementation_does(document in plain(), operations in vec(operation(), 1..4)) {
        let mut expected = document.clone();
        let read: json_patch::Patch = serde_json::from_value(operations.clone().into()).unwrap();
        let applied = json_patch::patch_unsafe(&mut expected, &read).is_ok();
        let changes = operations.iter().any(|operation| operation["op"] != "test");
        let patched = patch(&serde_json::Value::from(operations).to_string(), &document.to_string());
        let patched: Option<serde_json::Value> = patched.map(|text| serde_json::from_str(&text).unwrap());
        prop_assert_eq!(patched, (applied && changes).then_some(expected));
    }

    #[test]
    fn a_merge_does_what_another_implementation_does(document in plain(), value in plain()) {
        let mut expected = document.clone();
        json_patch::merge(&mut expected, &value);
        let operations = serde_json::json!([{"op": "merge", "value": value}]).to_string();
        let merged: Option<serde_json::Value> =
            patch(&operations, &document.to_string()).map(|text| serde_json::from_str(&text).unwrap());
        prop_assert_eq!(merged, Some(expected));
    }

    #[test]
    fn an_escaped_text_says_what_it_said(text in any::<String>()) {
        let mut quoted = Vec::new();
        json::encode(&text, &mut quoted);
        prop_assert_eq!(json::check(&quoted), Ok(&quoted[..]));
        let decoded = json::decode(&quoted);
        prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        prop_assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap(), text);
    }

    #[test]
    fn a_string_says_what_a_library_reads(text in text()) {
        prop_assert_eq!(json::decode(text.as_bytes()).map(String::from), serde_json::from_str(&text).ok());
    }
}
