//! Text with placeholders: `${SOURCE}`, `${SOURCE|default:none|raw}`, `${1}` and `${name}` for captures, `${uuid}`,
//! `${now}`, `$$`.

use std::borrow::Cow;
use std::time::Duration;

use crate::clock::{self, Format};
use crate::config::{ConfigError, quoted};
use crate::hostcalls::Bytes;
use crate::matching::Captures;
use crate::percent;
use crate::random;
use crate::request::Request;
use crate::source::Source;

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Bytes),
    Value { value: Value, default: Bytes, encoding: Encoding },
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// As it is.
    None,
    /// As one segment of a path, or as a name or value of a query.
    Component,
    /// As part of a query, for a value that is part of a path: its escapes stay, and none of its bytes ends a parameter.
    Parameter,
}

impl Encoding {
    fn of(self, value: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::None => Cow::Borrowed(value),
            Self::Component => Cow::Owned(percent::encode(value)),
            Self::Parameter => Cow::Owned(percent::encode_unless(value, |byte| !b"&;+".contains(&byte))),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Capture(String),
    Source(Source),
    Uuid,
    Now(Format),
}

impl Value {
    /// Empty for the time, which is none of the request's.
    fn get(&self, request: &Request, captures: &Captures) -> Bytes {
        match self {
            Self::Capture(name) => captures.get(name).to_vec(),
            Self::Source(source) => source.value(request).unwrap_or_default(),
            Self::Uuid => random::uuid().unwrap_or_default().into_bytes(),
            Self::Now(_) => Bytes::new(),
        }
    }
}

/// A template of which only the time is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound(Vec<BoundPart>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum BoundPart {
    Text(Bytes),
    Now(Format),
}

impl Bound {
    /// Fills in the time, which is `now` since the Unix epoch.
    #[must_use]
    pub fn fill(&self, now: Duration) -> Bytes {
        let mut filled = Bytes::new();
        for part in &self.0 {
            match part {
                BoundPart::Text(text) => filled.extend(text),
                BoundPart::Now(format) => filled.extend(format.write(now).into_bytes()),
            }
        }
        filled
    }
}

/// Which placeholders a template may have beside `${…}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// None.
    Plain,
    /// `$1`, `$name` and Istio's `\1`, as in the replacement of a regular expression.
    Replacement,
}

/// The kind of text that a template makes. It decides how values are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text. Values are written as they are.
    Text,
    /// A path, with a query from the first `?` on. Values are encoded as one segment, or as one name or value of the
    /// query, unless they are `raw`. The path of the request, its segments and captures of the path are encoded already
    /// and stay as they are; in the query their `&`, `;` and `+` are encoded.
    Path,
    /// As `Path`, with captures that may be parts of the query too. They are written as they are.
    PathOfTarget,
}

impl Template {
    /// Compiles a template that may use the captures of these names (`1`, `id`, …).
    ///
    /// # Errors
    /// Where a group, source or filter is unknown, or a placeholder is not closed.
    pub fn new<S: AsRef<str>>(text: &str, captures: &[S], syntax: Syntax) -> Result<Self, ConfigError> {
        Self::of_form(text, captures, syntax, Form::Text)
    }

    /// [`Template::new`] for a text of a form.
    ///
    /// # Errors
    /// As [`Template::new`].
    pub fn of_form<S: AsRef<str>>(
        text: &str,
        captures: &[S],
        syntax: Syntax,
        form: Form,
    ) -> Result<Self, ConfigError> {
        let mut compiler = Compiler { template: Self { parts: Vec::new() }, captures, syntax, form };
        let mut rest = text;
        while let Some(at) = rest.find(['$', '\\']) {
            let (before, placeholder) = rest.split_at_checked(at).unwrap_or((rest, ""));
            compiler.template.push_text(before);
            rest = compiler.placeholder(placeholder)?;
        }
        compiler.template.push_text(rest);
        Ok(compiler.template)
    }

