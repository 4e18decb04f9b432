//! Properties of the plugin in the in-memory Envoy. More cases take `PROPTEST_CASES=200000`.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use path_rewrite::PathRewrite;
use plugin_testkit::{Envoy, Headers, Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// Pieces of paths that some server may read as `/admin`, and of others.
const PIECES: [&str; 30] = [
    "/",
    "//",
    "/",
    "admin",
    "Admin",
    "ADMIN",
    "%61dmin",
    "adm%49n",
    "%2561dmin",
    "a",
    "x",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%2f",
    "%2F",
    "%252f",
    "%5c",
    "\\",
    ";",
    ";x=1",
    "%3b",
    "%20",
    "%00",
    "%c0%af",
    "%u002f",
    "?",
    "#",
    "%",
];

/// The first segments of a path, as servers read it that decode it so many times, take `\` for `/`, cut off parameters,
/// merge slashes, resolve dot segments, and ignore case and what is at the end of a segment.
fn first_segments(target: &str) -> Vec<String> {
    let mut path = target.split(['?', '#']).next().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for _ in 0..3 {
        let mut segments: Vec<String> = Vec::new();
        for segment in path.split(['/', '\\']) {
            let name = segment.split([';', '?', '#']).next().unwrap_or_default();
            match name {
                "" | "." => {}
                ".." => drop(segments.pop()),
                name => segments.push(name.trim_end_matches(['.', ' ', '\0']).to_lowercase()),
            }
        }
        found.extend(segments.into_iter().next());
        path = decoded(&path);
    }
    found
}

fn decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte.into());
                decoded.push_str(piece.get(2..).unwrap_or_default());
            }
            None => {
                decoded.push('%');
                decoded.push_str(piece);
            }
        }
    }
    decoded
}

/// Rules that read headers in different ways; none of them matches.
fn rule() -> impl Strategy<Value = Value> {
    let condition = prop_oneof![
        Just(json!({"headers": [{"name": "x-a", "exact": "never"}]})),
        Just(json!({"headers": [{"name": "x-b", "regex": "never"}]})),
        Just(json!({"headers": [{"name": "host", "exact": "never"}]})),
        Just(json!({"cookies": [{"name": "c", "exact": "never"}]})),
        Just(json!({"values": [{"source": "header:x-a", "exact": "never"}]})),
        Just(json!({"values": [{"source": "header:Host", "exact": "never"}]})),
        Just(json!({"hosts": ["never.example.com"]})),
        Just(json!({"clientIps": ["192.0.2.0/24"]})),
        Just(json!({"paths": [{"exact": "/never"}]})),
    ];
    let action = prop_oneof![
        Just(json!({"respond": {"status": 403}})),
        Just(json!({"rewrite": {"full": "/rewritten"}})),
        Just(json!({"requestHeaders": {"remove": ["x-a"]}})),
    ];
    (condition, action).prop_map(|(condition, mut rule)| {
        rule["match"] = condition;
        rule
    })
}

proptest! {
    #[test]
    fn however_a_server_reads_a_path_what_a_rule_rejects_is_rejected(pieces in vec(select(&PIECES[..]), 1..7)) {
        let target = format!("/{}", pieces.concat());
        let config = json!({"rules": [
            {"name": "moved", "match": {"paths": [{"prefix": "/x"}]}, "rewrite": {"prefix": {"from": "/x", "to": "/y"}}},
            {"name": "admin", "match": {"paths": [{"prefix": "/admin"}]}, "respond": {"status": 403}},
        ]});
        let envoy = Envoy::start::<PathRewrite>(config);
        let stream = envoy.request(Request::get(&target));
        let is_rejected = stream.local_reply().is_some_and(|reply| reply.status == 403);
        let segments = first_segments(&target);
        prop_assert!(is_rejected || segments.iter().all(|segment| segment != "admin"), "{target} {segments:?}");
    }

    #[test]
    fn the_host_is_the_hosts_value_whatever_else_a_configuration_reads(
        rules in vec(rule(), 0..12),
        headers in vec((select(&["x-a", "x-b", "cookie"][..]), "[a-c]{0,2}"), 0..6),
    ) {
        let mut rules = rules;
        for (index, rule) in rules.iter_mut().enumerate() {
            rule["name"] = format!("r{index}").into();
        }
        rules.push(json!({
            "name": "last",
            "match": {"headers": [{"name": "host", "exact": "shop.example.com"}]},
            "requestHeaders": {"copy": [{"from": "host", "to": "x-copied"}], "set": {"x-host": "${header:host}"}},
            "responseHeaders": {"set": {"x-host": "${header:Host|default:none}"}},
        }));
        let envoy = Envoy::start::<PathRewrite>(json!({ "rules": rules }));
        let request = headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(name, value));
        let exchange = envoy.exchange(request, Response::new(200));
        let upstream = exchange.upstream.unwrap();
        for lines in [upstream.lines("x-host"), upstream.lines("x-copied"), exchange.response.lines("x-host")] {
            prop_assert_eq!(lines, ["shop.example.com"]);
        }
    }
}
