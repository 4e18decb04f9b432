//! How a path becomes another one.

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::matching::{Captures, below};
use plugin_kit::pattern::Pattern;
use plugin_kit::query;
use plugin_kit::request::Request;
use plugin_kit::template::{Form, Syntax, Template};

use crate::config::{RegexRewrite, Rewrite, Target};
use crate::query::split;
use crate::safety::Violation;

/// A compiled rewrite.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// By regular expression.
    Regex { pattern: Pattern, replacement: Template, all: bool, target: Target },
    /// Of a prefix; both without a trailing slash.
    Prefix { from: Vec<u8>, to: Vec<u8> },
    /// To a new path.
    Full(Template),
}

/// What a rewrite produced, before anybody looked whether it is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The new path, with whatever query the rewrite itself wrote.
    pub path: Vec<u8>,
    /// The query that the rewrite wrote, from the first `?` on.
    pub query: Option<Vec<u8>>,
    /// Whether `query` already holds the request's own.
    pub has_request_query: bool,
    /// The groups of the first match of a regular expression.
    pub captures: Option<Captures>,
}

impl PathRewrite {
    /// Compiles a rewrite whose templates may use the captures of these names.
    pub fn compile(
        config: &Rewrite,
        captures: &[String],
        max_regex_bytes: usize,
    ) -> Result<Self, ConfigError> {
        match config {
            Rewrite::Regex(regex) => Self::regex(regex, max_regex_bytes).at("regex"),
            Rewrite::Prefix(names) => Ok(Self::Prefix {
                from: prefix(&names.from).at("from").at("prefix")?,
                to: if names.to.is_empty() { Vec::new() } else { prefix(&names.to).at("to").at("prefix")? },
            }),
            Rewrite::AddPrefix(text) => {
                Ok(Self::Prefix { from: Vec::new(), to: prefix(text).at("addPrefix")? })
            }
            Rewrite::Template(text) => from_root(text)
                .and_then(|()| Template::of_form(&variables(text)?, captures, Syntax::Plain, Form::Path))
                .map(Self::Full)
                .at("template"),
            Rewrite::Full(text) => {
                Template::of_form(text, captures, Syntax::Plain, Form::Path).map(Self::Full).at("full")
            }
        }
    }

    fn regex(config: &RegexRewrite, max_regex_bytes: usize) -> Result<Self, ConfigError> {
        let pattern = Pattern::new(&config.pattern, false, max_regex_bytes).at("pattern")?;
        let groups = group_names(&pattern);
        let form = match config.target {
            Target::Path => Form::Path,
            Target::PathAndQuery => Form::PathOfTarget,
        };
        let replacement =
            Template::of_form(&config.replacement, &groups, Syntax::Replacement, form).at("replacement")?;
        Ok(Self::Regex { pattern, replacement, all: config.all, target: config.target })
    }

    /// The names of the captures that the rewrite itself makes.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Regex { pattern, .. } => group_names(pattern),
            Self::Prefix { .. } | Self::Full(_) => Vec::new(),
        }
    }

    /// The prefix that the path must have: `prefix.from` is a condition too. Every path has the empty one.
    pub fn condition(&self) -> Option<&[u8]> {
        match self {
            Self::Prefix { from, .. } if !from.is_empty() => Some(from),
            Self::Prefix { .. } | Self::Regex { .. } | Self::Full(_) => None,
        }
    }

    /// The new path; `None` where there is nothing to replace.
    ///
    /// # Errors
    /// Where the path grows beyond `max_bytes` while it is replaced.
    pub fn apply(
        &self,
        path: &[u8],
        query: Option<&[u8]>,
        request: &Request,
        captures: &Captures,
        max_bytes: usize,
    ) -> Result<Option<Produced>, Violation> {
        match self {
            Self::Prefix { from, to } => {
                let joined = below(path, from).map(|rest| [to, rest].concat());
                Ok(joined.map(|path| Produced::new(if path.is_empty() { b"/".to_vec() } else { path })))
            }
            Self::Full(template) => Ok(Some(Produced::new(template.fill(request, captures)))),
            Self::Regex { pattern, replacement, all, target } => {
                let whole;
                let (haystack, has_request_query) = match (target, query) {
                    (Target::PathAndQuery, Some(query)) => {
                        whole = [path, query].join(&b'?');
                        (whole.as_slice(), true)
                    }
                    _ => (path, false),
                };
                let replaced = replace(pattern, replacement, *all, haystack, request, max_bytes)?;
                Ok(replaced.map(|(text, captures)| Produced {
                    has_request_query,
                    captures: Some(captures),
                    ..Produced::new(text)
                }))
            }
        }
    }

    /// The prefixes to exchange on the way back: what the upstream knows, and what the client knows.
    pub fn inverse(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Prefix { from, to } => Some((to, from)),
            Self::Regex { .. } | Self::Full(_) => None,
        }
    }
}

