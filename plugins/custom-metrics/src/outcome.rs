//! What became of a request, as Envoy knows it in the log phase; each part is read once, when it is first wanted.

use std::cell::OnceCell;

use plugin_kit::property;

/// A view of the end of one request.
#[derive(Debug, Default)]
pub struct Outcome {
    status: OnceCell<Option<u16>>,
    grpc_status: OnceCell<Option<i64>>,
}

impl Outcome {
    /// That of the request which the proxy is logging now.
    pub fn current() -> Self {
        Self::default()
    }

    /// One that is not in the proxy.
    #[cfg(test)]
    pub fn of(status: Option<u16>, grpc_status: Option<i64>) -> Self {
        Self { status: OnceCell::from(status), grpc_status: OnceCell::from(grpc_status) }
    }

    /// The status; a client that went away before the response has none.
    pub fn status(&self) -> Option<u16> {
        *self.status.get_or_init(|| {
            let code = property::get_i64(&["response", "code"])?;
            u16::try_from(code).ok().filter(|code| *code > 0)
        })
    }

    /// The gRPC status. Envoy makes one up for plain HTTP too: ask only about gRPC.
    pub fn grpc_status(&self) -> Option<i64> {
        *self.grpc_status.get_or_init(|| property::get_i64(&["response", "grpc_status"]))
    }

    /// How long the request took, in whole milliseconds.
    pub fn duration(&self) -> Option<u64> {
        let nanos = property::get_i64(&["request", "duration"])?;
        u64::try_from(nanos).ok()?.checked_div(1_000_000)
    }

    /// The bytes of the request's body.
    pub fn request_size(&self) -> Option<u64> {
        u64::try_from(property::get_i64(&["request", "size"])?).ok()
    }

    /// The bytes of the response's body.
    pub fn response_size(&self) -> Option<u64> {
        u64::try_from(property::get_i64(&["response", "size"])?).ok()
    }
}
