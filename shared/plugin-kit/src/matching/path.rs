//! Conditions on the path, without query and fragment.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::config::{At, ChoiceName, ConfigError, quoted};
use crate::matching::template::PathTemplate;
use crate::pattern::{self, Pattern};
use crate::percent;

/// How a path must look, and whether upper and lower case are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMatch {
    /// The kind of comparison.
    pub kind: PathKind,
    /// `ignoreCase`: ASCII letters match in upper and lower case. Default false.
    pub ignore_case: bool,
}

/// The kind of comparison of a [`PathMatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Is this path.
    Exact(String),
    /// Is this path or lies below it: `/api` matches `/api` and `/api/x`, not `/apiary`.
    Prefix(String),
    /// Begins with this string: `/api` matches `/apiary` too.
    StringPrefix(String),
    /// Ends with this string.
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

/// The kinds, then the option.
const NAMES: &[&str] = &["exact", "prefix", "stringPrefix", "suffix", "regex", "template", "ignoreCase"];

/// Written by hand: `derive` makes 2 KiB more of it.
struct OneOf;

impl<'de> Visitor<'de> for OneOf {
    type Value = PathMatch;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<PathMatch, A::Error> {
        const NOT_ONE: &str =
            "expected exactly one of exact, prefix, stringPrefix, suffix, regex and template";
        let mut kind = None;
        let mut ignore_case = false;
        while let Some(name) = members.next_key_seed(ChoiceName(NAMES))? {
            if name == 6 {
                ignore_case = members.next_value()?;
                continue;
            }
            let text = members.next_value()?;
            let given = match name {
                0 => PathKind::Exact(text),
                1 => PathKind::Prefix(text),
                2 => PathKind::StringPrefix(text),
                3 => PathKind::Suffix(text),
                4 => PathKind::Regex(text),
                _ => PathKind::Template(text),
            };
            if kind.replace(given).is_some() {
                return Err(A::Error::custom(NOT_ONE));
            }
        }
        let kind = kind.ok_or_else(|| A::Error::custom(NOT_ONE))?;
        Ok(PathMatch { kind, ignore_case })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for PathMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathMatch".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        const KINDS: [(&str, &str); 6] = [
            ("exact", "Is this path."),
            ("prefix", "Is this path or lies below it: `/api` matches `/api` and `/api/x`, not `/apiary`."),
            ("stringPrefix", "Begins with this string: `/api` matches `/apiary` too."),
            ("suffix", "Ends with this string."),
            ("regex", "Matches this regular expression, unanchored unless you write `^` and `$`."),
            ("template", "Matches this template: `{name}` is one segment, `{name=**}` one or more."),
        ];
        let kinds: Vec<schemars::Schema> = KINDS
            .into_iter()
            .map(|(name, description)| {
                schemars::json_schema!({
                    "description": description,
                    "type": "object",
                    "properties": {
                        name: {"type": "string"},
                        "ignoreCase": {
                            "description": "ASCII letters match in upper and lower case. Default false.",
                            "type": "boolean",
                            "default": false
                        }
                    },
                    "required": [name],
                    "additionalProperties": false
                })
            })
            .collect();
        schemars::json_schema!({"description": "How a path must look.", "oneOf": kinds})
    }
}

/// A compiled [`PathMatch`].
#[derive(Clone, Debug)]
pub struct PathCondition {
    shape: PathShape,
    ignore_case: bool,
    /// The regular expression of `shape` with case ignored, where [`PathCondition::matches_respelled`] needs it.
    folded: Option<Pattern>,
}

/// What a [`PathCondition`] compares a path with.
#[derive(Clone, Debug)]
pub enum PathShape {
    /// The whole path.
    Exact(Vec<u8>),
    /// A prefix of whole segments, without a trailing slash.
    Prefix(Vec<u8>),
    /// The beginning.
    StringPrefix(Vec<u8>),
    /// The end.
    Suffix(Vec<u8>),
    /// A regular expression.
    Regex(Pattern),
    /// A template.
    Template(PathTemplate),
}

/// Whether a condition must also recognize paths that it matches only in another spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spellings {
    /// It must: [`ambiguity`](crate::matching::ambiguity) looks for them. Regular expressions are compiled twice.
    Checked,
    /// It need not.
    Ignored,
}

