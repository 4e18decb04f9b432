//! Properties of the proxy: what Envoy knows of a connection, a request, itself.
//!
//! Use the names that Envoy 1.40 has: `xds.node…`, `xds.route_name`, not the bare `node`, `route_name` of older tutorials.

use crate::hostcalls::{self, Bytes, HostResult};

/// A property as raw bytes; `None` where it does not exist, or not in this phase.
#[must_use]
pub fn get(path: &[&str]) -> Option<Bytes> {
    hostcalls::property(path).ok().flatten()
}

/// A property that is text.
#[must_use]
pub fn get_str(path: &[&str]) -> Option<String> {
    String::from_utf8(get(path)?).ok()
}

/// A property that is an integer, a timestamp or a duration (both in nanoseconds).
#[must_use]
pub fn get_i64(path: &[&str]) -> Option<i64> {
    Some(i64::from_le_bytes(get(path)?.try_into().ok()?))
}

/// Writes filter state: later plugins read it as property `[name]`, access logs as `%FILTER_STATE(wasm.NAME:PLAIN)%`.
///
/// # Errors
/// What the host answers; outside a request, [`BadArgument`](hostcalls::HostError::BadArgument).
pub fn set_filter_state(name: &str, value: &[u8]) -> HostResult<()> {
    hostcalls::set_property(name, value)
}
