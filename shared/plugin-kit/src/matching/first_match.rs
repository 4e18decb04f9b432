//! Rules of which the first that matches says what a request must satisfy.

use std::iter;

use log::warn;

use crate::matching::ambiguity::{self, Ambiguity};
use crate::matching::{Condition, toggle_trailing_slash};
use crate::request::Request;

/// What happens to requests that read differently to different servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum AmbiguousPaths {
    /// They are rejected with 400 where a condition on path, host or method decides what is required.
    #[default]
    Reject,
    /// They must satisfy what all rules and the default require.
    Allow,
}

crate::choices!(AmbiguousPaths { "reject" => Reject, "allow" => Allow });

/// Rules in order, and what applies where none matches.
#[derive(Debug)]
pub struct FirstMatch<R> {
    rules: Vec<(Condition, R)>,
    default: R,
    /// Whether path, host or method decide which rule matches.
    reads_target: bool,
    minds_trailing_slash: bool,
}

impl<R> FirstMatch<R> {
    /// Compiled rules and their default.
    #[must_use]
    pub fn new(rules: Vec<(Condition, R)>, default: R) -> Self {
        Self {
            reads_target: rules.iter().any(|(condition, _)| condition.reads_target()),
            minds_trailing_slash: rules.iter().any(|(condition, _)| condition.minds_trailing_slash()),
            rules,
            default,
        }
    }

    /// The first rule that matches, or the default, whether or not the request is ambiguous.
    #[must_use]
    pub fn find(&self, request: &Request) -> &R {
        self.requirement(self.position(request, None))
    }

    /// What is required of the request.
    ///
    /// A path that an earlier rule matches with, or without, a trailing slash is ambiguous, unless `is_open` says that
    /// the rule lets every request pass.
    ///
    /// # Errors
    /// Why servers may read the request differently, so that it may get less than its plain spelling needs: always for
    /// a method that is not in upper case, and for path and authority where they decide which rule matches.
    pub fn find_unambiguous(&self, request: &Request, is_open: impl Fn(&R) -> bool) -> Result<&R, Ambiguity> {
        if let Some(ambiguity) = ambiguity::of_method(&request.header(":method").unwrap_or_default()) {
            return Err(ambiguity);
        }
        if self.reads_target
            && let Some(ambiguity) = ambiguity::of(request, self.rules.iter().map(|(condition, _)| condition))
        {
            return Err(ambiguity);
        }
        let found = self.position(request, None);
        if self.minds_trailing_slash {
            let other = self.position(request, Some(&toggle_trailing_slash(request.path())));
            if other < found && !is_open(self.requirement(other)) {
                return Err(Ambiguity::TrailingSlash);
            }
        }
        Ok(self.requirement(found))
    }

    /// The first rule that asks for more than the default does.
    #[must_use]
    pub fn stricter_than_default<S: PartialOrd>(&self, strictness: impl Fn(&R) -> S) -> Option<usize> {
        let default = strictness(&self.default);
        self.rules.iter().position(|(_, requirement)| strictness(requirement) > default)
    }

    /// Logs a warning where a rule asks for more than the default, which is `field` of the configuration. The default
    /// applies to paths that nobody thought of.
    pub fn warn_if_default_is_lenient<S: PartialOrd>(&self, field: &str, strictness: impl Fn(&R) -> S) {
        if let Some(rule) = self.stricter_than_default(strictness) {
            warn!(
                "{field}: asks for less than rules[{rule}], so a path that no rule matches passes with less; ask for the \
                 most by default, and open paths by rules"
            );
        }
    }

    /// What the rules require, in order, and last the default.
    pub fn all(&self) -> impl Iterator<Item = &R> {
        self.rules.iter().map(|(_, requirement)| requirement).chain(iter::once(&self.default))
    }

