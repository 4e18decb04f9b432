//! Conditions on the path, without query and fragment.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::config::{At, ChoiceName, ConfigError, quoted};
use crate::matching::template::PathTemplate;
use crate::pattern::{self, Pattern};

/// How a path must look.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename_all = "camelCase"))]
pub enum PathMatch {
    /// Is this path.
    Exact(String),
    /// Is this path or lies below it: `/api` matches `/api` and `/api/x`, not `/apiary`.
    Prefix(String),
    /// Begins with this text: `/api` matches `/apiary` too.
    StringPrefix(String),
    /// Ends with this text.
    Suffix(String),
    /// Matches this regular expression, unanchored unless you write `^` and `$`.
    Regex(String),
    /// Matches this template: `{name}` is one segment, `{name=**}` one or more.
    Template(String),
}

impl<'de> Deserialize<'de> for PathMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OneOf)
    }
}

const KINDS: &[&str] = &["exact", "prefix", "stringPrefix", "suffix", "regex", "template"];

/// By hand: `derive` makes 2 KiB more of it.
struct OneOf;

impl<'de> Visitor<'de> for OneOf {
    type Value = PathMatch;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<PathMatch, A::Error> {
        const NOT_ONE: &str =
            "expected exactly one of exact, prefix, stringPrefix, suffix, regex and template";
        let kind = members.next_key_seed(ChoiceName(KINDS))?.ok_or_else(|| A::Error::custom(NOT_ONE))?;
        let text = members.next_value()?;
        if members.next_key_seed(ChoiceName(KINDS))?.is_some() {
            return Err(A::Error::custom(NOT_ONE));
        }
        Ok(match kind {
            0 => PathMatch::Exact(text),
            1 => PathMatch::Prefix(text),
            2 => PathMatch::StringPrefix(text),
            3 => PathMatch::Suffix(text),
            4 => PathMatch::Regex(text),
            _ => PathMatch::Template(text),
        })
    }
}

/// A compiled [`PathMatch`].
#[derive(Clone, Debug)]
pub enum PathCondition {
    /// Is this path.
    Exact(Vec<u8>),
    /// Is this path or lies below it; without a trailing slash.
    Prefix(Vec<u8>),
    /// Begins with this text.
    StringPrefix(Vec<u8>),
    /// Ends with this text.
    Suffix(Vec<u8>),
    /// Matches this regular expression.
    Regex(Pattern),
    /// Matches this template.
    Template(PathTemplate),
}

impl PathMatch {
    /// Compiles the condition.
    ///
    /// # Errors
    /// Where a path does not start with `/`, or a regular expression or template is wrong.
    pub fn compile(&self, max_regex_bytes: usize) -> Result<PathCondition, ConfigError> {
        let from_root = |text: &str| {
            if text.starts_with('/') {
                return Ok(text.as_bytes().to_vec());
            }
            Err(ConfigError::new(format!("{} must start with '/'", quoted(text))))
        };
        Ok(match self {
            Self::Exact(text) => PathCondition::Exact(from_root(text).at("exact")?),
            Self::Prefix(text) => {
                PathCondition::Prefix(without_slash(&from_root(text).at("prefix")?).to_vec())
            }
            Self::StringPrefix(text) => PathCondition::StringPrefix(from_root(text).at("stringPrefix")?),
            Self::Suffix(text) => PathCondition::Suffix(text.as_bytes().to_vec()),
            Self::Regex(text) => {
                PathCondition::Regex(Pattern::new(text, false, max_regex_bytes).at("regex")?)
            }
            Self::Template(text) => PathCondition::Template(PathTemplate::new(text).at("template")?),
        })
    }

    /// [`PathMatch::compile`] with the usual bound for regular expressions.
    ///
    /// # Errors
    /// As [`PathMatch::compile`].
    pub fn compile_default(&self) -> Result<PathCondition, ConfigError> {
        self.compile(pattern::MAX_BYTES)
    }
}

impl PathCondition {
    /// Whether the path is as said.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => below(path, prefix).is_some(),
            Self::StringPrefix(text) => path.starts_with(text),
            Self::Suffix(text) => path.ends_with(text),
            Self::Regex(pattern) => pattern.is_match(path),
            Self::Template(template) => template.capture(path).is_some(),
        }
    }

    /// What the groups of a regular expression or the variables of a template caught; `None` where it does not match.
    #[must_use]
    pub fn capture(&self, path: &[u8]) -> Option<Captures> {
        match self {
            Self::Regex(pattern) => {
                let groups = pattern.captures_from(path, 0)?;
                Some(Captures::of_pattern(pattern, path, &groups))
            }
            Self::Template(template) => {
                let values = template.capture(path)?;
                Some(Captures::of_template(template.names().zip(values)))
            }
            other => other.matches(path).then(Captures::default),
        }
    }

    /// The names that [`PathCondition::capture`] knows.
    #[must_use]
    pub fn names(&self) -> Vec<Cow<'_, str>> {
        match self {
            Self::Regex(pattern) => {
                let numbered =
                    pattern.group_names().enumerate().map(|(number, _)| Cow::Owned(number.to_string()));
                numbered.chain(pattern.group_names().flatten().map(Cow::Borrowed)).collect()
            }
            Self::Template(template) => template.names().map(Cow::Borrowed).collect(),
            _ => Vec::new(),
        }
    }
}

/// What a path was caught into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// What the groups and variables are parts of.
    text: Vec<u8>,
    numbered: Vec<Range<usize>>,
    named: Vec<(String, Range<usize>)>,
}

