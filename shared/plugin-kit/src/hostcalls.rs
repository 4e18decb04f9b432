//! The proxy's imports, called directly: every answer is a `Result`, none of them a panic.
//!
//! The SDK's own wrappers `panic!` on a status they do not expect, and Envoy gives several of those: `BadArgument`
//! for a header map that does not exist in the current phase, `SerializationFailure` for a whole property root.
//! This is the only file of what ships that contains `unsafe`.
#![allow(unsafe_code)]

use std::time::Duration;

use crate::pairs::Pairs;
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status, StreamType};

/// Raw bytes, as the proxy hands them over.
pub type Bytes = Vec<u8>;

/// Why the host refused a call: `WasmResult` of the Proxy-Wasm ABI 0.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// There is no such thing.
    NotFound,
    /// A wrong argument, or a call that is not allowed in the current phase.
    BadArgument,
    /// The value exists and cannot be serialized (whole property roots, for instance).
    SerializationFailure,
    /// The host could not read what it was given.
    ParseFailure,
    /// An empty queue or map.
    Empty,
    /// Another VM wrote in between.
    CasMismatch,
    /// The host could not do it: no healthy endpoint, for instance.
    InternalFailure,
    /// A status that this version of the ABI does not name.
    Other(u32),
}

impl HostError {
    const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::NotFound,
            2 => Self::BadArgument,
            3 => Self::SerializationFailure,
            4 => Self::ParseFailure,
            7 => Self::Empty,
            8 => Self::CasMismatch,
            10 => Self::InternalFailure,
            other => Self::Other(other),
        }
    }

    fn from_sdk(status: Status) -> Self {
        Self::from_code(status as u32)
    }
}

/// What a hostcall answers.
pub type HostResult<T> = Result<T, HostError>;

const fn check(code: u32) -> HostResult<()> {
    match code {
        0 => Ok(()),
        code => Err(HostError::from_code(code)),
    }
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *const u8,
        data_size: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        results: *mut *mut u8,
        results_size: *mut usize,
    ) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    fn random_get(buffer: *mut u8, size: usize) -> u32;
}

/// Takes over a buffer that the host allocated in this VM.
///
/// # Safety
/// `data` is null or came from this module's `proxy_on_memory_allocate(size)`, and nobody else owns it.
unsafe fn take(data: *mut u8, size: usize) -> Bytes {
    if data.is_null() {
        return Bytes::new();
    }
    // SAFETY: the SDK's allocator makes a boxed slice of exactly `size` bytes.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> HostResult<Bytes> {
    let mut data = std::ptr::null_mut();
    let mut size = 0;
    check(call(&mut data, &mut size))?;
    // SAFETY: the host answered Ok, so the buffer is one it allocated for us, or null.
    Ok(unsafe { take(data, size) })
}

/// The level below which the host drops our log lines.
pub fn log_level() -> LogLevel {
    let mut level = LogLevel::Info as u32;
    // SAFETY: the pointer is to a local.
    match check(unsafe { proxy_get_log_level(&mut level) }).map(|()| level) {
        Ok(0) => LogLevel::Trace,
        Ok(1) => LogLevel::Debug,
        Ok(3) => LogLevel::Warn,
        Ok(4) => LogLevel::Error,
        Ok(5) => LogLevel::Critical,
        _ => LogLevel::Info,
    }
}

/// Wall-clock time since the Unix epoch.
pub fn wall_clock() -> HostResult<Duration> {
    let mut nanos = 0;
    // SAFETY: the pointer is to a local.
    check(unsafe { proxy_get_current_time_nanoseconds(&mut nanos) })?;
    Ok(Duration::from_nanos(nanos))
}

/// Time since an arbitrary start that is the same for every worker of one proxy (WASI clock 1).
pub fn monotonic_clock() -> HostResult<Duration> {
    let mut nanos = 0;
    // SAFETY: the pointer is to a local.
    check(unsafe { clock_time_get(1, 1, &mut nanos) })?;
    Ok(Duration::from_nanos(nanos))
}

/// Fills `buffer` from the host's source of randomness.
pub fn random(buffer: &mut [u8]) -> HostResult<()> {
    // SAFETY: pointer and length are those of a live slice.
    check(unsafe { random_get(buffer.as_mut_ptr(), buffer.len()) })
}

