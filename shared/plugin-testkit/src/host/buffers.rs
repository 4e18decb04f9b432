//! Bodies, messages and configurations: what the ABI calls buffers.

use proxy_wasm::types::{BufferType, Status};

use super::{Host, HostResult, Side};

const BUFFERS: [&str; 9] = [
    "request_body",
    "response_body",
    "downstream_data",
    "upstream_data",
    "call_response_body",
    "grpc_response",
    "vm_configuration",
    "plugin_configuration",
    "call_data",
];

/// What Envoy buffers of a body (`per_connection_buffer_limit_bytes`) unless it is told otherwise.
const LIMIT: usize = 1 << 20;

impl Host {
    fn body_side(buffer: u32) -> Option<Side> {
        const REQUEST: u32 = BufferType::HttpRequestBody as u32;
        const RESPONSE: u32 = BufferType::HttpResponseBody as u32;
        match buffer {
            REQUEST => Some(Side::Request),
            RESPONSE => Some(Side::Response),
            _ => None,
        }
    }

    /// A body out of phase is empty, and that is not an error.
    pub(crate) fn buffer(&mut self, buffer: u32, start: usize, max_size: usize) -> HostResult<Vec<u8>> {
        self.trace(format!("buffer {}", BUFFERS.get(buffer as usize).unwrap_or(&"?")));
        let body = Self::body_side(buffer);
        let bytes: &[u8] = if let Some(side) = body {
            match self.effective_stream_mut().map(|stream| stream.flow(side)) {
                Some(flow) if flow.buffer_open => &flow.buffer,
                _ => &[],
            }
        } else {
            match BUFFERS.get(buffer as usize).copied() {
                Some("call_response_body") => &self.callouts.answering.as_ref().ok_or(Status::NotFound)?.body,
                Some("grpc_response") => self.callouts.message.as_deref().ok_or(Status::NotFound)?,
                Some("plugin_configuration") => &self.configuration,
                Some("vm_configuration") => &[],
                _ => return Err(Status::NotFound),
            }
        };
        let end = start.saturating_add(max_size).min(bytes.len());
        Ok(bytes.get(start..end).unwrap_or_default().to_vec())
    }

    /// Envoy replaces bytes at the start and appends at the end, and nothing in between.
    pub(crate) fn set_buffer(
        &mut self,
        buffer: u32,
        start: usize,
        size: usize,
        value: &[u8],
    ) -> HostResult<()> {
        self.trace(format!("set_buffer {}", BUFFERS.get(buffer as usize).unwrap_or(&"?")));
        let side = Self::body_side(buffer).ok_or(Status::BadArgument)?;
        let flow = self.effective_stream_mut().ok_or(Status::BadArgument)?.flow(side);
        if !flow.buffer_open {
            return Err(Status::BadArgument);
        }
        if start == 0 {
            let replaced = size.min(flow.buffer.len());
            flow.buffer.splice(..replaced, value.iter().copied());
        } else if start >= flow.buffer.len() {
            flow.buffer.extend(value);
        } else {
            return Err(Status::BadArgument);
        }
        flow.rewritten = true;
        if flow.held && flow.buffer.len() > LIMIT {
            let length = flow.buffer.len();
            self.fault(format!(
                "a body of {length} bytes was put into Envoy's buffer, which has room for {LIMIT}"
            ));
        }
        Ok(())
    }
}
