//! JSON on its way into a `Config`: a tree that serde reads from, whose errors know where they are.
//!
//! `serde_json::Value` with `serde_path_to_error` does the same for 40 KiB more in every module, most of it for
//! printing floating-point numbers, and refuses `10.0` for an integer.

use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::{At, ConfigError, quoted};
use super::sensitive::SENSITIVE;

/// A JSON value; of an object, the members in order.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Node {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Fraction(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads JSON.
    ///
    /// # Errors
    /// Where the text is not JSON.
    pub fn parse(raw: &[u8]) -> Result<Self, ConfigError> {
        serde_json::from_slice(raw).map_err(|invalid| ConfigError::new(format!("not JSON: {invalid}")))
    }

    #[allow(clippy::cast_possible_truncation)]
    fn number(number: f64) -> Self {
        /// Beyond this a double no longer names one integer.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let whole = number as i64;
        if number.abs() > EXACT || number != whole as f64 {
            return Self::Fraction(number);
        }
        u64::try_from(whole).map_or(Self::Signed(whole), Self::Unsigned)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut map: Vec<(String, Node)> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            map.push((name, members.next_value()?));
        }
        Ok(Node::Map(map))
    }
}

impl Node {
    /// What stands here instead of what is expected. Out of line: every field of every configuration has one.
    #[cold]
    #[inline(never)]
    fn unexpected(&self, expected: &dyn Expected) -> ConfigError {
        let found = match self {
            Self::Null => return null(),
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Unsigned(value) => Unexpected::Unsigned(*value),
            Self::Signed(value) => Unexpected::Signed(*value),
            Self::Fraction(value) => Unexpected::Float(*value),
            Self::Text(text) => Unexpected::Str(text),
            Self::List(_) => Unexpected::Seq,
            Self::Map(_) => Unexpected::Map,
        };
        ConfigError::invalid_type(found, expected)
    }

    #[inline(never)]
    fn members(&self, expected: &dyn Expected) -> Result<Members<'_>, ConfigError> {
        match self {
            Self::Map(members) => match twice(members) {
                Some(name) => Err(ConfigError::new("is given twice").at(name)),
                None => Ok(Members { members: members.iter(), value: None }),
            },
            other => Err(other.unexpected(expected)),
        }
    }

    #[inline(never)]
    fn items(&self, expected: &dyn Expected) -> Result<Items<'_>, ConfigError> {
        match self {
            Self::List(items) => Ok(Items { index: 0, items: items.iter() }),
            other => Err(other.unexpected(expected)),
        }
    }
}

/// Methods that accept one kind of value only. Going through `deserialize_any` everywhere would instantiate every
/// kind for every type: 150 KiB in path-rewrite.
macro_rules! only {
    ($($method:ident: $($kind:ident($value:ident) => $visit:ident($given:expr)),+;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
            match self {
                $(Node::$kind($value) => visitor.$visit($given),)+
                other => Err(other.unexpected(&visitor)),
            }
        })*
    };
}

/// By reference: a value that is given away is dropped on every way out of every visitor.
impl<'de> Deserializer<'de> for &Node {
    type Error = ConfigError;

