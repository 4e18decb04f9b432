//! Every mistake in a configuration is refused with one line that names the field and says what would be right.

use path_rewrite::PathRewrite;
use plugin_testkit::Envoy;

/// A configuration, and the line without its `invalid configuration: `.
const MISTAKES: &[(&str, &str)] = &[
    ("rules", "not JSON: expected value at line 1 column 1"),
    ("[]", "expected struct Config, not a sequence"),
    (
        r#"{"rule": []}"#,
        "rule: unknown field `rule`, expected one of `mode`, `configRevision`, `clientIp`, `rules`, `default`, `originalPathHeader`, `traceId`, `echoConfigHeader`, `safety`, `limits`",
    ),
    (r#"{"mode": "dry_run"}"#, "mode: unknown variant `dry_run`, expected one of `enforce`, `dryRun`, `off`"),
    (r#"{"rules": {}}"#, "rules: expected a sequence, not a mapping"),
    (r#"{"rules": [{}]}"#, "rules[0]: missing field `name`"),
    (r#"{"rules": [{"name": "a"}], "rules": []}"#, "rules: is given twice"),
    (
        r#"{"rules": [{"name": "A b"}]}"#,
        "rules[0].name: \"A b\" must be of lower-case letters, digits and hyphens",
    ),
    (r#"{"rules": [{"name": "a"}, {"name": "a"}]}"#, "rules[1].name: \"a\" is the name of rules[0] already"),
    (
        r#"{"rules": [{"name": "a", "rewrite": {}}]}"#,
        "rules[0].rewrite: expected exactly one of its variants, not 0",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"full": "/", "addPrefix": "/"}}]}"#,
        "rules[0].rewrite: expected exactly one of its variants, not 2",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"suffix": "/"}}]}"#,
        "rules[0].rewrite.suffix: unknown variant `suffix`, expected one of `regex`, `prefix`, `addPrefix`, `template`, `full`",
    ),
    (
        r#"{"rules": [{"name": "a"}, {"name": "b"}, {"name": "c", "rewrite": {"regex": {"pattern": "a(b", "replacement": ""}}}]}"#,
        "rules[2].rewrite.regex.pattern: not a regular expression: unclosed group",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"regex": {"pattern": "a(b)", "replacement": "$2"}}}]}"#,
        "rules[0].rewrite.regex.replacement: there is no group \"2\"",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"regex": {"pattern": "(a)", "replacement": "$1x"}}}]}"#,
        "rules[0].rewrite.regex.replacement: there is no group \"1x\"; write ${1}x for group 1",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"regex": {"pattern": "a"}}}]}"#,
        "rules[0].rewrite.regex: missing field `replacement`",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"prefix": {"from": "api", "to": "/"}}}]}"#,
        "rules[0].rewrite.prefix.from: \"api\" must start with '/'",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"prefix": {"from": "/a", "to": "/b?c"}}}]}"#,
        "rules[0].rewrite.prefix.to: \"/b?c\" must be a path without query and fragment",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"addPrefix": ""}}]}"#,
        "rules[0].rewrite.addPrefix: \"\" must start with '/'",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"template": "/${id}"}}]}"#,
        "rules[0].rewrite.template: variables are written {name}, without a dollar",
    ),
    (
        r#"{"rules": [{"name": "a", "match": {"paths": [{"template": "/{a}"}, {"exact": "/b"}]}, "rewrite": {"template": "/{a}"}}]}"#,
        "rules[0].rewrite.template: \"a\" is not a value source; known are header:NAME, cookie:NAME, query:NAME, claim:PATH, property:a.b.c, env:NAME, literal:TEXT, path, pathSegment:N, host, method, scheme, clientIp, requestId, traceId",
    ),
    (
        r#"{"rules": [{"name": "a", "match": {"paths": [{"template": "/{a=**}/b"}]}}]}"#,
        "rules[0].match.paths[0].template: {name=**} must be the last segment",
    ),
    (
        r#"{"rules": [{"name": "a", "match": {"hosts": ["a.b:80"]}}]}"#,
        "rules[0].match.hosts[0]: \"a.b:80\" must be a host without scheme, port and path",
    ),
    (
        r#"{"rules": [{"name": "a", "match": {"headers": [{"name": "x", "exact": "1", "prefix": "2"}]}}]}"#,
        "rules[0].match.headers[0]: needs exactly one of exact, oneOf, prefix, suffix, contains, regex, present, not 2",
    ),
    (
        r#"{"rules": [{"name": "a", "match": {"not": {"clientIps": ["10.0.0.0/40"]}}}]}"#,
        "rules[0].match.not.clientIps[0]: \"10.0.0.0/40\" is not a network such as 10.0.0.0/8 or 2001:db8::/32",
    ),
    (
        r#"{"rules": [{"name": "a", "redirect": {"status": 200}}]}"#,
        "rules[0].redirect.status: must be 301, 302, 303, 307 or 308, not 200",
    ),
    (
        r#"{"rules": [{"name": "a", "redirect": {"status": 301, "scheme": "ftp"}}]}"#,
        "rules[0].redirect.scheme: must be http or https, or empty for the client's",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 99}}]}"#,
        "rules[0].respond.status: must be from 200 to 599, not 99",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 200}, "redirect": {"status": 301}}]}"#,
        "rules[0]: redirect and respond exclude each other",
    ),
    (
        r#"{"rules": [{"name": "a", "requestHeaders": {"set": {"Content-Length": "1"}}}]}"#,
        "rules[0].requestHeaders.set.Content-Length: \"content-length\" must not be written by a rule",
    ),
    (
        r#"{"rules": [{"name": "a", "responseHeaders": {"set": {"x-a": "${header:x|upper}"}}}]}"#,
        "rules[0].responseHeaders.set.x-a: \"upper\" is not a filter; known are default:TEXT and raw",
    ),
    (
        r#"{"rules": [{"name": "a", "query": {"set": {"x": "$"}}}]}"#,
        "rules[0].query.set.x: a $ needs {…} after it; write $$ for a dollar",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"full": "/x"}, "reverse": {"location": true}}]}"#,
        "rules[0].reverse.location: needs a rewrite by prefix or addPrefix, or a host",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 200}, "reverse": {}}]}"#,
        "rules[0].reverse: has no effect with respond: the request is not forwarded",
    ),
    (
        r#"{"rules": [{"name": "a", "redirect": {"status": 301, "path": "/"}, "host": "b"}]}"#,
        "rules[0].host: has no effect with redirect; set redirect.host",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 200}, "host": "b"}]}"#,
        "rules[0].host: has no effect with respond: the request is not forwarded",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 200}, "query": {"remove": ["b"]}}]}"#,
        "rules[0].query: has no effect with respond: the request is not forwarded",
    ),
    (
        r#"{"rules": [{"name": "a", "redirect": {"status": 301}, "requestHeaders": {"set": {"x-a": "1"}}}]}"#,
        "rules[0].requestHeaders: has no effect with redirect: the request is not forwarded",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 204, "body": "b"}}]}"#,
        "rules[0].respond.body: must be empty: a response with status 204 has no content",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 205, "body": "b"}}]}"#,
        "rules[0].respond.body: must be empty: a response with status 205 has no content",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 304, "body": "b"}}]}"#,
        "rules[0].respond.body: must be empty: a response with status 304 has no content",
    ),
    (
        r#"{"rules": [{"name": "a", "respond": {"status": 101}}]}"#,
        "rules[0].respond.status: must be from 200 to 599, not 101",
    ),
    (
        r#"{"rules": [{"name": "a", "rewrite": {"prefix": {"from": "/", "to": "/b"}}, "reverse": {"cookieDomain": {"from": ".", "to": "b"}}}]}"#,
        "rules[0].reverse.cookieDomain.from: \".\" is not a domain",
    ),
    (
        r#"{"default": {"requestHeaders": {"remove": [":path"]}}}"#,
        "default.requestHeaders.remove[0]: \":path\" is not the name of a header",
    ),
    (r#"{"originalPathHeader": "x y"}"#, "originalPathHeader: \"x y\" is not the name of a header"),
    (r#"{"traceId": {"header": "te"}}"#, "traceId.header: \"te\" must not be written by a rule"),
    (
        r#"{"traceId": {"header": "x", "generate": "ulid"}}"#,
        "traceId.generate: unknown variant `ulid`, expected one of `uuid`, `hex32`, `none`",
    ),
    (
        r#"{"safety": {"onViolation": 200}}"#,
        "safety.onViolation: expected an HTTP status from 400 to 599, or \"pass\", not 200",
    ),
    (r#"{"safety": {"maxPathBytes": -1}}"#, "safety.maxPathBytes: expected usize, not -1"),
    (r#"{"clientIp": {"ipv6Prefix": 129}}"#, "clientIp.ipv6Prefix: must be from 0 to 128, not 129"),
    (
        r#"{"limits": {"maxRules": 1}, "rules": [{"name": "a"}, {"name": "b"}]}"#,
        "rules: 2 rules; limits.maxRules allows 1",
    ),
    (
        r#"{"limits": {"maxRegexBytes": 3}, "rules": [{"name": "a", "match": {"paths": [{"regex": "abcd"}]}}]}"#,
        "rules[0].match.paths[0].regex: a regular expression of 4 bytes; at most 3 are allowed",
    ),
];

#[test]
fn each_mistake_is_named() {
    assert!(MISTAKES.len() >= 30);
    for (config, line) in MISTAKES {
        assert_eq!(
            Envoy::refused::<PathRewrite>(config),
            [format!("invalid configuration: {line}")],
            "{config}"
        );
    }
}
