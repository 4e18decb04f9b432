//! Reading an object into the fields of a struct, in half the code that `derive(Deserialize)` makes of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};

/// Implements `Deserialize` for a struct with a `Default`, which holds what fields that are not given are; `required`
/// after a name says that there is no such default. Every name that is not listed is an error that lists them.
///
/// The derived code keeps every field in an `Option` of its own until all are there, and takes all of them apart
/// wherever one is wrong; this one writes into the struct. It costs one line beside it, which a test compares with the
/// schema: see [`assert_fields_are_those_of_the_schema`](crate::assert_fields_are_those_of_the_schema).
///
/// ```ignore
/// plugin_kit::fields!(Rule { "name" required => name, "match" => matches });
/// ```
#[macro_export]
macro_rules! fields {
    ($type:ident { $($name:literal $($required:ident)? => $field:ident),* $(,)? }) => {
        impl $crate::config::Fields for $type {
            const FIELDS: &'static [&'static str] = &[$($name),*];
        }

        impl<'de> $crate::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Object;

                impl<'de> $crate::serde::de::Visitor<'de> for Object {
                    type Value = $type;

                    fn expecting(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        formatter.write_str(concat!("struct ", stringify!($type)))
                    }

                    fn visit_map<A: $crate::serde::de::MapAccess<'de>>(
                        self,
                        mut members: A,
                    ) -> Result<$type, A::Error> {
                        let mut value = <$type>::default();
                        let mut given = 0_u32;
                        while let Some(name) =
                            members.next_key_seed($crate::config::FieldName(<$type as $crate::config::Fields>::FIELDS))?
                        {
                            let mut place = 0_u32;
                            $(
                                if name == place {
                                    value.$field = members.next_value()?;
                                }
                                place = place.wrapping_add(1);
                            )*
                            let _ = place;
                            given |= 1_u32.wrapping_shl(name);
                        }
                        let mut place = 0_u32;
                        $(
                            $(
                                let $required = given & 1_u32.wrapping_shl(place) != 0;
                                if !$required {
                                    return Err($crate::serde::de::Error::missing_field($name));
                                }
                            )?
                            place = place.wrapping_add(1);
                        )*
                        let _ = (place, given);
                        Ok(value)
                    }
                }

                let names = <$type as $crate::config::Fields>::FIELDS;
                deserializer.deserialize_struct(stringify!($type), names, Object)
            }
        }
    };
}

/// The fields of a struct that [`fields!`](crate::fields!) reads.
pub trait Fields {
    /// Their names in a configuration, at most 32.
    const FIELDS: &'static [&'static str];
}

/// A name among these: its place.
#[derive(Clone, Copy, Debug)]
pub struct FieldName(pub &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = u32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = u32;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<u32, E> {
        let place = self.0.iter().position(|known| *known == name);
        place.and_then(|place| u32::try_from(place).ok()).ok_or_else(|| E::unknown_field(name, self.0))
    }
}

/// Fails where the names that a type reads are not those of its schema, in any order.
#[cfg(feature = "schema")]
#[macro_export]
macro_rules! assert_fields_are_those_of_the_schema {
    ($($type:ty),* $(,)?) => {
        $({
            let mut read: Vec<&str> = <$type as $crate::config::Fields>::FIELDS.to_vec();
            let schema = $crate::schemars::schema_for!($type);
            let properties = schema.get("properties").and_then(|properties| properties.as_object());
            let mut described: Vec<&str> =
                properties.map(|properties| properties.keys().map(String::as_str).collect()).unwrap_or_default();
            read.sort_unstable();
            described.sort_unstable();
            assert_eq!(read, described, "{}", stringify!($type));
        })*
    };
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[derive(Debug, Default, PartialEq)]
    struct Example {
        first: u32,
        second: Option<String>,
        third: bool,
    }

    crate::fields!(Example { "first" required => first, "second" => second, "third" required => third });

    #[test]
    fn reads_what_is_given_and_keeps_the_default_of_the_rest() {
        let read = parse::<Example>(br#"{"third": true, "first": 7.0}"#).unwrap();
        assert_eq!(read, Example { first: 7, second: None, third: true });
        let read = parse::<Example>(br#"{"first": 7, "second": "x", "third": false}"#).unwrap();
        assert_eq!(read.second.as_deref(), Some("x"));
    }

    #[test]
    fn a_mistake_reads_as_that_of_a_derived_type() {
        for (raw, message) in [
            ("{}", "missing field `first`"),
            (r#"{"first": 1}"#, "missing field `third`"),
            (r#"{"first": "1"}"#, "first: expected u32, not \"1\""),
            (
                r#"{"fourth": 1}"#,
                "fourth: unknown field `fourth`, expected one of `first`, `second`, `third`",
            ),
            (r#"{"first": 1, "first": 2}"#, "first: is given twice"),
            ("[]", "expected struct Example, not a sequence"),
        ] {
            assert_eq!(parse::<Example>(raw.as_bytes()).unwrap_err().to_string(), message, "{raw}");
        }
    }

    #[cfg(feature = "schema")]
    #[test]
    fn what_is_read_is_what_is_described() {
        use crate::client_ip::ClientIp;
        use crate::matching::{Match, NamedMatch, SourceMatch};
        crate::assert_fields_are_those_of_the_schema!(ClientIp, Match, NamedMatch, SourceMatch);
    }
}
