//! Where the value of a label comes from, and when it is known.

use std::borrow::Cow;

use plugin_kit::config::{At, ConfigError, quoted};
use plugin_kit::headers::{HeaderName, RESPONSE};
use plugin_kit::hostcalls::Bytes;
use plugin_kit::request::Request;
use plugin_kit::source::Source;

use crate::config::Label;
use crate::outcome::Outcome;
use crate::route::{Routes, without_query};
use crate::sanitise::sanitise;

/// The methods of RFC 9110, and PATCH (RFC 5789). A client may send any token.
const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];
/// The label of every other method, as OpenTelemetry writes it.
const OTHER_METHOD: &[u8] = b"_OTHER";

/// Properties in which a query, with whatever is in it, would become a label.
const WITH_QUERY: [&str; 3] = ["request.path", "request.query", "request.headers.:path"];

/// What a label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The template of the path.
    Route,
    /// The method.
    Method,
    /// The status.
    Status,
    /// The class of the status.
    StatusClass,
    /// The gRPC status.
    GrpcStatus,
    /// The first of these that yields a value.
    From(Vec<Origin>, Option<Allowed>),
}

/// The values that are labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    values: Vec<Bytes>,
    otherwise: Bytes,
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the request, as it reaches the plugin.
    Request(Source),
    /// A property, read in the log phase: most are known only then.
    Property(Vec<String>),
    /// The first line of a response header.
    ResponseHeader(HeaderName),
}

impl Origin {
    /// Reads a value source, or `responseHeader:NAME`.
    ///
    /// # Errors
    /// Where there is no such source.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        if let Some(name) = text.strip_prefix("responseHeader:") {
            return HeaderName::new(name).map(Self::ResponseHeader);
        }
        Ok(match Source::new(text)? {
            Source::Property(path) => Self::Property(path),
            source => Self::Request(source),
        })
    }

    /// The same, but known when the request's headers are there; `None` where that cannot be.
    fn early(self) -> Option<Self> {
        match self {
            Self::Property(path) => {
                let is_late = matches!(path.first().map(String::as_str), Some("response" | "upstream"));
                (!is_late).then_some(Self::Request(Source::Property(path)))
            }
            Self::ResponseHeader(_) => None,
            request => Some(request),
        }
    }

    /// Whether the value is known when the request's headers are there.
    pub fn is_early(&self) -> bool {
        matches!(self, Self::Request(_))
    }

    /// The value, if it is there and not empty. Late ones exist in the log phase only.
    pub fn value(&self, request: &Request) -> Option<Bytes> {
        let value = match self {
            Self::Request(source @ Source::Property(_)) => readable(source.value(request)?),
            Self::Request(source) => source.value(request)?,
            Self::Property(path) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                readable(request.property(&path)?)
            }
            Self::ResponseHeader(name) => RESPONSE.get(name.as_str())?,
        };
        (!value.is_empty()).then_some(value)
    }
}

/// A property as text: Envoy gives flags as one byte, and numbers as eight.
fn readable(value: Bytes) -> Bytes {
    match value.as_slice() {
        [0] => b"false".to_vec(),
        [1] => b"true".to_vec(),
        bytes => <[u8; 8]>::try_from(bytes).ok().and_then(number).map_or(value, String::into_bytes),
    }
}

/// The number that eight bytes of a property are; `None`: they are text.
///
/// Envoy does not say which of its numbers are doubles, as those in metadata are. Its integers, which are counts, sizes
/// and nanoseconds, are below 2^61. The bits of doubles are above, but for ones as small as 10^-154.
fn number(bytes: [u8; 8]) -> Option<String> {
    let integer = i64::from_le_bytes(bytes);
    let is_integer = integer.unsigned_abs() < 1 << 61;
    let number = if is_integer { integer.to_string() } else { f64::from_le_bytes(bytes).to_string() };
    // Some doubles look like text, such as 11.2. Text as a double has many more digits.
    let is_text = std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains(char::is_control));
    (!is_text || number.len() <= bytes.len()).then_some(number)
}

