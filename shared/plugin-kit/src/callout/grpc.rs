//! gRPC calls: the one call site of this repository.
//!
//! Envoy first tries to parse the target as a serialized `GrpcService`, and a bare cluster name that happens to parse
//! (`empty`, `mysvc`, `authorino`) aborts the whole process. So a real `GrpcService` is what is always sent.

use std::time::Duration;

use crate::callout::{Token, authority_of};
use crate::hostcalls::{self, HostResult};
use crate::protobuf::field;

/// `envoy.config.core.v3.GrpcService` with an `envoy_grpc` target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcService {
    serialized: Vec<u8>,
}

impl GrpcService {
    /// A service behind one of Envoy's clusters.
    ///
    /// `authority` is what the server sees; Envoy's own default is the cluster's name, and servers refuse
    /// `outbound|8081||…`. Empty: host and port of an Istio cluster name, else the name itself.
    #[must_use]
    pub fn new(cluster: &str, authority: &str) -> Self {
        let authority = if authority.is_empty() { authority_of(cluster) } else { authority.to_owned() };
        // GrpcService.envoy_grpc = 1; EnvoyGrpc.cluster_name = 1, .authority = 2
        let mut envoy_grpc = Vec::new();
        field(&mut envoy_grpc, 1, cluster.as_bytes());
        field(&mut envoy_grpc, 2, authority.as_bytes());
        let mut serialized = Vec::new();
        field(&mut serialized, 1, &envoy_grpc);
        Self { serialized }
    }

    /// Calls a unary method; the answer comes to `on_grpc_call_response`.
    ///
    /// # Errors
    /// Where the cluster is unknown or has no endpoint. No callback will follow: decide now, do not pause.
    pub fn call(&self, service: &str, method: &str, message: &[u8], timeout: Duration) -> HostResult<Token> {
        hostcalls::grpc_call(
            &self.serialized,
            service,
            method,
            message,
            timeout.max(Duration::from_millis(1)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_protobuf() {
        assert_eq!(GrpcService::new("c", "a").serialized, b"\x0a\x06\x0a\x01c\x12\x01a");
    }
}
