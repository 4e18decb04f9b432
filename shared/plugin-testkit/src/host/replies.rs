//! Local replies, as a plugin asks for them and as Envoy completes them.

use super::headers::read_pairs;
use super::{Deferred, HeaderMap, Host, HostResult, Kind, Line, StreamState};
use proxy_wasm::types::Status;

/// What a plugin asked Envoy to answer, before Envoy completes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status; Envoy answers 200 to a gRPC request, whatever this is.
    pub status: u16,
    /// What access logs show.
    pub details: String,
    /// Header lines in order, names in lower case.
    pub headers: Vec<Line>,
    /// The body; for a gRPC request it becomes the message.
    pub body: Vec<u8>,
    /// `grpc-status`.
    pub grpc_status: Option<u32>,
}

impl StreamState {
    /// How Envoy completes a local reply: its headers, and the body that is sent.
    pub(crate) fn complete(&self, reply: &LocalReply) -> (HeaderMap, Vec<u8>) {
        let status = if self.is_grpc { 200 } else { reply.status };
        let lines = [(":status".into(), status.to_string().into_bytes())];
        let mut headers =
            HeaderMap::of(Kind::Response, lines.into_iter().chain(reply.headers.iter().cloned()));
        if self.is_grpc {
            headers.set("content-type", b"application/grpc");
            if headers.get("grpc-status").is_none() {
                let code = reply.grpc_status.unwrap_or_else(|| grpc_status(reply.status));
                headers.set("grpc-status", code.to_string().as_bytes());
            }
            if !reply.body.is_empty() {
                headers.set("grpc-message", &percent_encoded(&reply.body));
            }
            headers.remove("content-length");
            return (headers, Vec::new());
        }
        if reply.body.is_empty() {
            headers.remove("content-length");
            headers.remove("content-type");
        } else {
            headers.set("content-length", reply.body.len().to_string().as_bytes());
            if headers.get("content-type").is_none() {
                headers.set("content-type", b"text/plain");
            }
        }
        (headers, if self.is_head { Vec::new() } else { reply.body.clone() })
    }
}

/// What Envoy makes of an HTTP status for a gRPC client.
pub(crate) const fn grpc_status(http: u16) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

fn percent_encoded(message: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for &byte in message {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte),
            _ => encoded.extend(format!("%{byte:02X}").into_bytes()),
        }
    }
    encoded
}

impl Host {
    pub(crate) fn send_local_response(
        &mut self,
        status: u32,
        details: String,
        body: &[u8],
        headers: &[u8],
        grpc_status: i32,
    ) -> HostResult<()> {
        self.trace(format!("reply {status}"));
        let context = self.effective;
        let Some(stream) = self.effective_stream_mut() else {
            self.fault(format!("a local reply ({status}) without a request to answer"));
            return Ok(());
        };
        if stream.replied {
            self.fault(format!("a second local reply ({status}) to the same request"));
            return Ok(());
        }
        stream.replied = true;
        let headers = read_pairs(headers);
        let reply = LocalReply {
            status: u16::try_from(status).map_err(|_| Status::BadArgument)?,
            details: details.split_ascii_whitespace().collect::<Vec<_>>().join("_"),
            headers: headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
            body: body.to_vec(),
            grpc_status: u32::try_from(grpc_status).ok(),
        };
        self.deferred.push_back((context, Deferred::Reply(reply)));
        Ok(())
    }
}