impl Value {
    /// Compiles a label. A gauge of active requests has its labels when the request's headers are there: `early`.
    ///
    /// # Errors
    /// Where not exactly one value is said, or it is none that can be a label.
    pub fn compile(label: &Label, early: bool) -> Result<Self, ConfigError> {
        let flags = [
            ("pathTemplate", label.path_template, Self::Route),
            ("method", label.method, Self::Method),
            ("status", label.status, Self::Status),
            ("statusClass", label.status_class, Self::StatusClass),
            ("grpcStatus", label.grpc_status, Self::GrpcStatus),
        ];
        let mut values = Vec::new();
        for (field, flag, value) in flags {
            match flag {
                None => {}
                Some(true) => values.push((field, value)),
                Some(false) => return Err(ConfigError::new("can only be true; leave it out")).at(field),
            }
        }
        if label.source.is_none() {
            for (field, is_there) in
                [("allow", label.allow.is_some()), ("otherwise", label.otherwise.is_some())]
            {
                if is_there {
                    return Err(ConfigError::new("goes with a source")).at(field);
                }
            }
        }
        if let Some(sources) = &label.source {
            let allowed = Allowed::compile(label)?;
            values.push(("source", Self::From(origins(&sources.0, early).at("source")?, allowed)));
        }
        let count = values.len();
        match values.pop() {
            Some((field, value)) if count == 1 => {
                if early && matches!(value, Self::Status | Self::StatusClass | Self::GrpcStatus) {
                    return Err(too_late()).at(field);
                }
                Ok(value)
            }
            _ => Err(ConfigError::new(format!(
                "needs exactly one of pathTemplate, method, status, statusClass, grpcStatus, source, not {count}"
            ))),
        }
    }

    /// Whether the value is known when the request's headers are there.
    pub fn is_early(&self) -> bool {
        match self {
            Self::Route | Self::Method => true,
            Self::Status | Self::StatusClass | Self::GrpcStatus => false,
            Self::From(origins, _) => origins.iter().all(Origin::is_early),
        }
    }

    /// The request header that it is read from in any case.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Route => Some(":path"),
            Self::Method => Some(":method"),
            Self::GrpcStatus => Some("content-type"),
            Self::Status | Self::StatusClass => None,
            Self::From(origins, _) => match origins.first()? {
                Origin::Request(Source::Header(name)) => Some(name.as_str()),
                Origin::Request(Source::Cookie(_)) => Some("cookie"),
                Origin::Request(Source::Host) => Some(":authority"),
                Origin::Request(Source::Method) => Some(":method"),
                Origin::Request(Source::Path | Source::PathSegment(_)) => Some(":path"),
                _ => None,
            },
        }
    }

    /// Reads what a later phase might not see as it was.
    pub fn read_ahead(&self, request: &Request) {
        match self {
            Self::GrpcStatus => {
                request.is_grpc();
            }
            Self::From(origins, _) => {
                for origin in origins.iter().filter(|origin| origin.is_early()) {
                    let _ = origin.value(request);
                }
            }
            _ => {}
        }
    }

    /// The label, at most `max` bytes, or `missing` where there is no value; and whether it is a route that is guessed.
    pub fn label(
        &self,
        routes: &Routes,
        request: &Request,
        outcome: &Outcome,
        max: usize,
        missing: &str,
    ) -> (String, bool) {
        let (value, is_guessed) = match self {
            Self::Route => match routes.of(request.path()) {
                Some(route) => (Some(route.label), route.is_guessed),
                None => (None, false),
            },
            other => (other.raw(request, outcome), false),
        };
        let label = value.map(|value| sanitise(&value, max)).filter(|label| !label.is_empty());
        (label.unwrap_or_else(|| missing.to_owned()), is_guessed)
    }

    fn raw(&self, request: &Request, outcome: &Outcome) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Route => None,
            Self::Method => {
                let method = request.header(":method")?;
                let known = METHODS.into_iter().find(|known| **known == *method);
                Some(Cow::Borrowed(known.unwrap_or(OTHER_METHOD)))
            }
            Self::Status => Some(Cow::Owned(outcome.status()?.to_string().into_bytes())),
            Self::StatusClass => Some(Cow::Borrowed(class(outcome.status()?))),
            Self::GrpcStatus => {
                let status = request.is_grpc().then(|| outcome.grpc_status())??;
                Some(Cow::Owned(status.to_string().into_bytes()))
            }
            Self::From(origins, allowed) => origins.iter().find_map(|origin| {
                let value = origin.value(request)?;
                let label = match allowed {
                    Some(allowed) => Cow::Borrowed(allowed.of(&value)),
                    None => Cow::Owned(without_query(&value).to_vec()),
                };
                (!label.is_empty()).then_some(label)
            }),
        }
    }
}

fn origins(texts: &[String], early: bool) -> Result<Vec<Origin>, ConfigError> {
    if texts.is_empty() {
        return Err(ConfigError::new("needs at least one value source"));
    }
    let compile = |(index, text): (usize, &String)| {
        let origin = origin_of_label(text, early);
        if texts.len() == 1 { origin } else { origin.at_index(index) }
    };
    texts.iter().enumerate().map(compile).collect()
}

