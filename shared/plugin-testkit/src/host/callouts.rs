//! HTTP and gRPC calls that plugins make: pending until the test answers, or until they time out.

use std::collections::BTreeMap;
use std::time::Duration;

use plugin_cases::{SeenCall, SeenRequest};
use proxy_wasm::types::Status;

use super::headers::{HeaderMap, Kind, Line, read_pairs};
use super::{Host, HostResult, next_number};

/// What is known about a cluster; one that is not named does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// Calls are pending until the test answers them.
    Healthy,
    /// Calls are refused at once, without a callback.
    NoEndpoints,
}

/// A call that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What the answer is addressed to.
    pub token: u32,
    /// The cluster's name.
    pub cluster: String,
    /// `service/method` of a gRPC call.
    pub grpc: Option<String>,
    /// Header lines; of a gRPC call its initial metadata, and the `:authority` of its `GrpcService`.
    pub headers: Vec<Line>,
    /// The body or the message.
    pub body: Vec<u8>,
    /// Trailer lines.
    pub trailers: Vec<Line>,
    /// Zero: none.
    pub timeout: Duration,
    /// On the monotonic clock.
    pub(crate) deadline: Option<Duration>,
}

impl From<Call> for SeenCall {
    fn from(call: Call) -> Self {
        let (pseudo, headers): (Vec<Line>, _) =
            call.headers.into_iter().partition(|(name, _)| name.starts_with(':'));
        let text = |wanted: &str| {
            let value = pseudo.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_slice());
            String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
        };
        let (method, path, authority) = (text(":method"), text(":path"), text(":authority"));
        Self {
            cluster: call.cluster,
            request: SeenRequest {
                method,
                path,
                authority,
                headers,
                body: call.body,
                ..SeenRequest::default()
            },
        }
    }
}

/// What a callback reads.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

#[derive(Debug, Default)]
pub(crate) struct Callouts {
    pub(crate) clusters: BTreeMap<String, Cluster>,
    pub(crate) pending: BTreeMap<u32, Call>,
    pub(crate) answering: Option<Answering>,
    pub(crate) message: Option<Vec<u8>>,
    pub(crate) status: u32,
}

impl Callouts {
    fn start(&mut self, call: Call) -> HostResult<u32> {
        let token = call.token;
        self.pending.insert(token, call);
        Ok(token)
    }
}

impl Host {
    fn deadline(&self, timeout: Duration) -> Option<Duration> {
        (!timeout.is_zero()).then(|| self.clock.monotonic + timeout)
    }

    pub(crate) fn http_call(
        &mut self,
        cluster: String,
        headers: &[u8],
        body: &[u8],
        trailers: &[u8],
        timeout: Duration,
    ) -> HostResult<u32> {
        self.trace(format!("http_call {cluster}"));
        let known = self.callouts.clusters.get(&cluster).copied().ok_or(Status::BadArgument)?;
        let mut headers = HeaderMap::of(Kind::Request, read_pairs(headers));
        if [":method", ":path", ":authority"].iter().any(|name| headers.get(name).is_none()) {
            return Err(Status::BadArgument);
        }
        if known == Cluster::NoEndpoints {
            return Err(Status::InternalFailure);
        }
        if !body.is_empty() {
            headers.set("content-length", body.len().to_string().as_bytes());
        }
        let deadline = self.deadline(timeout);
        self.callouts.start(Call {
            token: next_number() * 2,
            cluster,
            grpc: None,
            headers: headers.lines().to_vec(),
            body: body.to_vec(),
            trailers: read_pairs(trailers),
            timeout,
            deadline,
        })
    }

    pub(crate) fn grpc_call(
        &mut self,
        target: &[u8],
        grpc: String,
        metadata: &[u8],
        message: &[u8],
        timeout: Duration,
    ) -> HostResult<u32> {
        let Some((cluster, authority)) = read_grpc_service(target) else {
            self.trace("grpc_call ?".into());
            self.fault(format!(
                "the target of a gRPC call is not a serialized GrpcService with envoy_grpc.cluster_name: {:?}; \
                 Envoy aborts the process on a bare cluster name that happens to be protobuf",
                String::from_utf8_lossy(target)
            ));
            return Err(Status::ParseFailure);
        };
        self.trace(format!("grpc_call {cluster}"));
        if self.callouts.clusters.get(&cluster) != Some(&Cluster::Healthy) {
            return Err(Status::InternalFailure);
        }
        let mut headers =
            vec![(":authority".to_owned(), authority.unwrap_or_else(|| cluster.clone().into()))];
        headers.extend(read_pairs(metadata));
        let deadline = self.deadline(timeout);
        self.callouts.start(Call {
            token: next_number() * 2 + 1,
            cluster,
            grpc: Some(grpc),
            headers,
            body: message.to_vec(),
            trailers: Vec::new(),
            timeout,
            deadline,
        })
    }

    pub(crate) fn cancel_call(&mut self, token: u32) -> HostResult<()> {
        self.trace("grpc_cancel".into());
        self.callouts.pending.remove(&token).map(|_| ()).ok_or(Status::NotFound)
    }
}

/// `envoy_grpc.cluster_name` and `envoy_grpc.authority` of an `envoy.config.core.v3.GrpcService`.
fn read_grpc_service(raw: &[u8]) -> Option<(String, Option<Vec<u8>>)> {
    let service = read_fields(raw)?;
    let envoy_grpc = read_fields(service.get(&1)?)?;
    let cluster = String::from_utf8(envoy_grpc.get(&1)?.clone()).ok()?;
    (!cluster.is_empty()).then(|| (cluster, envoy_grpc.get(&2).cloned()))
}

/// The length-delimited fields of a protobuf message; `None` where it is not one.
fn read_fields(mut raw: &[u8]) -> Option<BTreeMap<u64, Vec<u8>>> {
    fn varint(raw: &mut &[u8]) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = raw.split_first()?;
            *raw = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    let mut fields = BTreeMap::new();
    while !raw.is_empty() {
        let tag = varint(&mut raw)?;
        let size = match tag & 7 {
            0 => {
                varint(&mut raw)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut raw)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let value = raw.get(..size)?;
        raw = &raw[size..];
        if tag & 7 == 2 {
            fields.insert(tag >> 3, value.to_vec());
        }
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_service_names_its_cluster_and_its_authority() {
        let raw = b"\x0a\x0e\x0a\x05limit\x12\x05a.b.c";
        assert_eq!(read_grpc_service(raw), Some(("limit".into(), Some(b"a.b.c".to_vec()))));
        assert_eq!(read_grpc_service(b"\x0a\x03\x0a\x01l"), Some(("l".into(), None)));
    }

    #[test]
    fn a_bare_cluster_name_is_no_grpc_service() {
        for name in ["empty", "mysvc", "authorino", "limitador", "outbound|8081||ratelimit", ""] {
            assert_eq!(read_grpc_service(name.as_bytes()), None, "{name}");
        }
    }
}