impl PathMatch {
    /// Compiles the condition.
    ///
    /// # Errors
    /// Where a path does not start with `/`, or a regular expression or template is invalid.
    pub fn compile(
        &self,
        max_regex_bytes: usize,
        spellings: Spellings,
    ) -> Result<PathCondition, ConfigError> {
        let from_root = |text: &str| {
            if text.starts_with('/') {
                return Ok(normalized(text));
            }
            Err(ConfigError::new(format!("{} must start with '/'", quoted(text))))
        };
        let mut folded = None;
        let shape = match &self.kind {
            PathKind::Exact(text) => PathShape::Exact(from_root(text).at("exact")?),
            PathKind::Prefix(text) => {
                PathShape::Prefix(without_slash(&from_root(text).at("prefix")?).to_vec())
            }
            PathKind::StringPrefix(text) => PathShape::StringPrefix(from_root(text).at("stringPrefix")?),
            PathKind::Suffix(text) => PathShape::Suffix(normalized(text)),
            PathKind::Regex(text) => {
                let pattern = |ignore_case| Pattern::new(text, ignore_case, max_regex_bytes).at("regex");
                if spellings == Spellings::Checked && !self.ignore_case {
                    folded = Some(pattern(true)?);
                }
                PathShape::Regex(pattern(self.ignore_case)?)
            }
            PathKind::Template(text) => PathShape::Template(PathTemplate::new(text).at("template")?),
        };
        Ok(PathCondition { shape, ignore_case: self.ignore_case, folded })
    }

    /// [`PathMatch::compile`] with the usual bound for regular expressions.
    ///
    /// # Errors
    /// As [`PathMatch::compile`].
    pub fn compile_default(&self) -> Result<PathCondition, ConfigError> {
        self.compile(pattern::MAX_BYTES, Spellings::Checked)
    }
}

impl PathCondition {
    /// Whether the path matches.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.shape.matches(path, if self.ignore_case { Spelling::AnyCase } else { Spelling::AsWritten })
    }

    /// Whether the path matches in upper or lower case and without the condition's own escapes; `path` may be another
    /// reading of the request's path.
    pub(crate) fn matches_respelled(&self, path: &[u8]) -> bool {
        match &self.folded {
            Some(pattern) => pattern.is_match(path),
            None => self.shape.matches(path, Spelling::Decoded),
        }
    }

    /// Whether a trailing slash makes a difference.
    pub(crate) fn minds_trailing_slash(&self) -> bool {
        match &self.shape {
            PathShape::Prefix(_) => false,
            PathShape::StringPrefix(text) => text.ends_with(b"/"),
            _ => true,
        }
    }

    /// What the path is compared with, where letters match in their own case only.
    #[must_use]
    pub fn case_sensitive(&self) -> Option<&PathShape> {
        (!self.ignore_case).then_some(&self.shape)
    }

    /// What the groups of a regular expression or the variables of a template caught; `None` where it does not match.
    #[must_use]
    pub fn capture(&self, path: &[u8]) -> Option<Captures> {
        match &self.shape {
            PathShape::Regex(pattern) => {
                let groups = pattern.captures_from(path, 0)?;
                Some(Captures::of_pattern(pattern, path, &groups))
            }
            PathShape::Template(template) => {
                let values = template.capture(path, self.ignore_case)?;
                Some(Captures::of_template(template.names().zip(values)))
            }
            _ => self.matches(path).then(Captures::default),
        }
    }

    /// The names that [`PathCondition::capture`] knows.
    #[must_use]
    pub fn names(&self) -> Vec<Cow<'_, str>> {
        match &self.shape {
            PathShape::Regex(pattern) => {
                let numbered =
                    pattern.group_names().enumerate().map(|(number, _)| Cow::Owned(number.to_string()));
                numbered.chain(pattern.group_names().flatten().map(Cow::Borrowed)).collect()
            }
            PathShape::Template(template) => template.names().map(Cow::Borrowed).collect(),
            _ => Vec::new(),
        }
    }
}

impl PathShape {
    fn matches(&self, path: &[u8], spelling: Spelling) -> bool {
        let equal = |part: Option<&[u8]>, text: &[u8]| {
            part.is_some_and(|part| same(part, text, spelling != Spelling::AsWritten))
        };
        match self {
            Self::Exact(text) => spelling.matches(path, text),
            Self::Prefix(prefix) => {
                let prefix = spelling.of(prefix);
                equal(path.get(..prefix.len()), &prefix)
                    && path.get(prefix.len()).is_none_or(|&byte| byte == b'/')
            }
            Self::StringPrefix(text) => {
                let text = spelling.of(text);
                equal(path.get(..text.len()), &text)
            }
            Self::Suffix(text) => {
                let text = spelling.of(text);
                equal(path.len().checked_sub(text.len()).and_then(|from| path.get(from..)), &text)
            }
            Self::Regex(pattern) => pattern.is_match(path),
            Self::Template(template) => template.capture_as(path, spelling).is_some(),
        }
    }
}

