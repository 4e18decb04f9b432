//! Letting a paused request or response go on, or end.

use log::error;
use proxy_wasm::types::StreamType;

use crate::hostcalls::{self, HostResult};

/// One request and its response, as the host tells them apart. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamId(u32);

impl StreamId {
    pub(crate) const fn new(context: u32) -> Self {
        Self(context)
    }

    /// Makes the hostcalls that follow be about this stream, until the callback ends or another one is entered: a
    /// paused request can then be changed, answered and resumed from the callback of another one, or from a tick.
    ///
    /// What is dispatched is still answered to the context whose callback this is, and with it gone to nobody: dispatch
    /// for others from the root context only.
    ///
    /// # Errors
    /// [`BadArgument`](hostcalls::HostError::BadArgument) where the stream has ended.
    pub fn enter(self) -> HostResult<()> {
        hostcalls::set_effective_context(self.0)
    }
}

/// Resumes the request that `on_http_request_headers` paused.
pub fn resume_request() {
    resume(StreamType::HttpRequest);
}

/// Resumes the response that `on_http_response_headers` paused.
pub fn resume_response() {
    resume(StreamType::HttpResponse);
}

/// Resets a response whose headers the client may have: what an HTTP/1.1 client sees is a body that breaks off.
pub fn reset_response() {
    if let Err(refused) = hostcalls::close_stream(StreamType::HttpResponse) {
        error!("the proxy did not reset a response: error={refused:?}");
    }
}

fn resume(stream: StreamType) {
    if let Err(refused) = hostcalls::continue_stream(stream) {
        error!("the proxy did not resume: stream={} error={refused:?}", stream as u32);
    }
}
