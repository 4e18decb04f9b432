//! What `vary` must name: the request headers that the lane depends on.

use plugin_kit::headers::HeaderName;
use plugin_kit::matching::Match;
use plugin_kit::source::SourceList;

use crate::config::{Config, NoKey, Trust};

/// The names, in lower case. Host, path, query and method are in every cache's key already; what is no part of the
/// request (a client's address, a property) no header can name.
pub fn names(config: &Config, header: &HeaderName) -> Vec<String> {
    let mut names = Names::default();
    if !matches!(config.incoming.trust, Trust::Never) {
        names.add(header.as_str());
    }
    for item in &config.overrides {
        names.add_match(&item.matches);
    }
    for rule in &config.rules {
        names.add_match(&rule.matches);
    }
    if let Some(split) = &config.split {
        names.add_match(&split.matches);
        names.add_sources(&split.key);
        if split.no_key == NoKey::Cookie {
            names.add("cookie");
        }
    }
    names.0
}

#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn add(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    fn add_source(&mut self, source: &str) {
        match source.split_once(':') {
            Some(("header", name)) => self.add(name),
            Some(("cookie", _)) => self.add("cookie"),
            Some(("claim", _)) => self.add("authorization"),
            _ => {}
        }
    }

    fn add_sources(&mut self, sources: &SourceList) {
        for source in &sources.0 {
            self.add_source(source);
        }
    }

    fn add_match(&mut self, matches: &Match) {
        for header in matches.headers.iter().flatten() {
            self.add(&header.name);
        }
        if matches.cookies.is_some() {
            self.add("cookie");
        }
        for value in matches.values.iter().flatten() {
            self.add_source(&value.source);
        }
        for inner in matches.any.iter().flatten().chain(matches.not.as_deref()) {
            self.add_match(inner);
        }
    }
}

/// The response's `vary` (every line, joined by commas) with these names too; `None` where it has them.
pub fn with_names(header: Option<&[u8]>, names: &[String]) -> Option<Vec<u8>> {
    let mut vary = header.unwrap_or_default().trim_ascii().to_vec();
    let there = |vary: &[u8], name: &str| {
        vary.split(|&byte| byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|seen| seen == b"*" || seen.eq_ignore_ascii_case(name.as_bytes()))
    };
    let mut changed = false;
    for name in names {
        if !there(&vary, name) {
            if !vary.is_empty() {
                vary.extend(b", ");
            }
            vary.extend(name.bytes());
            changed = true;
        }
    }
    changed.then_some(vary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(json: &str) -> Vec<String> {
        names(&plugin_kit::config::parse(json.as_bytes()).unwrap(), &HeaderName::new("x-swimlane").unwrap())
    }

    #[test]
    fn whatever_the_lane_depends_on_is_named_once() {
        for (config, expected) in [
            ("{}", &[][..]),
            (r#"{"incoming":{"trust":"always"}}"#, &["x-swimlane"]),
            (
                r#"{"split":{"key":["header:X-User-Id","claim:sub","cookie:uid"]}}"#,
                &["x-user-id", "authorization", "cookie"],
            ),
            (r#"{"split":{"key":"clientIp","noKey":"cookie"}}"#, &["cookie"]),
            (r#"{"split":{"key":["query:u","path"]}}"#, &[]),
            (
                r#"{"rules":[{"name":"a","lane":"b","match":{"any":[{"cookies":[{"name":"c","present":true}]},
                    {"not":{"values":[{"source":"header:x-a","present":true}],"headers":[{"name":"X-B","present":true}]}}]}}]}"#,
                &["cookie", "x-b", "x-a"],
            ),
            (
                r#"{"overrides":[{"lane":"b","match":{"headers":[{"name":"x-a","present":true}]}}],"split":{"key":"header:x-a"}}"#,
                &["x-a"],
            ),
        ] {
            assert_eq!(named(config), expected, "{config}");
        }
    }

    #[test]
    fn names_are_appended_and_not_repeated() {
        let names = ["x-user-id".to_owned(), "cookie".to_owned()];
        for (header, expected) in [
            (None, Some("x-user-id, cookie")),
            (Some(""), Some("x-user-id, cookie")),
            (Some("Accept-Encoding"), Some("Accept-Encoding, x-user-id, cookie")),
            (Some("Cookie"), Some("Cookie, x-user-id")),
            (Some("a,X-User-ID ,cookie"), None),
            (Some("*"), None),
        ] {
            let written = with_names(header.map(str::as_bytes), &names);
            assert_eq!(written.as_deref(), expected.map(str::as_bytes), "{header:?}");
        }
    }
}
