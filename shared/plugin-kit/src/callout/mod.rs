//! Calls out of the sandbox, through Envoy's clusters. None of them can hang a request or abort the proxy:
//! every call has a timeout, and where dispatching fails there will be no callback, so the request must not pause.

mod grpc;
mod http;

pub use grpc::GrpcService;
pub use http::{HttpCall, HttpCallResponse};

/// Identifies a call in its callback.
pub type Token = u32;
