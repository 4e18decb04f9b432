//! Path templates: `/users/{id}/files/{rest=**}`.

use crate::config::{ConfigError, quoted};
use crate::matching::path::{Spelling, normalized};

/// A compiled template. `{name}` is one segment, `{name=**}` one or more up to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Vec<u8>),
    One(String),
    Rest(String),
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// Where it does not start with `/`, has an empty segment, braces inside a segment, a name that is not
    /// `[A-Za-z_][A-Za-z0-9_]*` or is used twice, or `**` before the end.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(ConfigError::new(format!("{} must start with '/'", quoted(text))));
        };
        let mut segments: Vec<Segment> = Vec::new();
        for part in path.split('/') {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return Err(ConfigError::new("{name=**} must be the last segment"));
            }
            let segment = Segment::new(part)?;
            if segment.name().is_some() && segments.iter().any(|known| known.name() == segment.name()) {
                return Err(ConfigError::new(format!("{} names two segments", quoted(part))));
            }
            segments.push(segment);
        }
        Ok(Self { segments })
    }

    /// The names of the variables, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// The value of each variable, in the order of [`PathTemplate::names`]; `None` where the path does not match.
    #[must_use]
    pub fn capture<'a>(&self, path: &'a [u8], ignore_case: bool) -> Option<Vec<&'a [u8]>> {
        self.capture_as(path, if ignore_case { Spelling::AnyCase } else { Spelling::AsWritten })
    }

    pub(crate) fn capture_as<'a>(&self, path: &'a [u8], spelling: Spelling) -> Option<Vec<&'a [u8]>> {
        let mut values = Vec::new();
        let mut rest = Some(path.strip_prefix(b"/")?);
        for segment in &self.segments {
            let remaining = rest?;
            let end = remaining.iter().position(|&byte| byte == b'/');
            let part = remaining.get(..end.unwrap_or(remaining.len()))?;
            rest = end.and_then(|end| remaining.get(end.checked_add(1)?..));
            match segment {
                Segment::Literal(text) if spelling.matches(part, text) => {}
                Segment::One(_) if !part.is_empty() => values.push(part),
                Segment::Rest(_) if !remaining.is_empty() => {
                    values.push(remaining);
                    rest = None;
                }
                _ => return None,
            }
        }
        rest.is_none().then_some(values)
    }
}

impl Segment {
    fn new(text: &str) -> Result<Self, ConfigError> {
        let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            if text.contains(['{', '}', '*', '?', '#']) {
                return Err(ConfigError::new(format!(
                    "{} is neither a plain segment nor one {{variable}}",
                    quoted(text)
                )));
            }
            return Ok(Self::Literal(normalized(text)));
        };
        let (name, kind) = inner.split_once('=').unwrap_or((inner, "*"));
        if !is_name(name) {
            return Err(ConfigError::new(format!("{} is not a name: letters, digits and _", quoted(name))));
        }
        match kind {
            "*" => Ok(Self::One(name.to_owned())),
            "**" => Ok(Self::Rest(name.to_owned())),
            _ => Err(ConfigError::new(format!("{} must be {{name}} or {{name=**}}", quoted(text)))),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::One(name) | Self::Rest(name) => Some(name),
        }
    }
}

/// Whether a text can name a variable or a group.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_take_whole_segments() {
        for (template, path, values) in [
            ("/users/{id}", "/users/7", Some(vec!["7"])),
            ("/users/{id}", "/users/", None),
            ("/users/{id}", "/users", None),
            ("/users/{id}", "/users/7/", None),
            ("/users/{id}", "/users/7/8", None),
            ("/users/{id}/files/{rest=**}", "/users/7/files/a/b", Some(vec!["7", "a/b"])),
            ("/users/{id}/files/{rest=**}", "/users/7/files/", None),
            ("/users/{id}/files/{rest=**}", "/users/7/files", None),
            ("/{all=**}", "/a//b", Some(vec!["a//b"])),
            ("/a/{x=*}/b", "/a/1/b", Some(vec!["1"])),
            ("/a", "/a", Some(vec![])),
            ("/a/", "/a/", Some(vec![])),
            ("/a", "a", None),
            ("/{x}", "", None),
        ] {
            let found = PathTemplate::new(template).unwrap();
            let values = values.map(|values| values.into_iter().map(str::as_bytes).collect::<Vec<_>>());
            assert_eq!(found.capture(path.as_bytes(), false), values, "{template} {path}");
        }
    }

    #[test]
    fn a_mistake_is_named() {
        for (template, message) in [
            ("users", "\"users\" must start with '/'"),
            ("/{id}.json", "\"{id}.json\" is neither a plain segment nor one {variable}"),
            ("/{a=**}/b", "{name=**} must be the last segment"),
            ("/{a}/{a}", "\"{a}\" names two segments"),
            ("/{1}", "\"1\" is not a name: letters, digits and _"),
            ("/{a=b}", "\"{a=b}\" must be {name} or {name=**}"),
            ("/a/*", "\"*\" is neither a plain segment nor one {variable}"),
        ] {
            assert_eq!(PathTemplate::new(template).unwrap_err().to_string(), message);
        }
    }
}
