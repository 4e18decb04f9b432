//! Answering a request from inside the proxy.

use log::error;

use crate::headers::is_clean;
use crate::hostcalls::{self, Bytes};

/// A local reply. Its headers pass the plugin's own `on_http_response_headers` before they reach the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reply {
    status: u16,
    details: String,
    headers: Vec<(String, Bytes)>,
    body: Bytes,
    grpc_status: Option<u8>,
}

impl Reply {
    /// An empty reply of this HTTP status.
    pub fn new(status: u16) -> Self {
        Self { status, details: String::new(), headers: Vec::new(), body: Bytes::new(), grpc_status: None }
    }

    /// The reply to a request that cannot go on because a header that its client must not choose could not be removed:
    /// 500, for gRPC `INTERNAL`.
    pub fn unsanitized(is_grpc: bool) -> Self {
        const INTERNAL: u8 = 13;
        let reply = Self::new(500).details("request_header_not_removed");
        if is_grpc { reply.grpc_status(INTERNAL) } else { reply }
    }

    /// Why: what access logs show as `%RESPONSE_CODE_DETAILS%`. Envoy replaces white space by `_`.
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// One more header line; a value with a control character is left out when the reply is sent.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The body; `content-length` is the host's affair.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The status a gRPC client sees (`grpc-status`), and the body as its message. Only for requests whose
    /// `content-type` is `application/grpc`: anything else would be answered with HTTP 200.
    pub fn grpc_status(mut self, status: u8) -> Self {
        self.grpc_status = Some(status);
        self
    }

    /// Sends it. The request goes no further, whatever the callback returns; should the host refuse the reply,
    /// the callback still must not let the request through, so return [`Action::Pause`] after it.
    ///
    /// [`Action::Pause`]: proxy_wasm::types::Action::Pause
    pub fn send(&self) {
        let headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .filter(|(_, value)| is_clean(value))
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let grpc_status = self.grpc_status.map_or(-1, i32::from);
        let sent = hostcalls::send_local_response(
            self.status.into(),
            &self.details,
            &self.body,
            &headers,
            grpc_status,
        );
        if let Err(refused) = sent {
            error!("the proxy refused a local reply: status={} error={refused:?}", self.status);
        }
    }
}
