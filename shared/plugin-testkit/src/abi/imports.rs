//! What the host offers to a Proxy-Wasm module: every import of the SDK, defined for native code.
//!
//! Pointers become slices here and nothing is decided here: see [`crate::host`].

use std::io::Write;
use std::time::Duration;

use proxy_wasm::types::{LogLevel, Status};

use super::exports::proxy_on_memory_allocate;
use crate::host::{self, Host, HostResult};

fn answer(result: HostResult<()>) -> u32 {
    match result {
        Ok(()) => Status::Ok as u32,
        Err(status) => status as u32,
    }
}

fn call<T>(call: impl FnOnce(&mut Host) -> HostResult<T>) -> HostResult<T> {
    host::with(call).unwrap_or(Err(Status::InternalFailure))
}

/// # Safety
/// `data` is null or points to `size` bytes that live until the import returns.
unsafe fn slice<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if data.is_null() || size == 0 {
        return &[];
    }
    // SAFETY: as our caller promised.
    unsafe { std::slice::from_raw_parts(data, size) }
}

/// # Safety
/// As [`slice`].
unsafe fn text(data: *const u8, size: usize) -> String {
    // SAFETY: as our caller promised.
    String::from_utf8_lossy(unsafe { slice(data, size) }).into_owned()
}

/// # Safety
/// `to` is null or valid for a write.
unsafe fn put<T>(value: T, to: *mut T) {
    if !to.is_null() {
        // SAFETY: as our caller promised.
        unsafe { to.write(value) };
    }
}

