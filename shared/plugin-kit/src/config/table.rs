//! An object whose names the operator chooses: `{x-a: "1", x-b: "2"}`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Names and texts, in the order of the configuration. (A `BTreeMap` costs 8 KiB more in a module.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(Vec<(String, String)>);

impl Table {
    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Table;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("names with texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Table, A::Error> {
                let mut table = Table::default();
                while let Some(entry) = members.next_entry()? {
                    table.0.push(entry);
                }
                Ok(table)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Table {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Table".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object", "additionalProperties": {"type": "string"}})
    }
}
