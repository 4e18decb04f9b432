//! Value sources: where a value comes from, written as text: `header:x-tenant`, `claim:sub`, `clientIp`, …

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::claims;
use crate::config::{At, ConfigError, quoted};
use crate::headers::{HeaderName, is_token};
use crate::hostcalls::Bytes;
use crate::request::Request;

/// The sources that have an argument after a colon, and those that have none.
const KNOWN: &str = "header:NAME, cookie:NAME, query:NAME, claim:PATH, property:a.b.c, env:NAME, literal:TEXT, path, \
                     pathSegment:N, host, method, scheme, clientIp, requestId, traceId";

/// A compiled value source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `header:NAME`: the first line that is not empty.
    Header(HeaderName),
    /// `cookie:NAME`: the first cookie of that name that is not empty.
    Cookie(String),
    /// `query:NAME`: the first parameter of that name that is not empty, percent-decoded.
    Query(String),
    /// `claim:PATH`: a claim that jwt-authn, or Envoy's own `jwt_authn`, verified; dots nest.
    Claim(Vec<String>),
    /// `property:a."b.c".d`: a property that is a string.
    Property(Vec<String>),
    /// `env:NAME` (read at configure time) and `literal:TEXT`.
    Literal(Bytes),
    /// `path`: without query and fragment.
    Path,
    /// `pathSegment:N`: 1 is the first.
    PathSegment(usize),
    /// `host`: lower case, without port.
    Host,
    /// `method`.
    Method,
    /// `scheme`.
    Scheme,
    /// `clientIp`: the address as a key, masked as the plugin's `clientIp` says.
    ClientIp,
    /// `requestId`: `x-request-id`.
    RequestId,
    /// `traceId`: of `traceparent`, `b3` or `x-b3-traceid`.
    TraceId,
}

impl Source {
    /// Reads a value source.
    ///
    /// # Errors
    /// Where it is unknown, or its argument is missing or wrong.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let wrong = |message: String| Err(ConfigError::new(message));
        match text.split_once(':') {
            None => Ok(match text {
                "path" => Self::Path,
                "host" => Self::Host,
                "method" => Self::Method,
                "scheme" => Self::Scheme,
                "clientIp" => Self::ClientIp,
                "requestId" => Self::RequestId,
                "traceId" => Self::TraceId,
                _ => return wrong(format!("{} is not a value source; known are {KNOWN}", quoted(text))),
            }),
            Some((kind, "")) if kind != "literal" => {
                wrong(format!("{} needs a name after the colon", quoted(kind)))
            }
            Some(("header", name)) => HeaderName::new(name).map(Self::Header),
            Some(("cookie", name)) if is_token(name.as_bytes()) => Ok(Self::Cookie(name.to_owned())),
            Some(("cookie", name)) => wrong(format!("{} is not the name of a cookie", quoted(name))),
            Some(("query", name)) => Ok(Self::Query(name.to_owned())),
            Some(("claim", path)) => Ok(Self::Claim(path.split('.').map(str::to_owned).collect())),
            Some(("property", path)) => property_path(path).map(Self::Property),
            Some(("env", name)) => Ok(Self::Literal(environment(name))),
            Some(("literal", text)) => Ok(Self::Literal(text.as_bytes().to_vec())),
            Some(("pathSegment", number)) => match number.parse() {
                Ok(number) if number > 0 => Ok(Self::PathSegment(number)),
                _ => wrong(format!("pathSegment counts from 1, {} is not such a number", quoted(number))),
            },
            Some((kind, _)) => wrong(format!("{} is not a value source; known are {KNOWN}", quoted(kind))),
        }
    }

    /// The value, if it is there and not empty.
    #[must_use]
    pub fn value(&self, request: &Request) -> Option<Bytes> {
        let header = |name: &str| request.header(name).map(|value| owned(&value));
        let value = match self {
            Self::Header(name) => request.filled_header(name.as_str())?,
            Self::Cookie(name) => request.cookie(name)?,
            Self::Query(name) => request.query_value(name)?.into_owned(),
            Self::Claim(path) => claims::get(request, path)?,
            Self::Property(path) => property(request, path)?,
            Self::Literal(text) => owned(text),
            Self::Path | Self::PathSegment(_) => owned(self.part_of(request.path())?),
            Self::Host => owned(request.host()),
            Self::Method => header(":method")?,
            Self::Scheme => header(":scheme")?,
            Self::ClientIp => request.client_ip_key()?.into_bytes(),
            Self::RequestId => header("x-request-id")?,
            Self::TraceId => trace_id(request)?,
        };
        (!value.is_empty()).then_some(value)
    }
}