    /// A template that is only text.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let mut template = Self { parts: Vec::new() };
        template.push_text(text);
        template
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.extend(text.as_bytes()),
            _ => self.parts.push(Part::Text(text.into())),
        }
    }

    /// Fills the template in from the request as it was before the plugin touched it.
    #[must_use]
    pub fn fill(&self, request: &Request, captures: &Captures) -> Bytes {
        if let [Part::Text(text)] = self.parts.as_slice() {
            return text.clone();
        }
        let mut filled = Bytes::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.extend(text),
                Part::Value { value, default, encoding } => {
                    let value = match value {
                        Value::Now(format) => {
                            Cow::Owned(format.write(clock::wall().unwrap_or_default()).into_bytes())
                        }
                        Value::Capture(name) => Cow::Borrowed(captures.get(name)),
                        known => Cow::Owned(known.get(request, captures)),
                    };
                    filled.extend(&*encoding.of(if value.is_empty() { default } else { &value }));
                }
            }
        }
        filled
    }

    /// Fills in all but the time, for what is written later than it is decided: in the response, or behind a body.
    #[must_use]
    pub fn bind(&self, request: &Request, captures: &Captures) -> Bound {
        let mut parts = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => parts.push(BoundPart::Text(text.clone())),
                Part::Value { value: Value::Now(format), .. } => parts.push(BoundPart::Now(*format)),
                Part::Value { value, default, encoding } => {
                    let value = value.get(request, captures);
                    let value = encoding.of(if value.is_empty() { default } else { &value });
                    parts.push(BoundPart::Text(value.into_owned()));
                }
            }
        }
        Bound(parts)
    }

    /// The sources of its values.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value { value: Value::Source(source), .. } => Some(source),
            Part::Text(_) | Part::Value { .. } => None,
        })
    }

    /// Whether it is the empty text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// A template in the making.
struct Compiler<'c, S> {
    template: Template,
    captures: &'c [S],
    syntax: Syntax,
    form: Form,
}

