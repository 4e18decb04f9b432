//! Warnings about configurations that are accepted, and that let more requests pass than they seem to.

use plugin_kit::headers::HeaderName;
use plugin_kit::matching::{Match, NamedMatch, SourceMatch};
use plugin_kit::request::Request;
use plugin_kit::source::Source;

use crate::config::{Config, Failure};

/// A request that only conditions match which any request satisfies.
const UNLISTED: [(&str, &[u8]); 3] =
    [(":method", b"UNLISTED"), (":authority", b"unlisted.invalid"), (":path", b"/unlisted/4d2f/9c31")];

/// One line each.
#[must_use]
pub fn of(config: &Config) -> Vec<String> {
    [open_rule(config), failure_allow(config)].into_iter().flatten().collect()
}

fn open_rule(config: &Config) -> Option<String> {
    let index = config.rules.iter().position(|rule| !rule.ask && matches_any_target(&rule.matches))?;
    Some(format!(
        "rules[{index}] has ask: false and matches any path: requests pass without a check unless an earlier rule \
         matches. List the open paths instead"
    ))
}

/// Whether no condition limits path, host or method. What `not` rules out are single spellings of them.
fn matches_any_target(matches: &Match) -> bool {
    let is_host = |header: &NamedMatch| HeaderName::new(&header.name).is_ok_and(|name| name.is_host());
    let is_target = |value: &SourceMatch| Source::new(&value.source).is_ok_and(|source| source.is_target());
    let of_the_target = Match {
        hosts: matches.hosts.clone(),
        methods: matches.methods.clone(),
        paths: matches.paths.clone(),
        headers: if_all(&matches.headers, is_host),
        values: if_all(&matches.values, is_target),
        ..Match::default()
    };
    of_the_target.compile().is_ok_and(|condition| condition.matches(&Request::detached(&UNLISTED)))
        && matches.any.as_ref().is_none_or(|any| any.iter().any(matches_any_target))
}

/// The alternatives, if each of them limits the target.
fn if_all<T: Clone>(alternatives: &Option<Vec<T>>, limits: impl FnMut(&T) -> bool) -> Option<Vec<T>> {
    alternatives.as_ref().filter(|alternatives| alternatives.iter().all(limits)).cloned()
}

fn failure_allow(config: &Config) -> Option<String> {
    let is_allow = |failure: &Option<Failure>| *failure == Some(Failure::Allow);
    let field = if config.failure == Failure::Allow {
        "failure".to_owned()
    } else {
        format!("rules[{}].failure", config.rules.iter().position(|rule| is_allow(&rule.failure))?)
    };
    Some(format!("{field} is allow: requests pass without a check when the service makes no decision"))
}