/// Asks for `on_tick` every `period`, rounded down to milliseconds; zero turns it off.
pub fn set_tick_period(period: Duration) -> HostResult<()> {
    let millis = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: no pointers.
    check(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

/// Up to `max_size` bytes of a buffer from `start`; `None` where the buffer does not exist.
pub fn buffer(buffer: BufferType, start: usize, max_size: usize) -> HostResult<Option<Bytes>> {
    // SAFETY: the out pointers are to locals.
    let bytes =
        returned(|data, size| unsafe { proxy_get_buffer_bytes(buffer as u32, start, max_size, data, size) });
    optional(bytes)
}

/// Replaces `size` bytes of a buffer from `start` by `value`.
pub fn set_buffer(buffer: BufferType, start: usize, size: usize, value: &[u8]) -> HostResult<()> {
    // SAFETY: pointer and length are those of a live slice.
    check(unsafe { proxy_set_buffer_bytes(buffer as u32, start, size, value.as_ptr(), value.len()) })
}

/// Every header line, in order, names in lower case.
pub fn header_pairs(map: MapType) -> HostResult<Pairs> {
    // SAFETY: the out pointers are to locals.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) }).map(Pairs::of_raw)
}

/// The first line of a header.
pub fn header(map: MapType, name: &str) -> HostResult<Option<Bytes>> {
    // SAFETY: pointer and length are those of a live slice, the out pointers are to locals.
    let value = returned(|data, size| unsafe {
        proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size)
    });
    optional(value)
}

/// Makes `value` the only line of a header. The value is not checked here: see [`crate::headers`].
pub fn set_header(map: MapType, name: &str, value: &[u8]) -> HostResult<()> {
    // SAFETY: pointers and lengths are those of live slices.
    check(unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Adds one more line. The value is not checked here: see [`crate::headers`].
pub fn add_header(map: MapType, name: &str, value: &[u8]) -> HostResult<()> {
    // SAFETY: pointers and lengths are those of live slices.
    check(unsafe {
        proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes every line of a header.
pub fn remove_header(map: MapType, name: &str) -> HostResult<()> {
    // SAFETY: pointer and length are those of a live slice.
    check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A property; `None` where it does not exist (in this phase).
pub fn property(path: &[&str]) -> HostResult<Option<Bytes>> {
    let path = path.join("\0");
    // SAFETY: pointer and length are those of a live slice, the out pointers are to locals.
    let value = returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) });
    optional(value)
}

/// Writes filter state `wasm.<name>`.
pub fn set_property(name: &str, value: &[u8]) -> HostResult<()> {
    // SAFETY: pointers and lengths are those of live slices.
    check(unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// A value of the process-wide table, with the number of its last write.
pub fn shared_data(key: &str) -> HostResult<Option<(Bytes, u32)>> {
    let mut cas = 0;
    // SAFETY: pointer and length are those of a live slice, the out pointers are to locals.
    let value = returned(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas)
    });
    optional(value).map(|value| value.map(|value| (value, cas)))
}

/// Writes a value; `cas` is compared where the key exists, and 0 writes in any case.
pub fn set_shared_data(key: &str, value: &[u8], cas: u32) -> HostResult<()> {
    // SAFETY: pointers and lengths are those of live slices.
    check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

/// Answers the request from here. `headers` are not checked here: see [`crate::reply`].
pub fn send_local_response(
    status: u32,
    details: &str,
    body: &[u8],
    headers: &[(&str, &[u8])],
    grpc_status: i32,
) -> HostResult<()> {
    let headers = Pairs::new(headers.iter().copied());
    let headers = headers.raw();
    // SAFETY: pointers and lengths are those of live slices.
    check(unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

/// Lets a paused stream go on.
pub fn continue_stream(stream: StreamType) -> HostResult<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_continue_stream(stream as u32) })
}

/// Makes the calls that follow be about another context of this VM, until the callback ends.
pub fn set_effective_context(context: u32) -> HostResult<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Ends a stream at once, without an answer where it has none yet.
pub fn close_stream(stream: StreamType) -> HostResult<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_close_stream(stream as u32) })
}

/// Defines a metric, or finds the one of that name; every call allocates an id, so keep it.
pub fn define_metric(kind: MetricType, name: &str) -> HostResult<u32> {
    let mut id = 0;
    // SAFETY: pointer and length are those of a live slice, the out pointer is to a local.
    check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) })?;
    Ok(id)
}

/// Adds to a counter (`offset` above zero) or a gauge.
pub fn increment_metric(id: u32, offset: i64) -> HostResult<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_increment_metric(id, offset) })
}

/// Records a value of a histogram, sets a gauge, adds to a counter.
pub fn record_metric(id: u32, value: u64) -> HostResult<()> {
    // SAFETY: no pointers.
    check(unsafe { proxy_record_metric(id, value) })
}

/// The current value of a counter or gauge.
pub fn metric(id: u32) -> HostResult<u64> {
    let mut value = 0;
    // SAFETY: the out pointer is to a local.
    check(unsafe { proxy_get_metric(id, &mut value) })?;
    Ok(value)
}

/// Calls a function that the host offers by name (`verify_signature`, `clear_route_cache`, …).
pub fn call_foreign_function(name: &str, arguments: &[u8]) -> HostResult<Bytes> {
    // SAFETY: pointers and lengths are those of live slices, the out pointers are to locals.
    returned(|data, size| unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            data,
            size,
        )
    })
}

/// Dispatches an HTTP call; the answer comes to `on_http_call_response` with the token.
///
/// It goes through the SDK, which must know the token; the values may be any bytes.
pub fn http_call(
    cluster: &str,
    headers: &[(&str, &[u8])],
    body: Option<&[u8]>,
    timeout: Duration,
) -> HostResult<u32> {
    // SAFETY: the SDK copies each value by pointer and length into the serialized map, and does nothing else with it.
    let headers = headers
        .iter()
        .map(|&(name, value)| (name, unsafe { std::str::from_utf8_unchecked(value) }))
        .collect();
    proxy_wasm::hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout)
        .map_err(HostError::from_sdk)
}

/// Dispatches a gRPC call to a serialized `envoy.config.core.v3.GrpcService`; the answer comes to `on_grpc_call_response`.
pub fn grpc_call(
    grpc_service: &[u8],
    service: &str,
    method: &str,
    message: &[u8],
    timeout: Duration,
) -> HostResult<u32> {
    // SAFETY: the SDK hands pointer and length to the host, and does nothing else with the "name".
    let grpc_service = unsafe { std::str::from_utf8_unchecked(grpc_service) };
    proxy_wasm::hostcalls::dispatch_grpc_call(
        grpc_service,
        service,
        method,
        Vec::new(),
        Some(message),
        timeout,
    )
    .map_err(HostError::from_sdk)
}

fn optional<T>(result: HostResult<T>) -> HostResult<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(HostError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