impl Source {
    /// Whether the value is a part of what decides where a request goes: path, host or method.
    #[must_use]
    pub fn is_target(&self) -> bool {
        match self {
            Self::Host | Self::Method => true,
            Self::Header(name) => name.is_host(),
            other => other.is_part_of_path(),
        }
    }

    /// Whether the value is the path or one of its segments.
    #[must_use]
    pub const fn is_part_of_path(&self) -> bool {
        matches!(self, Self::Path | Self::PathSegment(_))
    }

    /// The value of [`Source::is_part_of_path`] if the request's path were `path`.
    pub(crate) fn part_of<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let part = match self {
            Self::Path => path,
            Self::PathSegment(number) => path.split(|&byte| byte == b'/').nth(*number)?,
            _ => return None,
        };
        (!part.is_empty()).then_some(part)
    }
}

/// Not inlined: a copy is 150 bytes of code wherever it is made.
#[inline(never)]
fn owned(value: &[u8]) -> Bytes {
    value.to_vec()
}

fn environment(name: &str) -> Bytes {
    std::env::var(name).unwrap_or_default().into_bytes()
}

/// The keys of `a.b."c.d"`: separated by dots, quoted where a key has dots itself.
fn property_path(text: &str) -> Result<Vec<String>, ConfigError> {
    let invalid = |reason: &str| Err(ConfigError::new(format!("property {} {reason}", quoted(text))));
    let mut keys = Vec::new();
    let mut rest = text;
    loop {
        let (key, after) = match rest.strip_prefix('"') {
            Some(inside) => match inside.split_once('"') {
                Some(split) => split,
                None => return invalid("has no closing quote"),
            },
            None => rest.split_at_checked(rest.find('.').unwrap_or(rest.len())).unwrap_or((rest, "")),
        };
        if key.is_empty() || key.contains(['"', '\0']) {
            return invalid("must be keys separated by dots; quote a key that contains a dot");
        }
        keys.push(key.to_owned());
        rest = match after.strip_prefix('.') {
            Some(rest) => rest,
            None if after.is_empty() => return Ok(keys),
            None => return invalid("needs a dot after a quoted key"),
        };
    }
}

fn property(request: &Request, path: &[String]) -> Option<Bytes> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    request.property(&path)
}

/// The trace id of `traceparent`, `b3` or `x-b3-traceid`, in lower case.
fn trace_id(request: &Request) -> Option<Bytes> {
    let b3 = |header: &str| {
        let value = request.header(header)?;
        let id = value.split(|&byte| byte == b'-').next()?;
        let valid = matches!(id.len(), 16 | 32)
            && id.iter().all(u8::is_ascii_hexdigit)
            && id.iter().any(|&digit| digit != b'0');
        valid.then(|| id.to_ascii_lowercase())
    };
    let w3c = || w3c_trace_id(&request.header("traceparent")?).map(<[u8]>::to_vec);
    w3c().or_else(|| b3("b3")).or_else(|| b3("x-b3-traceid"))
}

