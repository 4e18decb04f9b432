//! Values that no message quotes.

use std::fmt;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::Deserializer;

/// The name by which [`Node`](super::Node) knows that its errors must not quote what they found.
pub(super) const SENSITIVE: &str = "$sensitive";

/// A secret in a configuration. Errors below it name its field and nothing that is in it, serde's own errors too, and
/// `Debug` prints none of it.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transparent))]
pub struct Sensitive<T>(pub T);

impl<T> Deref for Sensitive<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sensitive")
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Sensitive<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inner<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Inner<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a secret")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
                T::deserialize(deserializer)
            }
        }

        deserializer.deserialize_newtype_struct(SENSITIVE, Inner(std::marker::PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Example {
        secret: Sensitive<Secret>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Secret {
        value: String,
        bits: Option<u8>,
    }

    #[test]
    fn an_error_below_a_secret_shows_nothing_of_it() {
        for raw in [
            r#"{"secret": "hunter2"}"#,
            r#"{"secret": 2}"#,
            r#"{"secret": ["hunter2"]}"#,
            r#"{"secret": {"hunter2": 1}}"#,
            r#"{"secret": {"value": ["hunter2"]}}"#,
            r#"{"secret": {"value": "a", "bits": "hunter2"}}"#,
            r#"{"secret": {"value": "a", "bits": null}}"#,
        ] {
            let message = parse::<Example>(raw.as_bytes()).unwrap_err().to_string();
            assert_eq!(message, "secret: is invalid; what it contains is secret and not shown", "{raw}");
        }
    }

    #[test]
    fn a_secret_is_read_and_never_printed() {
        let example = parse::<Example>(br#"{"secret": {"value": "hunter2"}}"#).unwrap();
        assert_eq!(example.secret.value, "hunter2");
        assert!(!format!("{example:?}").contains("hunter2"));
    }
}
