//! Letting a paused request or response go on, or end.

use log::error;
use proxy_wasm::types::StreamType;

use crate::hostcalls;

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
