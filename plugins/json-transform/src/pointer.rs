//! JSON Pointer (RFC 6901): `/a/0/b~1c`.

use plugin_kit::config::{ConfigError, quoted};

use crate::json;

/// More steps than this are a mistake.
pub const MAX_STEPS: usize = 64;

/// A compiled pointer; without a step it means the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(pub Vec<Step>);

/// One step of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The name of a member, or the index of an item as it is written.
    pub name: String,
    /// The name in quotes, for an object that has no such member yet.
    pub quoted: Vec<u8>,
    /// The index, where the step can be one: digits without a leading zero.
    pub index: Option<usize>,
}

impl Pointer {
    /// Compiles a pointer.
    ///
    /// # Errors
    /// Where it is neither empty nor begins with `/`, or has a `~` that stands for nothing.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(steps) = text.strip_prefix('/') else {
            return Err(ConfigError::new(format!("{} must be empty or start with '/'", quoted(text))));
        };
        let steps = steps.split('/').map(Step::new).collect::<Result<Vec<_>, _>>()?;
        if steps.len() > MAX_STEPS {
            return Err(ConfigError::new(format!("has {} steps, more than {MAX_STEPS}", steps.len())));
        }
        Ok(Self(steps))
    }

    /// The way to the container, and the last step in it; `None` for the whole document.
    pub fn split_last(&self) -> Option<(&[Step], &Step)> {
        self.0.split_last().map(|(last, parents)| (parents, last))
    }
}

impl Step {
    fn new(text: &str) -> Result<Self, ConfigError> {
        let mut parts = text.split('~');
        let mut name = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let mut characters = part.chars();
            name.push(match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(ConfigError::new("a ~ needs 0 or 1 after it: ~0 is a ~, ~1 is a /")),
            });
            name.push_str(characters.as_str());
        }
        Ok(Self::of_name(&name))
    }

    /// The step to a member.
    pub fn of_name(name: &str) -> Self {
        let mut quoted = Vec::new();
        json::encode(name, &mut quoted);
        let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let index = (digits && (name == "0" || !name.starts_with('0'))).then(|| name.parse().ok()).flatten();
        Self { name: name.to_owned(), quoted, index }
    }

    /// `-`: behind the last item.
    pub fn is_end(&self) -> bool {
        self.name == "-"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        Pointer::new(text).unwrap().0.into_iter().map(|step| step.name).collect()
    }

    /// RFC 6901, section 5.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for (text, expected) in [
            ("", &[][..]),
            ("/foo", &["foo"]),
            ("/foo/0", &["foo", "0"]),
            ("/", &[""]),
            ("/a~1b", &["a/b"]),
            ("/c%d", &["c%d"]),
            ("/e^f", &["e^f"]),
            ("/g|h", &["g|h"]),
            ("/i\\j", &["i\\j"]),
            ("/k\"l", &["k\"l"]),
            ("/ ", &[" "]),
            ("/m~0n", &["m~n"]),
            ("/~01", &["~1"]),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn an_index_has_digits_and_no_leading_zero() {
        for (name, index) in
            [("0", Some(0)), ("10", Some(10)), ("01", None), ("-", None), ("+1", None), ("", None)]
        {
            assert_eq!(Step::of_name(name).index, index, "{name}");
        }
        assert_eq!(Step::of_name(&"9".repeat(99)).index, None);
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, message) in [
            ("a", "\"a\" must be empty or start with '/'"),
            ("/~", "a ~ needs 0 or 1 after it: ~0 is a ~, ~1 is a /"),
            ("/a~2", "a ~ needs 0 or 1 after it: ~0 is a ~, ~1 is a /"),
            (&"/a".repeat(65), "has 65 steps, more than 64"),
        ] {
            assert_eq!(Pointer::new(text).unwrap_err().to_string(), message);
        }
    }
}
