//! What is wrong with a configuration, and where.

use std::fmt::{self, Write};

/// A mistake in a configuration: `rules[0].prefix.from: "api" must start with '/'`.
///
/// Boxed: every field of every configuration passes it on, and moving two texts each time is 20 KiB in a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Box<Mistake>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mistake {
    path: String,
    message: String,
}

impl ConfigError {
    /// A mistake in the value at hand; [`ConfigError::at`] says where that is.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Mistake { path: String::new(), message: message.into() }))
    }

    /// Prepends one step of the way from the root: a field, or `[index]`.
    #[must_use]
    pub fn at(mut self, step: &str) -> Self {
        self.prepend(step);
        self
    }

    #[cold]
    #[inline(never)]
    fn prepend(&mut self, step: &str) {
        let path = &self.0.path;
        let separator = if path.is_empty() || path.starts_with('[') || step.is_empty() { "" } else { "." };
        self.0.path = [step, separator, path].concat();
    }

    #[cold]
    #[inline(never)]
    fn prepend_index(&mut self, index: usize) {
        self.prepend(&format!("[{index}]"));
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { path, message } = &*self.0;
        if !path.is_empty() {
            on_one_line(path, formatter)?;
            formatter.write_str(": ")?;
        }
        on_one_line(message, formatter)
    }
}

impl std::error::Error for ConfigError {}

/// A piece of configuration in a message: quoted, on one line. (`{:?}` would cost 4 KiB of Unicode tables.)
#[must_use]
pub fn quoted(text: &str) -> impl fmt::Display + '_ {
    Quoted(text)
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"")?;
        on_one_line(self.0, formatter)?;
        formatter.write_str("\"")
    }
}

/// What a configuration calls its fields is in messages too, and a message is one line of the log.
fn on_one_line(text: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for character in text.chars() {
        match character {
            '\n' => formatter.write_str("\\n")?,
            '\r' => formatter.write_str("\\r")?,
            control if control.is_ascii_control() => write!(formatter, "\\x{:02x}", u32::from(control))?,
            other => formatter.write_char(other)?,
        }
    }
    Ok(())
}

/// Says where in the configuration a failed check looked.
pub trait At {
    /// Under this field.
    #[must_use]
    fn at(self, field: &str) -> Self;
    /// In this item of a list.
    #[must_use]
    fn at_index(self, index: usize) -> Self;
}

/// In place: a value that is moved is copied.
impl<T> At for Result<T, ConfigError> {
    fn at(mut self, field: &str) -> Self {
        if let Err(error) = &mut self {
            error.prepend(field);
        }
        self
    }

    fn at_index(mut self, index: usize) -> Self {
        if let Err(error) = &mut self {
            error.prepend_index(index);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_grows_from_the_inside() {
        let failed: Result<(), _> = Err(ConfigError::new("is empty"));
        let failed = failed.at("pattern").at("regex").at_index(2).at("rules");
        assert_eq!(failed.unwrap_err().to_string(), "rules[2].regex.pattern: is empty");
    }

    #[test]
    fn a_quoted_text_stays_on_one_line() {
        assert_eq!(quoted("a\r\nb\0 阳").to_string(), r#""a\r\nb\x00 阳""#);
    }

    #[test]
    fn a_field_of_any_name_leaves_the_message_on_one_line() {
        let error = ConfigError::new("unknown field `a\r\nb`").at("a\r\nb");
        assert_eq!(error.to_string(), r"a\r\nb: unknown field `a\r\nb`");
    }

    #[test]
    fn without_a_path_there_is_only_the_message() {
        assert_eq!(ConfigError::new("not JSON").to_string(), "not JSON");
    }
}