/// Hands bytes over in memory of the module's own allocator; nothing is allocated for no bytes.
///
/// # Safety
/// `data` and `size` are valid for a write.
unsafe fn give(bytes: HostResult<Vec<u8>>, data: *mut *mut u8, size: *mut usize) -> u32 {
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(status) => return status as u32,
    };
    let memory = if bytes.is_empty() { std::ptr::null_mut() } else { proxy_on_memory_allocate(bytes.len()) };
    // SAFETY: the allocator gave us as many bytes as we copy, and our caller vouches for the out pointers.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len());
        put(memory, data);
        put(bytes.len(), size);
    }
    Status::Ok as u32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_log(level: u32, data: *const u8, size: usize) -> u32 {
    let level = host::level(level);
    // SAFETY: the SDK hands over a live string.
    let message = unsafe { text(data, size) };
    if level == LogLevel::Critical && host::is_in_callback() {
        // The process is about to abort, and with it goes what the test harness captured.
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "{test}: {message}");
    } else {
        eprintln!("{message}");
    }
    host::with(|host| host.log(level, message));
    Status::Ok as u32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_log_level(level: *mut u32) -> u32 {
    // SAFETY: an out pointer.
    unsafe { put(host::reported_level() as u32, level) };
    Status::Ok as u32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32 {
    answer(call(|host| {
        // SAFETY: an out pointer.
        unsafe { put(host.wall_clock()?, time) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_time_get(clock: u32, _precision: u64, time: *mut u64) -> u32 {
    answer(call(|host| {
        let now = if clock == 0 { host.wall_clock()? } else { host.monotonic_clock()? };
        // SAFETY: an out pointer.
        unsafe { put(now, time) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn random_get(data: *mut u8, size: usize) -> u32 {
    answer(call(|host| {
        let bytes = host.random(size);
        // SAFETY: the module hands over memory of this size.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, size) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    answer(call(|host| {
        host.set_tick_period(Duration::from_millis(period.into()));
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_buffer_bytes(
    buffer: u32,
    start: usize,
    max_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: out pointers.
    unsafe { give(call(|host| host.buffer(buffer, start, max_size)), data, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_buffer_bytes(
    buffer: u32,
    start: usize,
    size: usize,
    data: *const u8,
    data_size: usize,
) -> u32 {
    // SAFETY: a live slice.
    let value = unsafe { slice(data, data_size) };
    answer(call(|host| host.set_buffer(buffer, start, size, value)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    // SAFETY: out pointers.
    unsafe { give(call(|host| host.header_pairs(map)), data, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_header_map_pairs(map: u32, data: *const u8, size: usize) -> u32 {
    // SAFETY: a live slice.
    let pairs = unsafe { slice(data, size) };
    answer(call(|host| host.set_header_pairs(map, pairs)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_header_map_value(
    map: u32,
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: a live slice and out pointers.
    unsafe { give(call(|host| host.header(map, &text(key, key_size))), data, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_replace_header_map_value(
    map: u32,
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: live slices.
    answer(call(|host| unsafe { host.set_header(map, &text(key, key_size), slice(value, value_size)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_add_header_map_value(
    map: u32,
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: live slices.
    answer(call(|host| unsafe { host.add_header(map, &text(key, key_size), slice(value, value_size)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32 {
    // SAFETY: a live slice.
    answer(call(|host| host.remove_header(map, &unsafe { text(key, key_size) })))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_property(
    path: *const u8,
    path_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: a live slice and out pointers.
    unsafe { give(call(|host| host.property(slice(path, path_size))), data, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_property(
    path: *const u8,
    path_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    // SAFETY: live slices.
    answer(call(|host| unsafe { host.set_property(slice(path, path_size), slice(value, value_size)) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    cas: *mut u32,
) -> u32 {
    // SAFETY: a live slice and out pointers.
    unsafe {
        let value = call(|host| host.get_shared_data(&text(key, key_size)));
        let value = value.map(|(value, version)| {
            put(version, cas);
            value
        });
        give(value, data, size)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    value: *const u8,
    value_size: usize,
    cas: u32,
) -> u32 {
    // SAFETY: live slices.
    answer(call(|host| unsafe { host.set_shared_data(&text(key, key_size), slice(value, value_size), cas) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_send_local_response(
    status: u32,
    details: *const u8,
    details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    grpc_status: i32,
) -> u32 {
    // SAFETY: live slices.
    answer(call(|host| unsafe {
        host.send_local_response(
            status,
            text(details, details_size),
            slice(body, body_size),
            slice(headers, headers_size),
            grpc_status,
        )
    }))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(stream: u32) -> u32 {
    answer(call(|host| host.continue_stream(stream)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_close_stream(stream: u32) -> u32 {
    answer(call(|host| host.close_stream(stream)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32 {
    answer(call(|host| {
        // SAFETY: a live slice and an out pointer.
        unsafe { put(host.define_metric(kind, text(name, name_size))?, id) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    answer(call(|host| host.increment_metric(id, offset)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, value: u64) -> u32 {
    answer(call(|host| host.record_metric(id, value)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_metric(id: u32, value: *mut u64) -> u32 {
    answer(call(|host| {
        // SAFETY: an out pointer.
        unsafe { put(host.get_metric(id)?, value) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    trailers: *const u8,
    trailers_size: usize,
    timeout: u32,
    token: *mut u32,
) -> u32 {
    // SAFETY: live slices and an out pointer.
    answer(call(|host| unsafe {
        let new = host.http_call(
            text(cluster, cluster_size),
            slice(headers, headers_size),
            slice(body, body_size),
            slice(trailers, trailers_size),
            Duration::from_millis(timeout.into()),
        )?;
        put(new, token);
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_grpc_call(
    target: *const u8,
    target_size: usize,
    service: *const u8,
    service_size: usize,
    method: *const u8,
    method_size: usize,
    metadata: *const u8,
    metadata_size: usize,
    message: *const u8,
    message_size: usize,
    timeout: u32,
    token: *mut u32,
) -> u32 {
    // SAFETY: live slices and an out pointer.
    answer(call(|host| unsafe {
        let new = host.grpc_call(
            slice(target, target_size),
            format!("{}/{}", text(service, service_size), text(method, method_size)),
            slice(metadata, metadata_size),
            slice(message, message_size),
            Duration::from_millis(timeout.into()),
        )?;
        put(new, token);
        Ok(())
    }))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_grpc_cancel(token: u32) -> u32 {
    answer(call(|host| host.cancel_call(token)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_grpc_close(token: u32) -> u32 {
    answer(call(|host| host.cancel_call(token)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_get_status(code: *mut u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    // SAFETY: out pointers.
    unsafe {
        put(host::with(|host| host.callouts.status).unwrap_or_default(), code);
        give(Ok(Vec::new()), data, size)
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context: u32) -> u32 {
    answer(call(|host| host.set_effective_context(context)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn proxy_call_foreign_function(
    name: *const u8,
    name_size: usize,
    arguments: *const u8,
    arguments_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    // SAFETY: live slices and out pointers.
    unsafe {
        let results = call(|host| host.foreign_function(&text(name, name_size)))
            .and_then(|function| function(slice(arguments, arguments_size)));
        give(results, data, size)
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_done() -> u32 {
    Status::Ok as u32
}

/// What no plugin here uses is there so that everything links, and says so when it is called.
fn not_emulated(name: &str) -> u32 {
    answer(call(|host| {
        host.fault(format!("{name} is not part of the in-memory Envoy"));
        Err::<(), _>(Status::InternalFailure)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_register_shared_queue(_: *const u8, _: usize, _: *mut u32) -> u32 {
    not_emulated("proxy_register_shared_queue")
}

#[unsafe(no_mangle)]
extern "C" fn proxy_resolve_shared_queue(_: *const u8, _: usize, _: *const u8, _: usize, _: *mut u32) -> u32 {
    not_emulated("proxy_resolve_shared_queue")
}

#[unsafe(no_mangle)]
extern "C" fn proxy_dequeue_shared_queue(_: u32, _: *mut *mut u8, _: *mut usize) -> u32 {
    not_emulated("proxy_dequeue_shared_queue")
}

#[unsafe(no_mangle)]
extern "C" fn proxy_enqueue_shared_queue(_: u32, _: *const u8, _: usize) -> u32 {
    not_emulated("proxy_enqueue_shared_queue")
}

#[unsafe(no_mangle)]
extern "C" fn proxy_grpc_stream(
    _: *const u8,
    _: usize,
    _: *const u8,
    _: usize,
    _: *const u8,
    _: usize,
    _: *const u8,
    _: usize,
    _: *mut u32,
) -> u32 {
    not_emulated("proxy_grpc_stream")
}

#[unsafe(no_mangle)]
extern "C" fn proxy_grpc_send(_: u32, _: *const u8, _: usize, _: bool) -> u32 {
    not_emulated("proxy_grpc_send")
}