impl Produced {
    fn new(text: Vec<u8>) -> Self {
        let (path, query) = split(&text);
        let (path, query) = (path.to_vec(), query.map(<[u8]>::to_vec));
        Self { path, query, has_request_query: false, captures: None }
    }
}

fn group_names(pattern: &Pattern) -> Vec<String> {
    let numbers = pattern.group_names().enumerate().map(|(number, _)| number.to_string());
    numbers.chain(pattern.group_names().flatten().map(str::to_owned)).collect()
}

fn from_root(text: &str) -> Result<(), ConfigError> {
    if text.starts_with('/') {
        return Ok(());
    }
    Err(ConfigError::new(format!("{} must start with '/'", quoted(text))))
}

/// A prefix of whole segments, without the trailing slash.
fn prefix(text: &str) -> Result<Vec<u8>, ConfigError> {
    from_root(text)?;
    if query::split(text.as_bytes()).0.len() != text.len() {
        return Err(ConfigError::new(format!("{} must be a path without query and fragment", quoted(text))));
    }
    Ok(text.strip_suffix('/').unwrap_or(text).as_bytes().to_vec())
}

/// `/files/{id}` as a template of the kit: `/files/${id}`.
fn variables(text: &str) -> Result<String, ConfigError> {
    if text.contains('$') {
        return Err(ConfigError::new("variables are written {name}, without a dollar"));
    }
    Ok(text.replace('{', "${"))
}