impl<S: AsRef<str>> Compiler<'_, S> {
    fn placeholder<'a>(&mut self, text: &'a str) -> Result<&'a str, ConfigError> {
        if let Some(rest) = text.strip_prefix("$$") {
            self.template.push_text("$");
            return Ok(rest);
        }
        if let Some(inside) = text.strip_prefix("${") {
            let Some((inside, rest)) = inside.split_once('}') else {
                return Err(ConfigError::new(format!("{} has no closing }}", quoted(text))));
            };
            self.push_value(inside)?;
            return Ok(rest);
        }
        if self.syntax == Syntax::Replacement {
            if let Some(rest) = text.strip_prefix("\\\\") {
                self.template.push_text("\\");
                return Ok(rest);
            }
            if let Some(rest) = text.strip_prefix('\\') {
                // RE2: one digit, so `\12` is group 1 and then a 2.
                let (digit, rest) = rest.split_at_checked(1).unwrap_or(("", rest));
                if digit.bytes().all(|byte| byte.is_ascii_digit()) && !digit.is_empty() {
                    self.push_capture(digit)?;
                    return Ok(rest);
                }
                return Err(ConfigError::new(format!(
                    "\\{digit} is not a group; write \\\\ for a backslash"
                )));
            }
            let rest = text.strip_prefix('$').unwrap_or(text);
            let end = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
            let (name, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if !name.is_empty() {
                self.push_capture(name)?;
                return Ok(rest);
            }
        } else if let Some(rest) = text.strip_prefix('\\') {
            self.template.push_text("\\");
            return Ok(rest);
        }
        Err(ConfigError::new("a $ needs {…} after it; write $$ for a dollar"))
    }

    fn push_capture(&mut self, name: &str) -> Result<(), ConfigError> {
        if !self.is_capture(name) {
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            let hint = match name.split_at_checked(digits) {
                Some((number, tail)) if !number.is_empty() && !tail.is_empty() => {
                    format!("; write ${{{number}}}{tail} for group {number}")
                }
                _ => String::new(),
            };
            return Err(ConfigError::new(format!("there is no group {}{hint}", quoted(name))));
        }
        let value = Value::Capture(name.to_owned());
        let encoding = self.encoding(&value);
        self.template.parts.push(Part::Value { value, default: Bytes::new(), encoding });
        Ok(())
    }

    fn push_value(&mut self, inside: &str) -> Result<(), ConfigError> {
        let mut filters = inside.split('|');
        let name = filters.next().unwrap_or_default();
        let is_group = name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty();
        let value = if self.is_capture(name) {
            Value::Capture(name.to_owned())
        } else if is_group {
            return Err(ConfigError::new(format!("there is no group {}", quoted(name))));
        } else if name == "uuid" {
            Value::Uuid
        } else if let Some(format) = Format::of_placeholder(name) {
            Value::Now(format)
        } else {
            Value::Source(Source::new(name)?)
        };
        let mut encoding = self.encoding(&value);
        let mut default = Bytes::new();
        for filter in filters {
            match filter.split_once(':') {
                Some(("default", text)) => default = text.into(),
                None if filter == "raw" && self.form == Form::Text => {
                    return Err(ConfigError::new("raw is for paths only: here values are never encoded"));
                }
                None if filter == "raw" => encoding = Encoding::None,
                _ => {
                    let message =
                        format!("{} is not a filter; known are default:TEXT and raw", quoted(filter));
                    return Err(ConfigError::new(message));
                }
            }
        }
        self.template.parts.push(Part::Value { value, default, encoding });
        Ok(())
    }

    fn is_capture(&self, name: &str) -> bool {
        self.captures.iter().any(|known| known.as_ref() == name)
    }

    /// How a value is written at the end of the template so far.
    fn encoding(&self, value: &Value) -> Encoding {
        let is_query = |part: &Part| matches!(part, Part::Text(text) if text.contains(&b'?'));
        let in_query = || self.template.parts.iter().any(is_query);
        match (self.form, value) {
            (Form::Text, _) | (Form::PathOfTarget, Value::Capture(_)) => Encoding::None,
            (_, Value::Capture(_)) => {
                if in_query() {
                    Encoding::Parameter
                } else {
                    Encoding::None
                }
            }
            (_, Value::Source(source)) if source.is_part_of_path() && !in_query() => Encoding::None,
            (_, Value::Source(source)) if source.is_part_of_path() => Encoding::Parameter,
            _ => Encoding::Component,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{MAX_BYTES, Pattern};

    const GROUPS: [&str; 3] = ["0", "1", "id"];

    fn fill(text: &str, syntax: Syntax) -> String {
        let pattern = Pattern::new("(?<id>[a-z]+)", false, MAX_BYTES).unwrap();
        let groups = pattern.captures_from(b"/abc", 0).unwrap();
        let captures = Captures::of_pattern(&pattern, b"/abc", &groups);
        let request = Request::detached(&[("x-a", b"A")]);
        let filled = Template::new(text, &GROUPS, syntax).unwrap().fill(&request, &captures);
        String::from_utf8(filled).unwrap()
    }

    #[test]
    fn placeholders_are_filled_in() {
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("v-${header:x-a}", "v-A"),
            ("${header:x-none|default:none}", "none"),
            ("${header:x-none}", ""),
            ("${1}x${id}", "abcxabc"),
            ("a$$b", "a$b"),
            ("$${1}", "${1}"),
            ("阳明", "阳明"),
            (r"C:\new", r"C:\new"),
        ] {
            assert_eq!(fill(text, Syntax::Plain), filled, "{text}");
        }
    }

    #[test]
    fn a_replacement_knows_bare_groups_too() {
        for (text, filled) in [
            ("status/$1", "status/abc"),
            ("$id!", "abc!"),
            (r"\1", "abc"),
            (r"\12", "abc2"),
            (r"\0-$0", "abc-abc"),
            (r"a\\b", r"a\b"),
            ("${1}x", "abcx"),
        ] {
            assert_eq!(fill(text, Syntax::Replacement), filled, "{text}");
        }
    }

    #[test]
    fn values_in_a_path_are_encoded_and_parts_of_the_path_are_not() {
        let pattern = Pattern::new("^/(?<id>.*)", false, MAX_BYTES).unwrap();
        let path = b"/a%2Fb;&+c/d";
        let captures = Captures::of_pattern(&pattern, path, &pattern.captures_from(path, 0).unwrap());
        let request = Request::detached(&[(":path", path), ("x-a", b"../b?c&d=e%2F;\xff")]);
        for (text, form, filled) in [
            ("/${header:x-a}/c", Form::Path, "/..%2Fb%3Fc%26d%3De%252F%3B%FF/c"),
            ("/x?y=${header:x-a}&z", Form::Path, "/x?y=..%2Fb%3Fc%26d%3De%252F%3B%FF&z"),
            ("/${header:x-b|default:a/b}", Form::Path, "/a%2Fb"),
            ("/${header:x-b|default:a/b?c|raw}", Form::Path, "/a/b?c"),
            ("/${header:x-b|raw|default:a/b?c}", Form::Path, "/a/b?c"),
            ("/${id}", Form::Path, "/a%2Fb;&+c/d"),
            ("/x?y=${id}", Form::Path, "/x?y=a%2Fb%3B%26%2Bc/d"),
            ("/x?y=$id", Form::Path, "/x?y=a%2Fb%3B%26%2Bc/d"),
            ("/x?y=${id|raw}", Form::Path, "/x?y=a%2Fb;&+c/d"),
            ("/x?y=${id}", Form::PathOfTarget, "/x?y=a%2Fb;&+c/d"),
            ("/x?y=${literal:a&b}", Form::PathOfTarget, "/x?y=a%26b"),
            ("/v2${path}", Form::Path, "/v2/a%2Fb;&+c/d"),
            ("/v2/${pathSegment:2}?from=${path}", Form::Path, "/v2/d?from=/a%2Fb%3B%26%2Bc/d"),
        ] {
            let template = Template::of_form(text, &["id"], Syntax::Replacement, form).unwrap();
            let filled_in = String::from_utf8(template.fill(&request, &captures)).unwrap();
            assert_eq!(filled_in, filled, "{text}");
            assert_eq!(template.bind(&request, &captures).fill(Duration::ZERO), filled.as_bytes(), "{text}");
        }
    }

    #[test]
    fn the_time_is_filled_in_last() {
        let template =
            Template::new("${header:x-a}@${now}/${now:unix}.${x|default:-}", &["x"], Syntax::Plain).unwrap();
        let bound = template.bind(&Request::detached(&[("x-a", b"A")]), &Captures::default());
        assert_eq!(bound.fill(Duration::ZERO), b"A@1970-01-01T00:00:00.000Z/0.-");
        assert_eq!(bound.fill(Duration::from_millis(86_400_001)), b"A@1970-01-02T00:00:00.001Z/86400.-");
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, message) in [
            ("${2}", "there is no group \"2\""),
            ("$1x", "there is no group \"1x\"; write ${1}x for group 1"),
            (r"\7", "there is no group \"7\""),
            (r"\n", r"\n is not a group; write \\ for a backslash"),
            ("${header:x", "\"${header:x\" has no closing }"),
            ("$", "a $ needs {…} after it; write $$ for a dollar"),
            ("${header:x|upper}", "\"upper\" is not a filter; known are default:TEXT and raw"),
        ] {
            let failed = Template::new(text, &GROUPS, Syntax::Replacement).unwrap_err();
            assert_eq!(failed.to_string(), message);
        }
        let raw = Template::new("${header:x|raw}", &GROUPS, Syntax::Plain).unwrap_err();
        assert_eq!(raw.to_string(), "raw is for paths only: here values are never encoded");
        let unknown = Template::new("${hostname}", &GROUPS, Syntax::Plain).unwrap_err().to_string();
        assert!(
            unknown.starts_with("\"hostname\" is not a value source; known are header:NAME"),
            "{unknown}"
        );
        let bare = Template::new("$1", &GROUPS, Syntax::Plain).unwrap_err().to_string();
        assert_eq!(bare, "a $ needs {…} after it; write $$ for a dollar");
    }
}
