//! HTTP calls.

use std::time::Duration;

use crate::body;
use crate::callout::Token;
use crate::headers::{CALL_RESPONSE, is_clean};
use crate::hostcalls::{self, Bytes, HostError, HostResult};

/// A request to one of Envoy's clusters.
#[derive(Clone, Debug)]
pub struct HttpCall<'a> {
    /// The cluster: in Istio `outbound|PORT||HOST`.
    pub cluster: &'a str,
    /// The method.
    pub method: &'a [u8],
    /// Path and query.
    pub path: &'a [u8],
    /// `:authority`.
    pub authority: &'a [u8],
    /// More headers, in lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: Option<&'a [u8]>,
    /// How long to wait; at least a millisecond.
    pub timeout: Duration,
}

impl HttpCall<'_> {
    /// Sends it; the answer comes to `on_http_call_response`, a timeout as a 504, a refused connection as a 503.
    ///
    /// # Errors
    /// Where the cluster is unknown ([`HostError::BadArgument`]) or has no endpoint ([`HostError::InternalFailure`]),
    /// or a value has a control character. No callback will follow: decide now, do not pause.
    pub fn dispatch(&self) -> HostResult<Token> {
        let mut headers: Vec<(&str, &[u8])> =
            vec![(":method", self.method), (":path", self.path), (":authority", self.authority)];
        headers.extend_from_slice(self.headers);
        if !headers.iter().all(|(_, value)| is_clean(value)) {
            return Err(HostError::BadArgument);
        }
        hostcalls::http_call(self.cluster, &headers, self.body, self.timeout.max(Duration::from_millis(1)))
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCallResponse {
    /// The HTTP status. 503 and 504 may be Envoy's own: the service is away, or too slow.
    pub status: u16,
    /// The body, up to the limit asked for.
    pub body: Bytes,
}

impl HttpCallResponse {
    /// Reads the answer, in `on_http_call_response`; `None` when the stream was reset.
    #[must_use]
    pub fn read(num_headers: usize, body_size: usize, max_body: usize) -> Option<Self> {
        if num_headers == 0 {
            return None;
        }
        let status = CALL_RESPONSE.get_str(":status")?.parse().ok()?;
        Some(Self { status, body: body::CALL_RESPONSE.read(body_size.min(max_body)) })
    }
}
