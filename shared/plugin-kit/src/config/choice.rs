//! Reading one of several names into an enum, in a fifth of the code that `derive(Deserialize)` makes of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

/// Implements `Deserialize` for an enum whose variants hold nothing. Every other name is an error that lists these.
///
/// The derived code is there once for each type, this one once for all; it costs one line beside it, which a test
/// compares with the schema: see
/// [`assert_choices_are_those_of_the_schema`](crate::assert_choices_are_those_of_the_schema).
///
/// ```ignore
/// plugin_kit::choices!(Mode { "enforce" => Enforce, "dryRun" => DryRun, "off" => Off });
/// ```
#[macro_export]
macro_rules! choices {
    ($type:ident { $($name:literal => $variant:ident),* $(,)? }) => {
        impl $crate::config::Choices for $type {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($name, Self::$variant)),*];
        }

        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use $crate::serde::de::{DeserializeSeed, Error};
                const NAMES: &[&str] = &[$($name),*];
                let place = $crate::config::ChoiceName(NAMES).deserialize(deserializer)?;
                let choice = <Self as $crate::config::Choices>::CHOICES.get(place);
                choice.map(|&(_, choice)| choice).ok_or_else(|| D::Error::unknown_variant("", NAMES))
            }
        }
    };
}

/// The variants of an enum that [`choices!`](crate::choices!) reads.
pub trait Choices: Copy + 'static {
    /// Their names in a configuration.
    const CHOICES: &'static [(&'static str, Self)];
}

/// A name among these: its place.
#[derive(Clone, Copy, Debug)]
pub struct ChoiceName(pub &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for ChoiceName {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ChoiceName {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("one of the texts ")?;
        for (place, name) in self.0.iter().enumerate() {
            if place > 0 {
                formatter.write_str(", ")?;
            }
            formatter.write_str(name)?;
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        let place = self.0.iter().position(|known| *known == name);
        place.ok_or_else(|| E::unknown_variant(name, self.0))
    }
}

/// Fails where the names that a type reads are not those of its schema, in any order.
#[cfg(feature = "schema")]
#[macro_export]
macro_rules! assert_choices_are_those_of_the_schema {
    ($($type:ty),* $(,)?) => {
        $({
            let mut read: Vec<&str> =
                <$type as $crate::config::Choices>::CHOICES.iter().map(|(name, _)| *name).collect();
            let schema = $crate::schemars::schema_for!($type);
            let list = |key: &str| schema.get(key).and_then(|list| list.as_array()).into_iter().flatten();
            // A variant with a description stands alone.
            let described = list("oneOf").filter_map(|variant| variant.get("const"));
            let mut described: Vec<&str> = list("enum").chain(described).filter_map(|name| name.as_str()).collect();
            read.sort_unstable();
            described.sort_unstable();
            assert_eq!(read, described, "{}", stringify!($type));
        })*
    };
}

#[cfg(test)]
mod tests {
    use crate::config::{Mode, parse};

    #[cfg(feature = "schema")]
    #[test]
    fn what_is_read_is_what_is_described() {
        crate::assert_choices_are_those_of_the_schema!(Mode, crate::client_ip::ClientIpSource);
    }

    #[test]
    fn a_name_is_one_of_these() {
        assert_eq!(parse::<Mode>(br#""dryRun""#).unwrap(), Mode::DryRun);
        for (raw, message) in [
            (r#""dry""#, "unknown variant `dry`, expected one of `enforce`, `dryRun`, `off`"),
            ("1", "expected one of the texts enforce, dryRun, off, not 1"),
            (r#"{"off":null}"#, "expected one of the texts enforce, dryRun, off, not a mapping"),
        ] {
            assert_eq!(parse::<Mode>(raw.as_bytes()).unwrap_err().to_string(), message, "{raw}");
        }
    }
}
