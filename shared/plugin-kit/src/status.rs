//! Which responses: `404`, and `5xx` for a class of statuses.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::config::{At, ConfigError, quoted};

/// `404` or `5xx`, as a configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPattern(pub String);

impl<'de> Deserialize<'de> for StatusPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrNumber;
        impl Visitor<'_> for TextOrNumber {
            type Value = StatusPattern;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a status such as 404 or \"5xx\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StatusPattern, E> {
                Ok(StatusPattern(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<StatusPattern, E> {
                Ok(StatusPattern(number.to_string()))
            }
        }
        deserializer.deserialize_any(TextOrNumber)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for StatusPattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StatusPattern".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": ["string", "integer"], "pattern": "^[1-9](xx|[0-9]{2})$"})
    }
}

/// Compiled [`StatusPattern`]s, of which one must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<Range>);

/// From one status to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range(u16, u16);

impl Statuses {
    /// Compiles a list.
    ///
    /// # Errors
    /// Where it is empty, or one is neither a status nor a class.
    pub fn compile(patterns: &[StatusPattern]) -> Result<Self, ConfigError> {
        if patterns.is_empty() {
            return Err(ConfigError::new("is empty and would mean nothing; leave it out to mean everything"));
        }
        let compile = |(index, pattern): (usize, &StatusPattern)| {
            let text = pattern.0.as_str();
            Range::new(text)
                .ok_or_else(|| {
                    ConfigError::new(format!(
                        "{} is neither a status such as 404 nor a class such as 5xx",
                        quoted(text)
                    ))
                })
                .at_index(index)
        };
        patterns.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a status is one of them.
    #[must_use]
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|range| (range.0..=range.1).contains(&status))
    }
}

impl Range {
    fn new(text: &str) -> Option<Self> {
        let first = text.strip_suffix("xx").map_or_else(|| text.to_owned(), |class| format!("{class}00"));
        let status: u16 = first.parse().ok().filter(|status| (100..=599).contains(status))?;
        if first.len() != 3 {
            return None;
        }
        Some(if text.ends_with("xx") {
            Self(status, status.saturating_add(99))
        } else {
            Self(status, status)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_classes() {
        for (text, expected) in [
            ("404", Some(Range(404, 404))),
            ("5xx", Some(Range(500, 599))),
            ("1xx", Some(Range(100, 199))),
            ("6xx", None),
            ("xx", None),
            ("40xx", None),
            ("+404", None),
            ("99", None),
            ("600", None),
            ("", None),
        ] {
            assert_eq!(Range::new(text), expected, "{text}");
        }
    }

    #[test]
    fn one_of_a_list_must_fit() {
        let patterns: Vec<StatusPattern> = serde_json::from_str(r#"["2xx", 404]"#).unwrap();
        let statuses = Statuses::compile(&patterns).unwrap();
        assert!(statuses.has(204) && statuses.has(404) && !statuses.has(500));
        assert!(Statuses::compile(&[]).is_err());
    }
}
