//! Header maps, bytes first: reading one line is one hostcall, and every value written is checked here.

use std::fmt;
use std::rc::Rc;

use log::warn;
use proxy_wasm::types::MapType;

use crate::config::{ConfigError, quoted};
use crate::hostcalls::{self, Bytes, HostError, HostResult};
use crate::pairs::Pairs;

/// The request's headers; readable and writable in `on_http_request_headers` only (and readable in `on_log`).
pub const REQUEST: Headers = Headers(MapType::HttpRequestHeaders);
/// The response's headers; readable and writable from `on_http_response_headers` on.
pub const RESPONSE: Headers = Headers(MapType::HttpResponseHeaders);
/// The request's trailers; readable and writable in `on_http_request_trailers` only.
pub const REQUEST_TRAILERS: Headers = Headers(MapType::HttpRequestTrailers);
/// The headers of the answer to an HTTP call; readable in `on_http_call_response` only.
pub const CALL_RESPONSE: Headers = Headers(MapType::HttpCallResponseHeaders);

/// One of the proxy's header maps.
#[derive(Clone, Copy, Debug)]
pub struct Headers(MapType);

impl Headers {
    /// The first line of a header; `None` where there is none, or no such map in this phase.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Bytes> {
        hostcalls::header(self.0, name).ok().flatten()
    }

    /// The first line of a header, where it is text.
    #[must_use]
    pub fn get_str(self, name: &str) -> Option<String> {
        String::from_utf8(self.get(name)?).ok()
    }

    /// Every header line in order, names in lower case. Of a usual request it costs what two [`Headers::get`] do; the
    /// bytes are copied.
    #[must_use]
    pub fn pairs(self) -> Pairs {
        hostcalls::header_pairs(self.0).unwrap_or_default()
    }

    /// Makes `value` the only line of a header.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] for a value with a control character, and out of phase.
    pub fn set(self, name: &str, value: &[u8]) -> HostResult<()> {
        self.write(name, value, hostcalls::set_header)
    }

    /// Adds one more line.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] for a value with a control character, and out of phase.
    pub fn add(self, name: &str, value: &[u8]) -> HostResult<()> {
        self.write(name, value, hostcalls::add_header)
    }

    /// Removes every line of a header.
    ///
    /// # Errors
    /// [`HostError::BadArgument`] out of phase.
    pub fn remove(self, name: &str) -> HostResult<()> {
        hostcalls::remove_header(self.0, name)
    }

    /// The name under which [`Headers::pairs`] lists a header: Envoy keeps a request's `host` as `:authority`.
    pub(crate) fn listed(self, name: &str) -> &str {
        if name == "host" && matches!(self.0, MapType::HttpRequestHeaders) { ":authority" } else { name }
    }

    /// Removes every line of headers that a client must not choose.
    ///
    /// # Errors
    /// The first refusal of the host. The request must not go on then: answer it with [`Reply::unsanitized`].
    ///
    /// [`Reply::unsanitized`]: crate::reply::Reply::unsanitized
    pub fn remove_each<'a>(self, names: impl IntoIterator<Item = &'a str>) -> HostResult<()> {
        names.into_iter().try_for_each(|name| self.remove(name))
    }

    fn write(
        self,
        name: &str,
        value: &[u8],
        call: fn(MapType, &str, &[u8]) -> HostResult<()>,
    ) -> HostResult<()> {
        if !is_clean(value) {
            warn!("header {name} not written: its value has a control character");
            return Err(HostError::BadArgument);
        }
        call(self.0, name, value)
    }
}

/// The name of a header that a configuration mentions: a token, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderName(Rc<str>);

impl HeaderName {
    /// A header to read.
    ///
    /// # Errors
    /// Where `name` is not a token (RFC 9110, section 5.6.2).
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        if !is_token(name.as_bytes()) {
            return Err(ConfigError::new(format!("{} is not the name of a header", quoted(name))));
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    /// A header to write.
    ///
    /// # Errors
    /// Where `name` is not a token, or one that frames the message or has a field of its own in a configuration.
    pub fn writable(name: &str) -> Result<Self, ConfigError> {
        const REFUSED: [&str; 6] =
            ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade"];
        let name = Self::new(name)?;
        if REFUSED.contains(&name.as_str()) {
            return Err(ConfigError::new(format!("{} must not be written by a rule", quoted(name.as_str()))));
        }
        Ok(name)
    }

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `host`, which Envoy keeps as `:authority`.
    #[must_use]
    pub fn is_host(&self) -> bool {
        *self.0 == *"host"
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether a value has no control character but tabs (RFC 9110, section 5.5), so that it stays one header line.
///
/// Envoy answers a request with CR, LF or NUL in a header with 503, and writes those of a response to the wire.
#[must_use]
pub fn is_clean(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

/// Whether `name` is a token (RFC 9110, section 5.6.2), so that it can name a header or a cookie.
#[must_use]
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_value_has_no_control_character_but_tabs() {
        for value in [&b""[..], b"a b", b"\xff", "阳明".as_bytes(), b"\t"] {
            assert!(is_clean(value), "{value:?}");
        }
        for value in [&b"a\r\nset-cookie: x=1"[..], b"a\n", b"\r", b"a\0b", b"a\x01", b"\x1b[2J", b"\x7f"] {
            assert!(!is_clean(value), "{value:?}");
        }
    }

    #[test]
    fn a_token_is_what_can_name_a_header() {
        for name in [&b"x-a"[..], b"X_A.1", b"a!#$%&'*+-.^_`|~"] {
            assert!(is_token(name), "{name:?}");
        }
        for name in [&b""[..], b"a b", b":path", b"x:y", b"x\r", "ä".as_bytes(), b"a=b"] {
            assert!(!is_token(name), "{name:?}");
        }
    }
}
