//! Bodies. To change the length of one, remove `content-length` in the headers callback first: Envoy does not, and
//! the surplus bytes would be read as the next request.

use proxy_wasm::types::BufferType;

use crate::hostcalls::{self, Bytes, HostResult};

/// The request's body, as far as it is buffered.
pub const REQUEST: Body = Body(BufferType::HttpRequestBody);
/// The response's body, as far as it is buffered.
pub const RESPONSE: Body = Body(BufferType::HttpResponseBody);
/// The body of the answer to an HTTP call; readable in `on_http_call_response` only.
pub const CALL_RESPONSE: Body = Body(BufferType::HttpCallResponseBody);
/// The message of the answer to a gRPC call; readable in `on_grpc_call_response` only.
pub const GRPC_RESPONSE: Body = Body(BufferType::GrpcReceiveBuffer);

/// One of the proxy's buffers.
#[derive(Clone, Copy, Debug)]
pub struct Body(BufferType);

impl Body {
    /// Up to `size` bytes from the start; empty where there is no such buffer in this phase.
    #[must_use]
    pub fn read(self, size: usize) -> Bytes {
        hostcalls::buffer(self.0, 0, size).ok().flatten().unwrap_or_default()
    }

    /// Replaces the first `size` bytes; of zero, `value` goes before them.
    ///
    /// Envoy replaces all of what it has, or nothing: `size` is what the callback said, or zero.
    ///
    /// # Errors
    /// [`BadArgument`](hostcalls::HostError::BadArgument) out of phase.
    pub fn replace(self, size: usize, value: &[u8]) -> HostResult<()> {
        hostcalls::set_buffer(self.0, 0, size, value)
    }
}