    /// The conditions of the rules, in order.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.rules.iter().map(|(condition, _)| condition)
    }

    /// What applies where no rule matches.
    #[must_use]
    pub fn default(&self) -> &R {
        &self.default
    }

    /// The place of the first rule that would match if the path were `path`; the default comes after all of them.
    fn position(&self, request: &Request, path: Option<&[u8]>) -> usize {
        let found = self.rules.iter().position(|(condition, _)| condition.matches_path(request, path));
        found.unwrap_or(self.rules.len())
    }

    fn requirement(&self, position: usize) -> &R {
        self.rules.get(position).map_or(&self.default, |(_, requirement)| requirement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Match;

    /// Rules of which each requires its own place in the list; 0 is open.
    fn rules(matches: &[&str]) -> FirstMatch<usize> {
        let compile = |json: &&str| serde_json::from_str::<Match>(json).unwrap().compile().unwrap();
        let rules = matches.iter().enumerate().map(|(place, json)| (compile(json), place)).collect();
        FirstMatch::new(rules, 99)
    }

    fn find(
        rules: &FirstMatch<usize>,
        method: &str,
        authority: &str,
        target: &str,
    ) -> Result<usize, Ambiguity> {
        let request = Request::detached(&[
            (":method", method.as_bytes()),
            (":authority", authority.as_bytes()),
            (":path", target.as_bytes()),
        ]);
        rules.find_unambiguous(&request, |place| *place == 0).copied()
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = rules(&[
            r#"{"paths": [{"prefix": "/open"}]}"#,
            r#"{"paths": [{"prefix": "/a"}], "methods": ["post"]}"#,
            r#"{"paths": [{"prefix": "/a"}]}"#,
        ]);
        for (method, path, expected) in
            [("GET", "/open/x?y", 0), ("POST", "/a", 1), ("GET", "/a/", 2), ("GET", "/ab", 99)]
        {
            assert_eq!(find(&rules, method, "h", path), Ok(expected), "{method} {path}");
        }
    }

    #[test]
    fn an_ambiguous_request_is_an_error_where_the_target_decides() {
        let rules = rules(&[r#"{"headers": [{"name": "x-a", "present": true}]}"#, r#"{"hosts": ["h"]}"#]);
        for (method, authority, path, expected) in [
            ("GET", "h", "/a%2Fb", Ambiguity::EncodedDelimiter),
            ("GET", "u@h", "/a", Ambiguity::Authority),
            ("get", "h", "/a", Ambiguity::Method),
        ] {
            assert_eq!(find(&rules, method, authority, path), Err(expected), "{method} {authority} {path}");
        }
    }

    #[test]
    fn only_the_method_must_be_unambiguous_where_the_target_does_not_decide() {
        let rules = rules(&[r#"{"headers": [{"name": "x-a", "present": true}]}"#]);
        assert_eq!(find(&rules, "GET", "u@h", "/a%2Fb;v=1"), Ok(99));
        assert_eq!(find(&rules, "get", "h", "/"), Err(Ambiguity::Method));
    }

    #[test]
    fn a_default_that_asks_for_less_than_a_rule_is_noticed() {
        let rule = |place| (Match::default().compile().unwrap(), place);
        for (places, default, expected) in
            [(&[0, 2, 3][..], 1, Some(1)), (&[0, 1], 1, None), (&[], 0, None), (&[1], 0, Some(0))]
        {
            let rules = FirstMatch::new(places.iter().copied().map(rule).collect(), default);
            assert_eq!(rules.stricter_than_default(|place| *place), expected, "{places:?} {default}");
        }
    }

    #[test]
    fn a_trailing_slash_never_leads_past_a_rule_that_is_not_open() {
        let rules = rules(&[
            r#"{"paths": [{"exact": "/healthz"}]}"#,
            r#"{"paths": [{"exact": "/orders"}, {"template": "/users/{id}"}]}"#,
            r#"{"values": [{"source": "path", "exact": "/carts"}]}"#,
        ]);
        for (path, expected) in [
            ("/orders", Ok(1)),
            ("/orders/", Err(Ambiguity::TrailingSlash)),
            ("/users/7/", Err(Ambiguity::TrailingSlash)),
            ("/Orders/", Err(Ambiguity::Respelled)),
            ("/carts/", Err(Ambiguity::TrailingSlash)),
            ("/users/7", Ok(1)),
            ("/healthz", Ok(0)),
            ("/healthz/", Ok(99)),
            ("/other/", Ok(99)),
        ] {
            assert_eq!(find(&rules, "GET", "h", path), expected, "{path}");
        }
    }

    #[test]
    fn a_missing_slash_never_leads_past_a_string_prefix_that_ends_with_one() {
        let rules = rules(&[r#"{"methods": ["PUT"]}"#, r#"{"paths": [{"stringPrefix": "/files/"}]}"#]);
        for (path, expected) in [
            ("/files", Err(Ambiguity::TrailingSlash)),
            ("/Files", Err(Ambiguity::Respelled)),
            ("/files/", Ok(1)),
            ("/files/x", Ok(1)),
            ("/file", Ok(99)),
        ] {
            assert_eq!(find(&rules, "GET", "h", path), expected, "{path}");
        }
    }
}