/// The trace id of a valid `traceparent` (W3C Trace Context, sections 3.2.2 and 4.3: a higher version may have more
/// fields).
fn w3c_trace_id(traceparent: &[u8]) -> Option<&[u8]> {
    let mut fields = traceparent.split(|&byte| byte == b'-');
    let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |field: &[u8], length: usize| {
        field.len() == length && field.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |id: &[u8], length: usize| is_hex(id, length) && id.iter().any(|&digit| digit != b'0');
    let valid = is_hex(version, 2)
        && version != b"ff"
        && (version != b"00" || fields.next().is_none())
        && is_id(trace, 32)
        && is_id(parent, 16)
        && is_hex(flags, 2);
    valid.then_some(trace)
}

/// One value source or a list of them, as a configuration writes it; of a list the first that yields a value counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceList(pub Vec<String>);

impl SourceList {
    /// Compiles every source.
    ///
    /// # Errors
    /// Where one is wrong, or there is none.
    pub fn compile(&self) -> Result<Sources, ConfigError> {
        if self.0.is_empty() {
            return Err(ConfigError::new("needs at least one value source"));
        }
        let compile = |(index, text): (usize, &String)| match self.0.len() {
            1 => Source::new(text),
            _ => Source::new(text).at_index(index),
        };
        self.0.iter().enumerate().map(compile).collect::<Result<_, _>>().map(Sources)
    }
}

impl<'de> Deserialize<'de> for SourceList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = SourceList;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a value source or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<SourceList, E> {
                Ok(SourceList(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<SourceList, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(SourceList(texts))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SourceList {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SourceList".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A value source, or a list of which the first that yields a value counts.",
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
        })
    }
}

/// Compiled value sources; the first that yields a value counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// The value of the first source that has one.
    #[must_use]
    pub fn value(&self, request: &Request) -> Option<Bytes> {
        self.0.iter().find_map(|source| source.value(request))
    }

    /// Whether one of them is the client's address.
    #[must_use]
    pub fn reads_client_ip(&self) -> bool {
        self.0.contains(&Source::ClientIp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request::detached(&[
            (":method", b"GET"),
            (":scheme", b"https"),
            (":path", b"/a/b%20c?x=1%202&empty="),
            (":authority", b"Shop:80"),
            ("x-tenant", b"acme"),
            ("x-empty", b""),
            ("cookie", b"uid=9"),
            ("x-request-id", b"r-1"),
            ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ])
        .with_property("source.address", b"10.0.0.1:80")
        .with_property("xds.node.metadata.LABELS.app", b"shop")
    }

    fn value(source: &str) -> Option<String> {
        Source::new(source).unwrap().value(&request()).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn every_source_has_a_value() {
        for (source, expected) in [
            ("header:X-Tenant", "acme"),
            ("cookie:uid", "9"),
            ("query:x", "1 2"),
            ("property:xds.node.metadata.LABELS.app", "shop"),
            ("literal:a:b", "a:b"),
            ("path", "/a/b%20c"),
            ("pathSegment:2", "b%20c"),
            ("host", "shop"),
            ("method", "GET"),
            ("scheme", "https"),
            ("clientIp", "10.0.0.1"),
            ("requestId", "r-1"),
            ("traceId", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ] {
            assert_eq!(value(source).as_deref(), Some(expected), "{source}");
        }
    }

    #[test]
    fn a_property_key_with_dots_is_quoted() {
        for (source, path) in [
            ("property:a.b.c", vec!["a", "b", "c"]),
            ("property:LABELS.\"app.kubernetes.io/name\"", vec!["LABELS", "app.kubernetes.io/name"]),
            ("property:\"a.b\".c", vec!["a.b", "c"]),
        ] {
            let path = path.into_iter().map(str::to_owned).collect();
            assert_eq!(Source::new(source).unwrap(), Source::Property(path), "{source}");
        }
    }

    #[test]
    fn an_empty_value_hides_no_later_one() {
        let request = Request::detached(&[
            (":path", b"/?q=&q=1&q=2"),
            ("x-a", b""),
            ("x-a", b"1"),
            ("x-a", b"2"),
            ("cookie", b"c=; c=1"),
            ("cookie", b"c=2; d="),
            ("cookie", b"d=1"),
        ]);
        for source in ["query:q", "header:x-a", "cookie:c", "cookie:d"] {
            assert_eq!(Source::new(source).unwrap().value(&request).as_deref(), Some(&b"1"[..]), "{source}");
        }
    }

    #[test]
    fn an_empty_value_is_none() {
        for source in [
            "header:x-empty",
            "header:x-none",
            "query:empty",
            "cookie:none",
            "pathSegment:3",
            "literal:",
            "claim:sub",
        ] {
            assert_eq!(value(source), None, "{source}");
        }
    }

    #[test]
    fn a_trace_id_is_taken_only_when_valid() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (header, value, expected) in [
            ("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"), Some(TRACE)),
            ("traceparent", format!("cc-{TRACE}-00f067aa0ba902b7-01"), Some(TRACE)),
            ("traceparent", format!("cc-{TRACE}-00f067aa0ba902b7-01-more-fields"), Some(TRACE)),
            ("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01-more"), None),
            ("traceparent", format!("ff-{TRACE}-00f067aa0ba902b7-01"), None),
            ("traceparent", format!("zz-{TRACE}-00f067aa0ba902b7-01"), None),
            ("traceparent", format!("0-{TRACE}-00f067aa0ba902b7-01"), None),
            ("traceparent", format!("00-{TRACE}"), None),
            ("traceparent", format!("00-{TRACE}-00f067aa0ba902b7"), None),
            ("traceparent", format!("00-{TRACE}-0000000000000000-01"), None),
            ("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-0g"), None),
            ("traceparent", format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()), None),
            ("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01".into(), None),
            ("traceparent", "junk".into(), None),
            ("b3", format!("{}-e457b5a2e4d86bd1-1", TRACE.to_uppercase()), Some(TRACE)),
            ("b3", "0".into(), None),
            ("x-b3-traceid", "463ac35c9f6413ad".into(), Some("463ac35c9f6413ad")),
        ] {
            let request = Request::detached(&[(header, value.as_bytes())]);
            let found = Source::TraceId.value(&request).map(|value| String::from_utf8(value).unwrap());
            assert_eq!(found.as_deref(), expected, "{header}: {value}");
        }
    }

    #[test]
    fn the_first_source_with_a_value_counts() {
        let list: SourceList = serde_json::from_str(r#"["header:x-none","query:x"]"#).unwrap();
        assert_eq!(list.compile().unwrap().value(&request()).unwrap(), b"1 2");
        let one: SourceList = serde_json::from_str(r#""host""#).unwrap();
        assert_eq!(one.compile().unwrap().value(&request()).unwrap(), b"shop");
    }

    #[test]
    fn a_mistake_is_named() {
        for (source, message) in [
            ("headers:x", "\"headers\" is not a value source; known are "),
            ("ip", "\"ip\" is not a value source; known are "),
            ("header:", "\"header\" needs a name after the colon"),
            ("header:a b", "\"a b\" is not the name of a header"),
            ("pathSegment:0", "pathSegment counts from 1, \"0\" is not such a number"),
            (
                "property:a..b",
                "property \"a..b\" must be keys separated by dots; quote a key that contains a dot",
            ),
            ("property:a.\"b", "property \"a.\"b\" has no closing quote"),
            ("property:a.\"b\"c", "property \"a.\"b\"c\" needs a dot after a quoted key"),
        ] {
            let failed = Source::new(source).unwrap_err().to_string();
            assert!(failed.starts_with(message), "{failed}");
        }
        let list = SourceList(vec!["host".into(), "x".into()]);
        assert!(list.compile().unwrap_err().to_string().starts_with("[1]: \"x\" is not a value source"));
    }
}