fn origin_of_label(text: &str, early: bool) -> Result<Origin, ConfigError> {
    let origin = Origin::new(text)?;
    let has_query = match &origin {
        Origin::Request(Source::Query(_)) => true,
        Origin::Property(path) => WITH_QUERY.contains(&path.join(".").as_str()),
        _ => false,
    };
    if has_query {
        return Err(ConfigError::new(format!(
            "{} would make a label of a query, which anyone can fill; for the path there is pathTemplate: true",
            quoted(text)
        )));
    }
    if origin == Origin::Request(Source::Path) {
        return Err(ConfigError::new(
            "\"path\" has as many values as a client likes; write pathTemplate: true instead of a source",
        ));
    }
    if early { origin.early().ok_or_else(too_late) } else { Ok(origin) }
}

fn too_late() -> ConfigError {
    ConfigError::new("is known only with the response, and activeRequests is counted when the request begins")
}

impl Allowed {
    fn compile(label: &Label) -> Result<Option<Self>, ConfigError> {
        let Some(values) = &label.allow else {
            return match label.otherwise {
                Some(_) => Err(ConfigError::new("goes with allow")).at("otherwise"),
                None => Ok(None),
            };
        };
        if values.is_empty() {
            return Err(ConfigError::new("is empty and would allow nothing")).at("allow");
        }
        let otherwise = label.otherwise.as_deref().unwrap_or("other");
        for (index, value) in values.iter().enumerate() {
            constant(value, usize::MAX).at_index(index).at("allow")?;
        }
        constant(otherwise, usize::MAX).at("otherwise")?;
        let values = values.iter().map(|value| value.clone().into_bytes()).collect();
        Ok(Some(Self { values, otherwise: otherwise.to_owned().into_bytes() }))
    }

    fn of(&self, value: &[u8]) -> &[u8] {
        self.values.iter().find(|allowed| *allowed == value).unwrap_or(&self.otherwise)
    }
}

/// Checks a value that the configuration says.
///
/// # Errors
/// Where it is empty, longer than `max` bytes, or has what no label may have.
pub fn constant(value: &str, max: usize) -> Result<(), ConfigError> {
    if value.is_empty() {
        return Err(ConfigError::new("must not be empty"));
    }
    if value.len() > max {
        return Err(ConfigError::new(format!("{} is longer than maxLabelLength", quoted(value))));
    }
    if sanitise(value.as_bytes(), usize::MAX) != value {
        return Err(ConfigError::new(format!("{} must have no ';', '=.=' and controls", quoted(value))));
    }
    Ok(())
}