impl Captures {
    /// The groups of one match of a pattern; a group that took no part is empty.
    #[must_use]
    pub fn of_pattern(pattern: &Pattern, haystack: &[u8], groups: &[Option<Range<usize>>]) -> Self {
        // Every group lies in the whole match.
        let whole = groups.first().cloned().flatten().unwrap_or_default();
        let place = |group: &Option<Range<usize>>| {
            let group = group.clone().unwrap_or(whole.start..whole.start);
            group.start.saturating_sub(whole.start)..group.end.saturating_sub(whole.start)
        };
        let named = pattern.group_names().zip(groups);
        let named = named.filter_map(|(name, group)| Some((name?.to_owned(), place(group)))).collect();
        let numbered = groups.iter().map(place).collect();
        Self { numbered, named, text: haystack.get(whole).unwrap_or_default().to_vec() }
    }

    /// The variables of a template.
    fn of_template<'a>(values: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut captures = Self::default();
        for (name, value) in values {
            let start = captures.text.len();
            captures.text.extend(value);
            captures.named.push((name.to_owned(), start..captures.text.len()));
        }
        captures
    }

    /// What the group or variable of this name or number caught; empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &[u8] {
        let place = match name.parse::<usize>() {
            Ok(number) => self.numbered.get(number),
            Err(_) => self.named.iter().find(|(known, _)| known == name).map(|(_, place)| place),
        };
        place.and_then(|place| self.text.get(place.clone())).unwrap_or_default()
    }
}

/// A prefix of whole segments has no trailing slash: `/` becomes the empty text, which every path lies below.
#[must_use]
pub(crate) fn without_slash(prefix: &[u8]) -> &[u8] {
    prefix.strip_suffix(b"/").unwrap_or(prefix)
}

/// What follows `prefix` in `path`, where `path` is the prefix or lies below it: nothing, or from a `/` on.
#[must_use]
pub fn below<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(json: &str) -> PathCondition {
        serde_json::from_str::<PathMatch>(json).unwrap().compile_default().unwrap()
    }

    #[test]
    fn a_path_match_has_one_kind() {
        for (json, wrong) in [
            ("{}", "expected exactly one of exact, prefix, stringPrefix, suffix, regex and template"),
            (r#"{"exact":"/a","prefix":"/b"}"#, "expected exactly one of exact,"),
            (r#"{"begins":"/a"}"#, "unknown variant `begins`, expected one of `exact`, `prefix`,"),
            (r#"{"exact":1}"#, "expected a string"),
            (r#""exact""#, "expected an object"),
        ] {
            let message = crate::config::parse::<PathMatch>(json.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(wrong), "{json}: {message}");
        }
    }

    #[cfg(feature = "schema")]
    #[test]
    fn the_kinds_are_those_of_the_schema() {
        let schema = schemars::schema_for!(PathMatch);
        let kinds = schema.get("oneOf").and_then(|kinds| kinds.as_array()).unwrap();
        let names: Vec<&str> = kinds.iter().map(|kind| kind["required"][0].as_str().unwrap()).collect();
        assert_eq!(names, KINDS);
    }

    #[test]
    fn each_kind_says_what_it_means() {
        for (json, path, matches) in [
            (r#"{"exact":"/a"}"#, "/a", true),
            (r#"{"exact":"/a"}"#, "/a/", false),
            (r#"{"prefix":"/api"}"#, "/api", true),
            (r#"{"prefix":"/api"}"#, "/api/", true),
            (r#"{"prefix":"/api"}"#, "/api/x", true),
            (r#"{"prefix":"/api"}"#, "/apiary", false),
            (r#"{"prefix":"/api/"}"#, "/api", true),
            (r#"{"prefix":"/"}"#, "/anything", true),
            (r#"{"stringPrefix":"/api"}"#, "/apiary", true),
            (r#"{"suffix":".php"}"#, "/a.php", true),
            (r#"{"regex":"banana/([0-9]*)"}"#, "/xbanana/", true),
            (r#"{"template":"/users/{id}"}"#, "/users/1", true),
            (r#"{"template":"/users/{id}"}"#, "/users/1/2", false),
        ] {
            assert_eq!(condition(json).matches(path.as_bytes()), matches, "{json} {path}");
        }
    }

    #[test]
    fn groups_are_found_by_number_and_by_name() {
        let caught = condition(r#"{"regex":"^/(?<lang>[a-z]+)/(x)?"}"#).capture(b"/de/").unwrap();
        assert_eq!(
            (caught.get("0"), caught.get("1"), caught.get("lang")),
            (&b"/de/"[..], &b"de"[..], &b"de"[..])
        );
        assert_eq!((caught.get("2"), caught.get("9"), caught.get("none")), (&b""[..], &b""[..], &b""[..]));
    }

    #[test]
    fn the_names_of_groups_are_known_beforehand() {
        assert_eq!(condition(r#"{"regex":"(?<a>x)(y)"}"#).names(), ["0", "1", "2", "a"]);
        assert_eq!(condition(r#"{"template":"/{a}/{b=**}"}"#).names(), ["a", "b"]);
    }

    #[test]
    fn a_path_starts_with_a_slash() {
        for (json, message) in [
            (r#"{"exact":"a"}"#, "exact: \"a\" must start with '/'"),
            (r#"{"prefix":""}"#, "prefix: \"\" must start with '/'"),
        ] {
            let failed = serde_json::from_str::<PathMatch>(json).unwrap().compile_default().unwrap_err();
            assert_eq!(failed.to_string(), message);
        }
    }
}
