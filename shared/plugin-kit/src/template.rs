//! Text with placeholders: `${SOURCE}`, `${SOURCE|default:none}`, `${1}` and `${name}` for captures, `${uuid}`, `${now}`,
//! `$$`.

use std::borrow::Cow;
use std::time::Duration;

use crate::clock::{self, Format};
use crate::config::{ConfigError, quoted};
use crate::hostcalls::Bytes;
use crate::matching::Captures;
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
    Value { value: Value, default: Bytes },
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

impl Template {
    /// Compiles a template that may use the captures of these names (`1`, `id`, …).
    ///
    /// # Errors
    /// Where a group, source or filter is unknown, or a placeholder is not closed.
    pub fn new<S: AsRef<str>>(text: &str, captures: &[S], syntax: Syntax) -> Result<Self, ConfigError> {
        let mut template = Self { parts: Vec::new() };
        let mut rest = text;
        while let Some(at) = rest.find(['$', '\\']) {
            let (before, placeholder) = rest.split_at_checked(at).unwrap_or((rest, ""));
            template.push_text(before);
            rest = template.placeholder(placeholder, captures, syntax)?;
        }
        template.push_text(rest);
        Ok(template)
    }

    /// A template that is only text.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let mut template = Self { parts: Vec::new() };
        template.push_text(text);
        template
    }

    fn placeholder<'a, S: AsRef<str>>(
        &mut self,
        text: &'a str,
        captures: &[S],
        syntax: Syntax,
    ) -> Result<&'a str, ConfigError> {
        if let Some(rest) = text.strip_prefix("$$") {
            self.push_text("$");
            return Ok(rest);
        }
        if let Some(inside) = text.strip_prefix("${") {
            let Some((inside, rest)) = inside.split_once('}') else {
                return Err(ConfigError::new(format!("{} has no closing }}", quoted(text))));
            };
            self.push_value(inside, captures)?;
            return Ok(rest);
        }
        if syntax == Syntax::Replacement {
            if let Some(rest) = text.strip_prefix("\\\\") {
                self.push_text("\\");
                return Ok(rest);
            }
            if let Some(rest) = text.strip_prefix('\\') {
                // RE2: one digit, so `\12` is group 1 and then a 2.
                let (digit, rest) = rest.split_at_checked(1).unwrap_or(("", rest));
                if digit.bytes().all(|byte| byte.is_ascii_digit()) && !digit.is_empty() {
                    self.push_capture(digit, captures)?;
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
                self.push_capture(name, captures)?;
                return Ok(rest);
            }
        } else if let Some(rest) = text.strip_prefix('\\') {
            self.push_text("\\");
            return Ok(rest);
        }
        Err(ConfigError::new("a $ needs {…} after it; write $$ for a dollar"))
    }

    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.extend(text.as_bytes()),
            _ => self.parts.push(Part::Text(text.into())),
        }
    }

    fn push_capture<S: AsRef<str>>(&mut self, name: &str, captures: &[S]) -> Result<(), ConfigError> {
        if !captures.iter().any(|known| known.as_ref() == name) {
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            let hint = match name.split_at_checked(digits) {
                Some((number, tail)) if !number.is_empty() && !tail.is_empty() => {
                    format!("; write ${{{number}}}{tail} for group {number}")
                }
                _ => String::new(),
            };
            return Err(ConfigError::new(format!("there is no group {}{hint}", quoted(name))));
        }
        self.parts.push(Part::Value { value: Value::Capture(name.to_owned()), default: Bytes::new() });
        Ok(())
    }

    fn push_value<S: AsRef<str>>(&mut self, inside: &str, captures: &[S]) -> Result<(), ConfigError> {
        let (name, default) = match inside.split_once('|') {
            None => (inside, ""),
            Some((name, filter)) => match filter.split_once(':') {
                Some(("default", text)) => (name, text),
                _ => {
                    let message = format!("{} is not a filter; there is default:TEXT", quoted(filter));
                    return Err(ConfigError::new(message));
                }
            },
        };
        let is_group = name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty();
        let value = if captures.iter().any(|known| known.as_ref() == name) {
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
        self.parts.push(Part::Value { value, default: default.into() });
        Ok(())
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
                Part::Value { value, default } => {
                    let value = match value {
                        Value::Now(format) => {
                            Cow::Owned(format.write(clock::wall().unwrap_or_default()).into_bytes())
                        }
                        Value::Capture(name) => Cow::Borrowed(captures.get(name)),
                        known => Cow::Owned(known.get(request, captures)),
                    };
                    filled.extend(if value.is_empty() { default } else { &*value });
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
                Part::Value { value, default } => {
                    let value = value.get(request, captures);
                    parts.push(BoundPart::Text(if value.is_empty() { default.clone() } else { value }));
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
            ("${header:x|upper}", "\"upper\" is not a filter; there is default:TEXT"),
        ] {
            let failed = Template::new(text, &GROUPS, Syntax::Replacement).unwrap_err();
            assert_eq!(failed.to_string(), message);
        }
        let unknown = Template::new("${hostname}", &GROUPS, Syntax::Plain).unwrap_err().to_string();
        assert!(
            unknown.starts_with("\"hostname\" is not a value source; known are header:NAME"),
            "{unknown}"
        );
        let bare = Template::new("$1", &GROUPS, Syntax::Plain).unwrap_err().to_string();
        assert_eq!(bare, "a $ needs {…} after it; write $$ for a dollar");
    }
}