fn class(status: u16) -> &'static [u8] {
    match status {
        100..200 => b"1xx",
        200..300 => b"2xx",
        300..400 => b"3xx",
        400..500 => b"4xx",
        500..600 => b"5xx",
        _ => b"_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Paths;

    fn label(json: &str, request: &Request, outcome: &Outcome) -> String {
        let label: Label = plugin_kit::config::parse(json.as_bytes()).unwrap();
        let paths = Paths { templates: vec!["/users/{id}".into()], ..Paths::default() };
        let routes = Routes::compile(&paths).unwrap();
        let value = Value::compile(&label, false).unwrap();
        value.label(&routes, request, outcome, 16, "unknown").0
    }

    fn request() -> Request {
        Request::detached(&[
            (":method", b"GET"),
            (":path", b"/users/7?token=secret"),
            (":authority", b"Shop.example.com:80"),
            ("content-type", b"application/grpc"),
            ("x-tenant", b"a"),
            ("x-empty", b""),
            ("x-evil", b";.;method=.=EVIL"),
            ("referer", b"https://a/b?token=secret"),
            ("x-plain", b"a?b"),
            ("x-query", b"?token=secret"),
            ("x-host-first", b"a.example/b?token=secret"),
            ("x-encoded", b"/a%3Ftoken=secret"),
            ("x-fragment", b"https://a/b#token=secret"),
            ("x-number", b"c#7"),
        ])
        .with_property("xds.node.metadata.CPUS", &3.0_f64.to_le_bytes())
        .with_property("xds.node.metadata.WEIGHT", &0.25_f64.to_le_bytes())
        .with_property("xds.node.metadata.SCORE", &11.2_f64.to_le_bytes())
        .with_property("xds.node.metadata.BELOW", &(-1.5_f64).to_le_bytes())
        .with_property("xds.node.metadata.REV", b"v2-stabl")
        .with_property("request.time", &1_767_571_200_123_456_789_i64.to_le_bytes())
        .with_property("upstream.a_negative_one", &(-1_i64).to_le_bytes())
        .with_property("xds.listener_direction", &2_u64.to_le_bytes())
        .with_property("connection.mtls", &[1])
        .with_property("upstream.address", b"10.0.0.9:80")
    }

    #[test]
    fn every_kind_of_label_has_its_value() {
        let outcome = Outcome::of(Some(503), Some(14));
        for (json, expected) in [
            (r#"{"pathTemplate": true}"#, "/users/{id}"),
            (r#"{"method": true}"#, "GET"),
            (r#"{"status": true}"#, "503"),
            (r#"{"statusClass": true}"#, "5xx"),
            (r#"{"grpcStatus": true}"#, "14"),
            (r#"{"source": "header:x-tenant"}"#, "a"),
            (r#"{"source": ["header:x-none", "header:x-empty", "host"]}"#, "shop.example.com"),
            (r#"{"source": "header:x-tenant", "allow": ["a"]}"#, "a"),
            (r#"{"source": "header:x-tenant", "allow": ["b"]}"#, "other"),
            (r#"{"source": "header:x-tenant", "allow": ["b"], "otherwise": "rest"}"#, "rest"),
            (r#"{"source": "header:x-none", "allow": ["b"]}"#, "unknown"),
            (r#"{"source": "header:x-none"}"#, "unknown"),
            (r#"{"source": "header:x-evil"}"#, "_._method_EVIL"),
            (r#"{"source": "header:referer"}"#, "https://a/b"),
            (r#"{"source": "header:x-plain"}"#, "a"),
            (r#"{"source": "header:x-query"}"#, "unknown"),
            (r#"{"source": ["header:x-query", "header:x-tenant"]}"#, "a"),
            (r#"{"source": "header:x-host-first"}"#, "a.example/b"),
            (r#"{"source": "header:x-encoded"}"#, "/a"),
            (r#"{"source": "header:x-fragment"}"#, "https://a/b"),
            (r#"{"source": "header:x-number"}"#, "c#7"),
            (r#"{"source": "property:xds.node.metadata.CPUS"}"#, "3"),
            (r#"{"source": "property:xds.node.metadata.WEIGHT"}"#, "0.25"),
            (r#"{"source": "property:xds.node.metadata.SCORE"}"#, "11.2"),
            (r#"{"source": "property:xds.node.metadata.BELOW"}"#, "-1.5"),
            (r#"{"source": "property:xds.node.metadata.REV"}"#, "v2-stabl"),
            (r#"{"source": "property:request.time"}"#, "1767571200123456"),
            (r#"{"source": "property:upstream.a_negative_one"}"#, "-1"),
            (r#"{"source": "property:xds.listener_direction"}"#, "2"),
            (r#"{"source": "property:connection.mtls"}"#, "true"),
            (r#"{"source": ["property:none.such", "property:upstream.address"]}"#, "10.0.0.9:80"),
        ] {
            assert_eq!(label(json, &request(), &outcome), expected, "{json}");
        }
    }

    #[test]
    fn what_is_not_there_is_missing() {
        let (none, outcome) = (Request::detached(&[]), Outcome::of(None, None));
        for json in [
            r#"{"pathTemplate": true}"#,
            r#"{"method": true}"#,
            r#"{"status": true}"#,
            r#"{"statusClass": true}"#,
            r#"{"grpcStatus": true}"#,
            r#"{"source": "host"}"#,
        ] {
            assert_eq!(label(json, &none, &outcome), "unknown", "{json}");
        }
    }

    #[test]
    fn a_grpc_status_is_that_of_grpc_only() {
        let plain = Request::detached(&[("content-type", b"text/plain")]);
        assert_eq!(label(r#"{"grpcStatus": true}"#, &plain, &Outcome::of(Some(503), Some(14))), "unknown");
    }

    #[test]
    fn a_client_cannot_invent_methods() {
        for (method, expected) in
            [("PATCH", "PATCH"), ("get", "_OTHER"), ("FROB", "_OTHER"), ("\u{1}", "_OTHER")]
        {
            let request = Request::detached(&[(":method", method.as_bytes())]);
            assert_eq!(label(r#"{"method": true}"#, &request, &Outcome::of(None, None)), expected);
        }
    }

    #[test]
    fn a_status_has_a_class() {
        for (status, expected) in
            [(101, "1xx"), (204, "2xx"), (308, "3xx"), (499, "4xx"), (599, "5xx"), (999, "_OTHER")]
        {
            let outcome = Outcome::of(Some(status), None);
            assert_eq!(label(r#"{"statusClass": true}"#, &request(), &outcome), expected);
        }
    }
}