/// Replaces the matches from left to right, as Go's `ReplaceAllString` and Rust's `replace_all` do: an empty match
/// right behind another match is none. `None` where nothing matches.
fn replace(
    pattern: &Pattern,
    replacement: &Template,
    all: bool,
    haystack: &[u8],
    request: &Request,
    max_bytes: usize,
) -> Result<Option<(Vec<u8>, Captures)>, Violation> {
    let mut replaced = Vec::with_capacity(haystack.len());
    let mut first = None;
    let mut copied = 0;
    let mut from = 0;
    while let Some(groups) = pattern.captures_from(haystack, from)
        && let Some(Some(found)) = groups.first()
    {
        if found.is_empty() && first.is_some() && found.start == copied {
            from = found.end.saturating_add(1);
            continue;
        }
        let captures = Captures::of_pattern(pattern, haystack, &groups);
        replaced.extend(haystack.get(copied..found.start).unwrap_or_default());
        replaced.extend(replacement.fill(request, &captures));
        if replaced.len() > max_bytes {
            return Err(Violation::TooLong);
        }
        copied = found.end;
        from = if found.is_empty() { found.end.saturating_add(1) } else { found.end };
        first.get_or_insert(captures);
        if !all {
            break;
        }
    }
    replaced.extend(haystack.get(copied..).unwrap_or_default());
    Ok(first.map(|captures| (replaced, captures)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(json: &str, path: &str, query: Option<&str>) -> Option<String> {
        let config: Rewrite = plugin_kit::config::parse(json.as_bytes()).unwrap();
        let rewrite = PathRewrite::compile(&config, &[], 2048).unwrap();
        let request = Request::detached(&[("x-a", b"A")]);
        let path = path.as_bytes();
        let query = query.map(str::as_bytes);
        let produced = rewrite.apply(path, query, &request, &Captures::default(), 8192).unwrap()?;
        let query = produced.query.map(|query| [b"?", query.as_slice()].concat()).unwrap_or_default();
        Some(String::from_utf8([produced.path, query].concat()).unwrap())
    }

    /// The table of Gateway API's `HTTPPathModifier.replacePrefixMatch`.
    #[test]
    fn a_prefix_is_replaced_as_gateway_api_says() {
        for (path, from, to, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
        ] {
            let json = format!(r#"{{"prefix":{{"from":"{from}","to":"{to}"}}}}"#);
            assert_eq!(rewrite(&json, path, None).as_deref(), Some(expected), "{path} {from} -> {to}");
        }
    }

    #[test]
    fn a_prefix_is_one_of_whole_segments() {
        let json = r#"{"prefix":{"from":"/shop/v1","to":"/"}}"#;
        assert_eq!(rewrite(json, "/shop/v1/a", None).as_deref(), Some("/a"));
        assert_eq!(rewrite(json, "/shop/v10/a", None), None);
        assert_eq!(rewrite(r#"{"addPrefix":"/v2/"}"#, "/a", None).as_deref(), Some("/v2/a"));
        assert_eq!(rewrite(r#"{"addPrefix":"/v2"}"#, "/", None).as_deref(), Some("/v2/"));
    }

    #[test]
    fn a_regex_replaces_what_it_matches() {
        for (pattern, replacement, path, expected) in [
            ("banana/([0-9]*)", "status/$1", "/banana/418", Some("/status/418")),
            ("banana/([0-9]*)", "status/$1", "/banana/", Some("/status/")),
            ("banana/([0-9]*)", "status/$1", "/apple/418", None),
            (
                "^/service/([^/]+)(/.*)$",
                r"/customprefix/\\2/\\1",
                "/service/foo/v1/api",
                Some("/customprefix//v1/api/foo"),
            ),
            ("(?<a>[a-z])(?<b>[0-9])", "${b}${a}", "/a1/b2", Some("/1a/2b")),
            ("/x", "${header:x-a}", "/x/x", Some("AA")),
            ("a*", "-", "baaac", Some("-b-c-")),
            ("", "-", "ab", Some("-a-b-")),
        ] {
            let json = format!(r#"{{"regex":{{"pattern":"{pattern}","replacement":"{replacement}"}}}}"#);
            assert_eq!(rewrite(&json, path, None).as_deref(), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_regex_may_replace_the_first_match_only_and_may_see_the_query() {
        let first = r#"{"regex":{"pattern":"a","replacement":"b","all":false}}"#;
        assert_eq!(rewrite(first, "/aa", None).as_deref(), Some("/ba"));
        let path = r#"{"regex":{"pattern":"x","replacement":"y"}}"#;
        assert_eq!(rewrite(path, "/a", Some("x")), None);
        let both = r#"{"regex":{"pattern":"x","replacement":"y","target":"pathAndQuery"}}"#;
        assert_eq!(rewrite(both, "/x", Some("x=1")).as_deref(), Some("/y?y=1"));
    }

    #[test]
    fn a_replacement_does_not_grow_without_bound() {
        let config = RegexRewrite {
            pattern: "a".into(),
            replacement: "b".repeat(100),
            all: true,
            target: Target::Path,
        };
        let rewrite = PathRewrite::regex(&config, 2048).unwrap();
        let apply = |path: &[u8]| {
            let request = Request::detached(&[]);
            rewrite.apply(path, None, &request, &Captures::default(), 8192)
        };
        assert_eq!(apply(&[b'a'; 10_000]), Err(Violation::TooLong));
        assert_eq!(apply(&[b'a'; 81]).map(|produced| produced.unwrap().path.len()), Ok(8100));
    }

    #[test]
    fn a_template_takes_the_variables_of_the_match() {
        let names = ["id".to_owned(), "rest".to_owned()];
        let config = Rewrite::Template("/files/{id}/{rest}".into());
        assert!(PathRewrite::compile(&config, &names, 2048).is_ok());
        let unknown = PathRewrite::compile(&Rewrite::Template("/{x}".into()), &names, 2048).unwrap_err();
        assert!(unknown.to_string().starts_with("template: \"x\" is not a value source"), "{unknown}");
    }
}