/// How the text of a condition is compared with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Byte by byte.
    AsWritten,
    /// ASCII letters match in upper and lower case.
    AnyCase,
    /// The text is decoded, and letters match in both cases.
    Decoded,
}

impl Spelling {
    fn of(self, text: &[u8]) -> Cow<'_, [u8]> {
        if self == Self::Decoded { percent::decode(text) } else { Cow::Borrowed(text) }
    }

    /// Whether a part of a path is this text.
    pub(crate) fn matches(self, part: &[u8], text: &[u8]) -> bool {
        same(part, &self.of(text), self != Self::AsWritten)
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

/// Whether two strings are equal, also in another case where that is ignored.
pub(crate) fn same(one: &[u8], other: &[u8], ignore_case: bool) -> bool {
    if ignore_case { one.eq_ignore_ascii_case(other) } else { one == other }
}

/// A text as Envoy writes it in a path with `normalize_path`: letters, digits and `-._~` are never escaped, what a URL
/// cannot have always is. A condition on any other spelling would match no request.
#[inline(never)]
pub(crate) fn normalized(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, percent::escaped(tail)) {
            (b'%', Some((escaped, after)))
                if escaped.is_ascii_alphanumeric() || matches!(escaped, b'-' | b'.' | b'_' | b'~') =>
            {
                bytes.push(escaped);
                rest = after;
            }
            (b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | ..=b' ' | 0x7f.., _) => {
                percent::encode_into(byte, &mut bytes);
            }
            _ => bytes.push(byte),
        }
    }
    bytes
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
            (r#"{"ignoreCase":true}"#, "expected exactly one of exact, prefix,"),
            (r#"{"exact":"/a","ignoreCase":1}"#, "ignoreCase: expected a boolean"),
            (r#""exact""#, "expected an object"),
        ] {
            let message = crate::config::parse::<PathMatch>(json.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(wrong), "{json}: {message}");
        }
    }

    #[cfg(feature = "schema")]
    #[test]
    fn the_schema_has_the_names_that_are_read() {
        let schema = schemars::schema_for!(PathMatch);
        let kinds = schema.get("oneOf").and_then(|kinds| kinds.as_array()).unwrap();
        let mut names: Vec<&str> = kinds.iter().map(|kind| kind["required"][0].as_str().unwrap()).collect();
        names.push("ignoreCase");
        assert_eq!(names, NAMES);
    }

    #[test]
    fn case_is_ignored_where_the_condition_says_so() {
        for json in [
            r#"{"exact":"/Api/x","ignoreCase":true}"#,
            r#"{"ignoreCase":true,"prefix":"/api"}"#,
            r#"{"stringPrefix":"/Ap","ignoreCase":true}"#,
            r#"{"suffix":"I/X","ignoreCase":true}"#,
            r#"{"regex":"^/API/","ignoreCase":true}"#,
            r#"{"template":"/api/{id}","ignoreCase":true}"#,
        ] {
            assert!(condition(json).matches(b"/aPI/x"), "{json}");
            let exact_case = json.replace("true", "false");
            assert!(!condition(&exact_case).matches(b"/aPI/x"), "{exact_case}");
            assert!(condition(&exact_case).matches_respelled(b"/aPI/x"), "{exact_case}");
        }
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
    fn a_text_is_compared_as_envoy_normalizes_paths() {
        for (json, path) in [
            (r#"{"exact":"/\u00fcber uns"}"#, "/%C3%BCber%20uns"),
            (r#"{"prefix":"/%7Euser"}"#, "/~user/x"),
            (r#"{"stringPrefix":"/%61dmin"}"#, "/admin"),
            (r#"{"suffix":"}"}"#, "/a%7D"),
            (r#"{"template":"/caf\u00e9/{id}"}"#, "/caf%C3%A9/1"),
            (r#"{"exact":"/a%2Fb%5B%5D"}"#, "/a%2Fb%5B%5D"),
            (r#"{"exact":"/100%"}"#, "/100%"),
        ] {
            assert!(condition(json).matches(path.as_bytes()), "{json} {path}");
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