    only! {
        deserialize_bool: Bool(value) => visit_bool(*value);
        deserialize_u8: Unsigned(value) => visit_u64(*value), Signed(value) => visit_i64(*value);
        deserialize_u16: Unsigned(value) => visit_u64(*value), Signed(value) => visit_i64(*value);
        deserialize_u32: Unsigned(value) => visit_u64(*value), Signed(value) => visit_i64(*value);
        deserialize_u64: Unsigned(value) => visit_u64(*value), Signed(value) => visit_i64(*value);
        deserialize_i64: Unsigned(value) => visit_u64(*value), Signed(value) => visit_i64(*value);
        deserialize_f64: Unsigned(value) => visit_u64(*value), Signed(value) => visit_i64(*value), Fraction(value) => visit_f64(*value);
        deserialize_str: Text(value) => visit_str(value);
        deserialize_string: Text(value) => visit_str(value);
        deserialize_identifier: Text(value) => visit_str(value);
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let items = self.items(&visitor)?;
        visitor.visit_seq(items)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let members = self.members(&visitor)?;
        visitor.visit_map(members)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Unsigned(value) => visitor.visit_u64(*value),
            Node::Signed(value) => visitor.visit_i64(*value),
            Node::Fraction(value) => visitor.visit_f64(*value),
            Node::Text(value) => visitor.visit_str(value),
            Node::List(_) => self.deserialize_seq(visitor),
            Node::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self {
            Node::Null => Err(null()),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        let read = visitor.visit_newtype_struct(self);
        if name == SENSITIVE { read.map_err(|_| hidden()) } else { read }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        match self {
            Node::Text(name) => visitor.visit_enum(Variant { name, content: None }),
            Node::Map(members) => match members.as_slice() {
                [(name, content)] => visitor.visit_enum(Variant { name, content: Some(content) }),
                _ => Err(not_one_variant(members.len())),
            },
            other => Err(other.unexpected(&visitor)),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct ignored_any
    }
}

/// `null` is not a value that is left out: where it opened a check, nobody would see it.
#[cold]
#[inline(never)]
fn null() -> ConfigError {
    ConfigError::new("must not be null; leave it out for the default")
}

/// The error below a [`Sensitive`](super::Sensitive) value, whatever is wrong there.
#[cold]
#[inline(never)]
fn hidden() -> ConfigError {
    ConfigError::new("is invalid; what it contains is secret and not shown")
}

#[cold]
#[inline(never)]
fn not_one_variant(count: usize) -> ConfigError {
    ConfigError::new(format!("expected exactly one of its variants, not {count}"))
}

/// The first member that an object has twice. Objects in a configuration are small; sorting would cost 10 KiB of code.
fn twice(members: &[(String, Node)]) -> Option<&str> {
    let mut rest = members;
    while let Some(((name, _), tail)) = rest.split_first() {
        if tail.iter().any(|(other, _)| other == name) {
            return Some(name);
        }
        rest = tail;
    }
    None
}

struct Items<'a> {
    index: usize,
    items: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ConfigError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConfigError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index = index.saturating_add(1);
        seed.deserialize(item).map(Some).at_index(index)
    }
}

struct Members<'a> {
    members: std::slice::Iter<'a, (String, Node)>,
    value: Option<&'a (String, Node)>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = ConfigError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ConfigError> {
        self.value = self.members.next();
        let Some((name, _)) = self.value else { return Ok(None) };
        let name = name.as_str();
        seed.deserialize(IntoDeserializer::<ConfigError>::into_deserializer(name)).map(Some).at(name)
    }

    /// Out of line: once for each type of a field, not for each field.
    #[inline(never)]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ConfigError> {
        match self.value {
            Some((name, value)) => seed.deserialize(value).at(name),
            None => seed.deserialize(&Node::Null),
        }
    }
}

struct Variant<'a> {
    name: &'a str,
    content: Option<&'a Node>,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = ConfigError;
    type Variant = Content<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'a>), ConfigError> {
        let Self { name, content } = self;
        let variant = seed.deserialize(IntoDeserializer::<ConfigError>::into_deserializer(name));
        let at = if content.is_some() { name } else { "" };
        Ok((variant.at(at)?, Content { name, content }))
    }
}

struct Content<'a> {
    name: &'a str,
    content: Option<&'a Node>,
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = ConfigError;

    fn unit_variant(self) -> Result<(), ConfigError> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(ConfigError::new("takes no value")).at(self.name),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ConfigError> {
        seed.deserialize(self.content.unwrap_or(&Node::Null)).at(self.name)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, ConfigError> {
        self.content.unwrap_or(&Node::Null).deserialize_seq(visitor).at(self.name)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        self.content.unwrap_or(&Node::Null).deserialize_map(visitor).at(self.name)
    }
}

impl Error for ConfigError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, not {}", Found(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
}

/// What stands there instead, without serde's code for printing doubles.
struct Found<'a>(Unexpected<'a>);

impl fmt::Display for Found<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Unit | Unexpected::Option => formatter.write_str("null"),
            Unexpected::Bool(value) => write!(formatter, "{value}"),
            Unexpected::Unsigned(value) => write!(formatter, "{value}"),
            Unexpected::Signed(value) => write!(formatter, "{value}"),
            Unexpected::Float(_) => formatter.write_str("a fraction"),
            Unexpected::Str(text) => quoted(text).fmt(formatter),
            Unexpected::Seq => formatter.write_str("a sequence"),
            Unexpected::Map => formatter.write_str("a mapping"),
            _ => formatter.write_str("what is given"),
        }
    }
}
