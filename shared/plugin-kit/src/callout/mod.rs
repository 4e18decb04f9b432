//! Calls out of the sandbox, through Envoy's clusters. None of them can hang a request or abort the proxy:
//! every call has a timeout, and where dispatching fails there will be no callback, so the request must not pause.

mod grpc;
mod http;

pub use grpc::GrpcService;
pub use http::{HttpCall, HttpCallResponse};

/// Identifies a call in its callback.
pub type Token = u32;

/// What a service behind a cluster of Istio calls itself: `outbound|8081|subset|host` is `host:8081`; any other cluster
/// is its own name.
#[must_use]
pub fn authority_of(cluster: &str) -> String {
    let parts: Vec<&str> = cluster.split('|').collect();
    match parts.as_slice() {
        ["outbound", port, _, host] => format!("{host}:{port}"),
        _ => cluster.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_istio_cluster_gives_the_authority() {
        assert_eq!(
            authority_of("outbound|8081||ratelimit.infra.svc.cluster.local"),
            "ratelimit.infra.svc.cluster.local:8081"
        );
        assert_eq!(authority_of("ratelimit"), "ratelimit");
    }
}
